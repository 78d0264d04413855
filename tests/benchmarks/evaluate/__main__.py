"""`make evaluate DATA=name`: every single model and ours by stage on one split; a table, JSON and plots.

Exit code 0 when the run ended, 1 when ours lost to a peer, 2 when there was nothing to evaluate.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time

from tests.benchmarks.evaluate.datasets import NAMED, Unusable, read_data
from tests.benchmarks.evaluate.progress import Progress, Question
from tests.benchmarks.evaluate.report import OUTPUT, render_table, write_report
from tests.benchmarks.evaluate.running import evaluate


def main() -> int:
    """Run one evaluation; the exit code."""
    parser = argparse.ArgumentParser(prog="make evaluate DATA=...", description=__doc__)
    parser.add_argument("data", help=f"{', '.join(NAMED)}, a file of events (.ndjson, .csv, either .gz), or a folder")
    parser.add_argument(
        "--repeats", action="store_true", help="count what a person touched before as a target (groceries)"
    )
    parser.add_argument(
        "--trials", type=int, help="settings tried per model (default: 12, or 4 from 400,000 events on)"
    )
    parser.add_argument("--resume", action="store_true", help="go on where a run of the same data was broken off")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    started = time.monotonic()
    try:
        data = read_data(arguments.data)
        question = Question(repeats=arguments.repeats, trials=arguments.trials)
        path = OUTPUT / data.name / "progress.json"
        result = evaluate(data, question, Progress(path, question, len(data.events), resume=arguments.resume))
    except (Unusable, OSError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    folder = write_report(result)
    print(render_table(result))
    print(f"\n{time.monotonic() - started:.0f} s; report.md, report.json, quality.png, costs.png in {folder}")
    return 0 if result.ratio >= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
