"""Seals: who really sent a message, as Google says it, checked by whoever receives it.

A Pub/Sub push does not tell its publisher. So each process makes a key pair of its own and has Google certify it: it asks
for an OpenID Connect token whose *audience is the public key*. The token then says, signed by Google, which service
account holds that key, and is no use to anybody without the private one. A message carries the token and a signature of
its data; one token serves for its hour. Decision: docs/decisions/2026-11-20-messages-are-sealed.md.

Owns making and checking seals. Who may say what to whom is `agents.swarm.wire`'s.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from agents.tools.identity import certificate_keys, fetch_token
from agents.tools.once import once
from agents.tools.settings import settings
from schemas.topology import account_email

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

CERTIFICATE = "senderCertificate"
SIGNATURE = "senderSignature"
AUDIENCE = "argo-bus:"
RENEW_SECONDS = 600  # a message may wait this long for its receiver before its certificate expires
SKEW_SECONDS = 30
KNOWN = 200  # certificates remembered; a swarm has one per instance and hour
ISSUERS = frozenset({"https://accounts.google.com", "accounts.google.com"})


class SealBroken(Exception):
    """A message has no seal, or one that proves nothing; the message says why."""


class Seals(Protocol):
    """Makes and checks seals."""

    def seal(self, data: bytes) -> dict[str, str]:
        """The attributes that prove that this process sends the data."""
        ...

    def find_sender(self, data: bytes, attributes: dict[str, str]) -> str:
        """The email of the service account that sealed the data."""
        ...

    def account_of(self, function: str) -> str:
        """The email of the service account that a function runs as."""
        ...


class GoogleSeals:
    """Seals by Google's OpenID Connect tokens and Ed25519."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own: tuple[Ed25519PrivateKey, str] | None = None
        self._token = ""
        self._renew_at = 0.0
        self._known: dict[str, tuple[str, Ed25519PublicKey, float]] = {}

    def seal(self, data: bytes) -> dict[str, str]:
        """The attributes that prove that this process sends the data.

        Raises:
            google.auth.exceptions.GoogleAuthError: there is no identity, or its issuer is silent.
        """
        with self._lock:
            key, audience = self._key()
            if time.time() > self._renew_at:
                self._token, expires_at = fetch_token(audience)
                self._renew_at = expires_at - RENEW_SECONDS
            token = self._token
        return {CERTIFICATE: token, SIGNATURE: _to_text(key.sign(data))}

    def find_sender(self, data: bytes, attributes: dict[str, str]) -> str:
        """The email of the service account that sealed the data.

        Raises:
            SealBroken: no seal, not Google's word, expired, or the data is not what was sealed.
            google.auth.exceptions.TransportError: Google's keys are not to be had now.
        """
        from cryptography.exceptions import InvalidSignature

        token, signature = attributes.get(CERTIFICATE, ""), attributes.get(SIGNATURE, "")
        if not token or not signature:
            raise SealBroken("it carries no seal")
        email, key, expires_at = self._known.get(token) or self._learn(token)
        if time.time() > expires_at + SKEW_SECONDS:
            raise SealBroken(f"the certificate of {email} has expired")
        try:
            key.verify(base64.urlsafe_b64decode(signature + "=="), data)
        except (InvalidSignature, binascii.Error, ValueError):
            raise SealBroken(f"its data is not what {email} has sealed") from None
        return email

    def account_of(self, function: str) -> str:
        """The email of the service account that a function runs as."""
        return account_email(settings().project, function)

    def _key(self) -> tuple[Ed25519PrivateKey, str]:
        if self._own is None:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

            key = Ed25519PrivateKey.generate()
            self._own = key, AUDIENCE + _to_text(key.public_key().public_bytes_raw())
        return self._own

    def _learn(self, token: str) -> tuple[str, Ed25519PublicKey, float]:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        claims = _read_token(token)
        audience = str(claims.get("aud", ""))
        if claims.get("iss") not in ISSUERS or not claims.get("email_verified"):
            raise SealBroken("its certificate is not Google's word about a service account")
        try:
            raw = base64.urlsafe_b64decode(audience.removeprefix(AUDIENCE) + "==")
            key = Ed25519PublicKey.from_public_bytes(raw)
        except (binascii.Error, ValueError):
            raise SealBroken("its certificate was made for something else") from None
        if not audience.startswith(AUDIENCE):
            raise SealBroken("its certificate was made for something else")
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known[token] = str(claims["email"]), key, float(claims["exp"])
        return self._known[token]


class FakeSeals:
    """Seals of one account among fakes that share a secret."""

    def __init__(self, function: str = "orchestrate") -> None:
        self.function = function

    def seal(self, data: bytes) -> dict[str, str]:
        """The account and a keyed hash."""
        email = self.account_of(self.function)
        return {CERTIFICATE: email, SIGNATURE: self._sign(email, data)}

    def find_sender(self, data: bytes, attributes: dict[str, str]) -> str:
        """The account, when the hash fits."""
        email = attributes.get(CERTIFICATE, "")
        if not email or not hmac.compare_digest(self._sign(email, data), attributes.get(SIGNATURE, "")):
            raise SealBroken("it carries no seal" if not email else f"its data is not what {email} has sealed")
        return email

    def account_of(self, function: str) -> str:
        """The email of a function's account."""
        return account_email("fake", function)

    def _sign(self, email: str, data: bytes) -> str:
        return hmac.new(b"fakes only", email.encode() + data, hashlib.sha256).hexdigest()


def _read_token(token: str) -> dict[str, Any]:
    """The claims of a token that Google has signed."""
    from google.auth import jwt
    from google.auth.exceptions import GoogleAuthError

    problem = ""
    for is_fresh in (False, True):  # Google changes its keys now and then
        keys = certificate_keys(fresh=is_fresh)  # outside: that they are not to be had is no broken seal
        try:
            return dict(jwt.decode(token, certs=keys, clock_skew_in_seconds=SKEW_SECONDS))
        except (GoogleAuthError, ValueError) as error:
            problem = type(error).__name__
    raise SealBroken(f"its certificate does not hold ({problem})")


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@once
def google_seals() -> GoogleSeals:
    """The process's one maker and checker of seals."""
    return GoogleSeals()
