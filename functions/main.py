"""Every entry point of the one image; a deployment picks its own with FUNCTION_TARGET.

Importing all of them is cheap: clients are imported where they are built, not here.
"""

import gc

from functions import logs
from functions.act import act
from functions.agent import agent
from functions.approvals import approvals
from functions.collect import collect
from functions.ingest import ingest
from functions.links import links
from functions.llm import llm
from functions.orchestrate import orchestrate
from functions.profiles import profiles
from functions.recommend import recommend
from functions.regulations import regulations
from functions.trace import trace

logs.configure()
# A request makes many objects and next to no cycles: looking for them after each 700, Python's default, was a tenth of
# collect's time (perf, 2026-11-20).
gc.set_threshold(20_000, 20, 20)

__all__ = [
    "act",
    "agent",
    "approvals",
    "collect",
    "ingest",
    "links",
    "llm",
    "orchestrate",
    "profiles",
    "recommend",
    "regulations",
    "trace",
]
