"""Each kind of file becomes the rows that it should; a bad record is kept with its line, and its neighbours go on."""

import asyncio
import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest

from agents.errors import Poison
from agents.intake.refusal import Refusal
from agents.intake.storing import store_rows
from agents.intake.verdicts import make_invalid
from agents.tools.landing import FakeLanding
from agents.tools.publishing import FakePublisher
from schemas.rows import Failure
from tests.unit.ingesting import World, ingest
from tests.unit.judging import pack
from tests.unit.test_intake import RECEIVED, TRACK, judge


def test_ndjson_events_with_a_bad_line_in_between() -> None:
    lines = [json.dumps(TRACK), "{broken", "", json.dumps({**TRACK, "messageId": "m2"})]
    world = ingest("events/a.ndjson", "\n".join(lines))
    assert [row["event_id"] for row in world.rows()] == ["m1", "m2"]
    (invalid,) = world.rows("invalid-events")
    assert (invalid["origin"], invalid["failure"]) == ("gs://b/events/a.ndjson#2", "UNREADABLE_FILE")


def test_gzipped_csv_products_with_a_mark_at_the_start() -> None:
    text = "\ufeffproduct_id,name,price,in_stock\n1,가방,2.50,true\n2,bag,much,false\n3,x,1,no,extra\n"
    world = ingest("products/p.csv.gz", gzip.compress(text.encode()))
    (product,) = world.rows("product-updates")
    assert (product["name"], product["price"], product["in_stock"]) == ("가방", "2.5", True)
    assert [line for line, _ in world.refused()] == ["3", "4"]


def test_csv_events_with_dotted_columns() -> None:
    world = ingest("events/e.csv", "type,userId,event,messageId,properties.revenue\ntrack,u,Paid,m,3\n")
    assert world.rows()[0]["revenue"] == "3"


def test_market_signals() -> None:
    world = ingest("signals/s.ndjson", '{"kind":"trend","category":"bags","value":1.5,"data":{"a":1}}')
    (signal,) = world.rows("market-signals")
    assert (signal["value"], signal["data"]) == (1.5, '{"a":1}')
    assert signal["signal_id"]


def test_a_price_changes_the_price_and_nothing_else() -> None:
    world = ingest(
        "prices/p.csv", "product_id,price,currency,updated_at\n85123A,3.10,GBP,2026-11-20T08:00:00Z\nX,,GBP,\n"
    )
    (update,) = world.rows("product-updates")
    assert update == {"product_id": "85123A", "price": "3.1", "currency": "GBP", "updated_at": "2026-11-20T08:00:00Z"}
    assert world.refused() == [("3", "MISSING_FIELD")]


def test_weather_reaches_the_warehouse_and_what_enriches_events() -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    line = f"37.56,126.99,{hour.isoformat()},rain,8.5\n"
    world = ingest(
        "weather/w.csv", f"latitude,longitude,observed_at,condition,temperature_celsius\n{line}95,0,{hour},x,1\n"
    )
    (row,) = world.rows("weather-observations")
    assert (row["condition"], row["temperature_celsius"]) == ("rain", 8.5)
    assert world.weather.read_hour(hour)[37.6, 127.0].condition == "rain"
    assert world.refused() == [("3", "WRONG_TYPE")]


def test_a_ticket_is_an_event_of_its_person() -> None:
    now = datetime.now(UTC)
    ticket = {
        "ticket_id": 17,
        "status": "Solved",
        "at": now.isoformat(),
        "user_id": "u1",
        "text": "Late!",
        "satisfaction": 4,
    }
    data = "\n".join(json.dumps(line) for line in (ticket, ticket, {**ticket, "user_id": ""}))
    world = ingest("tickets/t.ndjson", data)
    first, second = world.rows()
    assert (first["event_type"], first["user_id"]) == ("support_ticket_solved", "u1")
    assert json.loads(first["properties"]) == {
        "ticket_id": "17", "status": "Solved", "text": "Late!", "satisfaction": 4.0,
    }  # fmt: skip
    assert first["event_id"] == second["event_id"], "the same change told twice is one event"
    assert world.refused() == [("3", "MISSING_FIELD")]


def test_a_json_array_is_read_element_by_element() -> None:
    events = [{**TRACK, "messageId": str(n)} for n in range(3)]
    text = json.dumps([*events[:2], 7, events[2]])
    world = ingest("events/a.json", text)
    assert [row["event_id"] for row in world.rows()] == ["0", "1", "2"]
    assert world.refused() == [("1[3]", "NOT_AN_OBJECT")], "the line, and which element of the array"


def test_two_alike_records_are_two_events_and_stay_the_same_two() -> None:
    for data in (b'{"type":"page","userId":"u"}\n' * 2, b'[{"type":"page","userId":"u"},{"type":"page","userId":"u"}]'):
        ids = [[row["event_id"] for row in ingest("events/a.json", data).rows()] for _ in "ab"]
        assert ids[0] == ids[1]
        assert len(set(ids[0])) == 2


def test_what_happened_long_ago_is_marked_so_that_nobody_acts_upon_it() -> None:
    now = datetime.now(UTC)
    lines = [
        json.dumps(
            {**TRACK, "messageId": str(days), "timestamp": (now - timedelta(days=days)).isoformat(), "sentAt": None}
        )
        for days in (0, 2)
    ]
    world = ingest("events/a.ndjson", "\n".join(lines))
    assert ["historical" in message.attributes for message in world.bulk.on("user-interactions")] == [False, True]


def test_a_spill_comes_back_as_the_rows_that_it_was() -> None:
    batch = judge(TRACK)
    invalid = make_invalid({}, Refusal(Failure.UNKNOWN_TYPE, "x"), RECEIVED)
    landing = FakeLanding()
    asyncio.run(store_rows(pack(*batch.accepted, invalid), FakePublisher(TimeoutError()), landing))
    ((name, spilled),) = landing.objects.items()
    world = ingest(name, spilled)
    assert world.rows()[0]["event_id"] == "m1"
    assert len(world.rows("invalid-events")) == 1
    assert len(world.rows("user-profile-updates")) == 1, "the profile's part was spilled with the event"


@pytest.mark.parametrize(
    "name", ["unknown/a.ndjson", "events/a.xlsx", "a.ndjson", "feeds/nobody/a.csv", "feeds/../a.csv"]
)
def test_a_file_that_nothing_reads_is_poison(name: str) -> None:
    with pytest.raises(Poison):
        ingest(name, "{}")


def test_a_header_without_the_needed_columns_is_said_once_not_for_every_row() -> None:
    world = World().put("products/p.csv", "id,name\n" + "1,a\n" * 1000)
    with pytest.raises(Poison, match="no column 'product_id'; it has id, name"):
        world.notify("products/p.csv")
    assert world.bulk.sent == []


def test_a_folder_as_a_console_makes_it_is_no_file() -> None:
    assert ingest("events/", b"").bulk.sent == []


def test_a_line_that_its_feed_did_not_expect_does_not_sink_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(raw: dict[str, object], received: object) -> object:
        del received
        if raw == {"bad": 1}:
            raise OverflowError("date value out of range")
        return judge(TRACK).accepted[0]

    monkeypatch.setitem(feeds_plain(), "events", read)
    world = ingest("events/a.ndjson", '{}\n{"bad":1}\n{}\n')
    (refused,) = world.rows("invalid-events")
    assert "OverflowError" in refused["reason"]
    assert len(world.rows()) == 2


def feeds_plain() -> dict[str, object]:
    """The readers of folders whose records are ours as they stand."""
    from agents.intake import feeds

    return feeds._PLAIN  # pyright: ignore[reportPrivateUsage, reportReturnType]  # one is replaced on purpose
