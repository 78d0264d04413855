"""This service's own identity, as Cloud Run wants it from a caller (an OpenID Connect token of Google's).

Source: https://cloud.google.com/run/docs/authenticating/service-to-service. Application Default Credentials decide who we
are: the service account in the cloud, the throw-away one of the laptop cloud.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agents.tools.once import once

if TYPE_CHECKING:
    import httpx
    from google.auth.transport.requests import Request

# Leaves `Authorization` to the function behind it: https://cloud.google.com/run/docs/authenticating/service-to-service
HEADER = "x-serverless-authorization"


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


@once
def _credentials(audience: str) -> Any:  # google.auth has no one type for what has valid, refresh and token
    from google.oauth2 import id_token

    return id_token.fetch_id_token_credentials(audience, request=_request())


@once
def _request() -> Request:
    from google.auth.transport.requests import Request

    return Request()
