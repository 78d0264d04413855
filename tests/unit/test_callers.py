"""Who calls `recommend`: nobody unless proved, and what a request may ask for."""

from __future__ import annotations

import time
from typing import Any

import pytest
from google.auth import crypt, jwt
from starlette.datastructures import QueryParams

from agents.tools import callers, identity
from agents.tools.callers import Caller, NotSignedIn, find_caller
from agents.tools.settings import settings
from emulators.identity import describe_keys, make_person_token
from functions.recommend import Refused, read_question

PROJECT, AUDIENCE, ACCOUNT = "shop", "https://recommend.shop.example", "backend@shop.iam.gserviceaccount.com"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "K_SERVICE": "recommend",
        "ARGO_AUDIENCE": AUDIENCE,
        "ARGO_TRUSTED_CALLERS": ACCOUNT,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("FIREBASE_AUTH_EMULATOR_HOST", raising=False)
    settings.cache_clear()
    monkeypatch.setattr(callers, "certificate_keys", keys)


def keys(*, fresh: bool, url: str) -> dict[str, str]:
    """Google's keys, and Firebase's: ours, as the laptop's issuer publishes them."""
    del fresh, url
    return describe_keys()


def sign(**claims: Any) -> str:
    """A token with a signature that holds."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    from emulators import identity as issuer

    key = issuer._id_token_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # pyright: ignore[reportPrivateUsage]
    signer = crypt.RSASigner.from_string(key.decode(), key_id="laptop")
    now = int(time.time())
    return jwt.encode(signer, {"iat": now, "exp": now + 600, **claims}).decode()


PERSON = {"iss": f"https://securetoken.google.com/{PROJECT}", "aud": PROJECT, "sub": "u1"}
SERVICE = {"iss": "https://accounts.google.com", "aud": AUDIENCE, "email": ACCOUNT, "email_verified": True}


def test_a_signed_in_person_and_a_service_are_recognised() -> None:
    """Prevents: a check that lets nobody in."""
    assert find_caller(f"Bearer {sign(**PERSON)}") == Caller(user_id="u1")
    assert find_caller(f"bearer {sign(**SERVICE)}") == Caller(account=ACCOUNT)


@pytest.mark.parametrize(
    "claims",
    [
        PERSON | {"aud": "other"},
        PERSON | {"iss": "https://securetoken.google.com/other"},
        PERSON | {"sub": ""},
        PERSON | {"sub": "x" * 129},
        PERSON | {"exp": 1},
        PERSON | {"iat": int(time.time()) + 600},
        SERVICE | {"aud": "https://elsewhere.example"},
        SERVICE | {"email": "stranger@shop.iam.gserviceaccount.com"},
        SERVICE | {"email_verified": False},
        SERVICE | {"iss": "https://accounts.example"},
    ],
)
def test_a_token_that_proves_something_else_is_refused(claims: dict[str, Any]) -> None:
    """Prevents: a token of another project, person, audience or time that opens ours."""
    with pytest.raises(NotSignedIn):
        find_caller(f"Bearer {sign(**claims)}")


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic dTE6", "Bearer x", "Bearer a.b.c", f"Bearer {'x' * 9000}"]
)
def test_no_token_is_nobody(header: str) -> None:
    """Prevents: a default that is somebody."""
    with pytest.raises(NotSignedIn):
        find_caller(header)


def test_an_unsigned_token_counts_only_with_the_emulators_variable_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Prevents: a cloud that a variable, or an attacker without a key, opens to everybody."""
    token = f"Bearer {make_person_token(PROJECT, 'u1')}"
    for host, is_let_in in (("", False), ("auth.example:9099", False), ("127.0.0.1:9099", True)):
        monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", host)
        settings.cache_clear()
        if is_let_in:
            assert find_caller(token) == Caller(user_id="u1")
        else:
            with pytest.raises(NotSignedIn):
                find_caller(token)


def test_a_changed_token_does_not_hold() -> None:
    """Prevents: claims that anybody can write."""
    head, _, signature = sign(**PERSON).split(".")
    forged = make_person_token(PROJECT, "victim").split(".")[1]
    with pytest.raises(NotSignedIn):
        find_caller(f"Bearer {head}.{forged}.{signature}")


def test_without_an_audience_no_service_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a missing setting that means everybody."""
    token = f"Bearer {sign(**SERVICE | {'aud': ''})}"
    monkeypatch.setenv("ARGO_AUDIENCE", "")
    settings.cache_clear()
    with pytest.raises(NotSignedIn, match="audience"):
        find_caller(token)


def test_a_flood_of_bad_tokens_does_not_ask_google_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: anybody making us fetch Google's keys as often as they like."""
    asked: list[str] = []

    class Response:
        status = 200
        data = b"{}"

    def fetch(url: str, **_: Any) -> Response:
        asked.append(url)
        return Response()

    monkeypatch.setattr(identity, "_request", lambda: fetch)
    monkeypatch.setattr(identity, "_keys", {})
    for _ in range(5):
        identity.certificate_keys(fresh=True, url="https://keys.example")
    assert len(asked) == 1


ME, SHOP = Caller(user_id="u1"), Caller(account=ACCOUNT)


@pytest.mark.parametrize(
    ("query", "caller", "status", "named"),
    [
        ("user_id=u2", ME, 403, "somebody else"),
        ("session_id=s", ME, 403, "services"),
        ("", SHOP, 400, "user_id"),
        ("user_id=", SHOP, 400, "user_id"),
        (f"user_id={'x' * 257}", SHOP, 400, "user_id"),
        ("usr_id=u1", ME, 400, "usr_id"),
        ("explain=yes", ME, 400, "explain"),
        ("&".join(["recent=p"] * 21), ME, 400, "recent"),
        ("recent=", ME, 400, "recent"),
        *((f"limit={limit}", ME, 400, "limit") for limit in ("0", "51", "five", "-1", "٣")),
    ],
)
def test_a_bad_request_is_told_what_to_change(query: str, caller: Caller, status: int, named: str) -> None:
    """Prevents: a 500, a 400 that does not say which parameter, or somebody else's recommendations."""
    with pytest.raises(Refused) as refused:
        read_question(QueryParams(query), caller)
    assert refused.value.status == status
    assert named in refused.value.error
    assert refused.value.fix


def test_a_good_request_is_read() -> None:
    """Prevents: a check that refuses everybody."""
    mine = read_question(QueryParams("limit=50&recent=a&recent=b&language=ko-KR&explain=true&model=false"), ME)
    assert (mine.user_id, mine.context.limit, mine.context.language, mine.explain) == ("u1", 50, "ko", True)
    assert [product.product_id for product in mine.context.recent_products] == ["a", "b"]
    assert not mine.context.use_model
    theirs = read_question(QueryParams("session_id=s1"), SHOP)
    assert (theirs.user_id, theirs.context.session_id) == ("", "s1")
    assert read_question(QueryParams("related_to=p1"), ME).context.related_to == "p1"
