"""A file is published once however often it is notified, and a reading that ends anywhere goes on without loss or double."""

import gzip
import json
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from agents.errors import Poison, TryAgain
from agents.intake import ingestion
from agents.tools.bulk import FakeBulk
from agents.tools.bus import Outgoing
from agents.tools.progress import LEASE, Claim, FakeProgress, File, LandedObject, LeaseLost, Verdict, decide
from tests.unit.ingesting import World
from tests.unit.test_intake import TRACK

NAME = "events/a.ndjson"
NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)


def make_events(count: int) -> bytes:
    """Lines without ids, so that ids derive from where they stand."""
    return b"\n".join(json.dumps({"type": "page", "userId": "u", "name": str(n)}).encode() for n in range(count))


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of ten records, a checkpoint after each."""
    monkeypatch.setattr(ingestion, "CHUNK_RECORDS", 10)
    monkeypatch.setattr(ingestion, "SAVE_SECONDS", -1.0)


def count_ids(world: World) -> tuple[int, int]:
    """Messages, and different ids among them."""
    ids = [row["event_id"] for row in world.rows()]
    return len(ids), len(set(ids))


def test_a_file_is_read_once_however_often_it_is_notified() -> None:
    world = World().put(NAME, make_events(25))
    for message_id in ("m1", "m1", "m2"):
        assert world.notify(NAME, message_id=message_id).accepted == 25
    assert count_ids(world) == (25, 25)


def test_a_new_generation_is_a_new_file() -> None:
    world = World().put(NAME, make_events(5))
    world.notify(NAME)
    world.notify(NAME, generation=2)
    assert count_ids(world) == (10, 10)


class Refusing(FakeBulk):
    """Refuses every call from the one of that number on."""

    def __init__(self, good_calls: int) -> None:
        super().__init__()
        self.good_calls = good_calls

    def send(self, topic: str, messages: list[Outgoing]) -> list[Future[None]]:
        self.good_calls -= 1
        if self.good_calls < 0 and not self.errors:
            self.errors.append(TimeoutError("Pub/Sub does not answer"))
        return super().send(topic, messages)


@pytest.mark.parametrize("name", [NAME, NAME + ".gz"])
@pytest.mark.parametrize("good_calls", [0, 1, 13, 30])
def test_a_reading_that_failed_goes_on_from_its_checkpoint(good_calls: int, name: str) -> None:
    data = make_events(200)
    world = World(bulk=Refusing(good_calls)).put(name, gzip.compress(data) if name.endswith("gz") else data)
    with pytest.raises(TimeoutError):
        world.notify(name)
    (file,) = world.progress.files.values()
    assert file.lease_until is None, "the next delivery need not wait for the lease"
    acknowledged, first = file.checkpoint.accepted, count_ids(world)
    assert acknowledged <= first[0], "the checkpoint is never ahead of Pub/Sub"
    world.bulk = FakeBulk()
    assert world.notify(name).accepted == 200
    assert count_ids(world) == (200 - acknowledged, 200 - acknowledged), (
        "what is behind the checkpoint is not read again"
    )


def test_what_is_published_twice_has_the_same_ids() -> None:
    world = World().put(NAME, make_events(30))
    world.notify(NAME)
    world.progress = FakeProgress()  # the crash came before any checkpoint
    world.notify(NAME)
    assert count_ids(world) == (60, 30)


def test_a_file_that_takes_longer_than_one_request_is_handed_on() -> None:
    world = World().put(NAME, make_events(35))
    world.notify(NAME, seconds=-1)
    assert (world.handed_on, count_ids(world)) == (1, (10, 10))
    for turn in range(2, 9):
        world.notify(NAME, message_id=f"m{turn}", seconds=-1)
    assert count_ids(world) == (35, 35)
    assert world.handed_on == 4, "once for each part but the last"


def test_of_two_at_once_one_works() -> None:
    world = World().put(NAME, make_events(5))
    world.progress.take(LandedObject(bucket="b", name=NAME, generation=1), "m1")
    with pytest.raises(TryAgain):  # the same message: acknowledging it would acknowledge the one at work too
        world.notify(NAME, message_id="m1")
    world.notify(NAME, message_id="m2")  # done: m1 brings it to its end
    assert world.bulk.sent == []


def test_whoever_lost_its_lease_stops_and_is_tried_again() -> None:
    world = World().put(NAME, make_events(100))

    class Stolen(FakeProgress):
        def save(self, file: File, *, hold: bool = True) -> File:
            self.files = {key: msgspec.structs.replace(kept, token="other") for key, kept in self.files.items()}
            return super().save(file, hold=hold)

    world.progress = Stolen()
    with pytest.raises(TryAgain, match="taken over"):
        world.notify(NAME)
    assert count_ids(world)[0] < 100


def test_a_broken_file_keeps_what_was_good_and_says_where_it_broke() -> None:
    name = "events/a.ndjson.gz"
    world = World().put(name, gzip.compress(make_events(5000))[:-2000])
    for _ in range(2):  # a replay after nothing was repaired
        with pytest.raises(
            Poison, match=r"gzip data is damaged after .* kept: \d+ accepted, 0 refused, up to line \d+"
        ):
            world.notify(name)
    messages, ids = count_ids(world)
    assert messages == ids > 100


def test_bad_rows_have_their_line_in_a_file_that_was_read_in_parts() -> None:
    lines = make_events(30).split(b"\n")
    lines[24] = b"{broken"
    world = World().put(NAME, b"\n".join(lines))
    for turn in range(4):
        world.notify(NAME, message_id=f"m{turn}", seconds=-1)
    assert world.refused() == [("25", "UNREADABLE_FILE")]


def test_an_object_that_goes_while_it_is_read_is_done() -> None:
    world = World()
    world.notify("events/gone.ndjson")
    (file,) = world.progress.files.values()
    assert file.is_done


def test_long_records_are_published_in_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a thousand records of a megabyte in memory at once."""
    monkeypatch.setattr(ingestion, "CHUNK_RECORDS", 1000)
    monkeypatch.setattr(ingestion, "CHUNK_BYTES", 100_000)
    line = json.dumps({**TRACK, "properties": {"text": "x" * 60_000}}).encode()
    world = World().put(NAME, b"\n".join([line] * 20))
    world.notify(NAME, seconds=-1)
    assert len(world.rows()) == 2


def make_file(**changes: object) -> File:
    base = File(
        bucket="b",
        name="n",
        generation=1,
        updated_at=NOW,
        expires_at=NOW,
        token="t",
        message_id="m",
        lease_until=NOW + LEASE,
    )
    return msgspec.structs.replace(base, **changes)


@pytest.mark.parametrize(
    ("kept", "fresh", "verdict"),
    [
        (None, make_file(), Verdict.HELD),
        (make_file(is_done=True, lease_until=None), make_file(token="x"), Verdict.DONE),
        (make_file(), make_file(token="x"), Verdict.BUSY),
        (make_file(), make_file(token="x", message_id="other"), Verdict.OTHERS),
        (make_file(lease_until=NOW - timedelta(seconds=1)), make_file(token="x"), Verdict.HELD),
        (make_file(lease_until=None), make_file(token="x"), Verdict.HELD),
    ],
)
def test_who_may_take_a_file(kept: File | None, fresh: File, verdict: Verdict) -> None:
    claim: Claim = decide(kept, fresh)
    assert claim.verdict is verdict
    assert (claim.file.token == fresh.token) is (verdict is Verdict.HELD)


def test_a_holder_of_the_past_writes_nothing() -> None:
    progress, landed = FakeProgress(), LandedObject(bucket="b", name="n", generation=1)
    first = progress.take(landed, "m1").file
    progress.save(first, hold=False)
    progress.take(landed, "m2")
    with pytest.raises(LeaseLost):
        progress.save(first)
