"""Who calls: a signed-in person (Firebase / Identity Platform ID token) or a service of ours (Google-signed ID token).

Owns the check of tokens; what a caller may see is the function's to say. Nobody is the default: no token, no setting, a wrong
audience, an unknown service account are all refused. FIREBASE_AUTH_EMULATOR_HOST is the official variable under which tokens
are unsigned (https://firebase.google.com/docs/emulator-suite/connect_auth); it counts only when it names this machine, so
that no cloud can be opened by it.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from agents.tools.identity import certificate_keys
from agents.tools.settings import settings
from schemas import topology

# https://firebase.google.com/docs/auth/admin/verify-id-tokens#verify_id_tokens_using_a_third-party_jwt_library
FIREBASE_CERTS_URL = "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"
FIREBASE_ISSUER = "https://securetoken.google.com/"
GOOGLE_ISSUERS = frozenset({"https://accounts.google.com", "accounts.google.com"})
SKEW_SECONDS = 10
MAX_SUBJECT = 128  # Firebase's
MAX_TOKEN_BYTES = 8192
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


class NotSignedIn(Exception):
    """Nobody, or nobody that can be believed; the message says why, and never holds the token."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A person (`user_id` set) or a service (`account` set)."""

    user_id: str = ""
    account: str = ""

    def may_see(self, user_id: str) -> bool:
        """Whether what is known of this person is the caller's to see: a service's is everybody, a person's only their own."""
        return bool(self.account) or (bool(self.user_id) and self.user_id == user_id)


def find_caller(authorization: str) -> Caller:
    """The caller by an Authorization header.

    Raises:
        NotSignedIn: no token, or one that proves nothing here.
        google.auth.exceptions.TransportError: Google's keys are not to be had now; try again.
    """
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise NotSignedIn("no ID token; send Authorization: Bearer <Firebase ID token, or a service's ID token>")
    if len(token) > MAX_TOKEN_BYTES:
        raise NotSignedIn("the token is too long to be one")
    issuer = _read_unverified(token).get("iss")
    return _find_person(token) if str(issuer).startswith(FIREBASE_ISSUER) else _find_service(token)


def _find_person(token: str) -> Caller:
    emulated = settings().firebase_auth_emulator_host.rpartition(":")[0] in LOOPBACK
    claims = _check_times(_read_unverified(token)) if emulated else _verify(token, FIREBASE_CERTS_URL)
    if claims.get("aud") != settings().project or claims.get("iss") != FIREBASE_ISSUER + settings().project:
        raise NotSignedIn("the token was made for another project")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT:
        raise NotSignedIn("the token names nobody")
    return Caller(user_id=subject)


def _find_service(token: str) -> Caller:
    claims = _verify(token, settings().identity_certs_url)
    if claims.get("iss") not in GOOGLE_ISSUERS or claims.get("email_verified") is not True:
        raise NotSignedIn("the token is not Google's word about a service account")
    if not settings().audience or claims.get("aud") != settings().audience:
        raise NotSignedIn("the token was made for another audience than ARGO_AUDIENCE")
    account = str(claims.get("email", ""))
    if account not in _list_trusted():
        raise NotSignedIn("this service account may not call; topology.yaml (calls) or ARGO_TRUSTED_CALLERS grants it")
    return Caller(account=account)


def _list_trusted() -> set[str]:
    """Accounts of the functions that the topology lets call this one, and those that the operator names."""
    granted = [one.name for one in topology.load().functions if settings().service in one.calls]
    named = {account.strip() for account in settings().trusted_callers.split(",") if account.strip()}
    return named | {topology.account_email(settings().project, name) for name in granted}


def _verify(token: str, certs_url: str) -> dict[str, Any]:
    """The claims of a token that the keys of this address have signed, now and not later or earlier."""
    from google.auth import jwt
    from google.auth.exceptions import GoogleAuthError

    problem = ""
    for is_fresh in (False, True):  # Google changes its keys now and then
        keys = certificate_keys(fresh=is_fresh, url=certs_url)
        try:
            return dict(jwt.decode(token, certs=keys, clock_skew_in_seconds=SKEW_SECONDS))
        except (GoogleAuthError, ValueError) as error:
            problem = type(error).__name__
    raise NotSignedIn(f"the token does not hold ({problem})")


def _read_unverified(token: str) -> dict[str, Any]:
    from google.auth import jwt
    from google.auth.exceptions import GoogleAuthError

    try:
        return dict(jwt.decode(token, verify=False))
    except (GoogleAuthError, ValueError, TypeError) as error:
        raise NotSignedIn(f"the token is none ({type(error).__name__})") from None


def _check_times(claims: dict[str, Any]) -> dict[str, Any]:
    """What the library checks of a signed token, for an unsigned one."""
    expires, issued, now = claims.get("exp"), claims.get("iat"), time.time()
    if not isinstance(expires, int | float) or expires < now - SKEW_SECONDS:
        raise NotSignedIn("the token has expired")
    if not isinstance(issued, int | float) or issued > now + SKEW_SECONDS:
        raise NotSignedIn("the token is not valid yet")
    return claims
