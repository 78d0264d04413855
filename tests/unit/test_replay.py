"""A replay loses nothing, sends nothing endlessly, and what was sent is what was once published."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from agents.replay import BATCH_MESSAGES, QUIET_SECONDS, SOURCE, Replayed, find_routes, replay
from agents.tools import held as held_module
from agents.tools.bus import Bus, FakeBus, Outgoing
from agents.tools.held import FakeHeld, Held, HeldMessage, PubSubHeld
from agents.tools.profiles import Profile, merge_update
from agents.tools.settings import Settings
from schemas import topology
from schemas.messages import ProfileUpdate

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
BEFORE = START - timedelta(hours=1)
ROUTES = find_routes(topology.load())
ACTIONS, PROFILES = "actions-act", "user-profile-updates-profiles"


def letter(name: str, source: str = ACTIONS, **values: str) -> HeldMessage:
    attributes = {**values, SOURCE: source} if source else values
    return HeldMessage(
        ack_id=f"ack-{name}", message_id=name, published_at=BEFORE, data=name.encode(), attributes=attributes
    )


def run(held: Held, bus: Bus, started: datetime = START) -> Replayed:
    """A replay whose every look at the clock is a quarter of the quiet time later."""
    return replay(held, bus, ROUTES, started, itertools.count(0, QUIET_SECONDS / 4).__next__)


class Broken(FakeBus):
    """Takes every topic but one."""

    def __init__(self, topic: str) -> None:
        super().__init__()
        self.broken = topic

    def send(self, topic: str, message: Outgoing) -> Future[str]:
        if topic != self.broken:
            return super().send(topic, message)
        future: Future[str] = Future()
        future.set_exception(ConnectionError("Pub/Sub is away"))
        return future


def test_a_dead_letter_goes_to_its_own_topic_as_it_once_was() -> None:
    """Prevents: a replay that its filter drops for want of attributes, or that says of itself that it failed."""
    added = {
        "CloudPubSubDeadLetterSourceDeliveryErrorMessage": "no",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "sourceMessageId": "7",
    }
    bus, held = (
        FakeBus(),
        FakeHeld(letter("m", "agent-tasks-recommendation", targetAgent="RecommendationAgent", **added)),
    )
    report = run(held, bus)
    assert bus.sent == [("agent-tasks", Outgoing(data=b"m", attributes={"targetAgent": "RecommendationAgent"}))]
    assert (held.acknowledged, held.waiting, held.taken) == (["m"], [], {})
    assert report == Replayed(sent=Counter({"agent-tasks": 1}))


def test_nothing_is_let_go_before_pubsub_has_its_copy() -> None:
    """Prevents: dead letters that a failing publish loses, or that hold up those that can be sent."""
    held, bus = FakeHeld(letter("a"), letter("p", PROFILES)), Broken("actions")
    report = run(held, bus)
    assert held.acknowledged == ["p"]
    assert [message.message_id for message in held.waiting] == ["a"]
    assert (report.sent, report.failed) == ({"user-profile-updates": 1}, {"actions": 1})
    assert "Pub/Sub is away" in report.describe()


@pytest.mark.parametrize("source", ["", "a-subscription-of-last-year", "dead-letters-warehouse"])
def test_an_unknown_source_stays_held(source: str) -> None:
    """Prevents: messages thrown away, or sent round in a circle, because nobody knows where they came from."""
    held, bus = FakeHeld(letter("lost", source), letter("good")), FakeBus()
    report = run(held, bus)
    assert [message.message_id for message in held.waiting] == ["lost"]
    assert (held.acknowledged, held.taken, len(bus.sent)) == (["good"], {}, 1)
    assert report.unknown == {source or "no source": 1}


class Poisoned(FakeBus):
    """Whatever is sent is dead-lettered again at once."""

    def __init__(self, held: FakeHeld) -> None:
        super().__init__()
        self.held = held

    def send(self, topic: str, message: Outgoing) -> Future[str]:
        again = letter(f"{message.data.decode()}+")
        later = START + timedelta(seconds=len(self.sent) + 1)
        self.held.waiting.append(replace(again, published_at=later))
        return super().send(topic, message)


def test_what_comes_back_waits_for_the_next_run() -> None:
    """Prevents: a poisoned message that one run sends round for ever."""
    held = FakeHeld(letter("m"))
    bus = Poisoned(held)
    report = run(held, bus)
    assert (len(bus.sent), report.newer) == (1, 1)
    assert [message.message_id for message in held.waiting] == ["m+"]
    assert run(held, FakeBus(), START + timedelta(minutes=1)).sent == {"actions": 1}
    assert held.waiting == []


class Stream(FakeHeld):
    """New dead letters come faster than anybody pulls."""

    def pull(self, limit: int) -> list[HeldMessage]:
        self.waiting += [replace(letter(f"new-{self.pulls}-{number}"), published_at=START) for number in range(limit)]
        return super().pull(limit)


def test_a_stream_of_new_dead_letters_does_not_keep_a_run_alive() -> None:
    """Prevents: a run that never ends while the cause is not repaired."""
    held, bus = Stream(letter("old")), FakeBus()
    report = run(held, bus)
    assert (report.sent, report.newer, held.taken) == ({"actions": 1}, held.pulls * BATCH_MESSAGES - 1, {})


class Mixed(FakeHeld):
    """Brings two newer messages, one at a time, before the last older one."""

    def pull(self, limit: int) -> list[HeldMessage]:
        return super().pull(min(limit, 1))


def test_newer_messages_do_not_hide_an_older_one() -> None:
    """Prevents: a run that ends early because what it sent came back at once."""
    newer = [replace(letter(f"new-{number}"), published_at=START) for number in range(2)]
    held, bus = Mixed(letter("first"), *newer, letter("last")), FakeBus()
    assert run(held, bus).sent == {"actions": 2}
    assert (held.acknowledged, len(held.waiting)) == (["first", "last"], 2)


class Hesitant(FakeHeld):
    """Answers every second pull with nothing, as Pub/Sub may."""

    def pull(self, limit: int) -> list[HeldMessage]:
        if self.pulls % 2 == 0:
            self.pulls += 1
            return []
        return super().pull(limit)


def test_one_empty_answer_is_not_the_end() -> None:
    """Prevents: a run that says done while messages are held."""
    held, bus = Hesitant(*(letter(str(number)) for number in range(2 * BATCH_MESSAGES + 1))), FakeBus()
    assert run(held, bus).sent.total() == 2 * BATCH_MESSAGES + 1
    assert (held.waiting, held.taken) == ([], {})


class Forgetful(FakeHeld):
    """Brings each message a second time, as when an acknowledgement came late."""

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        again = [self.taken[ack_id] for ack_id in ack_ids if self.taken[ack_id].message_id not in self.acknowledged]
        super().acknowledge(ack_ids)
        self.waiting += again


def test_a_message_that_comes_a_second_time_is_let_go_and_not_sent() -> None:
    """Prevents: one message sent twice by one run."""
    held, bus = Forgetful(letter("m")), FakeBus()
    assert run(held, bus).sent == {"actions": 1}
    assert (len(bus.sent), held.acknowledged, held.waiting) == (1, ["m", "m"], [])


class Impatient(FakeHeld):
    """Takes every lease back before the next pull, under a new ack id."""

    def pull(self, limit: int) -> list[HeldMessage]:
        again = [replace(message, ack_id=f"{message.ack_id}+") for message in self.taken.values()]
        self.taken.clear()
        self.waiting += again
        return super().pull(limit)


def test_what_stays_held_is_met_once_however_long_the_run() -> None:
    """Prevents: a run kept alive by one message that it cannot send, counted again with each lease that ends."""
    held, bus = Impatient(letter("lost", "gone")), FakeBus()
    assert run(held, bus).unknown == {"gone": 1}
    assert held.pulls > 1
    assert ([message.message_id for message in held.waiting], held.taken) == (["lost"], {})


class Downstream(FakeBus):
    """The topic's function: merges profile updates."""

    def __init__(self) -> None:
        super().__init__()
        self.profiles: dict[str, Profile] = {}
        self.changes = 0

    def send(self, topic: str, message: Outgoing) -> Future[str]:
        update = msgspec.json.decode(message.data, type=ProfileUpdate)
        merged = merge_update(self.profiles.get(update.user_id), update)
        if merged:
            self.profiles[update.user_id] = merged
            self.changes += 1
        return super().send(topic, message)


def test_a_killed_replay_and_another_change_nothing_more() -> None:
    """Prevents: a person's data changed twice, or not at all, because a replay died halfway."""
    letters = [
        HeldMessage(
            ack_id=f"ack-{number}",
            message_id=str(number),
            published_at=BEFORE,
            data=msgspec.json.encode(
                ProfileUpdate(
                    user_id="ana", event_id=f"e{number}", at=BEFORE + timedelta(seconds=number), fields={"n": number}
                )
            ),
            attributes={SOURCE: PROFILES},
        )
        for number in range(3)
    ]
    held, bus = FakeHeld(*letters, errors=[ConnectionError("killed")]), Downstream()
    with pytest.raises(ConnectionError):
        run(held, bus)
    assert held.acknowledged == []
    after_one, changes = dict(bus.profiles), bus.changes
    held.expire()
    assert run(held, bus).sent == {"user-profile-updates": 3}
    assert run(held, bus).sent == {}
    assert (len(bus.sent), sorted(held.acknowledged)) == (6, ["0", "1", "2"])
    assert (bus.profiles, bus.changes) == (after_one, changes)
    assert bus.profiles["ana"].fields == {"n": 2}


def test_the_summary_counts_by_topic() -> None:
    """Prevents: an operator who cannot tell what went where."""
    held = FakeHeld(letter("1"), letter("2"), letter("3", PROFILES), letter("4", "gone"))
    line = run(held, FakeBus()).describe()
    assert line == "3 sent (actions 2, user-profile-updates 1); 1 of unknown source still held (gone 1)"
    assert run(FakeHeld(), FakeBus()).describe() == "0 sent"


def test_only_who_is_granted_it_may_pull(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a function that works on a laptop and is refused in the cloud."""
    monkeypatch.setattr(held_module, "settings", lambda: Settings(project="p", service="collect"))
    with pytest.raises(PermissionError, match="collect may not pull 'dead-letters-replay'"):
        PubSubHeld("dead-letters-replay")
