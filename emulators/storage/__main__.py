"""Serves the store over HTTP: `python -m emulators.storage`.

Owns connections, the notificationConfigs routes and the answers to a failed precondition. Every other route is the
emulator's. Its router handles one request at a time under a lock, on a body that was already read and into a buffer,
so that a slow client holds up nobody.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import re
import signal
import sys
import threading
from functools import partial
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.server import RequestHandler, Router

from emulators.storage.notifications import InvalidConfigError, Notifier, connect
from emulators.storage.objects import ObjectStore, PreconditionFailedError

_CONFIGS = re.compile(r"(?:/storage/v1)?/b/(?P<bucket>[^/]+)/notificationConfigs(?:/(?P<id>[^/]+))?")
_FLUSH_SECONDS = 2.0
_Answer = tuple[HTTPStatus, dict[str, Any]]


class Handler(RequestHandler):
    """One connection, kept open between requests."""

    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    pubsub_host: str | None = None

    def serve(self) -> None:
        """Answers one request."""
        incoming, outgoing = self.rfile, self.wfile
        expected_bytes = int(self.headers.get("Content-Length") or 0)
        body = incoming.read(expected_bytes)
        if len(body) < expected_bytes:  # the client is gone: half an upload must not become an object
            self.close_connection = True
            return
        if self.headers.get("Transfer-Encoding"):
            self.close_connection = True  # the emulator reads the chunks, but not the line that ends them
        else:
            self.rfile = io.BytesIO(body)
        self.wfile = answer = io.BytesIO()
        try:
            with self.lock:
                self._dispatch(body)
        finally:
            self.rfile, self.wfile = incoming, outgoing
        outgoing.write(answer.getvalue())

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815 - http.server's names

    def _dispatch(self, body: bytes) -> None:
        url = urlsplit(self.path)
        configs = _CONFIGS.fullmatch(url.path)
        if configs:
            self._answer(*self._serve_configs(unquote(configs["bucket"]), configs["id"], body))
            return
        wanted = parse_qs(url.query).get("ifGenerationMatch", [""])[0]
        self.storage.required_generation = int(wanted) if wanted.isdecimal() else None
        exact = parse_qs(url.query).get("generation", [""])[0] if self.command == "DELETE" else ""
        self.storage.deleted_generation = int(exact) if exact.isdecimal() else None
        try:
            Router(self).handle(self.command)
        except PreconditionFailedError:
            message = "At least one of the pre-conditions you specified did not hold."
            self._answer(HTTPStatus.PRECONDITION_FAILED, _error(412, "conditionNotMet", message))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            # What the emulator raises on a request that it cannot read; it would drop the connection.
            print(f"storage: {self.command} {url.path}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            self._answer(HTTPStatus.BAD_REQUEST, _error(400, "invalid", f"{type(error).__name__}: {error}"))

    def _serve_configs(self, bucket: str, config_id: str | None, body: bytes) -> _Answer:
        try:
            return HTTPStatus.OK, self._change_configs(bucket, config_id, body)
        except (NotFound, KeyError):
            return HTTPStatus.NOT_FOUND, _error(404, "notFound", f"{self.path} was not found")
        except ValueError as error:
            return HTTPStatus.BAD_REQUEST, _error(400, "invalid", str(error))

    def _change_configs(self, bucket: str, config_id: str | None, body: bytes) -> dict[str, Any]:
        store: ObjectStore = self.storage
        match self.command, config_id:
            case "GET", None:
                return {"kind": "storage#notifications", "items": list(store.list_configs(bucket).values())}
            case "GET", str():
                return store.list_configs(bucket)[config_id]
            case "DELETE", str():
                store.remove_config(bucket, config_id)
                return {}
            case "POST", None:
                if not self.pubsub_host:
                    raise InvalidConfigError("PUBSUB_EMULATOR_HOST is not set where storage runs")
                return store.add_config(bucket, json.loads(body or b"null"))
            case _:
                raise InvalidConfigError(f"{self.command} is not a method of this resource")

    def _answer(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _error(code: int, reason: str, message: str) -> dict[str, Any]:
    errors = [{"domain": "global", "reason": reason, "message": message}]
    return {"error": {"code": code, "message": message, "errors": errors}}


class Server(ThreadingHTTPServer):
    """Connections in threads; the backlog is what 100 parallel uploads need."""

    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the base's signature
        """Writes one line for what the request could not be answered for; a client that left is no news."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            print(f"storage: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def _exit(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def main() -> None:
    """Serves until SIGTERM or SIGINT, then gives pending notifications a last chance."""
    parser = argparse.ArgumentParser(prog="python -m emulators.storage", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--data-dir", type=Path, help="keep objects below this folder instead of in memory")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, _exit)
    # The emulator logs every miss with a level of warning or error; the client is told by the status.
    for name in ("gcp_storage_emulator", "api.object", "api.bucket"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    Handler.pubsub_host = os.environ.get("PUBSUB_EMULATOR_HOST")
    notifier = Notifier(connect(Handler.pubsub_host or ""))
    store = ObjectStore(notifier.post, arguments.data_dir)
    with Server((arguments.host, arguments.port), partial(Handler, store)) as server:
        print(f"storage listening on {arguments.host}:{server.server_port}", file=sys.stderr, flush=True)
        try:
            server.serve_forever()
        finally:
            notifier.close(_FLUSH_SECONDS)


if __name__ == "__main__":
    main()
