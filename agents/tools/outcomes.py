"""Reports what became of an action as a client event through `collect`, as any client's SDK would (`/v1/batch`).

Owns the request. The event's id is derived from the action, so a repeat is the same event.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import msgspec

from agents.tools.once import once
from agents.tools.secrets import read_json, secret_manager
from agents.tools.settings import require, settings
from schemas import topology

if TYPE_CHECKING:
    from httpx import Client

WAIT_SECONDS = 15.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type", tag="track"):
    """One track event."""

    event: str
    message_id: str
    user_id: str
    timestamp: datetime
    properties: dict[str, str]


class Outcomes(Protocol):
    """Where outcomes are told."""

    def report(self, outcome: Outcome) -> None:
        """Tell an outcome; when it returns, it is durable."""
        ...


class Collect:
    """The function `collect`."""

    def report(self, outcome: Outcome) -> None:
        """Tell an outcome.

        Raises:
            httpx.HTTPError: collect does not answer, or not with success.
        """
        keys = read_json(secret_manager(), "collect-write-keys")
        body = {"batch": [outcome], "sentAt": datetime.now(UTC), "writeKey": next(iter(keys))}
        response = _client().post(
            "/v1/batch", content=msgspec.json.encode(body), headers={"content-type": "application/json"}
        )
        response.raise_for_status()


class FakeOutcomes:
    """Keeps what was told; `errors` are raised one after another first."""

    def __init__(self, *errors: Exception) -> None:
        self.reported: list[Outcome] = []
        self.errors: list[Exception] = list(errors)

    def report(self, outcome: Outcome) -> None:
        """Record the outcome, or raise the next error."""
        if self.errors:
            raise self.errors.pop(0)
        self.reported.append(outcome)


@once
def collect() -> Collect:
    """The process's one way to tell outcomes."""
    return Collect()


@once
def _client() -> Client:
    import httpx

    if "collect" not in topology.load().access(settings().service).calls:
        raise PermissionError(f"{settings().service} may not call collect; topology.yaml grants it")
    return httpx.Client(base_url=require(settings().collect_url, "ARGO_COLLECT_URL"), timeout=WAIT_SECONDS)
