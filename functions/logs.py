"""One JSON line a record on stderr, in the fields that Cloud Logging reads.

Source: https://cloud.google.com/logging/docs/structured-logging. Deliberately no handler that talks to a service: Cloud Run
collects the stream.
"""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from agents.tools import metrics, trace
from agents.tools.settings import settings

_EXTRA = ("event_ids", "message_id", "subscription")
_QUIET = ("google", "urllib3", "httpx", "httpcore", "neo4j")  # their INFO is a line per request


class JsonFormatter(logging.Formatter):
    """A record as {"severity", "message", "logger"}; a traceback becomes part of the message.

    With the trace that the process works for, and what a call gave as `extra`: `event_ids`, `message_id`, `subscription`,
    or a metric's fields.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "severity": record.levelname,
            "message": super().format(record),
            "logger": record.name,
            **getattr(record, "metric", {}),
            **{name: getattr(record, name) for name in _EXTRA if hasattr(record, name)},
        }
        if trace.is_followed():
            line |= trace.describe(settings().project)
        return msgspec.json.encode(line).decode("utf-8", "replace")


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
    metrics.flush_at_end()
