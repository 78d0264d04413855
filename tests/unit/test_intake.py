"""What a client sends becomes the right row, or a typed verdict; personal data never reaches the quarantine."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.intake.outgoing import make_messages
from agents.intake.personal import REMOVED, remove_personal
from agents.intake.refusal import Refusal
from agents.intake.segment import Received, read_message, to_snake_case
from agents.intake.storing import NotDurable, store_rows
from agents.intake.verdicts import make_invalid
from agents.tools.landing import FakeLanding
from agents.tools.publishing import FakePublisher
from schemas.messages import ProfileUpdate
from schemas.rows import Failure, Interaction
from tests.unit import judging
from tests.unit.judging import Judged

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
RECEIVED = Received(source="web", received_at=NOW)
TRACK: dict[str, Any] = {"type": "track", "event": "Order Completed", "userId": "u1", "messageId": "m1"}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
KEYS = st.sampled_from(
    [
        "type",
        "event",
        "userId",
        "anonymousId",
        "messageId",
        "timestamp",
        "sentAt",
        "context",
        "properties",
        "traits",
        "products",
        "revenue",
        "product_id",
    ]
)


def judge(*raws: object) -> Judged:
    return judging.judge(raws, RECEIVED)


def refuse(raw: object) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read_message(raw, RECEIVED)
    return caught.value


@pytest.mark.parametrize(
    ("raw", "failure", "word"),
    [
        ([], Failure.NOT_AN_OBJECT, "list"),
        ({"type": "track", "event": "x"}, Failure.MISSING_FIELD, "userId or anonymousId"),
        ({"type": "dance", "userId": "u"}, Failure.UNKNOWN_TYPE, "dance"),
        ({"type": "track", "userId": "u"}, Failure.MISSING_FIELD, "event"),
        ({**TRACK, "timestamp": "yesterday"}, Failure.WRONG_TYPE, "timestamp"),
        ({**TRACK, "context": "here"}, Failure.WRONG_TYPE, "context"),
        ({**TRACK, "properties": {"revenue": "much"}}, Failure.WRONG_TYPE, "revenue"),
        ({**TRACK, "properties": {"revenue": True}}, Failure.WRONG_TYPE, "revenue"),
        ({**TRACK, "properties": {"products": [{"name": "bag"}]}}, Failure.MISSING_FIELD, "product_id"),
        ({**TRACK, "userId": {"id": 1}}, Failure.WRONG_TYPE, "userId"),
        ({**TRACK, "messageId": "x" * 300}, Failure.WRONG_TYPE, "messageId"),
        ({**TRACK, "context": {"location": {"latitude": 100}}}, Failure.WRONG_TYPE, "latitude"),
        ({"type": "group", "userId": "u"}, Failure.MISSING_FIELD, "groupId"),
        ({"type": "alias", "userId": "u"}, Failure.MISSING_FIELD, "previousId"),
        ({"type": "alias", "anonymousId": "a", "previousId": "p"}, Failure.MISSING_FIELD, "userId"),
        ({**TRACK, "timestamp": "0001-01-01T00:00:00+14:00"}, Failure.WRONG_TYPE, "timestamp"),
        ({**TRACK, "properties": {"products": [{"sku": "s", "quantity": 9.3e18}]}}, Failure.WRONG_TYPE, "quantity"),
    ],
)
def test_a_bad_event_gets_a_typed_reason_that_names_the_key(raw: object, failure: Failure, word: str) -> None:
    refusal = refuse(raw)
    assert refusal.failure is failure
    assert word in refusal.reason


def test_a_track_event_fills_the_wide_row() -> None:
    row = read_message(
        {
            **TRACK,
            "properties": {
                "order_id": "o1", "total": "12.50", "currency": "GBP",
                "products": [{"sku": "85123A", "price": 2.55, "quantity": "6"}],
            },
            "context": {"sessionId": "s", "library": {"name": "lib", "version": "1"}, "ip": "10.1.2.3",
                        "page": {"url": "https://a.example", "colour": "red"}, "locale": "ko-KR"},
        },
        RECEIVED,
    )  # fmt: skip
    assert (row.event_type, row.event_name, row.revenue) == ("order_completed", "Order Completed", Decimal("12.5"))
    assert row.products[0].product_id == "85123A"
    assert (row.products[0].price, row.products[0].quantity) == (Decimal("2.55"), 6)
    assert row.page is not None
    assert row.page.url == "https://a.example"
    assert (row.session_id, row.library) == ("s", "lib 1")
    assert b"10.1.2.3" not in msgspec.json.encode(row), "an IP address is personal data and must not be kept"


def test_every_column_gets_its_own_value() -> None:
    """Prevents: two columns that change places."""
    names = Interaction.__struct_fields__
    texts = {key: f"the {key}" for key in ("messageId", "userId", "anonymousId", "previousId", "groupId", "event")}
    objects = {"page": {"url": "the page"}, "app": {"name": "the app"}, "campaign": {"name": "the campaign"}}
    context = {
        **objects, "sessionId": "the sessionId", "locale": "the locale", "location": {"city": "the city"},
        "consent": {"marketing": False}, "library": {"name": "the library"},
    }  # fmt: skip
    raw: dict[str, Any] = {
        **texts, "type": "track", "context": context, "traits": {"a": "the traits"},
        "properties": {"order_id": "the order", "revenue": 7, "currency": "EUR", "sku": "the sku"},
        "timestamp": "2026-11-20T07:00:00Z", "sentAt": "2026-11-20T07:30:00Z",
    }  # fmt: skip
    row = json.loads(msgspec.json.encode(read_message(raw, RECEIVED)))
    assert row == {
        "event_id": "the messageId", "event_type": "the_event", "event_timestamp": "2026-11-20T07:30:00Z",
        "received_at": "2026-11-20T08:00:00Z", "source": "web", "event_name": "the event",
        "client_timestamp": "2026-11-20T07:00:00Z", "sent_at": "2026-11-20T07:30:00Z", "user_id": "the userId",
        "anonymous_id": "the anonymousId", "previous_id": "the previousId", "group_id": "the groupId",
        "session_id": "the sessionId", "order_id": "the order", "revenue": "7", "currency": "EUR",
        "page": {"url": "the page"}, "app": {"name": "the app"}, "device": {"locale": "the locale"},
        "location": {"city": "the city"}, "campaign": {"name": "the campaign"}, "consent": {"marketing": False},
        "products": [{"product_id": "the sku"}], "traits": '{"a":"the traits"}', "library": "the library",
        "properties": '{"order_id":"the order","revenue":7,"currency":"EUR","sku":"the sku"}',
    }  # fmt: skip
    assert set(names) - set(row) == {"producer", "weather"}, "and there is none that this test forgets"
    assert read_message(msgspec.Raw(msgspec.json.encode(raw)), RECEIVED) == read_message(raw, RECEIVED)


def test_the_clients_clock_error_is_taken_out() -> None:
    late = NOW + timedelta(hours=3)  # the client's clock is 3 hours ahead
    raw = {**TRACK, "timestamp": (late - timedelta(minutes=10)).isoformat(), "sentAt": late.isoformat()}
    assert read_message(raw, RECEIVED).event_timestamp == NOW - timedelta(minutes=10)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Order Completed", "order_completed"), ("주문 완료", "주문_완료"), ("  A--b ", "a_b"), ("!!", "unnamed")],
)
def test_event_names_become_types(name: str, expected: str) -> None:
    assert to_snake_case(name) == expected


def test_a_retry_without_message_id_is_the_same_event_when_it_has_a_time() -> None:
    raw = {"type": "page", "userId": "u", "timestamp": "2026-11-20T07:00:00Z"}
    later = Received(source="web", received_at=NOW + timedelta(seconds=9))
    assert read_message(raw, RECEIVED).event_id == read_message(raw, later).event_id
    assert read_message(raw, RECEIVED).event_id != read_message({**raw, "userId": "v"}, RECEIVED).event_id


def test_a_bad_event_does_not_sink_its_batch() -> None:
    batch = judge(TRACK, {"type": "?"}, {**TRACK, "messageId": "m2"})
    assert [row.event_id for row in batch.accepted] == ["m1", "m2"]
    assert batch.failures == {1: Failure.UNKNOWN_TYPE}


def test_the_quarantine_holds_no_personal_data() -> None:
    raw = {
        "type": "?", "messageId": "m", "email": "kim@example.com", "note": "write to kim@example.com from 10.0.0.1",
        "traits": {"name": "Kim", "plan": "pro", "First Name": "K"}, "items": [{"phoneNumber": "1"}], "name": "bag",
    }  # fmt: skip
    row = make_invalid(raw, Refusal(Failure.UNKNOWN_TYPE, "type is 'kim@example.com'"), RECEIVED)
    kept = json.loads(row.payload or "")
    assert kept["traits"] == {"name": REMOVED, "plan": "pro", "First Name": REMOVED}
    assert kept["name"] == "bag", "a product's name is not personal"
    wire = msgspec.json.encode(row).decode()
    assert not [leak for leak in ("kim@", "10.0.0.1", '"Kim"', 'phoneNumber\\": \\"1') if leak in wire]


def test_what_is_nested_too_deeply_goes_as_a_whole() -> None:
    deep: Any = "kim@example.com"
    for _ in range(500):
        deep = [deep]
    assert "kim" not in json.dumps(remove_personal(deep))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.dictionaries(KEYS | st.text(max_size=8), JSON, max_size=8) | JSON, max_size=5))
def test_any_json_ends_in_one_verdict_each(raws: list[Any]) -> None:
    batch = judge(*raws)
    assert batch.verdicts.accepted + len(batch.verdicts.rejected) == len(raws)
    assert (len(batch.accepted), len(batch.refused)) == (batch.verdicts.accepted, len(batch.verdicts.rejected))
    assert [msgspec.json.decode(msgspec.json.encode(row), type=Interaction) for row in batch.accepted] == batch.accepted


def test_a_known_persons_event_updates_the_profile_too() -> None:
    row = read_message(
        {"type": "identify", "userId": "u1", "messageId": "i", "traits": {"email": "a@example.com", "x": {"y": 1}},
         "context": {"locale": "ko-KR", "consent": {"marketing": False}}},
        RECEIVED,
    )  # fmt: skip
    by_topic = {topic: message for topic, message in make_messages(row)}
    assert by_topic["user-interactions"].attributes["type"] == "identify"
    update = msgspec.json.decode(by_topic["user-profile-updates"].data, type=ProfileUpdate)
    assert update.fields["email"] == "a@example.com"
    assert (update.fields["language"], update.fields["marketingConsent"]) == ("ko", False)
    assert "x" not in update.fields


def test_what_the_suite_did_is_no_act_of_the_person() -> None:
    raw = {"type": "track", "event": "Email Sent", "userId": "u", "properties": {"product_id": "p"}}
    (update,) = [m for topic, m in make_messages(read_message(raw, RECEIVED)) if topic == "user-profile-updates"]
    assert set(msgspec.json.decode(update.data, type=ProfileUpdate).fields) == {"lastOutcome"}


def test_an_anonymous_event_updates_no_profile() -> None:
    row = read_message({"type": "page", "anonymousId": "a"}, RECEIVED)
    assert [topic for topic, _ in make_messages(row)] == ["user-interactions"]


def test_accepted_and_refused_rows_are_published_before_it_returns() -> None:
    bus, landing = FakePublisher(), FakeLanding()
    asyncio.run(store_rows(judge(TRACK, {}).outbox, bus, landing))
    assert len(bus.on("user-interactions")) == len(bus.on("invalid-events")) == 1
    assert landing.objects == {}


def test_what_pubsub_does_not_take_is_spilled_to_the_landing_bucket() -> None:
    landing = FakeLanding()
    asyncio.run(store_rows(judge(TRACK, {}).outbox, FakePublisher(TimeoutError()), landing))
    ((name, data),) = landing.objects.items()
    assert name.startswith("spill/")
    assert [next(iter(json.loads(line))) for line in data.splitlines()] == ["interaction", "invalid"]


def test_a_good_and_a_refused_row_of_one_id_are_both_spilled() -> None:
    landing = FakeLanding()
    raws = (TRACK, {"type": "?", "messageId": TRACK["messageId"]})
    asyncio.run(store_rows(judge(*raws).outbox, FakePublisher(TimeoutError()), landing))
    (data,) = landing.objects.values()
    assert [next(iter(json.loads(line))) for line in data.splitlines()] == ["interaction", "invalid"]


def test_an_event_that_its_reader_did_not_expect_does_not_sink_its_batch() -> None:
    def read(raw: object, received: Received) -> Interaction:
        if raw == {}:
            raise OverflowError("date value out of range")
        return read_message(raw, received)

    batch = judging.judge([TRACK, {}, TRACK], RECEIVED, read)
    assert batch.failures == {1: Failure.WRONG_TYPE}
    assert "OverflowError" in batch.verdicts.rejected[0].reason


def test_when_nothing_takes_it_the_client_is_not_told_success() -> None:
    with pytest.raises(NotDurable):
        asyncio.run(store_rows(judge(TRACK).outbox, FakePublisher(TimeoutError()), FakeLanding(OSError())))
