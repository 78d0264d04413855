"""The Secret Manager stand-in, through Google's own client."""

from __future__ import annotations

from collections.abc import Generator
from uuid import uuid4

import google_crc32c
import grpc
import pytest
from google.api_core import exceptions
from google.cloud.secretmanager_v1 import Secret, SecretManagerServiceClient, SecretPayload, SecretVersion
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcTransport,
)
from google.protobuf import field_mask_pb2

from tests.emulator.standins import StandIn, running

PARENT = "projects/demo-shop"
AUTOMATIC = Secret(replication={"automatic": {}})


@pytest.fixture(scope="module")
def stand_in() -> Generator[StandIn]:
    with running("secretmanager") as started:
        yield started


@pytest.fixture(scope="module")
def client(stand_in: StandIn) -> Generator[SecretManagerServiceClient]:
    with grpc.insecure_channel(stand_in.endpoint) as channel:
        yield SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))


@pytest.fixture
def secret(client: SecretManagerServiceClient) -> Secret:
    return client.create_secret(parent=PARENT, secret_id=uuid4().hex, secret=AUTOMATIC)


def add_version(client: SecretManagerServiceClient, secret: Secret, value: bytes) -> SecretVersion:
    return client.add_secret_version(parent=secret.name, payload=SecretPayload(data=value))


def read_value(client: SecretManagerServiceClient, secret: Secret, version: str) -> bytes:
    return client.access_secret_version(name=f"{secret.name}/versions/{version}").payload.data


def test_a_version_reads_back_whole(client: SecretManagerServiceClient, secret: Secret) -> None:
    """Prevents: a value that comes back changed, or without the checksum that clients verify."""
    value = bytes(range(256))
    version = add_version(client, secret, value)
    answer = client.access_secret_version(name=version.name)
    assert version.name == f"{secret.name}/versions/1"
    assert (answer.name, answer.payload.data) == (version.name, value)
    assert answer.payload.data_crc32c == google_crc32c.value(value)


def test_latest_is_the_newest_version_whatever_its_state(client: SecretManagerServiceClient, secret: Secret) -> None:
    """Prevents: falling back to an older value when the newest was disabled, as the cloud never does."""
    add_version(client, secret, b"one")
    second = add_version(client, secret, b"two")
    assert read_value(client, secret, "latest") == b"two"
    assert read_value(client, secret, "1") == b"one"
    client.disable_secret_version(name=second.name)
    with pytest.raises(exceptions.FailedPrecondition):
        read_value(client, secret, "latest")
    client.enable_secret_version(name=second.name)
    assert read_value(client, secret, "latest") == b"two"


def test_a_destroyed_version_stays_destroyed(client: SecretManagerServiceClient, secret: Secret) -> None:
    """Prevents: a destroyed value that can be read or brought back."""
    version = add_version(client, secret, b"gone")
    destroyed = client.destroy_secret_version(name=version.name)
    assert destroyed.state == SecretVersion.State.DESTROYED
    assert "destroy_time" in destroyed
    for call in (client.access_secret_version, client.enable_secret_version, client.destroy_secret_version):
        with pytest.raises(exceptions.FailedPrecondition):
            call(name=version.name)
    assert client.get_secret_version(name=version.name).state == SecretVersion.State.DESTROYED


def test_what_is_not_there_is_not_found(client: SecretManagerServiceClient, secret: Secret) -> None:
    """Prevents: an empty answer where the cloud says NOT_FOUND."""
    for version in ("latest", "1", "0", "-1", "first"):
        with pytest.raises(exceptions.NotFound):
            read_value(client, secret, version)
    client.delete_secret(name=secret.name)
    with pytest.raises(exceptions.NotFound):
        client.get_secret(name=secret.name)
    with pytest.raises(exceptions.NotFound):
        client.delete_secret(name=secret.name)


def test_creating_twice_is_refused(client: SecretManagerServiceClient, secret: Secret) -> None:
    """Prevents: a second create that wipes the versions of the first."""
    add_version(client, secret, b"kept")
    with pytest.raises(exceptions.AlreadyExists):
        client.create_secret(parent=PARENT, secret_id=secret.name.rpartition("/")[2], secret=AUTOMATIC)
    assert read_value(client, secret, "latest") == b"kept"


@pytest.mark.parametrize(
    ("parent", "secret_id", "body"),
    [(PARENT, "has space", AUTOMATIC), (PARENT, "", AUTOMATIC), (PARENT, "unreplicated", Secret())],
    ids=["bad id", "no id", "no replication"],
)
def test_a_bad_create_is_invalid(client: SecretManagerServiceClient, parent: str, secret_id: str, body: Secret) -> None:
    """Prevents: a request that passes here and fails in the cloud."""
    with pytest.raises(exceptions.InvalidArgument):
        client.create_secret(parent=parent, secret_id=secret_id, secret=body)


@pytest.mark.parametrize(
    "payload",
    [SecretPayload(data=b""), SecretPayload(data=b"x" * 65_537), SecretPayload(data=b"x", data_crc32c=1)],
    ids=["empty", "too big", "wrong checksum"],
)
def test_a_bad_payload_adds_no_version(
    client: SecretManagerServiceClient, secret: Secret, payload: SecretPayload
) -> None:
    """Prevents: a truncated or damaged value that becomes `latest`."""
    with pytest.raises(exceptions.InvalidArgument):
        client.add_secret_version(parent=secret.name, payload=payload)
    assert list(client.list_secret_versions(parent=secret.name)) == []


def test_lists_page_through_everything_once(client: SecretManagerServiceClient, secret: Secret) -> None:
    """Prevents: a pager that stops early or repeats."""
    for number in range(5):
        add_version(client, secret, b"%d" % number)
    pager = client.list_secret_versions(request={"parent": secret.name, "page_size": 2})
    assert [version.name.rpartition("/")[2] for version in pager] == ["5", "4", "3", "2", "1"]
    other = client.create_secret(parent="projects/other", secret_id="alone", secret=AUTOMATIC)
    assert [found.name for found in client.list_secrets(parent="projects/other")] == [other.name]


def test_an_update_changes_only_what_its_mask_names(client: SecretManagerServiceClient, secret: Secret) -> None:
    """Prevents: an update of the labels that drops the aliases, or one that keeps removed labels."""
    add_version(client, secret, b"one")
    mask = field_mask_pb2.FieldMask(paths=["labels", "version_aliases"])
    body = Secret(name=secret.name, labels={"a": "1", "b": "2"}, version_aliases={"live": 1})
    client.update_secret(secret=body, update_mask=mask)
    body = Secret(name=secret.name, labels={"b": "3"}, annotations={"not": "named"})
    updated = client.update_secret(secret=body, update_mask=field_mask_pb2.FieldMask(paths=["labels"]))
    assert dict(updated.labels) == {"b": "3"}
    assert dict(updated.annotations) == {}
    assert read_value(client, secret, "live") == b"one"
    with pytest.raises(exceptions.FailedPrecondition):
        client.delete_secret(request={"name": secret.name, "etag": secret.etag})


def test_no_value_is_ever_written_and_the_end_is_clean() -> None:
    """Prevents: a secret in a log file, and a process that outlives its supervisor."""
    with running("secretmanager") as started, grpc.insecure_channel(started.endpoint) as channel:
        transport = SecretManagerServiceGrpcTransport(channel=channel)
        client = SecretManagerServiceClient(transport=transport)
        secret = client.create_secret(parent=PARENT, secret_id="quiet", secret=AUTOMATIC)
        add_version(client, secret, b"correct horse battery staple")
        client.access_secret_version(name=f"{secret.name}/versions/latest")
        with pytest.raises(exceptions.InvalidArgument):
            client.add_secret_version(parent=secret.name, payload=SecretPayload(data=b"correct horse", data_crc32c=1))
        assert started.stop() == 0
        assert "correct horse" not in "\n".join(started.lines)
