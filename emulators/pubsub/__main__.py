"""Runs the Pub/Sub server until SIGTERM or SIGINT: `python -m emulators.pubsub --host 127.0.0.1 --port 8085`."""

import argparse
import asyncio
import gc
import signal
import sys

from emulators.pubsub.server import PubsubServer


async def serve(host: str, port: int) -> None:
    """Serves until a signal; port 0 picks a free one, which the ready line names."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        server = PubsubServer(host, port)
    except RuntimeError as error:  # what gRPC raises for a port that it cannot have
        sys.exit(f"pubsub cannot listen on {host}:{port}: {error}")
    await server.start()
    print(f"pubsub listening on {host}:{server.port}", file=sys.stderr, flush=True)
    await stopping.wait()
    await server.stop()


def main() -> None:
    """Reads the command line and serves."""
    parser = argparse.ArgumentParser(prog="emulators.pubsub", description="A pip-only Pub/Sub server, in memory.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8085)
    arguments = parser.parse_args()
    gc.set_threshold(
        50_000, 20, 100
    )  # a backlog is many objects without cycles: walking it was a tenth of the server's time
    asyncio.run(serve(arguments.host, arguments.port))


if __name__ == "__main__":
    main()
