"""Segment's HTTP API beyond batch and track: limits, keys, the browser's routes, the pixel, and what is never kept."""

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import functions_framework.aio
import pytest
from starlette.testclient import TestClient

from agents.tools import landing, publishing, secrets

KEY, OTHER = "write-key-1", "write-key-2"
EVENT: dict[str, Any] = {"type": "track", "event": "Order Completed", "userId": "u1", "messageId": "m1"}
TOPIC = "user-interactions"


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> publishing.FakePublisher:
    fake = publishing.FakePublisher()
    monkeypatch.setattr(publishing, "publisher", lambda: fake)
    monkeypatch.setattr(landing, "cloud_storage", landing.FakeLanding)
    keys = secrets.FakeSecrets({"collect-write-keys": json.dumps({OTHER: "app", KEY: "web"})})
    monkeypatch.setattr(secrets, "secret_manager", lambda: keys)
    return fake


@pytest.fixture
def client(topic: publishing.FakePublisher) -> Iterator[TestClient]:
    del topic
    app = functions_framework.aio.create_asgi_app("collect", "functions/collect.py")
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def rows(topic: publishing.FakePublisher, name: str = TOPIC) -> list[dict[str, Any]]:
    return [json.loads(message.data) for message in topic.on(name)]


def basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


def padded(size: int, **fields: Any) -> dict[str, Any]:
    """An event whose JSON is exactly `size` bytes, as `compact` writes it."""
    event = {**EVENT, "properties": {"x": ""}, **fields}
    return {**event, "properties": {"x": "y" * (size - len(compact(event)))}}


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("body_key", "headers", "query"),
    [
        (KEY, {"Authorization": basic(OTHER), "X-Write-Key": OTHER}, OTHER),
        ("", {"Authorization": basic(KEY), "X-Write-Key": OTHER}, OTHER),
        (None, {"Authorization": f"Bearer {KEY}", "X-Write-Key": OTHER}, OTHER),
        (None, {"Authorization": basic(""), "X-Write-Key": KEY}, OTHER),
        (None, {"X-Write-Key": KEY}, OTHER),
        (None, {}, KEY),
    ],
)
def test_of_several_keys_the_first_in_order_decides(
    client: TestClient, topic: publishing.FakePublisher, body_key: str | None, headers: dict[str, str], query: str
) -> None:
    body = {"batch": [EVENT], "writeKey": body_key}
    assert client.post("/v1/batch", json=body, headers=headers, params={"writeKey": query}).status_code == 200
    assert rows(topic)[0]["source"] == "web"


def test_a_browsers_batch_has_its_key_inside_each_message(client: TestClient, topic: publishing.FakePublisher) -> None:
    body = json.dumps({"batch": [{**EVENT, "writeKey": KEY}], "sentAt": "2026-11-20T08:00:00Z"})
    answer = client.post("/v1/b", content=body, headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
    assert KEY.encode() not in topic.on(TOPIC)[0].data


def test_the_write_key_is_kept_nowhere(client: TestClient, topic: publishing.FakePublisher) -> None:
    client.post("/v1/batch", json={"batch": [{"type": "?", "writeKey": KEY}, {**EVENT, "writeKey": KEY}]})
    assert len(topic.sent) >= 2
    assert not [message for _, message in topic.sent if KEY.encode() in message.data]


def test_one_event_may_have_32_kb_and_not_a_byte_more(client: TestClient, topic: publishing.FakePublisher) -> None:
    body = compact(padded(32 * 1024, writeKey=KEY))
    assert client.post("/v1/track", content=body).status_code == 200
    answer = client.post("/v1/track", content=body + b" ")
    assert (answer.status_code, len(topic.on(TOPIC))) == (400, 1)
    assert "32768" in answer.json()["error"]


def test_a_large_event_of_a_batch_is_refused_alone(client: TestClient, topic: publishing.FakePublisher) -> None:
    body = compact({"batch": [padded(32 * 1024), padded(32 * 1024 + 1), EVENT], "writeKey": KEY})
    answer = client.post("/v1/batch", content=body)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 2)
    assert [(r["index"], r["failure"]) for r in answer.json()["rejected"]] == [(1, "TOO_LARGE")]
    assert [row["failure"] for row in rows(topic, "invalid-events")] == ["TOO_LARGE"]


def test_an_event_that_nobody_can_read_is_refused_alone(client: TestClient, topic: publishing.FakePublisher) -> None:
    """Prevents: one number out of range that takes its whole batch with it, or two such events that count as one."""
    odd = [compact({**EVENT, "messageId": f"odd{n}"}).replace(b"}", b',"properties":{"n":1e999}}') for n in range(2)]
    good = compact({**EVENT, "messageId": "good"})
    body = b'{"batch":[' + b",".join([*odd, good]) + b'],"writeKey":"' + KEY.encode() + b'"}'
    answer = client.post("/v1/batch", content=body).json()
    assert (answer["accepted"], [r["failure"] for r in answer["rejected"]]) == (1, ["WRONG_TYPE"] * 2)
    assert [row["event_id"] for row in rows(topic)] == ["good"]
    assert len({row["event_id"] for row in rows(topic, "invalid-events")}) == 2


def test_a_batch_may_have_500_kb(client: TestClient, topic: publishing.FakePublisher) -> None:
    def body(size: int) -> bytes:
        events = [padded(32_000, messageId=f"m{n:02}") for n in range(15)]
        whole = compact({"batch": [*events, EVENT], "writeKey": KEY})
        return whole + b" " * (size - len(whole))

    assert client.post("/v1/batch", content=body(500 * 1024)).json()["accepted"] == 16
    assert client.post("/v1/batch", content=body(500 * 1024 + 1)).status_code == 400
    assert client.post("/v1/batch", content=gzip.compress(body(500 * 1024 + 1))).status_code == 400
    assert len(topic.on(TOPIC)) == 16


def test_events_after_the_2500th_are_refused_and_the_others_taken(
    client: TestClient, topic: publishing.FakePublisher
) -> None:
    events = [{"type": "page", "anonymousId": "a", "messageId": f"m{n}"} for n in range(2503)]
    answer = client.post("/v1/batch", json={"batch": events, "writeKey": KEY})
    assert (answer.status_code, answer.json()["accepted"]) == (200, 2500)
    assert [(r["index"], r["failure"]) for r in answer.json()["rejected"]] == [
        (n, "TOO_LARGE") for n in (2500, 2501, 2502)
    ]
    assert len(topic.on(TOPIC)) == 2500


def test_a_list_that_is_no_batch_does_not_become_a_flood_of_rows(
    client: TestClient, topic: publishing.FakePublisher
) -> None:
    answer = client.post("/v1/batch", json={"batch": [0] * 20_000, "writeKey": KEY})
    assert (answer.status_code, topic.sent) == (400, [])


def test_a_message_id_has_fewer_than_100_characters(client: TestClient) -> None:
    events = [{**EVENT, "messageId": "x" * 99}, {**EVENT, "messageId": "x" * 100}]
    answer = client.post("/v1/batch", json={"batch": events, "writeKey": KEY}).json()
    assert (answer["accepted"], [r["failure"] for r in answer["rejected"]]) == (1, ["TOO_LARGE"])
    assert "messageId" in answer["rejected"][0]["reason"]


def test_browser_metrics_are_answered_and_are_no_events(client: TestClient, topic: publishing.FakePublisher) -> None:
    answer = client.post("/v1/m", content=b'{"series":[{"type":"Counter"}]}', headers={"Content-Type": "text/plain"})
    assert (answer.status_code, topic.sent) == (200, [])


def test_settings_tell_the_browser_sdk_where_to_send(client: TestClient) -> None:
    answer = client.get(f"/v1/projects/{KEY}/settings", headers={"Host": "collect.example:8443", "Origin": "https://a"})
    destination = answer.json()["integrations"]["Segment.io"]
    assert (destination["apiKey"], destination["apiHost"]) == (KEY, "collect.example:8443/v1"), "no scheme"
    assert answer.headers["Access-Control-Allow-Origin"] == "https://a"
    assert answer.json()["plan"]["track"]["__default"]["enabled"] is True, "the SDK would drop every event"


def test_settings_of_an_unknown_key_are_404(client: TestClient) -> None:
    assert client.get("/v1/projects/nope/settings").status_code == 404


def pixel_data(**fields: Any) -> str:
    message = {"userId": "u1", "writeKey": KEY, "event": "Email Opened", **fields}
    return base64.urlsafe_b64encode(json.dumps(message).encode()).decode()


@pytest.mark.parametrize("strip", ["", "="])
@pytest.mark.parametrize("route", ["track", "t", "page", "p", "identify", "i", "screen", "s"])
def test_a_pixel_is_an_event_and_an_image(
    client: TestClient, topic: publishing.FakePublisher, route: str, strip: str
) -> None:
    answer = client.get(f"/v1/pixel/{route}", params={"data": pixel_data(properties={"한": "글?>"}).rstrip(strip)})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/gif")
    assert answer.content.startswith(b"GIF89a")
    assert "no-store" in answer.headers["Cache-Control"], "a cached pixel counts once"
    (row,) = rows(topic)
    assert (row["user_id"], json.loads(row["properties"])) == ("u1", {"한": "글?>"})


def test_a_pixel_may_spell_out_its_fields(client: TestClient, topic: publishing.FakePublisher) -> None:
    fields = {"userId": "u2", "event": "Email Opened", "properties.subject": "Hi", "writeKey": KEY}
    assert client.get("/v1/pixel/track", params=fields).status_code == 200
    assert (rows(topic)[0]["user_id"], rows(topic)[0]["properties"]) == ("u2", '{"subject":"Hi"}')


def test_opening_twice_is_two_events(client: TestClient, topic: publishing.FakePublisher) -> None:
    for _ in range(2):
        client.get("/v1/pixel/track", params={"data": pixel_data()})
    assert len({row["event_id"] for row in rows(topic)}) == 2


@pytest.mark.parametrize(
    "query",
    [
        {"data": "!"},
        {"data": "W10="},
        {"data": pixel_data(writeKey="nope")},
        {"a": "1", "a.b": "2", "writeKey": KEY},
        {},
    ],
)
def test_a_bad_pixel_is_still_an_image_but_no_event(
    client: TestClient, topic: publishing.FakePublisher, query: dict[str, str]
) -> None:
    answer = client.get("/v1/pixel/track", params=query)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/gif")
    assert topic.on(TOPIC) == []


def test_a_pixel_never_claims_what_is_not_durable(
    client: TestClient, topic: publishing.FakePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic.error = TimeoutError()
    monkeypatch.setattr(landing, "cloud_storage", lambda: landing.FakeLanding(OSError()))
    assert client.get("/v1/pixel/track", params={"data": pixel_data()}).status_code == 503


def test_addresses_of_the_client_are_not_kept(client: TestClient, topic: publishing.FakePublisher) -> None:
    context = {"ip": "203.0.113.9", "device": {"advertisingId": "ad-1"}}
    headers = {"X-Forwarded-For": "198.51.100.7", "X-Retry-Count": "3"}
    events = [{**EVENT, "context": context}, {"type": "?", "context": context}]
    body = {"batch": events, "context": {"ip": "203.0.113.8"}, "writeKey": KEY}
    assert client.post("/v1/batch", json=body, headers=headers).json()["accepted"] == 1
    wire = b"".join(message.data for _, message in topic.sent)
    assert not [leak for leak in (b"203.0.113", b"198.51.100", b"ad-1") if leak in wire]


def test_numeric_ids_are_texts_and_integrations_are_ignored(
    client: TestClient, topic: publishing.FakePublisher
) -> None:
    event = {**EVENT, "userId": 42, "anonymousId": 7, "messageId": 9, "integrations": {"All": False, "x": {"y": 1}}}
    assert client.post("/v1/t", json={**event, "writeKey": KEY}).json()["accepted"] == 1
    (row,) = rows(topic)
    assert (row["user_id"], row["anonymous_id"], row["event_id"]) == ("42", "7", "9")
    assert "integrations" not in json.dumps(row)


def test_each_message_may_have_its_own_time_of_sending(client: TestClient, topic: publishing.FakePublisher) -> None:
    own = {**EVENT, "timestamp": "2026-01-01T00:00:00Z", "sentAt": "2026-01-01T00:00:01Z"}
    batch = [own, {**own, "messageId": "m2", "sentAt": None}]
    client.post("/v1/batch", json={"batch": batch, "sentAt": "2026-01-01T00:01:00Z", "writeKey": KEY})
    first, second = rows(topic)
    assert (first["sent_at"], second["sent_at"]) == ("2026-01-01T00:00:01Z", "2026-01-01T00:01:00Z")
    assert second["event_timestamp"] < first["event_timestamp"]


def test_a_clock_that_is_millennia_off_is_not_corrected(client: TestClient, topic: publishing.FakePublisher) -> None:
    event = {**EVENT, "timestamp": "9999-12-31T00:00:00Z", "sentAt": "0001-01-01T00:00:00Z"}
    assert client.post("/v1/t", json={**event, "writeKey": KEY}).json()["accepted"] == 1
    assert rows(topic)[0]["event_timestamp"] == rows(topic)[0]["received_at"]


def test_nesting_that_bigquery_would_refuse_is_refused_here(
    client: TestClient, topic: publishing.FakePublisher
) -> None:
    def nest(levels: int) -> Any:
        value: Any = 1
        for _ in range(levels):
            value = {"x": value}
        return value

    wide = {f"k{n}": {} for n in range(500)}
    batch = [
        {**EVENT, "messageId": f"m{n}", "properties": value} for n, value in enumerate([nest(100), nest(101), wide])
    ]
    answer = client.post("/v1/batch", json={"batch": batch, "writeKey": KEY}).json()
    assert (answer["accepted"], [r["index"] for r in answer["rejected"]]) == (2, [1])
    assert len(topic.on(TOPIC)) == 2


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            {"type": "identify", "traits": {"plan": "pro"}},
            {"event_type": "identify", "traits": '{"plan":"pro"}'},
        ),
        (
            {"type": "group", "groupId": 5, "traits": {"name": "Co"}},
            {"event_type": "group", "group_id": "5", "traits": '{"name":"Co"}'},
        ),
        ({"type": "alias", "previousId": "a9"}, {"event_type": "alias", "previous_id": "a9"}),
        (
            {"type": "screen", "name": "Home", "category": "Shop"},
            {"event_type": "screen", "event_name": "Home", "properties": '{"category":"Shop"}'},
        ),
        (
            {"type": "page", "name": "Cart", "properties": {"path": "/cart", "title": "Cart"}},
            {"event_type": "page", "event_name": "Cart", "page": {"path": "/cart", "title": "Cart"}},
        ),
        ({"context": {"traits": {"plan": "pro"}}}, {"event_type": "order_completed", "traits": '{"plan":"pro"}'}),
    ],
)
def test_what_each_call_says_is_in_its_columns(
    client: TestClient, topic: publishing.FakePublisher, event: dict[str, Any], expected: dict[str, Any]
) -> None:
    body = {"batch": [{**EVENT, **event}], "writeKey": KEY}
    assert client.post("/v1/import", json=body).json()["accepted"] == 1
    assert rows(topic)[0].items() >= expected.items()
