"""Starts bqemulator: BigQuery's REST and Storage APIs on DuckDB, in memory. `python -m emulators.warehouse`.

Owns what bqemulator needs before it starts without a network. Creating the dataset is emulators.setup's.
"""

from __future__ import annotations

import argparse
import os
import sys


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m emulators.warehouse", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="REST")
    parser.add_argument("--grpc-port", type=int, required=True, help="Storage API")
    parser.add_argument("--project", required=True)
    arguments = parser.parse_args()

    # It insists on DuckDB's spatial extension and would download it; the wheel brings it (facts.md, 2026-11-20).
    from duckdb_extensions import import_extension

    import_extension("spatial")
    os.environ["BQEMU_ENABLE_FORMAT_EXTENSIONS"] = "false"  # avro and others: nobody here loads them, it would download

    from bqemulator.cli import main as serve

    sys.argv = [
        *("bqemulator", "start", "--ephemeral", "--project", arguments.project, "--log-level", "warning"),
        *("--rest-host", arguments.host, "--rest-port", str(arguments.port)),
        *("--grpc-host", arguments.host, "--grpc-port", str(arguments.grpc_port)),
    ]
    serve()


if __name__ == "__main__":
    main()
