"""What a client gets to hear: exactly 200 for Segment, 202 for CloudEvents, and never a success before durability."""

import base64
import gzip
import json
import threading
from collections.abc import Iterator
from typing import Any

import functions_framework.aio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from agents.tools import landing, publishing, secrets
from functions import write_keys

KEY = "write-key-1"
EVENT = {"type": "track", "event": "Order Completed", "userId": "u1", "messageId": "m1"}
CE = {"specversion": "1.0", "id": "c1", "source": "/shop", "type": "viewed", "data": {"userId": "u"}}


class Stores:
    def __init__(self) -> None:
        self.bus = publishing.FakePublisher()
        self.landing = landing.FakeLanding()


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> Stores:
    stores = Stores()
    monkeypatch.setattr(publishing, "publisher", lambda: stores.bus)
    monkeypatch.setattr(landing, "cloud_storage", lambda: stores.landing)
    fake = secrets.FakeSecrets({"collect-write-keys": json.dumps({"other": "app", KEY: "web"})})
    monkeypatch.setattr(secrets, "secret_manager", lambda: fake)
    return stores


@pytest.fixture
def client(stores: Stores) -> Iterator[TestClient]:
    del stores
    app = functions_framework.aio.create_asgi_app("collect", "functions/collect.py")
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def batch(*events: Any, **extra: Any) -> dict[str, Any]:
    return {"batch": list(events), "writeKey": KEY, **extra}


def test_a_batch_is_200_with_a_verdict_per_event(client: TestClient, stores: Stores) -> None:
    answer = client.post("/v1/batch", json=batch(EVENT, {"type": "dance"}))
    assert answer.status_code == 200, "Segment's Python SDK counts nothing else as success and would send doubles"
    body = answer.json()
    assert (body["success"], body["accepted"]) == (True, 1)
    assert [(r["index"], r["failure"]) for r in body["rejected"]] == [(1, "UNKNOWN_TYPE")]
    (sent,) = stores.bus.on("user-interactions")
    assert json.loads(sent.data)["source"] == "web"
    assert KEY.encode() not in sent.data


@pytest.mark.parametrize("call", ["track", "identify", "page", "screen", "group", "alias"])
def test_one_event_routes_long_and_short(client: TestClient, stores: Stores, call: str) -> None:
    for path in (f"/v1/{call}", f"/v1/{call[0]}"):
        event = {"userId": "u", "event": "x", "groupId": "g", "previousId": "p", "messageId": path, "writeKey": KEY}
        assert client.post(path, json=event).json()["accepted"] == 1
    assert len(stores.bus.on("user-interactions")) == 2


@pytest.mark.parametrize(
    "credentials",
    [
        {"headers": {"Authorization": "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()}},
        {"headers": {"Authorization": f"Bearer {KEY}"}},
        {"headers": {"X-Write-Key": KEY}},
        {"params": {"writeKey": KEY}},
    ],
)
def test_the_write_key_may_come_in_any_of_segments_ways(client: TestClient, credentials: dict[str, Any]) -> None:
    assert client.post("/v1/batch", json={"batch": [EVENT]}, **credentials).status_code == 200


@pytest.mark.parametrize("key", [None, "", "nope", KEY + "x", 7, "키"])
def test_without_a_known_key_nothing_is_taken(client: TestClient, stores: Stores, key: object) -> None:
    answer = client.post("/v1/batch", json={"batch": [EVENT], "writeKey": key})
    assert (answer.status_code, stores.bus.sent) == (401, [])
    assert "fix" in answer.json()


def test_a_gzipped_body_with_and_without_its_header(client: TestClient) -> None:
    body = gzip.compress(json.dumps(batch(EVENT)).encode())
    for headers in ({"Content-Encoding": "gzip"}, {"Content-Type": "text/plain"}):
        assert client.post("/v1/batch", content=body, headers=headers).json()["accepted"] == 1


def test_a_gzip_bomb_is_refused_while_it_is_small(client: TestClient) -> None:
    bomb = gzip.compress(b" " * 100_000_000)
    assert client.post("/v1/batch", content=bomb, headers={"Content-Encoding": "gzip"}).status_code == 400


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/v1/batch", b"{", 400),
        ("/v1/batch", b"[]", 400),
        ("/v1/batch", b'{"batch":{}}', 400),
        ("/v1/batch", b"\xff\xfe", 400),
        ("/v1/batch", b"[" * 200_000, 400),
        ("/v1/batch", b'{"batch":[],"sentAt":"soon"}', 400),
        ("/v1/batch", b"x" * 600_000, 400),  # as Segment publishes it, not 413
        ("/v1/events", b"x" * 1_100_000, 413),
        ("/v1/dance", b"{}", 404),
        ("/v1/batch", gzip.compress(b"{}", mtime=0)[:-4], 400),
    ],
)
def test_a_bad_request_says_what_to_fix(client: TestClient, path: str, content: bytes, status: int) -> None:
    answer = client.post(path, content=content, headers={"X-Write-Key": KEY})
    assert answer.status_code == status
    assert answer.json()["fix"]
    assert {"code", "message"} <= answer.json().keys(), "the Python SDKs retry a 4xx ten times without them"


def test_get_is_refused_and_health_is_answered(client: TestClient) -> None:
    assert client.get("/v1/batch").status_code == 405
    assert (client.get("/").status_code, client.head("/").status_code) == (200, 200)


def test_preflight_lets_a_page_send_credentials_and_reach_a_laptop(client: TestClient) -> None:
    headers = {"Origin": "https://shop.example", "Access-Control-Request-Private-Network": "true"}
    preflight = client.options("/v1/t", headers=headers)
    assert preflight.status_code == 204
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"]
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://shop.example", "no * with credentials"
    assert preflight.headers["Access-Control-Allow-Credentials"] == "true"
    assert preflight.headers["Access-Control-Allow-Private-Network"] == "true"
    assert "Origin" in preflight.headers["Vary"], "a cache must not hand one page's answer to another"
    asked = client.options("/v1/t", headers={**headers, "Access-Control-Request-Headers": "x-own"})
    assert asked.headers["Access-Control-Allow-Headers"] == "x-own"


def test_an_error_can_be_read_by_the_page_too(client: TestClient) -> None:
    answer = client.post("/v1/t", content=b"{", headers={"Origin": "https://shop.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"


def test_a_webhook_handshake_is_answered(client: TestClient) -> None:
    answer = client.options("/v1/events", headers={"WebHook-Request-Origin": "events.example"})
    assert (answer.headers["WebHook-Allowed-Origin"], answer.headers["WebHook-Allowed-Rate"]) == ("*", "*")


class Outage:
    """Secret Manager that fails, and can be mended."""

    def __init__(self) -> None:
        self.value: str | None = None
        self.threads: list[int] = []

    def read(self, name: str) -> str:
        del name
        self.threads.append(threading.get_ident())
        if self.value is None:
            raise ConnectionError("unavailable")
        return self.value


@pytest.fixture
def outage(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Outage:
    del stores  # its own keys come first, so that these replace them
    fake = Outage()
    monkeypatch.setattr(secrets, "secret_manager", lambda: fake)
    monkeypatch.setattr(write_keys, "FRESH_SECONDS", -1.0)
    return fake


def test_an_outage_of_secret_manager_is_503_until_it_is_over(
    stores: Stores, client: TestClient, outage: Outage
) -> None:
    answer = client.post("/v1/batch", json=batch(EVENT))
    assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True)
    assert stores.bus.sent == []
    outage.value = json.dumps({KEY: "web"})
    assert client.post("/v1/batch", json=batch(EVENT)).status_code == 200


def test_known_keys_serve_on_during_an_outage(stores: Stores, client: TestClient, outage: Outage) -> None:
    outage.value = json.dumps({KEY: "web"})
    assert client.post("/v1/batch", json=batch(EVENT)).status_code == 200
    outage.value = None
    assert [client.post("/v1/batch", json=batch(EVENT)).status_code for _ in range(3)] == [200, 200, 200]
    assert len(stores.bus.on("user-interactions")) == 4


def test_the_secret_is_not_read_on_the_event_loop(stores: Stores, client: TestClient, outage: Outage) -> None:
    del stores
    loops: list[int] = []

    async def note_loop() -> None:
        loops.append(threading.get_ident())

    assert client.portal is not None
    client.portal.call(note_loop)
    client.post("/v1/batch", json=batch(EVENT))
    assert loops[0] not in outage.threads, "a slow secret would stall every other client"


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "PUT"])
def test_other_methods_are_405(client: TestClient, method: str) -> None:
    assert client.request(method, "/v1/batch", json=batch(EVENT)).status_code == 405


def test_the_batchs_context_reaches_each_message(client: TestClient, stores: Stores) -> None:
    context = {"library": {"name": "lib", "version": "2"}, "locale": "ko-KR"}
    client.post("/v1/batch", json=batch({**EVENT, "context": {"locale": "en-GB"}}, context=context))
    row = json.loads(stores.bus.on("user-interactions")[0].data)
    assert (row["library"], row["device"]["locale"]) == ("lib 2", "en-GB")


def test_cloudevents_are_202_in_each_mode(client: TestClient, stores: Stores) -> None:
    auth = {"X-Write-Key": KEY}
    structured = client.post(
        "/v1/events", content=json.dumps(CE), headers={**auth, "Content-Type": "application/cloudevents+json"}
    )
    batched = client.post(
        "/", content=json.dumps([CE, {}]), headers={**auth, "Content-Type": "application/cloudevents-batch+json"}
    )
    headers = {f"ce-{key}": str(CE[key]) for key in ("specversion", "id", "source", "type")}
    binary = client.post("/v1/events", json=CE["data"], headers={**auth, **headers})
    assert [answer.status_code for answer in (structured, batched, binary)] == [202, 202, 202]
    assert (batched.json()["accepted"], len(batched.json()["rejected"])) == (1, 1)
    assert len(stores.bus.on("user-interactions")) == 3


def test_an_unknown_cloudevents_format_is_415(client: TestClient) -> None:
    headers = {"X-Write-Key": KEY, "Content-Type": "application/cloudevents+avro"}
    assert client.post("/v1/events", content=b"x", headers=headers).status_code == 415


def test_when_pubsub_is_down_the_spill_makes_it_durable(client: TestClient, stores: Stores) -> None:
    stores.bus.error = TimeoutError()
    assert client.post("/v1/batch", json=batch(EVENT)).status_code == 200
    assert len(stores.landing.objects) == 1


def test_when_both_are_down_the_client_is_told_to_come_back(client: TestClient, stores: Stores) -> None:
    stores.bus.error = TimeoutError()
    stores.landing.error = OSError()
    answer = client.post("/v1/batch", json=batch(EVENT))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["/v1/batch", "/v1/track", "/v1/p", "/v1/events", "/", "/x"]),
    kind=st.sampled_from(
        ["", "application/json", "application/cloudevents+json", "application/cloudevents-batch+json"]
    ),
    body=st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.just(EVENT),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["batch", "type", "userId", "context", "data", "sentAt", "writeKey"]), inner
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)
def test_no_request_makes_an_undeclared_5xx(client: TestClient, path: str, kind: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers={"X-Write-Key": KEY, "Content-Type": kind})
    assert answer.status_code in {200, 202, 400, 401, 404, 413, 415}
    assert isinstance(answer.json()["success"], bool)
