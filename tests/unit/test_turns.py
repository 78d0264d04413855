"""Requests of one turn of the loop are stored together, and each hears only of its own events."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from agents.intake.limits import SEGMENT, Incoming
from agents.intake.segment import Received, read_message
from agents.intake.storing import NotDurable
from agents.intake.turns import Turns
from agents.intake.verdicts import Keep, Verdicts, judge_events
from agents.tools import metrics, trace
from agents.tools.bus import Outgoing
from agents.tools.landing import FakeLanding
from agents.tools.publishing import FakePublisher

RECEIVED = Received(source="web", received_at=datetime(2026, 11, 20, 8, tzinfo=UTC))
TRACES = [f"00-{number:032x}-{number:016x}-01" for number in (1, 2)]


class CountingPublisher(FakePublisher):
    """Counts its calls; with `go` each waits for it."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(error)
        self.calls: list[int] = []
        self.go = asyncio.Event()
        self.go.set()

    async def publish(self, topic: str, messages: list[Outgoing]) -> None:
        self.calls.append(len(messages))
        await self.go.wait()
        await super().publish(topic, messages)


def judge(*ids: str) -> Callable[[Keep], Verdicts]:
    raws = [{"type": "page", "anonymousId": "a", "messageId": one} for one in ids]
    return lambda keep: judge_events(Incoming(raws=[*raws], limits=SEGMENT), read_message, RECEIVED, keep)


def fail(keep: Keep) -> Verdicts:
    del keep
    raise ValueError("the body is no JSON")


def test_requests_of_one_turn_share_a_publish_and_each_has_its_own_verdicts() -> None:
    publisher = CountingPublisher()

    async def scenario() -> Sequence[Verdicts]:
        turns = Turns(publisher, FakeLanding())
        return await asyncio.gather(turns.take(judge("a")), turns.take(judge("b", "c")), turns.take(judge()))

    assert [verdicts.accepted for verdicts in asyncio.run(scenario())] == [1, 2, 0]
    assert publisher.calls == [3]


def test_a_request_that_cannot_be_read_fails_alone() -> None:
    """Prevents: one client's broken body that loses its neighbours' events, or their answers."""
    publisher = CountingPublisher()

    async def scenario() -> Sequence[Verdicts | BaseException]:
        turns = Turns(publisher, FakeLanding())
        return await asyncio.gather(
            turns.take(judge("a")), turns.take(fail), turns.take(judge("b")), return_exceptions=True
        )

    first, broken, second = asyncio.run(scenario())
    assert isinstance(broken, ValueError)
    assert isinstance(first, Verdicts)
    assert isinstance(second, Verdicts)
    assert publisher.calls == [2]


def test_nobody_is_answered_before_the_rows_are_durable() -> None:
    publisher = CountingPublisher()

    async def scenario() -> None:
        turns = Turns(publisher, FakeLanding())
        publisher.go.clear()
        first = asyncio.ensure_future(turns.take(judge("a")))
        await asyncio.sleep(0.02)
        second = asyncio.ensure_future(turns.take(judge("b")))
        await asyncio.sleep(0.02)
        assert (publisher.calls, first.done(), second.done()) == ([1, 1], False, False)
        publisher.go.set()
        await asyncio.gather(first, second)

    asyncio.run(scenario())


def test_a_client_that_goes_away_takes_nobody_with_it() -> None:
    """Prevents: a cancelled request that ends the turn's own work, or gets a result that nobody may set."""
    publisher = CountingPublisher()

    async def scenario() -> None:
        turns = Turns(publisher, FakeLanding())
        publisher.go.clear()
        early, gone = asyncio.ensure_future(turns.take(judge("a"))), asyncio.ensure_future(turns.take(judge("b")))
        await asyncio.sleep(0.02)
        gone.cancel()
        await asyncio.sleep(0)
        publisher.go.set()
        assert (await early).accepted == 1
        unread = asyncio.ensure_future(turns.take(judge("c")))
        stays = asyncio.ensure_future(turns.take(judge("d")))
        await asyncio.sleep(0)
        unread.cancel()
        assert (await stays).accepted == 1

    asyncio.run(scenario())


def test_when_nothing_takes_the_rows_every_request_of_the_turn_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[tuple[str, float]] = []

    def count(name: str, value: float = 1, label: str = "") -> None:
        del label
        counted.append((name, value))

    monkeypatch.setattr(metrics, "count", count)

    async def scenario() -> Sequence[Verdicts | BaseException]:
        turns = Turns(CountingPublisher(TimeoutError()), FakeLanding(OSError()))
        return await asyncio.gather(turns.take(judge("a")), turns.take(judge("b")), return_exceptions=True)

    assert [type(outcome) for outcome in asyncio.run(scenario())] == [NotDurable, NotDurable]
    assert counted == [("requests_unavailable", 2)], "what the alarm adds up is requests"


@pytest.mark.parametrize("order", [(TRACES[0], TRACES[1], None), (None, TRACES[0], TRACES[1])])
def test_each_message_carries_the_trace_of_its_own_request(order: tuple[str | None, ...]) -> None:
    """Prevents: the trace of whoever came first in a turn on everybody's events."""
    publisher = CountingPublisher()

    async def send(turns: Turns, number: int, given: str | None) -> None:
        trace.follow(given)
        await turns.take(judge(f"m{number}"))

    async def scenario() -> None:
        turns = Turns(publisher, FakeLanding())
        await asyncio.gather(*(send(turns, number, given) for number, given in enumerate(order)))

    asyncio.run(scenario())
    sent = [message.attributes.get(trace.ATTRIBUTE) for message in publisher.on("user-interactions")]
    assert sent == list(order)
