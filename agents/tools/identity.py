"""This service's own identity, as Cloud Run wants it from a caller (an OpenID Connect token of Google's).

Source: https://cloud.google.com/run/docs/authenticating/service-to-service. Application Default Credentials decide who we
are: the service account in the cloud, the throw-away one of the laptop cloud.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from agents.tools.once import once
from agents.tools.settings import settings

if TYPE_CHECKING:
    import httpx
    from google.auth.transport.requests import Request

# Leaves `Authorization` to the function behind it: https://cloud.google.com/run/docs/authenticating/service-to-service
HEADER = "x-serverless-authorization"
KEYS_SECONDS = 3600.0
FRESH_SECONDS = 30.0
WAIT_SECONDS = 10


def prove_identity(audience: str) -> Callable[[httpx.Request], httpx.Request]:
    """An httpx `auth` that says who calls, to the service at the URL `audience`; the token is renewed when it is due.

    The returned function raises google.auth.exceptions.GoogleAuthError when there is no identity, or its issuer is silent.
    """

    def add_token(request: httpx.Request) -> httpx.Request:
        credentials = _credentials(audience)
        if not credentials.valid:
            credentials.refresh(_request())
        request.headers[HEADER] = f"Bearer {credentials.token}"
        return request

    return add_token


def fetch_token(audience: str) -> tuple[str, float]:
    """A new token for an audience, and when it expires (seconds since 1970).

    Raises:
        google.auth.exceptions.GoogleAuthError: there is no identity, or its issuer is silent.
    """
    from google.auth import jwt
    from google.oauth2 import id_token

    credentials: Any = id_token.fetch_id_token_credentials(audience, request=_request())
    credentials.refresh(_request())
    return str(credentials.token), float(jwt.decode(credentials.token, verify=False)["exp"])


def read_caller(headers: Mapping[str, str]) -> str:
    """The email of who calls, from the identity token that Cloud Run has checked and IAM has let in; empty without one.

    Cloud Run takes the signature off what it hands on, so it cannot be checked again: only for functions behind IAM.
    """
    from google.auth import jwt
    from google.auth.exceptions import MalformedError

    given = headers.get(HEADER) or headers.get("authorization") or ""
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer" or not token:
        return ""
    try:
        claims: dict[str, Any] = jwt.decode(token, verify=False)
    except (MalformedError, ValueError):
        return ""
    email = claims.get("email")
    return email[:200] if isinstance(email, str) else ""


def certificate_keys(*, fresh: bool, url: str = "") -> Mapping[str, str]:
    """The public keys at an address (Google's own by default), by their ids; kept for an hour unless `fresh` ones are wanted.

    Raises:
        google.auth.exceptions.TransportError: they are not to be had.
    """
    address = url or settings().identity_certs_url
    known = _keys.get(address)
    now = time.monotonic()
    # Anybody can send a token that no key fits: that must not make us ask Google as often.
    is_wanted = known is None or now > known.good_until or (fresh and now > known.read_at + FRESH_SECONDS)
    if known is None or is_wanted:
        from google.auth.exceptions import TransportError

        response = _request()(address, method="GET", timeout=WAIT_SECONDS)
        if response.status != HTTPStatus.OK:
            raise TransportError(f"{address} answers {response.status}")
        by_id = msgspec.json.decode(response.data, type=dict[str, str])
        known = _keys[address] = _Keys(by_id=by_id, good_until=now + KEYS_SECONDS, read_at=now)
    return known.by_id


@dataclass
class _Keys:
    by_id: Mapping[str, str]
    good_until: float
    read_at: float


_keys: dict[str, _Keys] = {}


@once
def _credentials(audience: str) -> Any:  # google.auth has no one type for what has valid, refresh and token
    from google.oauth2 import id_token

    return id_token.fetch_id_token_credentials(audience, request=_request())


@once
def _request() -> Request:
    from google.auth.transport.requests import Request

    return Request()
