"""The throw-away service account and its token endpoint, through Google's own libraries."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import duckdb_extensions
import jwt
import pytest
import requests
from google.auth.transport.requests import Request
from google.cloud import bigquery
from google.oauth2 import service_account

from emulators import identity
from tests.emulator.standins import StandIn, accepts, running, wait_until
from tests.ports import find_free_port

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
PROJECT = "demo-shop"


@pytest.fixture(scope="module")
def stand_in() -> Generator[StandIn]:
    with running("identity") as started:
        yield started


@pytest.fixture(scope="module")
def account(stand_in: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("identity") / "account.json"
    identity.write_service_account(path, PROJECT, f"{stand_in.url}/token")
    return path


@pytest.fixture(scope="module")
def bigquery_host(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    duckdb_extensions.import_extension("spatial")
    port = find_free_port()
    command = [str(Path(sys.executable).with_name("bqemulator")), "start", "--rest-port", str(port)]
    with (tmp_path_factory.mktemp("bq") / "log").open("w") as log:
        process = subprocess.Popen([*command, "--grpc-port", "0"], stdout=log, stderr=log)
        try:
            wait_until(lambda: accepts(port), seconds=30)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)


def test_a_client_without_credentials_of_its_own_works(
    account: Path, bigquery_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: code that has to pass anonymous credentials, hence to know that it runs on a laptop."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery_host)
    with bigquery.Client(project=PROJECT) as client:
        assert [row.answer for row in client.query_and_wait("SELECT 6 * 7 AS answer")] == [42]


def test_an_access_token_is_given_for_an_hour(account: Path) -> None:
    """Prevents: a token that google-auth takes for expired, so that every call asks for a new one."""
    credentials = service_account.Credentials.from_service_account_file(
        str(account), scopes=["https://www.googleapis.com/auth/cloud-platform"]
    )
    credentials.refresh(Request())
    assert credentials.valid
    assert credentials.token


def test_an_id_token_names_its_audience(account: Path) -> None:
    """Prevents: a call from function to function that carries no audience, which Cloud Run would refuse."""
    credentials = service_account.IDTokenCredentials.from_service_account_file(
        str(account), target_audience="https://collect.example"
    )
    credentials.refresh(Request())
    claims = jwt.decode(credentials.token, options={"verify_signature": False})
    assert claims["aud"] == "https://collect.example"
    assert claims["email"] == f"laptop@{PROJECT}.iam.gserviceaccount.com"
    assert credentials.valid


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": GRANT}, "invalid_grant"),
        ({"grant_type": GRANT, "assertion": "no.t!.jwt"}, "invalid_grant"),
        ({"grant_type": GRANT, "assertion": jwt.encode({"exp": 4e9}, "k" * 32)}, "invalid_grant"),
        ({"grant_type": GRANT, "assertion": jwt.encode({"iss": "a", "exp": 1}, "k" * 32)}, "invalid_grant"),
    ],
    ids=["other grant", "no assertion", "not a JWT", "no issuer", "expired"],
)
def test_a_bad_grant_is_refused_as_oauth_says(stand_in: StandIn, form: dict[str, str], code: str) -> None:
    """Prevents: a token for nobody, and a stack trace where RFC 6749 wants an error code."""
    answer = requests.post(f"{stand_in.url}/token", data=form, timeout=5)
    assert (answer.status_code, answer.json()["error"]) == (400, code)


def test_only_the_owner_reads_the_key(account: Path) -> None:
    """Prevents: a key that other users of the machine can read, also after it was written again."""
    first = json.loads(account.read_text())
    account.chmod(0o644)
    identity.write_service_account(account, PROJECT, first["token_uri"])
    second = json.loads(account.read_text())
    assert account.stat().st_mode & 0o777 == 0o600
    assert first["private_key"] != second["private_key"]
    assert [path.name for path in account.parent.iterdir()] == [account.name]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly(number: int) -> None:
    """Prevents: a supervisor that reports a crash at every `make down`."""
    with running("identity") as started:
        assert started.stop(number) == 0
        assert len(started.lines) == 1
