"""The verdict on one bad event. A bad event never sinks its batch."""

from __future__ import annotations

from schemas.rows import Failure


class Refusal(Exception):
    """This event cannot be accepted; `reason` names the key, what was wrong and what to send instead."""

    def __init__(self, failure: Failure, reason: str) -> None:
        super().__init__(reason)
        self.failure = failure
        self.reason = reason
