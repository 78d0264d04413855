"""The function llm with the two callers of `tests.benchmarks.gateway`: one without a limit that matters, one with a small one."""

from agents.gateway import plans
from functions import llm as hosted

CAP = 20
PLANS = f"""
plans:
  free: &free
    models: [gemini-3.5-flash-lite]
    requests_per_minute: 1000000
    requests_per_day: 1000000
    tokens_per_minute: 1000000000
    tokens_per_day: 1000000000
    usd_per_month: 100000
  limited: {{<<: *free, requests_per_minute: {CAP}}}
callers:
  free: {{plan: free}}
  limited: {{plan: limited}}
"""

known = plans.parse(PLANS)
plans.load = lambda: known  # the benchmark's callers in place of the suite's; nothing else is changed
llm = hosted.llm
