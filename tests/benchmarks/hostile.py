"""20,000 hostile requests and more to collect and ingest, with good events between: `make bench NAME=hostile`.

What is sent and what is never acceptable is in tests/hostile. Writes build/bench/hostile.json; exits with 1 when anything
unacceptable was seen.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from emulators.cloud import LaptopCloud
from tests.benchmarks.reports import write_report
from tests.hostile.campaign import Campaign

REPORT = Path("build/bench/hostile.json")
DRAIN_SECONDS = 120.0


def main() -> int:
    """Attack, wait, show, write."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.hostile", description=__doc__)
    parser.add_argument("--requests", type=int, default=18_000, help="to collect")
    parser.add_argument("--envelopes", type=int, default=2_500, help="to ingest")
    parser.add_argument("--objects", type=int, default=500, help="in the landing bucket")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, LaptopCloud(Path(directory)) as cloud:
        os.environ.update(cloud.env)
        campaign = Campaign(env=cloud.env, logs=cloud.directory / "logs")
        for name, attack, count in (
            ("requests to collect", campaign.attack_collect, options.requests),
            ("envelopes to ingest", campaign.attack_ingest, options.envelopes),
            ("objects in the landing bucket", campaign.attack_landing, options.objects),
        ):
            print(f"{count:,} hostile {name}", file=sys.stderr, flush=True)
            attack(count)
        print("waiting for the good events", file=sys.stderr, flush=True)
        result = campaign.finish(DRAIN_SECONDS)
    report = {
        "sent": dict(result.sent),
        "answers": dict(result.statuses.most_common()),
        "good_events": len(result.good_ids),
        "problems": result.problems,
        "seconds": round(time.monotonic() - began, 1),
    }
    write_report(REPORT, report)
    for name, value in report.items():
        print(f"{name}: {value}" if name != "problems" else f"problems: {len(result.problems)}")
    print("\n".join(f"- {problem}" for problem in result.problems[:20]))
    print(f"written to {REPORT}")
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
