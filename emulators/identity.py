"""An OAuth2 token endpoint, and the throw-away service account that points every Google client at it.

Owns the JWT-bearer grant of a service account file (access tokens, and ID tokens for a target audience), for those
accounts whose files lie in `--accounts`, and the keys by which ID tokens are checked (`/certs`). Deliberately not here:
users, scopes. Without `--accounts` every assertion is believed.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs

if TYPE_CHECKING:  # the endpoint starts without cryptography: only ID tokens and new accounts need it
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFETIME_SECONDS = 3600
_KEY_ID = "laptop"
ACCOUNTS = "accounts"
"""The folder of the accounts of functions that speak for an agent, below the cloud's own."""
_MAX_REQUEST_BYTES = 64 * 1024


class RefusedError(Exception):
    """A grant that is not given; `code` is the RFC 6749 error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def write_service_account(path: Path, project: str, token_uri: str, email: str = "") -> None:
    """Writes a service account file (mode 600) with a key made on the spot, replacing an earlier one."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = _make_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    content = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": secrets.token_hex(20),
        "private_key": key.decode("ascii"),
        "client_email": email or f"laptop@{project}.iam.gserviceaccount.com",
        "client_id": str(secrets.randbelow(10**20) + 10**20),
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    }
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    # 600 from the first byte on, and never a half-written file where a client looks.
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file, indent=2)
    draft.replace(path)


def read_accounts(directory: Path) -> dict[str, str]:
    """The service accounts whose files lie there: email -> private key."""
    files = [directory / "credentials.json", *sorted((directory / ACCOUNTS).glob("*.json"))]
    read = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    return {account["client_email"]: account["private_key"] for account in read}


def check_assertion(assertion: str, issuer: str, accounts: Mapping[str, str]) -> None:
    """Raises RefusedError unless the account that the assertion names has signed it."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    signed, _, signature = assertion.rpartition(".")
    try:
        key = load_pem_private_key(accounts[issuer].encode(), None)
        assert isinstance(key, RSAPrivateKey)  # noqa: S101  # we have made it
        raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        key.public_key().verify(raw, signed.encode(), PKCS1v15(), SHA256())
    except KeyError:
        raise RefusedError("invalid_grant", f"there is no account {issuer}") from None
    except (InvalidSignature, binascii.Error):
        raise RefusedError("invalid_grant", f"{issuer} has not signed the assertion") from None


def answer_grant(form: dict[str, str], accounts: Mapping[str, str] | None = None) -> dict[str, object]:
    """Answers one token request: `id_token` when the assertion names a target audience, else `access_token`."""
    if form.get("grant_type") != _GRANT:
        raise RefusedError("unsupported_grant_type", f"grant_type must be {_GRANT}")
    claims = read_claims(form.get("assertion", ""))
    expiry = claims.get("exp")
    if not claims.get("iss") or not isinstance(expiry, int):
        raise RefusedError("invalid_grant", "the assertion lacks iss or exp")
    if expiry < time.time():
        raise RefusedError("invalid_grant", "the assertion has expired")
    if accounts is not None:
        check_assertion(form["assertion"], str(claims["iss"]), accounts)
    if "target_audience" in claims:
        return {"id_token": _make_id_token(str(claims["iss"]), str(claims["target_audience"]))}
    token = f"laptop.{secrets.token_urlsafe(24)}"
    return {"access_token": token, "expires_in": _LIFETIME_SECONDS, "token_type": "Bearer"}


def read_claims(assertion: str) -> dict[str, Any]:
    """Returns the claims of a signed JWT, without a look at its signature."""
    parts = assertion.split(".")
    try:
        _, body, _ = parts
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, binascii.Error) as error:
        raise RefusedError("invalid_grant", "the assertion is not a signed JWT") from error
    if not isinstance(claims, dict):
        raise RefusedError("invalid_grant", "the assertion's claims are not an object")
    return claims


@cache
def _id_token_key() -> RSAPrivateKey:
    return _make_key()


def _make_key() -> RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def describe_keys() -> dict[str, str]:
    """The public keys of ID tokens by their ids, as https://www.googleapis.com/oauth2/v1/certs has them."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = _id_token_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {_KEY_ID: public.decode("ascii")}


def _make_id_token(email: str, audience: str) -> str:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    now = int(time.time())
    claims = {
        "iss": "https://accounts.google.com",
        "aud": audience,
        "sub": email,
        "email": email,
        "email_verified": True,
        "iat": now,
        "exp": now + _LIFETIME_SECONDS,
    }
    signed = b".".join(
        _encode_part(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT", "kid": _KEY_ID}, claims)
    )
    signature = _id_token_key().sign(signed, PKCS1v15(), SHA256())
    return (signed + b"." + _encode_part(signature)).decode("ascii")


def make_person_token(project: str, user_id: str) -> str:
    """An unsigned Firebase ID token, as the Auth emulator's are (https://firebase.google.com/docs/emulator-suite/connect_auth)."""
    now = int(time.time())
    claims = {
        "iss": f"https://securetoken.google.com/{project}",
        "aud": project,
        "sub": user_id,
        "user_id": user_id,
        "auth_time": now,
        "iat": now,
        "exp": now + _LIFETIME_SECONDS,
    }
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return b".".join([*(_encode_part(json.dumps(part).encode()) for part in parts), b""]).decode("ascii")


def _encode_part(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class _Handler(BaseHTTPRequestHandler):
    accounts: ClassVar[Mapping[str, str] | None] = None

    def do_GET(self) -> None:
        if self.path == "/certs":
            self._answer(HTTPStatus.OK, dict(describe_keys()))
            return
        found = self.path == "/healthz"
        self._answer(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND, {"status": "ok" if found else "unknown"})

    def do_POST(self) -> None:
        if self.path != "/token":
            self._answer(HTTPStatus.NOT_FOUND, {"error": "not_found"})
            return
        try:
            self._answer(HTTPStatus.OK, answer_grant(self._read_form(), self.accounts))
        except RefusedError as error:
            refusal = {"error": error.code, "error_description": str(error)}
            self._answer(HTTPStatus.BAD_REQUEST, refusal)

    def _read_form(self) -> dict[str, str]:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MAX_REQUEST_BYTES:
            raise RefusedError("invalid_request", f"Content-Length must be at most {_MAX_REQUEST_BYTES}")
        body = self.rfile.read(int(length)).decode("utf-8", "replace")
        return {name: values[0] for name, values in parse_qs(body).items()}

    def _answer(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Writes nothing: a request line says nothing that the client does not know."""


def _exit(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m emulators.identity", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--accounts", type=Path, help="the folder of a cloud: only its accounts get tokens")
    arguments = parser.parse_args()
    _Handler.accounts = read_accounts(arguments.accounts) if arguments.accounts else None
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, _exit)
    with ThreadingHTTPServer((arguments.host, arguments.port), _Handler) as server:
        print(f"identity listening on {arguments.host}:{server.server_port}", file=sys.stderr, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
