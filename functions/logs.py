"""One JSON line a record on stderr, in the fields that Cloud Logging reads.

Source: https://cloud.google.com/logging/docs/structured-logging. Deliberately no handler that talks to a service: Cloud Run
collects the stream.
"""

from __future__ import annotations

import logging

import msgspec

_QUIET = ("google", "urllib3", "httpx", "httpcore", "neo4j")  # their INFO is a line per request


class JsonFormatter(logging.Formatter):
    """A record as {"severity", "message", "logger"}; a traceback becomes part of the message."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        text = super().format(record)
        return msgspec.json.encode({"severity": record.levelname, "message": text, "logger": record.name}).decode()


def configure() -> None:
    """Send every logger's records to stderr, INFO and above."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Its warnings are retries: google-auth asks a Google API in the background where an account may go, which a laptop's
    # throw-away account cannot know. A failure that matters is an exception of the call that wanted it.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
