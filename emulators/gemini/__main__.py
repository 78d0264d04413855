"""Serves the scripted Gemini: `python -m emulators.gemini`."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from emulators.gemini.faults import FaultPlan, Faults
from emulators.gemini.rest import Service, build_app
from emulators.gemini.script import DEFAULT_SCRIPT, load_script


def _exit(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m emulators.gemini", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--script", type=Path, default=DEFAULT_SCRIPT, help="YAML file with the rules")
    parser.add_argument("--fail-every", type=int, default=0, metavar="N", help="fail every n-th call; 0: none")
    parser.add_argument("--fail-status", type=int, default=503, metavar="STATUS")
    parser.add_argument("--latency-seconds", type=float, default=0.0)
    arguments = parser.parse_args()
    plan = FaultPlan(arguments.fail_every, arguments.fail_status, arguments.latency_seconds)
    service = Service(load_script(arguments.script), Faults(plan))
    listener = socket.create_server((arguments.host, arguments.port), backlog=128)

    @asynccontextmanager
    async def announce(_app: Starlette) -> AsyncGenerator[None]:
        print(f"gemini listening on {arguments.host}:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
        yield

    # uvicorn ends by raising the signal again, for whoever had it before.
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, _exit)
    config = uvicorn.Config(
        build_app(service, announce),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
