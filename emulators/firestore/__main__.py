"""Starts the server: ``python -m emulators.firestore --host 127.0.0.1 --port 8080``."""

import argparse
import asyncio
import sys

from emulators.firestore.server import run_server


def main() -> int:
    """Runs until it is told to stop; returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m emulators.firestore", description="Firestore in memory")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    arguments = parser.parse_args()
    try:
        asyncio.run(run_server(arguments.host, arguments.port))
    except RuntimeError as error:
        print(f"firestore: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
