"""How the gateway says no: one exception that an HTTP answer can be made of. Owns no rule."""

from __future__ import annotations


class GatewayError(Exception):
    """A call that gets no answer: the HTTP status, what is wrong, and what to do about it.

    `limit` names the limit of the caller's plan that is used up; `retry_after_seconds` is when a new try makes sense.
    """

    def __init__(
        self, status: int, error: str, fix: str, *, limit: str | None = None, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.fix = fix
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds
