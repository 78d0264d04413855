"""The push envelope is read whole, and every outcome answers Pub/Sub with the right status."""

import base64
import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from agents.errors import Poison, TryAgain
from agents.tools import bus
from functions.push import Delivery, handle_push, parse_push


def make_envelope(data: bytes = b"{}", **message: Any) -> bytes:
    return json.dumps(
        {
            "message": {"data": base64.b64encode(data).decode(), "messageId": "7", "attributes": {"a": "b"}, **message},
            "subscription": "projects/p/subscriptions/actions-act",
            "deliveryAttempt": 3,
        }
    ).encode()


def make_client(handle: Any) -> TestClient:
    entry: Any = handle_push("probe", handle)
    return TestClient(Starlette(routes=[Route("/{path:path}", entry, methods=["POST"])]), raise_server_exceptions=False)


def test_the_envelope_is_read_whole() -> None:
    delivery = parse_push(make_envelope(b"x", orderingKey="k"), "/moment")
    expected = Delivery(
        message_id="7", data=b"x", attributes={"a": "b"}, subscription="actions-act", attempt=3, path="/moment"
    )
    assert delivery == expected


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"message":{}}', b'{"message":{"messageId":"1","data":"%%"},"subscription":"s"}', b"\xff"]
)
def test_what_is_no_envelope_is_refused_and_not_handled(body: bytes) -> None:
    handled: list[Delivery] = []
    assert make_client(handled.append).post("/", content=body).status_code == 400
    assert handled == []


def test_done_is_204() -> None:
    handled: list[Delivery] = []
    assert make_client(handled.append).post("/result", content=make_envelope()).status_code == 204
    assert handled[0].path == "/result"


def test_any_other_error_is_500_so_that_pubsub_tries_again() -> None:
    def fail(delivery: Delivery) -> None:
        raise ConnectionError(delivery.message_id)

    assert make_client(fail).post("/", content=make_envelope()).status_code == 500


def test_what_is_expected_to_take_a_while_is_503_and_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def wait(delivery: Delivery) -> None:
        raise TryAgain(delivery.message_id)

    assert make_client(wait).post("/", content=make_envelope()).status_code == 503
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_long_reason_in_any_script_fits_an_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = bus.FakeBus()
    monkeypatch.setattr(bus, "pubsub", lambda: kept)

    def fail(delivery: Delivery) -> None:
        raise Poison("가" * 900 + delivery.message_id)

    assert make_client(fail).post("/", content=make_envelope()).status_code == 204
    reason = kept.on("dead-letters")[0].attributes["CloudPubSubDeadLetterSourceDeliveryErrorMessage"]
    assert 1000 < len(reason.encode()) <= 1024, "Pub/Sub refuses a longer one, and the poison would be lost"


def test_poison_is_kept_with_its_reason_then_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = bus.FakeBus()
    monkeypatch.setattr(bus, "pubsub", lambda: kept)

    def fail(delivery: Delivery) -> None:
        raise Poison(f"bad taste in {delivery.message_id}")

    assert make_client(fail).post("/", content=make_envelope(b"raw")).status_code == 204
    (message,) = kept.on("dead-letters")
    assert message.data == b"raw"
    assert message.attributes["CloudPubSubDeadLetterSourceDeliveryErrorMessage"] == "bad taste in 7"
    assert message.attributes["CloudPubSubDeadLetterSourceSubscription"] == "actions-act"
    assert message.attributes["a"] == "b", "the original attributes stay"


def test_poison_that_cannot_be_kept_is_not_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "pubsub", lambda: bus.FakeBus(TimeoutError()))

    def fail(delivery: Delivery) -> None:
        raise Poison(f"bad taste in {delivery.message_id}")

    assert make_client(fail).post("/", content=make_envelope()).status_code == 500


def test_poison_with_more_than_an_attribute_holds_is_kept_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: poison that Pub/Sub refuses to keep, and so is delivered for ever (found by hostile deliveries)."""
    kept = bus.FakeBus()
    monkeypatch.setattr(bus, "pubsub", lambda: kept)

    def fail(delivery: Delivery) -> None:
        raise Poison(f"no {delivery.attempt}")

    attributes = {"long": "y" * 5000, "k" * 300: "v", "": "v", **{f"n{number}": "v" for number in range(120)}}
    message = {"messageId": "m" * 3000, "data": "e30=", "attributes": attributes}
    body = json.dumps({"message": message, "subscription": "s" * 3000})
    assert make_client(fail).post("/", content=body).status_code == 204
    (sent,) = kept.on("dead-letters")
    assert len(sent.attributes) <= 100
    assert all(0 < len(key.encode()) <= 256 and len(value.encode()) <= 1024 for key, value in sent.attributes.items())
    assert len(sent.attributes["long"]) == 1024
