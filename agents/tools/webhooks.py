"""Webhooks: one signed POST to a receiver that the policy names.

Owns the wire, the signing secret (whoever may not read it calls nobody) and the difference between "not now" and "never".
Redirects are not followed: a receiver cannot pass our call on to an address that nobody allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from agents.tools.once import once
from agents.tools.secrets import read_json, secret_manager

if TYPE_CHECKING:
    from httpx import Client
WAIT_SECONDS = 15.0


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One POST."""

    url: str
    body: bytes
    headers: dict[str, str]


class WebhookRefused(Exception):
    """The receiver refuses this call for good (4xx or a redirect)."""


class WebhookUnavailable(Exception):
    """The receiver does not answer now (5xx, 429, no connection); try again."""


class Webhooks(Protocol):
    """Where calls leave."""

    def read_secret(self, receiver: str) -> str:
        """What signs for a receiver."""
        ...

    def post(self, call: Call) -> None:
        """Make a call; when it returns, the receiver has it."""
        ...


class HttpWebhooks:
    """Over HTTPS."""

    def read_secret(self, receiver: str) -> str:
        """What signs for a receiver, from the secret `webhook-secrets`.

        Raises:
            WebhookRefused: nobody has added one.
        """
        secrets = read_json(secret_manager(), "webhook-secrets")
        if not secrets.get(receiver):
            raise WebhookRefused(f"the secret webhook-secrets has no entry {receiver!r}; add one")
        return secrets[receiver]

    def post(self, call: Call) -> None:
        """Make a call.

        Raises:
            WebhookRefused: 3xx, or 4xx but 408, 425 and 429.
            WebhookUnavailable: anything else that is no success.
        """
        import httpx

        try:
            response = _client().post(call.url, content=call.body, headers=call.headers)
        except httpx.HTTPError as error:
            raise WebhookUnavailable(f"the receiver does not answer: {type(error).__name__}") from None
        if response.is_success:
            return
        reason = f"the receiver answers {response.status_code}"
        if response.status_code >= 500 or response.status_code in {408, 425, 429}:
            raise WebhookUnavailable(reason)
        raise WebhookRefused(reason)


class FakeWebhooks:
    """Keeps the calls; `errors` are raised one after another first."""

    def __init__(self, *errors: Exception) -> None:
        self.calls: list[Call] = []
        self.errors: list[Exception] = list(errors)

    def read_secret(self, receiver: str) -> str:
        """A secret that everybody knows."""
        return f"secret of {receiver}"

    def post(self, call: Call) -> None:
        """Record the call, or raise the next error."""
        if self.errors:
            raise self.errors.pop(0)
        self.calls.append(call)


@once
def http_webhooks() -> HttpWebhooks:
    """The process's one way to call."""
    return HttpWebhooks()


@once
def _client() -> Client:
    import httpx

    return httpx.Client(timeout=WAIT_SECONDS, follow_redirects=False)
