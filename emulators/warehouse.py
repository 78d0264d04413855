"""Starts bqemulator: BigQuery's REST and Storage APIs on DuckDB, on disk. `python -m emulators.warehouse`.

A write that was answered is in DuckDB's file or its log, so it is there again after a SIGKILL; what insertAll remembers of
row ids for a minute is not, as BigQuery promises it only as best effort.

Owns what bqemulator needs before it starts without a network, and what of it the laptop does without: time travel (FOR
SYSTEM_TIME), for which it copies the whole table with every insert. Creating the dataset is emulators.setup's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import lru_cache, partial, partialmethod
from typing import Any

from fastapi import FastAPI, HTTPException

from emulators.google import find_platform
from emulators.translations import REMEMBERED, Translations


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m emulators.warehouse", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="REST")
    parser.add_argument("--grpc-port", type=int, required=True, help="Storage API")
    parser.add_argument("--project", required=True)
    parser.add_argument("--data-dir", required=True, help="DuckDB's file")
    arguments = parser.parse_args()

    # It insists on DuckDB's spatial extension and would download it; the wheel brings it (facts.md, 2026-11-20).
    from duckdb_extensions import import_extension

    import_extension("spatial")
    os.environ["BQEMU_ENABLE_FORMAT_EXTENSIONS"] = "false"  # avro and others: nobody here loads them, it would download

    from bqemulator import server
    from bqemulator.api import create_app
    from bqemulator.cli import main as serve
    from bqemulator.jobs import executor
    from bqemulator.versioning.snapshots import SnapshotManager

    # The one place where bqemulator 1.4.0 can be given a route.
    url = f"http://{arguments.host}:{arguments.port}/"
    setattr(server, "create_app", partial(_create_app, create_app, url))  # noqa: B010 - not its public name
    anew: Callable[..., Any] = executor.rewrite_and_translate_statement  # pyright: ignore[reportPrivateImportUsage]
    setattr(executor, "rewrite_and_translate_statement", Translations(anew))  # noqa: B010 - nor this
    qualify: Callable[..., Any] = executor.rewrite_table_refs  # pyright: ignore[reportPrivateImportUsage]
    setattr(executor, "rewrite_table_refs", lru_cache(REMEMBERED)(qualify))  # noqa: B010 - looks at its arguments only
    keep: Callable[..., Any] = SnapshotManager.capture
    setattr(SnapshotManager, "capture", partialmethod(_keep_asked, keep))  # noqa: B010 - and its class has no setting
    sys.argv = [
        *("bqemulator", "start", "--persistent", "--data-dir", arguments.data_dir),
        *("--project", arguments.project, "--log-level", "warning"),
        *("--rest-host", arguments.host, "--rest-port", str(arguments.port)),
        *("--grpc-host", arguments.host, "--grpc-port", str(arguments.grpc_port)),
    ]
    serve()


def _keep_asked(manager: object, keep: Callable[..., Any], *table: str, kind: str = "AUTO") -> object | None:
    """A snapshot that a statement asks for; none of those that bqemulator would take by itself."""
    return None if kind == "AUTO" else keep(manager, *table, kind=kind)


def _create_app(create: Callable[..., FastAPI], url: str, *context: object) -> FastAPI:
    """bqemulator's app and the discovery document, without which Google's `bq --api=...` does nothing."""
    app = create(*context)
    app.add_api_route("/$discovery/rest", partial(_describe_api, url), methods=["GET"])
    return app


def _describe_api(url: str) -> dict[str, Any]:
    """The document that `bq` itself brings, with this server's address; nobody asks for it where there is no `bq`."""
    platform = find_platform()
    path = platform / "bq" / "discovery_next" / "bigquery.json" if platform else None
    if path is None or not path.is_file():
        raise HTTPException(404, "the Google Cloud SDK, which has the discovery document, is not on this machine")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {**document, "rootUrl": url, "baseUrl": f"{url}{document['servicePath']}"}


if __name__ == "__main__":
    main()
