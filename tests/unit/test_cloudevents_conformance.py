"""The CloudEvents HTTP binding and JSON format 1.0.2 as cases: each would be a lost, changed or invented event.

Sources: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md, .../spec.md,
.../formats/json-format.md. The examples of those documents are among the cases.
"""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import functions_framework.aio
import pytest
from starlette.testclient import TestClient

from agents.intake import cloudevents
from agents.intake.segment import Received
from agents.tools import landing, publishing, secrets
from schemas.rows import Failure

KEY = "write-key-1"
TOPIC = "user-interactions"
NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "specversion": "1.0", "id": "1234-1234-1234", "source": "/mycontext/subcontext", "type": "com.example.someevent",
    "time": "2018-04-05T03:56:24Z", "subject": "u9",
}  # fmt: skip
STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> publishing.FakePublisher:
    fake = publishing.FakePublisher()
    monkeypatch.setattr(publishing, "publisher", lambda: fake)
    monkeypatch.setattr(landing, "cloud_storage", landing.FakeLanding)
    keys = secrets.FakeSecrets({"collect-write-keys": json.dumps({KEY: "web"})})
    monkeypatch.setattr(secrets, "secret_manager", lambda: keys)
    return fake


@pytest.fixture
def client(topic: publishing.FakePublisher) -> Iterator[TestClient]:
    del topic
    app = functions_framework.aio.create_asgi_app("collect", "functions/collect.py")
    with TestClient(app, raise_server_exceptions=False, headers={"X-Write-Key": KEY}) as client:
        yield client


def binary_headers(**attributes: str) -> dict[str, str]:
    return {f"ce-{name}": value for name, value in {**EVENT, **attributes}.items()}


def the_row(topic: publishing.FakePublisher) -> dict[str, Any]:
    (message,) = topic.on(TOPIC)
    return json.loads(message.data)


def properties(topic: publishing.FakePublisher) -> dict[str, Any]:
    return json.loads(the_row(topic)["properties"])


def dump(value: object) -> str:
    return json.dumps(value)


# --- binary mode


def test_binary_mode(client: TestClient, topic: publishing.FakePublisher) -> None:
    headers = {**binary_headers(), "Content-Type": "application/json; charset=utf-8"}
    answer = client.post("/v1/events", content=b'{"colour":"red"}', headers=headers)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    row = the_row(topic)
    assert (row["event_id"], row["event_type"], row["user_id"]) == ("1234-1234-1234", "com_example_someevent", "u9")
    assert row["client_timestamp"] == "2018-04-05T03:56:24Z"
    assert properties(topic)["colour"] == "red"


@pytest.mark.parametrize("style", [str.upper, str.title, str.lower])
def test_header_names_have_no_case(client: TestClient, topic: publishing.FakePublisher, style: Any) -> None:
    headers = {style(name): value for name, value in binary_headers().items()}
    assert client.post("/", json={}, headers=headers).status_code == 202
    assert the_row(topic)["event_id"] == EVENT["id"]


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("100%2525", "100%25"),
        ("%41bc", "Abc"),
        ("a+b", "a+b"),
        ("50%", "50%"),
        ('"quoted value"', "quoted value"),
        ('"with \\"quotes\\" and \\\\"', 'with "quotes" and \\'),
        ('"%E2%82%AC"', "€"),
        ("€".encode().decode("latin-1"), "€"),
    ],
)
def test_a_header_is_unquoted_then_percent_decoded_exactly_once(sent: str, meant: str) -> None:
    assert cloudevents.decode_header("ce-subject", sent) == meant


@pytest.mark.parametrize("value", ["%C0%A0", "%ff", "%ED%A0%80", "a%F0%9F%98"])
def test_invalid_utf8_in_a_header_is_refused(client: TestClient, topic: publishing.FakePublisher, value: str) -> None:
    answer = client.post("/v1/events", json={}, headers=binary_headers(subject=value))
    assert (answer.status_code, topic.sent) == (400, [])


def test_bytes_that_are_no_utf8_are_refused_without_a_percent_too() -> None:
    with pytest.raises(ValueError, match="ce-subject"):
        cloudevents.decode_header("ce-subject", "\xff")


@pytest.mark.parametrize("name", ["datacontenttype", "data", "data_base64"])
def test_what_http_itself_says_must_not_be_a_header(
    client: TestClient, topic: publishing.FakePublisher, name: str
) -> None:
    answer = client.post("/v1/events", json={}, headers=binary_headers(**{name: "application/json"}))
    assert (answer.status_code, topic.sent) == (400, [])
    assert f"ce-{name}" in answer.json()["error"]


@pytest.mark.parametrize("missing", cloudevents.REQUIRED)
def test_binary_mode_needs_each_required_attribute(
    client: TestClient, topic: publishing.FakePublisher, missing: str
) -> None:
    headers = {name: value for name, value in binary_headers().items() if name != f"ce-{missing}"}
    answer = client.post("/v1/events", json={}, headers=headers)
    assert (answer.status_code, topic.on(TOPIC)) == (400, [])
    assert missing in answer.text


@pytest.mark.parametrize(
    ("content_type", "body", "kept"),
    [
        ("text/plain", "héllo".encode(), {"data": "héllo"}),
        ("text/xml", b"<much wow='xml'/>", {"data": "<much wow='xml'/>"}),
        ("application/xml; charset=utf-8", b"<x/>", {"data": "<x/>"}),
        ("text/plain; charset=latin-1", b"\xe9", {"data_base64": "6Q=="}),
        ("application/octet-stream", b"\x00\xff", {"data_base64": "AP8="}),
        ("application/vnd.shop+json", b"[1,2]", {"data": [1, 2]}),
        ("application/json", b'"text"', {"data": "text"}),
    ],
)
def test_binary_data_of_any_type_is_kept(
    client: TestClient, topic: publishing.FakePublisher, content_type: str, body: bytes, kept: dict[str, Any]
) -> None:
    answer = client.post("/v1/events", content=body, headers={**binary_headers(), "Content-Type": content_type})
    assert answer.status_code == 202, "the binding lets data have any media type"
    assert properties(topic).items() >= kept.items()
    assert properties(topic)["cloudevent"]["datacontenttype"] == content_type


def test_an_event_may_have_no_data(client: TestClient, topic: publishing.FakePublisher) -> None:
    assert client.post("/v1/events", headers=binary_headers()).status_code == 202
    assert the_row(topic)["event_id"] == EVENT["id"]


def test_json_data_that_is_no_json_is_refused(client: TestClient, topic: publishing.FakePublisher) -> None:
    headers = {**binary_headers(), "Content-Type": "application/json"}
    assert client.post("/v1/events", content=b"{", headers=headers).status_code == 400
    assert topic.sent == []


def test_extension_attributes_and_the_producer_are_kept(client: TestClient, topic: publishing.FakePublisher) -> None:
    extensions = {"comexampleextension1": "value", "traceparent": "00-0af7-b7ad-01", "dataschema": "https://s.example"}
    client.post("/v1/events", json={}, headers=binary_headers(**extensions))
    kept = properties(topic)["cloudevent"]
    assert kept.items() >= {**extensions, "source": EVENT["source"], "subject": "u9"}.items()


# --- structured mode


def test_structured_mode_with_extensions_of_each_type(client: TestClient, topic: publishing.FakePublisher) -> None:
    event = {**EVENT, "ext1": "text", "ext2": 5, "ext3": True, "unset": None, "data": {"appinfoA": "abc"}}
    answer = client.put("/", content=dump(event), headers={"Content-Type": f"{STRUCTURED}; charset=UTF-8"})
    assert answer.status_code == 202
    assert properties(topic)["appinfoA"] == "abc"
    kept = properties(topic)["cloudevent"]
    assert (kept["ext1"], kept["ext2"], kept["ext3"], "unset" in kept) == ("text", 5, True, False)


@pytest.mark.parametrize(
    ("content_type", "data", "kept"),
    [
        (None, b'{"a":1}', {"a": 1}),
        ("application/json", b'{"a":1}', {"a": 1}),
        ("text/xml", b"<x/>", {"data": "<x/>"}),
        ("application/vnd.apache.thrift.binary", b"\x00\x01", {"data_base64": "AAE="}),
    ],
)
def test_data_base64(
    client: TestClient, topic: publishing.FakePublisher, content_type: str | None, data: bytes, kept: dict[str, Any]
) -> None:
    event = {**EVENT, "datacontenttype": content_type, "data_base64": base64.b64encode(data).decode()}
    assert client.post("/", content=dump(event), headers={"Content-Type": STRUCTURED}).status_code == 202
    assert properties(topic).items() >= kept.items()


@pytest.mark.parametrize(
    ("change", "failure", "word"),
    [
        *(({name: value}, Failure.MISSING_FIELD, name) for name in cloudevents.REQUIRED for value in ("", None, 1)),
        ({"specversion": "0.3"}, Failure.WRONG_TYPE, "specversion"),
        ({"source": "not a uri"}, Failure.WRONG_TYPE, "source"),
        ({"source": "/shop/%zz"}, Failure.WRONG_TYPE, "source"),
        ({"type": "a\u0007b"}, Failure.WRONG_TYPE, "control"),
        ({"ext": {"nested": 1}}, Failure.WRONG_TYPE, "ext"),
        ({"ext": 1.5}, Failure.WRONG_TYPE, "ext"),
        ({"data_base64": "%%"}, Failure.WRONG_TYPE, "data_base64"),
        ({"data_base64": 7}, Failure.WRONG_TYPE, "data_base64"),
        ({"data_base64": "/w==", "datacontenttype": "application/json"}, Failure.WRONG_TYPE, "data_base64"),
        ({"data": {}, "data_base64": "e30="}, Failure.WRONG_TYPE, "both"),
        *(
            ({"time": time}, Failure.WRONG_TYPE, "time")
            for time in ("2018-04-05", "2018-04-05T03:56:24", "2018-W14-4T03:56:24Z", "20180405T035624Z", "now", 5,
                         "2018-13-05T03:56:24Z", "2018-04-05 03:56:24Z")
        ),
    ],
)  # fmt: skip
def test_an_event_that_is_none_is_a_400_with_its_reason(
    client: TestClient, topic: publishing.FakePublisher, change: dict[str, Any], failure: Failure, word: str
) -> None:
    answer = client.post("/", content=dump({**EVENT, **change}), headers={"Content-Type": STRUCTURED})
    assert (answer.status_code, topic.on(TOPIC)) == (400, [])
    (verdict,) = answer.json()["rejected"]
    assert verdict["failure"] == failure
    assert word in verdict["reason"]
    assert len(topic.on("invalid-events")) == 1, "what is refused is kept, to be replayed once it is fixed"


@pytest.mark.parametrize(
    ("time", "meant"),
    [
        ("2018-04-05T17:31:00Z", "2018-04-05T17:31:00Z"),
        ("2018-04-05t17:31:00.123456789z", "2018-04-05T17:31:00.123457Z"),
        ("2018-04-05T17:31:00-08:00", "2018-04-06T01:31:00Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
    ],
)
def test_times_of_rfc_3339(client: TestClient, topic: publishing.FakePublisher, time: str, meant: str) -> None:
    assert client.post("/v1/events", json={}, headers=binary_headers(time=time)).status_code == 202
    assert the_row(topic)["client_timestamp"] == meant


@pytest.mark.parametrize("source", ["https://github.com/cloudevents", "mailto:x@example.com", "urn:uuid:6e8bc430",
                                    "/cloudevents/spec/pull/123", "1-555-123-4567", "#", "/상점"])  # fmt: skip
def test_sources_that_are_uri_references(source: str) -> None:
    event = {**EVENT, "source": source, "data": {}}
    row = cloudevents.read_event(event, Received(source="web", received_at=NOW))
    assert json.loads(row.properties or "")["cloudevent"]["source"] == source


# --- batched mode


def test_a_batch_is_202_with_a_verdict_per_event(client: TestClient, topic: publishing.FakePublisher) -> None:
    events = [{**EVENT, "id": "a"}, {**EVENT, "source": ""}, {**EVENT, "id": "b", "datacontenttype": "text/plain"}, 5]
    answer = client.post("/v1/events", content=dump(events), headers={"Content-Type": f"{BATCHED}; charset=utf-8"})
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    assert [r["index"] for r in answer.json()["rejected"]] == [1, 3]
    assert [json.loads(message.data)["event_id"] for message in topic.on(TOPIC)] == ["a", "b"]


def test_a_batch_may_be_empty(client: TestClient, topic: publishing.FakePublisher) -> None:
    answer = client.post("/", content=b"[]", headers={"Content-Type": BATCHED})
    assert (answer.status_code, answer.json()["accepted"], topic.sent) == (202, 0, [])


def test_a_batch_of_only_bad_events_is_still_a_batch(client: TestClient) -> None:
    assert client.post("/", content=b"[{}]", headers={"Content-Type": BATCHED}).status_code == 202


@pytest.mark.parametrize("body", [b"{}", b"7", b"[", b"", b"\xff"])
def test_a_batch_that_is_no_array_is_refused(client: TestClient, topic: publishing.FakePublisher, body: bytes) -> None:
    assert client.post("/", content=body, headers={"Content-Type": BATCHED}).status_code == 400
    assert topic.sent == []


# --- formats and limits


@pytest.mark.parametrize(
    "content_type",
    [
        "application/cloudevents+avro", "application/cloudevents+xml", "application/cloudevents+protobuf",
        "application/cloudevents-batch+protobuf", "application/cloudevents",
    ],
)  # fmt: skip
def test_a_format_that_is_not_read_is_415(
    client: TestClient, topic: publishing.FakePublisher, content_type: str
) -> None:
    answer = client.post("/v1/events", content=b"x", headers={"Content-Type": content_type, **binary_headers()})
    assert (answer.status_code, topic.sent) == (415, [])


def test_what_is_no_cloudevent_at_all(client: TestClient) -> None:
    assert client.post("/v1/events", content=b"<x/>", headers={"Content-Type": "text/xml"}).status_code == 415
    assert client.post("/v1/events", json={"userId": "u"}).status_code == 400


def test_an_event_of_64_kib_is_taken_and_a_larger_one_is_413(
    client: TestClient, topic: publishing.FakePublisher
) -> None:
    event = {**EVENT, "data": {"x": ""}}
    event["data"]["x"] = "y" * (64 * 1024 - len(dump(event)))
    headers = {"Content-Type": STRUCTURED}
    assert client.post("/v1/events", content=dump(event), headers=headers).status_code == 202
    assert client.post("/v1/events", content=dump(event) + " ", headers=headers).status_code == 413
    batch = client.post("/v1/events", content=f"[{dump(event)},{dump(event)[:-3]}yy\"}}}}]".encode(),
                        headers={"Content-Type": BATCHED})  # fmt: skip
    assert (batch.status_code, batch.json()["accepted"]) == (202, 1)
    assert [r["failure"] for r in batch.json()["rejected"]] == ["TOO_LARGE"]
    assert len(topic.on(TOPIC)) == 2


def test_a_batch_may_have_1_mib_and_2500_events(client: TestClient) -> None:
    headers = {"Content-Type": BATCHED}
    assert client.post("/", content=b"[" + b" " * (1024 * 1024 - 2) + b"]", headers=headers).status_code == 202
    assert client.post("/", content=b"[" + b" " * (1024 * 1024 - 1) + b"]", headers=headers).status_code == 413
    many = [{**EVENT, "id": str(n)} for n in range(2501)]
    answer = client.post("/", content=dump(many), headers=headers).json()
    assert (answer["accepted"], [r["index"] for r in answer["rejected"]]) == (2500, [2500])
    assert client.post("/", content=dump([0] * 10_001), headers=headers).status_code == 413


# --- what a CloudEvent's data may be


def test_data_may_be_a_row_or_a_segment_message() -> None:
    received = Received(source="web", received_at=NOW)
    row = cloudevents.read_event({**EVENT, "data": {"event_type": "page", "user_id": "u", "source": "x"}}, received)
    assert (row.event_id, row.event_type, row.source) == (EVENT["id"], "page", "web"), "the source is the write key's"
    page = cloudevents.read_event({**EVENT, "data": {"type": "page", "anonymousId": "a"}}, received)
    assert (page.event_type, page.anonymous_id) == ("page", "a")


@pytest.mark.parametrize(
    ("event", "ids"),
    [
        ({"subject": "s", "data": {"userId": "u", "anonymousId": "a"}}, ("u", "a")),
        ({"subject": "s", "data": {"user_id": "u"}}, ("u", None)),
        ({"subject": "s", "userid": "e", "data": {}}, ("e", None)),
        ({"subject": None, "anonymousid": "e", "data": {}}, (None, "e")),
        ({"subject": "s", "data": {}}, ("s", None)),
    ],
)
def test_who_it_was(event: dict[str, Any], ids: tuple[str | None, str | None]) -> None:
    row = cloudevents.read_event({**EVENT, **event}, Received(source="web", received_at=NOW))
    assert (row.user_id, row.anonymous_id) == ids
