"""Runs one job of the topology: `python -m functions.jobs NAME`. Its caller sets CLOUD_RUN_JOB=NAME, as Cloud Run does."""

from __future__ import annotations

import importlib
import sys

from functions import logs
from schemas import topology


def main(arguments: list[str]) -> int:
    """Run the named job; the exit code. A job that fails raises, so that its scheduler sees it."""
    known = [job.name for job in topology.load().jobs]
    if len(arguments) != 1 or arguments[0] not in known:
        print(f"usage: python -m functions.jobs NAME, where NAME is one of: {', '.join(known)}", file=sys.stderr)  # noqa: T201 -- a command's usage
        return 2
    logs.configure()
    importlib.import_module(f"functions.jobs.{arguments[0]}").run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
