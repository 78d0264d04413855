"""Requests' rows share calls to Pub/Sub, and each request hears only of its own: no success before the acknowledgement."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument, ServiceUnavailable
from google.pubsub_v1.types import PublishRequest
from hypothesis import given
from hypothesis import strategies as st

from agents.intake.outgoing import Outbox
from agents.intake.segment import Received
from agents.intake.storing import NotDurable, store_rows
from agents.tools import publishing, spilling
from agents.tools.bus import Outgoing
from agents.tools.landing import FakeLanding
from agents.tools.publish_call import encode_messages, encode_request
from agents.tools.publishing import BatchingPublisher, FakePublisher, cut_calls
from agents.tools.settings import settings
from tests.unit import judging

TOPIC = "user-interactions"
NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)


class Calls:
    """Pub/Sub's publish call, held until it is let go."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.go = asyncio.Event()
        self.errors: list[Exception | None] = []

    async def __call__(self, path: str, request: bytes, timeout_seconds: float) -> None:
        number = len(self.sizes)
        sent = read_request(request)
        assert path == sent.topic == f"projects/argo-test/topics/{TOPIC}"
        self.sizes.append(len(sent.messages))
        async with asyncio.timeout(timeout_seconds):
            await self.go.wait()
        if number < len(self.errors) and (error := self.errors[number]):
            raise error


def read_request(request: bytes) -> PublishRequest:
    """As the official types read it."""
    read: Any = PublishRequest.deserialize(request)
    return read


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "argo-test")
    monkeypatch.setenv("K_SERVICE", "collect")
    settings.cache_clear()
    yield Calls()
    settings.cache_clear()


def some(count: int) -> list[Outgoing]:
    return [Outgoing(data=b"{}", attributes={"n": str(n)}) for n in range(count)]


async def let_run() -> None:
    await asyncio.sleep(0.05)


def run(calls: Calls, test: Callable[[BatchingPublisher], Any]) -> Any:
    return asyncio.run(test(BatchingPublisher(calls)))


def test_nothing_is_answered_before_the_acknowledgement(calls: Calls) -> None:
    async def scenario(publisher: BatchingPublisher) -> None:
        request = asyncio.ensure_future(publisher.publish(TOPIC, some(3)))
        await let_run()
        assert (calls.sizes, request.done()) == ([3], False)
        calls.go.set()
        await request

    run(calls, scenario)


def test_requests_that_come_meanwhile_share_the_next_call(calls: Calls) -> None:
    async def scenario(publisher: BatchingPublisher) -> None:
        first = [asyncio.ensure_future(publisher.publish(TOPIC, some(1))) for _ in range(5)]
        await let_run()
        assert calls.sizes == [5], "requests of one turn go out together"
        waiting = [asyncio.ensure_future(publisher.publish(TOPIC, some(2))) for _ in range(7)]
        await let_run()
        assert calls.sizes == [5]
        calls.go.set()
        await asyncio.gather(*first, *waiting)
        assert calls.sizes == [5, 14]

    run(calls, scenario)


def test_a_slow_call_does_not_hold_up_much_work(calls: Calls) -> None:
    async def scenario(publisher: BatchingPublisher) -> None:
        requests: list[asyncio.Future[None]] = []
        for _ in range(publishing.CALLS_UNDER_WAY + 2):
            requests.append(asyncio.ensure_future(publisher.publish(TOPIC, some(publishing.FURTHER_CALL_MESSAGES))))
            await let_run()
        assert len(calls.sizes) == publishing.CALLS_UNDER_WAY, "and not more at a time"
        calls.go.set()
        await asyncio.gather(*requests)
        assert sum(calls.sizes) == len(requests) * publishing.FURTHER_CALL_MESSAGES

    run(calls, scenario)


def test_a_failed_call_fails_only_the_requests_in_it(calls: Calls) -> None:
    calls.errors = [ConnectionError("refused")]

    async def scenario(publisher: BatchingPublisher) -> list[BaseException | None]:
        bad = asyncio.ensure_future(publisher.publish(TOPIC, some(1)))
        await let_run()
        good = asyncio.ensure_future(publisher.publish(TOPIC, some(publishing.FURTHER_CALL_MESSAGES)))
        await let_run()
        calls.go.set()
        return list(await asyncio.gather(bad, good, return_exceptions=True))

    failed, fine = run(calls, scenario)
    assert (type(failed), fine) == (ConnectionError, None)


def test_a_stalled_pubsub_is_a_timeout_and_not_a_success(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_early(monkeypatch)
    monkeypatch.setattr(publishing, "PAUSE_SECONDS", 0.0)

    async def scenario(publisher: BatchingPublisher) -> None:
        with pytest.raises(TimeoutError):
            await publisher.publish(TOPIC, some(1))
        calls.go.set()
        await publisher.publish(TOPIC, some(1))

    run(calls, scenario)


def stop_early(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACK_SECONDS", "LEAST_CALL_SECONDS"):
        monkeypatch.setattr(publishing, name, 0.05)


def test_an_outage_costs_one_request_its_wait_and_ends_with_one_success(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: every request of an outage waiting for seconds; a service that never asks Pub/Sub again."""
    monkeypatch.setattr(publishing, "PAUSE_SECONDS", 0.05)
    calls.errors = [ServiceUnavailable("down")]  # pyright: ignore[reportUnknownMemberType, reportArgumentType]
    calls.go.set()

    async def scenario(publisher: BatchingPublisher) -> None:
        with pytest.raises(ServiceUnavailable):
            await publisher.publish(TOPIC, some(1))
        with pytest.raises(publishing.NotTaken):
            await publisher.publish(TOPIC, some(1))
        await asyncio.sleep(0.1)
        calls.go.clear()
        trial = asyncio.ensure_future(publisher.publish(TOPIC, some(1)))
        await let_run()
        with pytest.raises(publishing.NotTaken):
            await publisher.publish(TOPIC, some(1))
        calls.go.set()
        await trial
        await publisher.publish(TOPIC, some(1))
        assert calls.sizes == [1, 1, 1]

    run(calls, scenario)


def test_a_refused_message_is_no_outage(calls: Calls) -> None:
    """Prevents: one client's odd message that sends everybody's events through the landing bucket."""
    calls.errors = [InvalidArgument("attribute too long")]
    calls.go.set()

    async def scenario(publisher: BatchingPublisher) -> None:
        with pytest.raises(InvalidArgument):
            await publisher.publish(TOPIC, some(1))
        await publisher.publish(TOPIC, some(1))

    run(calls, scenario)


def test_what_nobody_waits_for_any_more_is_not_sent(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: an outage's requests piling up in memory, to be published a second time when it ends."""
    stop_early(monkeypatch)

    async def scenario(publisher: BatchingPublisher) -> None:
        first = asyncio.ensure_future(publisher.publish(TOPIC, some(1)))
        await asyncio.sleep(0.01)
        outcomes = await asyncio.gather(first, publisher.publish(TOPIC, some(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [TimeoutError, TimeoutError]
        calls.go.set()
        await let_run()
        assert calls.sizes == [1]

    run(calls, scenario)


def test_more_than_a_call_takes_is_cut() -> None:
    assert [len(part) for part, _ in cut_calls([b"x"] * 2500)] == [1000, 1000, 500]
    large = [b"x" * 1_500_000] * 5
    assert [(len(part), size) for part, size in cut_calls(large)] == [(2, 3_000_000), (2, 3_000_000), (1, 1_500_000)]
    assert list(cut_calls([])) == []


TEXTS = st.text(st.characters(codec="utf-8"), max_size=300)


@given(st.lists(st.tuples(st.binary(max_size=20_000), st.dictionaries(TEXTS, TEXTS, max_size=4)), max_size=4))
def test_the_bytes_of_a_call_are_what_the_official_types_read(
    given_messages: list[tuple[bytes, dict[str, str]]],
) -> None:
    """Prevents: a message that Pub/Sub reads as another, or not at all."""
    messages = [Outgoing(data=data, attributes=attributes) for data, attributes in given_messages]
    request = read_request(encode_request("projects/p/topics/t", encode_messages(messages)))
    assert request.topic == "projects/p/topics/t"
    assert [(message.data, dict(message.attributes)) for message in request.messages] == given_messages


def test_a_topic_that_the_topology_does_not_grant_is_refused(calls: Calls) -> None:
    with pytest.raises(PermissionError, match="actions"):
        run(calls, lambda publisher: publisher.publish("actions", some(1)))
    assert calls.sizes == []


def judge(*raws: object) -> Outbox:
    return judging.judge(raws, Received(source="web", received_at=NOW)).outbox


GOOD = {"type": "track", "event": "x", "userId": "u", "messageId": "m1"}


class HalfDown(FakePublisher):
    """Takes everything but one topic."""

    async def publish(self, topic: str, messages: list[Outgoing]) -> None:
        if topic == "user-profile-updates":
            raise TimeoutError
        await super().publish(topic, messages)


def test_a_row_of_which_one_message_is_missing_is_spilled_whole() -> None:
    publisher, landing = HalfDown(), FakeLanding()
    asyncio.run(store_rows(judge(GOOD, {"type": "page", "anonymousId": "a"}, {}), publisher, landing))
    ((name, data),) = landing.objects.items()
    assert name.startswith("spill/")
    assert data.count(b"\n") == 1, "the others are durable already"
    assert b'"m1"' in data


class SlowLanding(FakeLanding):
    """Takes its time for the first object."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def write(self, name: str, data: bytes) -> None:
        if len(self.objects) < spilling.WRITES_UNDER_WAY:
            assert self.go.wait(5)
        super().write(name, data)


def test_requests_that_spill_together_share_objects_and_lose_nobody() -> None:
    """Prevents: an object a request in an outage, or rows with the id of another source's taken for written."""
    landing, count = SlowLanding(), 50

    async def scenario() -> None:
        sources = [Received(source=f"source-{number}", received_at=NOW) for number in range(count)]
        batches = [judging.judge([GOOD], source).outbox for source in sources]
        requests = [
            asyncio.ensure_future(store_rows(batch, FakePublisher(TimeoutError()), landing)) for batch in batches
        ]
        await let_run()
        landing.go.set()
        await asyncio.gather(*requests)

    asyncio.run(scenario())
    assert len(landing.objects) == spilling.WRITES_UNDER_WAY + 1
    lines = b"".join(landing.objects.values()).splitlines()
    assert len({json.loads(line)["interaction"]["source"] for line in lines}) == len(lines) == count


def test_when_nothing_takes_it_the_client_is_not_told_success() -> None:
    with pytest.raises(NotDurable):
        asyncio.run(store_rows(judge(GOOD), FakePublisher(TimeoutError()), FakeLanding(OSError())))


def test_an_empty_batch_needs_no_pubsub() -> None:
    asyncio.run(store_rows(judge(), FakePublisher(TimeoutError()), FakeLanding(OSError())))
