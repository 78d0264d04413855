"""Every entry point of the one image; a deployment picks its own with FUNCTION_TARGET.

Importing all of them is cheap: clients are imported where they are built, not here.
"""

from functions import logs
from functions.act import act
from functions.agent import agent
from functions.collect import collect
from functions.ingest import ingest
from functions.llm import llm
from functions.orchestrate import orchestrate
from functions.profiles import profiles
from functions.recommend import recommend
from functions.trace import trace

logs.configure()

__all__ = ["act", "agent", "collect", "ingest", "llm", "orchestrate", "profiles", "recommend", "trace"]
