"""Events of suppressed people are dropped before anything of them is stored, and clients hear of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest
import redis

from agents.intake.segment import Received
from agents.intake.suppression import SuppressionList
from agents.intake.verdicts import summarise
from agents.privacy.person import digest
from agents.tools.suppressions import FakeSuppressions, RedisSuppressions, Suppressions
from schemas.rows import Failure, Interaction, InvalidEvent, ProductUpdate
from tests.unit import judging
from tests.unit.judging import Judged
from tests.unit.redis_server import real, redis_url

__all__ = ["real", "redis_url"]
LISTED = {digest("ada"), digest("phone")}
TRACK = {"type": "track", "event": "x", "messageId": "m"}


def judge(known: SuppressionList, *raws: dict[str, object]) -> Judged:
    received = Received(source="web", received_at=datetime.now(UTC), suppressed=known)
    raw = [msgspec.Raw(msgspec.json.encode(one)) for one in raws]
    return judging.judge(raw, received)


@pytest.fixture
def known() -> SuppressionList:
    found = SuppressionList(lambda: FakeSuppressions(LISTED))
    asyncio.run(found.prepare())
    return found


def test_a_suppressed_event_has_a_verdict_and_becomes_nothing(known: SuppressionList) -> None:
    """Prevents: a suppressed person in a table, even in that of refused events; and a neighbour who goes with them."""
    batch = judge(
        known,
        {**TRACK, "userId": "ada"},
        {**TRACK, "anonymousId": "phone"},
        {"type": "alias", "userId": "new", "previousId": "ada"},
        {"type": "dance", "userId": "ada", "properties": {"secret": 1}},
        {**TRACK, "userId": "bob"},
        {"type": "dance", "userId": "bob"},
    )
    assert [row.user_id for row in batch.accepted] == ["bob"]
    assert [row.user_id for row in batch.refused] == ["bob"]
    told = [one["failure"] for one in summarise(batch.verdicts)["rejected"]]
    assert told == ["SUPPRESSED"] * 4 + ["UNKNOWN_TYPE"]
    assert known.dropped == 4


def test_the_list_is_read_again_in_the_background() -> None:
    """Prevents: a request that waits for Redis, a list that is never read again, and one that is lost in an outage."""
    store, clock = FakeSuppressions(), [0.0]
    known = SuppressionList(lambda: store, lambda: clock[0])
    known.refresh()
    assert not known.covers("ada")
    store.publish(LISTED)
    known.refresh()
    assert store.reads == 1
    clock[0] = 31.0
    known.refresh()
    known.wait()
    assert known.covers("ada")
    store.error, clock[0] = ConnectionError("refused"), 62.0
    known.refresh()
    known.wait()
    assert known.covers("ada"), "the last copy serves on"
    store.error, store.digests, clock[0] = None, None, 93.0
    known.refresh()
    known.wait()
    assert known.covers("ada"), "a Redis that has lost the list does not empty it"
    store.publish(set())
    clock[0] = 124.0
    known.refresh()
    known.wait()
    assert not known.covers("ada")


@pytest.fixture(params=["fake", "redis"])
def copy(request: pytest.FixtureRequest) -> Suppressions:
    if request.param == "fake":
        return FakeSuppressions()
    request.getfixturevalue("real")
    return RedisSuppressions()


def test_a_copy_is_read_once_a_version(copy: Suppressions) -> None:
    """Prevents: a list of thousands that every instance reads twice a minute."""
    assert copy.read("") is None, "nobody has published one"
    copy.publish(LISTED)
    found = copy.read("")
    assert found
    assert found[1] == LISTED
    assert copy.read(found[0]) is None
    copy.publish(set())
    emptied = copy.read(found[0])
    assert emptied
    assert emptied[1] == frozenset()


def test_the_copy_expires(real: redis.Redis) -> None:
    """Prevents: a suppression that outlives the job that could end it."""
    RedisSuppressions().publish(LISTED)
    assert all(0 < int(str(real.ttl(key))) <= 7 * 86_400 for key in real.scan_iter())


def test_a_files_rows_of_suppressed_people_are_left_out(known: SuppressionList) -> None:
    """Prevents: a person who is suppressed at the door and comes in by a file."""
    at = datetime.now(UTC)
    rows = [
        Interaction(event_id="1", event_type="page", event_timestamp=at, received_at=at, source="s", user_id=user)
        for user in ("ada", "bob")
    ]
    refused = InvalidEvent(
        event_id="2", received_at=at, source="s", failure=Failure.WRONG_TYPE, reason="x", anonymous_id="phone"
    )
    product = ProductUpdate(product_id="ada", updated_at=at)
    assert known.keep_others([*rows, refused, product]) == [rows[1], product]
