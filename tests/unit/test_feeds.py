"""A file's good lines are published, each bad one is kept with its number, and a second delivery gives the same ids."""

import gzip
import io
import json
from collections.abc import Iterator

import pytest

from agents.errors import Poison
from agents.intake import files
from agents.intake.feeds import FEEDS, LandedObject, ingest_object
from agents.intake.refusal import Refusal
from agents.intake.storing import encode_spill
from agents.intake.verdicts import make_invalid
from agents.tools.bus import FakeBus
from agents.tools.landing import FakeLanding
from schemas.rows import Failure
from tests.unit.test_intake import RECEIVED, TRACK, judge


def ingest(name: str, data: bytes) -> FakeBus:
    landing, bus = FakeLanding(), FakeBus()
    landing.objects[name] = data
    ingest_object(LandedObject(bucket="b", name=name, generation=1), landing, bus)
    return bus


def test_ndjson_events_with_a_bad_line_in_between() -> None:
    lines = [json.dumps(TRACK), "{broken", "", json.dumps({**TRACK, "messageId": "m2"})]
    bus = ingest("events/a.ndjson", "\n".join(lines).encode())
    assert [json.loads(m.data)["event_id"] for m in bus.on("user-interactions")] == ["m1", "m2"]
    (invalid,) = [json.loads(m.data) for m in bus.on("invalid-events")]
    assert (invalid["origin"], invalid["failure"]) == ("gs://b/events/a.ndjson#2", "UNREADABLE_FILE")


def test_gzipped_csv_products_with_a_mark_at_the_start() -> None:
    text = "\ufeffproduct_id,name,price,in_stock\n1,가방,2.50,true\n2,bag,much,false\n3,x,1,no,extra\n"
    bus = ingest("products/p.csv.gz", gzip.compress(text.encode()))
    (product,) = [json.loads(m.data) for m in bus.on("product-updates")]
    assert (product["name"], product["price"], product["in_stock"]) == ("가방", "2.5", True)
    refused = [json.loads(m.data) for m in bus.on("invalid-events")]
    assert [row["origin"].rpartition("#")[2] for row in refused] == ["3", "4"]


def test_csv_events_with_dotted_columns() -> None:
    bus = ingest("events/e.csv", b"type,userId,event,messageId,properties.revenue\ntrack,u,Paid,m,3\n")
    (message,) = bus.on("user-interactions")
    assert json.loads(message.data)["revenue"] == "3"


def test_market_signals() -> None:
    bus = ingest("signals/s.ndjson", b'{"kind":"trend","category":"bags","value":1.5,"data":{"a":1}}')
    (message,) = bus.on("market-signals")
    assert json.loads(message.data)["value"] == 1.5


def test_a_second_delivery_gives_the_same_ids() -> None:
    line = b'{"type":"page","userId":"u"}\n' * 2
    ids = [
        [json.loads(m.data)["event_id"] for m in ingest("events/a.ndjson", line).on("user-interactions")] for _ in "ab"
    ]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2, "two lines are two events, even when they are alike"


def test_a_spill_comes_back_as_the_rows_that_it_was() -> None:
    batch = judge(TRACK)
    invalid = make_invalid({}, Refusal(Failure.UNKNOWN_TYPE, "x"), RECEIVED)
    bus = ingest("spill/2026-11-20/x.ndjson", encode_spill([*batch.accepted, invalid]))
    assert json.loads(bus.on("user-interactions")[0].data)["event_id"] == "m1"
    assert len(bus.on("invalid-events")) == 1
    assert len(bus.on("user-profile-updates")) == 1, "the profile's part was spilled with the event"


@pytest.mark.parametrize("name", ["unknown/a.ndjson", "events/a.xlsx", "a.ndjson"])
def test_a_file_that_nothing_reads_is_poison(name: str) -> None:
    with pytest.raises(Poison):
        ingest(name, b"{}")


def test_a_damaged_archive_is_poison_after_its_good_part() -> None:
    whole = gzip.compress(b"\n".join(json.dumps({**TRACK, "messageId": str(n)}).encode() for n in range(5000)))
    with pytest.raises(Poison, match="damaged"):
        ingest("events/a.ndjson.gz", whole[: len(whole) // 2])


def test_flipped_bytes_in_an_archive_are_poison_too() -> None:
    whole = bytearray(
        gzip.compress(b"\n".join(json.dumps({**TRACK, "messageId": str(n)}).encode() for n in range(5000)))
    )
    for place in range(len(whole) // 2, len(whole) // 2 + 64):
        whole[place] ^= 0xFF
    with pytest.raises(Poison, match="damaged"):
        ingest("events/a.ndjson.gz", bytes(whole))


def test_a_csv_line_without_end_is_refused_and_the_next_one_read() -> None:
    data = b"product_id,name\n1,a\n2," + b"x" * 3_000_000 + b"\n3,c\n"
    bus = ingest("products/p.csv", data)
    assert [json.loads(m.data)["product_id"] for m in bus.on("product-updates")] == ["1", "3"]
    (refused,) = [json.loads(m.data) for m in bus.on("invalid-events")]
    assert (refused["failure"], refused["origin"].rpartition("#")[2]) == ("TOO_LARGE", "3")


def test_a_line_that_its_feed_did_not_expect_does_not_sink_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(raw: object, received: object) -> list[object]:
        del received
        if raw == {"bad": 1}:
            raise OverflowError("date value out of range")
        return []

    monkeypatch.setitem(FEEDS, "events", read)
    bus = ingest("events/a.ndjson", b'{}\n{"bad":1}\n{}\n')
    (refused,) = [json.loads(m.data) for m in bus.on("invalid-events")]
    assert "OverflowError" in refused["reason"]


def test_a_deleted_object_is_done() -> None:
    ingest_object(LandedObject(bucket="b", name="events/gone.ndjson", generation=1), FakeLanding(), FakeBus())


def test_a_refused_publish_is_tried_again_not_swallowed() -> None:
    landing = FakeLanding()
    landing.objects["events/a.ndjson"] = json.dumps(TRACK).encode()
    with pytest.raises(TimeoutError):
        ingest_object(LandedObject(bucket="b", name="events/a.ndjson", generation=1), landing, FakeBus(TimeoutError()))


def test_a_line_without_end_is_refused_in_constant_memory() -> None:
    class Endless(io.RawIOBase):
        left = 30_000_000

        def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  # IOBase's buffer is wider
            size = min(len(buffer), self.left)
            self.left -= size
            buffer[:size] = b"x" * size
            return size

        def readable(self) -> bool:
            return True

    records: Iterator[files.Record] = files.read_records("a.ndjson", io.BufferedReader(Endless()))
    (record,) = records
    assert record.refusal is not None
    assert record.refusal.failure is Failure.TOO_LARGE
