"""A seal proves who sent a message: Google's word about a key, and that key's word about the data, both checked."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from agents.tools import seals as tool
from agents.tools.seals import AUDIENCE, CERTIFICATE, SIGNATURE, GoogleSeals, SealBroken
from emulators import identity

ACCOUNT = "fn-orchestrate@p.iam.gserviceaccount.com"


def _certify(audience: str, account: str = ACCOUNT) -> str:
    """What Google's stand-in says of an account and a key."""
    claims = {"iss": account, "exp": time.time() + 60, "target_audience": audience}
    assertion = jwt.encode({**claims, "exp": int(claims["exp"])}, "k" * 32)
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    return str(identity.answer_grant(form)["id_token"])


@pytest.fixture(autouse=True)
def google(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Google, without a network; the audiences that it was asked for."""
    asked: list[str] = []

    def fetch_token(audience: str) -> tuple[str, float]:
        asked.append(audience)
        return _certify(audience), time.time() + 3600

    def certificate_keys(*, fresh: bool) -> dict[str, str]:
        del fresh
        return identity.describe_keys()

    monkeypatch.setattr(tool, "fetch_token", fetch_token)
    monkeypatch.setattr(tool, "certificate_keys", certificate_keys)
    return asked


def test_a_seal_names_its_account_and_fits_an_attribute(google: list[str]) -> None:
    """Prevents: a certificate for each message, and one that Pub/Sub refuses (1,024 bytes an attribute)."""
    sender, receiver = GoogleSeals(), GoogleSeals()
    for number in range(5):
        data = b"message %d" % number
        seal = sender.seal(data)
        assert receiver.find_sender(data, seal) == ACCOUNT
        assert all(len(value.encode()) <= 1024 for value in seal.values())
    assert len(google) == 1
    assert google[0].startswith(AUDIENCE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({CERTIFICATE: ""}, "carries no seal"),
        ({SIGNATURE: ""}, "carries no seal"),
        ({SIGNATURE: "AAAA"}, "not what .* has sealed"),
        ({SIGNATURE: "§§"}, "not what .* has sealed"),
        ({CERTIFICATE: "a.b.c"}, "does not hold"),
        ({CERTIFICATE: "nonsense"}, "does not hold"),
    ],
)
def test_a_broken_seal_says_what_is_wrong(changes: dict[str, str], reason: str) -> None:
    """Prevents: a forged message that is taken, or one that is tried again for ever."""
    seals = GoogleSeals()
    with pytest.raises(SealBroken, match=reason):
        seals.find_sender(b"data", {**seals.seal(b"data"), **changes})


def test_a_seal_is_worn_by_its_own_message_only() -> None:
    """Prevents: a seal that is cut from one message and put on another."""
    seals = GoogleSeals()
    with pytest.raises(SealBroken):
        seals.find_sender(b"other", seals.seal(b"data"))


def test_a_certificate_is_of_no_use_without_its_key() -> None:
    """Prevents: an agent that reads another's certificate from a message, or the warehouse, and speaks in its name."""
    honest, thief = GoogleSeals(), GoogleSeals()
    stolen = honest.seal(b"data")[CERTIFICATE]
    with pytest.raises(SealBroken):
        honest.find_sender(b"forged", {CERTIFICATE: stolen, SIGNATURE: thief.seal(b"forged")[SIGNATURE]})


def test_a_token_for_something_else_is_no_certificate() -> None:
    """Prevents: a token that a function was given for a call over HTTP becoming its owner's voice on the bus."""
    seals = GoogleSeals()
    for audience in ("https://collect.example", AUDIENCE + "short", ""):
        with pytest.raises(SealBroken, match="made for something else"):
            seals.find_sender(b"data", {**seals.seal(b"data"), CERTIFICATE: _certify(audience)})


def test_nobody_but_google_certifies() -> None:
    """Prevents: a certificate that its bearer has signed himself."""
    seals = GoogleSeals()
    seal = seals.seal(b"data")
    claims: dict[str, Any] = jwt.decode(seal[CERTIFICATE], options={"verify_signature": False})
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    forged = jwt.encode(claims, own, algorithm="RS256", headers={"kid": next(iter(identity.describe_keys()))})
    with pytest.raises(SealBroken, match="does not hold"):
        seals.find_sender(b"data", {**seal, CERTIFICATE: forged})


def test_an_expired_certificate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a key that leaked and speaks for ever."""
    seals = GoogleSeals()
    seal = seals.seal(b"data")
    assert seals.find_sender(b"data", seal) == ACCOUNT
    now = time.time()
    monkeypatch.setattr(tool.time, "time", lambda: now + 3700)
    with pytest.raises(SealBroken, match="has expired"):
        seals.find_sender(b"data", seal)
