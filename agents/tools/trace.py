"""The trace that a process works for, by W3C Trace Context, from a request's header through every message to each log line.

The attribute is the one that Google's Pub/Sub clients use for OpenTelemetry. Deliberately no spans: a trace id on each line
and message is what tells an event's way; Cloud Run makes the spans of requests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar

HEADER = "traceparent"  # https://www.w3.org/TR/trace-context/
ATTRIBUTE = "googclient_traceparent"  # https://cloud.google.com/pubsub/docs/open-telemetry-tracing
_FORM = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_current: ContextVar[str] = ContextVar("traceparent", default="")


def follow(given: str | None) -> None:
    """Work for this trace from now on, in this task; what is no traceparent is none."""
    _current.set(given if given and _FORM.fullmatch(given) else "")


def is_followed() -> bool:
    """Whether there is a trace."""
    return bool(_current.get())


def stamp(attributes: Mapping[str, str]) -> Mapping[str, str]:
    """A message's attributes with the trace, unless they have one or there is none."""
    current = _current.get()
    return {**attributes, ATTRIBUTE: current} if current and ATTRIBUTE not in attributes else attributes


def describe(project: str) -> dict[str, str | bool]:
    """The fields by which Cloud Logging knows the trace of a line; none without a trace.

    Source: https://cloud.google.com/logging/docs/agent/logging/configuration#special-fields
    """
    found = _FORM.fullmatch(_current.get())
    if found is None:
        return {}
    return {
        "logging.googleapis.com/trace": f"projects/{project}/traces/{found[1]}",
        "logging.googleapis.com/spanId": found[2],
        "logging.googleapis.com/trace_sampled": bool(int(found[3], 16) & 1),
    }
