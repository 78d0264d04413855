"""Cloud Storage and its object notifications, through Google's own clients and a real Pub/Sub process."""

from __future__ import annotations

import json
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import pubsub_v1, storage
from google.cloud.storage.notification import BucketNotification
from google.pubsub_v1.types import PubsubMessage

from emulators import google as google_emulators
from tests.emulator.standins import accepts, running, wait_until
from tests.ports import find_free_port

PROJECT = "demo-shop"


@dataclass
class Inbox:
    """A topic with one subscription that sees everything published to it."""

    host: str
    topic: str
    subscription: str

    def take(self, count: int, seconds: float = 15.0) -> list[PubsubMessage]:
        """Returns the next `count` messages, acknowledged; fails when they do not come."""
        found: list[PubsubMessage] = []
        deadline = time.monotonic() + seconds
        with pubsub_v1.SubscriberClient() as client:
            path = client.subscription_path(PROJECT, self.subscription)
            while len(found) < count and time.monotonic() < deadline:
                try:
                    pulled = client.pull(subscription=path, max_messages=100, timeout=2)
                except exceptions.DeadlineExceeded:
                    continue
                if pulled.received_messages:
                    ids = [received.ack_id for received in pulled.received_messages]
                    client.acknowledge(subscription=path, ack_ids=ids)
                found += [received.message for received in pulled.received_messages]
        assert len(found) >= count, f"{len(found)} of {count} messages came"
        return found


@pytest.fixture(scope="module")
def pubsub_port() -> int:
    return find_free_port()


def start_pubsub(port: int, log: Path) -> subprocess.Popen[bytes]:
    command = google_emulators.pubsub_command("127.0.0.1", port)
    command = command or [sys.executable, "-m", "emulators.pubsub", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    wait_until(lambda: accepts(port), seconds=30)
    return process


def stop_process(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def pubsub(pubsub_port: int, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    process = start_pubsub(pubsub_port, tmp_path_factory.mktemp("pubsub") / "log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{pubsub_port}")
        yield f"127.0.0.1:{pubsub_port}"
    stop_process(process)


def create_inbox(host: str) -> Inbox:
    name = f"t{uuid4().hex}"
    with pubsub_v1.SubscriberClient() as subscriber:
        publisher = pubsub_v1.PublisherClient()
        topic = publisher.topic_path(PROJECT, name)
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=subscriber.subscription_path(PROJECT, name), topic=topic)
        publisher.transport.close()
    return Inbox(host, name, name)


@pytest.fixture(scope="module")
def storage_url(pubsub: str) -> Generator[str]:
    with running("storage", env={"PUBSUB_EMULATOR_HOST": pubsub}) as started:
        yield started.url


@pytest.fixture
def client(storage_url: str, monkeypatch: pytest.MonkeyPatch) -> Generator[storage.Client]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url)
    client = storage.Client(project=PROJECT, credentials=AnonymousCredentials())
    yield client
    client.close()


@pytest.fixture
def bucket(client: storage.Client) -> storage.Bucket:
    return client.create_bucket(f"b{uuid4().hex}")


@pytest.fixture
def inbox(pubsub: str) -> Inbox:
    return create_inbox(pubsub)


def watch(
    bucket: storage.Bucket,
    inbox: Inbox,
    event_types: list[str] | None = None,
    blob_name_prefix: str | None = None,
    payload_format: str = "JSON_API_V1",
) -> BucketNotification:
    notification = bucket.notification(
        topic_name=inbox.topic,
        topic_project=PROJECT,
        custom_attributes={"kind": "landing"},
        event_types=event_types,
        blob_name_prefix=blob_name_prefix,
        payload_format=payload_format,
    )
    notification.create()
    return notification


@contextmanager
def relay(port: int, target: str) -> Generator[None]:
    """Lets whoever connects to `port` talk to `target` while the block lasts; before and after, nobody answers."""
    host, _, target_port = target.partition(":")

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((host, int(target_port))) as other:
                back = threading.Thread(target=pump, args=(other, self.request))
                back.start()
                pump(self.request, other)
                back.join()

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", port), Connection) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_an_upload_tells_what_the_cloud_tells(bucket: storage.Bucket, inbox: Inbox) -> None:
    """Prevents: an ingest function that works here and misses an attribute in the cloud."""
    notification = watch(bucket, inbox)
    blob = bucket.blob("in/events.ndjson")
    blob.upload_from_string(b'{"a": 1}\n', content_type="application/x-ndjson")
    (message,) = inbox.take(1)
    resource = json.loads(message.data)
    attributes = dict(message.attributes)
    assert attributes.pop("eventTime").endswith("Z")
    assert attributes == {
        "notificationConfig": f"projects/_/buckets/{bucket.name}/notificationConfigs/{notification.notification_id}",
        "eventType": "OBJECT_FINALIZE",
        "payloadFormat": "JSON_API_V1",
        "bucketId": bucket.name,
        "objectId": "in/events.ndjson",
        "objectGeneration": str(blob.generation),
        "kind": "landing",
    }
    assert (resource["kind"], resource["bucket"], resource["name"]) == (
        "storage#object",
        bucket.name,
        "in/events.ndjson",
    )
    assert (resource["size"], resource["contentType"]) == ("9", "application/x-ndjson")


def test_every_way_to_write_notifies(bucket: storage.Bucket, inbox: Inbox) -> None:
    """Prevents: a file that lands by resumable upload, compose, rewrite or copy and is never ingested."""
    watch(bucket, inbox, event_types=["OBJECT_FINALIZE"])
    big = bucket.blob("resumable", chunk_size=256 * 1024)
    big.upload_from_string(b"x" * 700_000)
    bucket.blob("multipart").upload_from_string("한국어")
    bucket.blob("composed").compose([bucket.blob("multipart"), bucket.blob("multipart")])
    bucket.blob("rewritten").rewrite(bucket.blob("resumable"))
    bucket.copy_blob(bucket.blob("multipart"), bucket, "copied")
    names = sorted(message.attributes["objectId"] for message in inbox.take(5))
    assert names == ["composed", "copied", "multipart", "resumable", "rewritten"]
    assert bucket.blob("composed").download_as_text() == "한국어한국어"
    assert len(bucket.blob("rewritten").download_as_bytes()) == 700_000
    assert sorted(blob.name for blob in bucket.list_blobs(prefix="r")) == ["resumable", "rewritten"]


def test_a_delete_and_an_overwrite_say_so(bucket: storage.Bucket, inbox: Inbox) -> None:
    """Prevents: a reader that cannot tell a new object from a replaced one, or never learns of its end."""
    watch(bucket, inbox)
    blob = bucket.blob("one")
    blob.upload_from_string("first")
    first = str(blob.generation)
    blob.upload_from_string("second")
    second = str(blob.generation)
    blob.delete()
    said = [(message.attributes["eventType"], message.attributes["objectGeneration"]) for message in inbox.take(4)]
    assert sorted(said) == sorted(
        [
            ("OBJECT_FINALIZE", first),
            ("OBJECT_FINALIZE", second),
            ("OBJECT_DELETE", first),
            ("OBJECT_DELETE", second),
        ]
    )


def test_a_config_filters_by_event_and_prefix(bucket: storage.Bucket, inbox: Inbox) -> None:
    """Prevents: an ingest that is triggered by its own output, or by deletes."""
    watch(bucket, inbox, event_types=["OBJECT_FINALIZE"], blob_name_prefix="in/", payload_format="NONE")
    bucket.blob("out/a").upload_from_string("no")
    bucket.blob("in/a").upload_from_string("yes")
    bucket.blob("in/a").delete()
    bucket.blob("in/b").upload_from_string("yes")
    messages = inbox.take(2)
    assert sorted((message.attributes["objectId"], message.data) for message in messages) == [
        ("in/a", b""),
        ("in/b", b""),
    ]


def test_configs_are_listed_and_deleted(bucket: storage.Bucket, inbox: Inbox) -> None:
    """Prevents: a set-up that adds a second config at every run because it cannot see the first."""
    notification = watch(bucket, inbox)
    (listed,) = bucket.list_notifications()
    assert (listed.topic_name, listed.topic_project) == (inbox.topic, PROJECT)
    assert bucket.get_notification(notification.notification_id).payload_format == "JSON_API_V1"
    notification.delete()
    assert list(bucket.list_notifications()) == []
    with pytest.raises(exceptions.NotFound):
        notification.delete()


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"topic": "projects/p/topics/t", "payload_format": "NONE"}',
        b'{"topic": "//pubsub.googleapis.com/projects/p/topics/t"}',
        b'{"topic": "//pubsub.googleapis.com/projects/p/topics/t", "payload_format": "NONE", "event_types": ["X"]}',
    ],
    ids=["not JSON", "not an object", "bare topic", "no format", "unknown event"],
)
def test_a_bad_config_is_refused(storage_url: str, bucket: storage.Bucket, body: bytes) -> None:
    """Prevents: a config that is accepted and then silently never fires."""
    url = f"{storage_url}/storage/v1/b/{bucket.name}/notificationConfigs"
    assert requests.post(url, data=body, timeout=5).status_code == 400
    assert list(bucket.list_notifications()) == []


def test_a_generation_precondition_holds(bucket: storage.Bucket) -> None:
    """Prevents: a retried upload that overwrites what another writer has put there meanwhile."""
    blob = bucket.blob("once")
    blob.upload_from_string("first", if_generation_match=0)
    generation = blob.generation
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("once").upload_from_string("second", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("once", chunk_size=256 * 1024).upload_from_string("x" * 300_000, if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("once").delete(if_generation_match=1)
    assert blob.download_as_bytes() == b"first"
    bucket.blob("once").upload_from_string("third", if_generation_match=generation)
    assert blob.download_as_bytes() == b"third"


def test_of_many_creators_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a lock object that two workers both believe they hold. On disk the store's writes can interleave."""
    with running("storage", "--data-dir", str(tmp_path)) as started:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", started.url)
        client = storage.Client(project=PROJECT, credentials=AnonymousCredentials())
        bucket = client.create_bucket("locks")

        def create(number: int) -> bool:
            try:
                bucket.blob(f"lock{number % 8}").upload_from_string("x" * 100_000, if_generation_match=0)
            except exceptions.PreconditionFailed:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            order = [number // 8 for number in range(64)]  # eight in a row want the same one
            assert sum(pool.map(create, order)) == 8
        client.close()


def test_a_silent_client_holds_up_nobody(storage_url: str, bucket: storage.Bucket) -> None:
    """Prevents: one stalled connection that stops the whole store, as the emulator's own server does."""
    host, _, port = storage_url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as stalled:
        stalled.sendall(b"POST /upload/storage/v1/b/x/o HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
        bucket.blob("meanwhile").upload_from_string("done", timeout=5)
        assert bucket.blob("meanwhile").download_as_bytes(timeout=5) == b"done"


def test_half_an_upload_is_none(storage_url: str, bucket: storage.Bucket) -> None:
    """Prevents: a truncated file that is announced, ingested and believed, after a client died while sending."""
    host, _, port = storage_url.removeprefix("http://").partition(":")
    head = f"POST /upload/storage/v1/b/{bucket.name}/o?uploadType=media&name=half HTTP/1.1\r\nHost: x\r\n"
    with socket.create_connection((host, int(port))) as dying:
        dying.sendall(f"{head}Content-Type: text/plain\r\nContent-Length: 1000\r\n\r\nonly this".encode())
        dying.shutdown(socket.SHUT_WR)
        dying.settimeout(5)
        assert dying.recv(1) == b""
    assert bucket.get_blob("half") is None


def test_an_outage_of_pubsub_loses_nothing_and_blocks_nobody(
    pubsub: str, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: a file that is stored but never ingested because Pub/Sub was away for a moment."""
    port = find_free_port()
    with running("storage", env={"PUBSUB_EMULATOR_HOST": f"127.0.0.1:{port}"}) as started:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", started.url)
        client = storage.Client(project=PROJECT, credentials=AnonymousCredentials())
        bucket = client.create_bucket("landing")
        watch(bucket, inbox)
        bucket.blob("before").upload_from_string("x")
        wait_until(lambda: any("goes on trying" in line for line in started.lines))
        began = time.monotonic()
        for number in range(20):
            bucket.blob(f"during{number}").upload_from_string("x")
        assert time.monotonic() - began < 2, "uploads waited for Pub/Sub"
        with relay(port, pubsub):
            names = [message.attributes["objectId"] for message in inbox.take(21)]
            client.close()
            assert started.stop() == 0
    assert sorted(names) == sorted(["before", *(f"during{number}" for number in range(20))])


def test_objects_and_configs_survive_a_restart_on_disk(
    pubsub: str, inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: `--data-dir` that brings back the files but not what they should trigger."""
    for attempt in ("first", "second"):
        with running("storage", "--data-dir", str(tmp_path), env={"PUBSUB_EMULATOR_HOST": pubsub}) as started:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", started.url)
            client = storage.Client(project=PROJECT, credentials=AnonymousCredentials())
            if attempt == "first":
                watch(client.create_bucket("kept"), inbox)
            bucket = client.bucket("kept")
            bucket.blob(attempt).upload_from_string(attempt)
            assert bucket.blob("first").download_as_text() == "first"
            assert [message.attributes["objectId"] for message in inbox.take(1)] == [attempt]
            client.close()
            assert started.stop() == 0
