"""A circuit opens after too many failures, and closes again, in Redis as in the fake that other tests trust."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from agents.tools.breaker import Breakers, FakeBreakers, Limit, RedisBreakers
from tests.unit.redis_server import real, redis_url

__all__ = ["real", "redis_url"]
THREE_A_MINUTE = Limit(failures=3, window_seconds=60)


@dataclass
class Time:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(params=["fake", "redis"])
def breakers(request: pytest.FixtureRequest, time: Time) -> Breakers:
    if request.param == "fake":
        return FakeBreakers(time)
    request.getfixturevalue("real")
    return RedisBreakers(time)


def _fail(breakers: Breakers, time: Time, count: int, name: str = "A.act") -> None:
    for _ in range(count):
        time.now += 1
        breakers.record_failure(name, THREE_A_MINUTE, f"failure-{time.now}")


def test_it_opens_after_so_many_failures_and_only_there(breakers: Breakers, time: Time) -> None:
    """Prevents: one ill agent that closes the way to a healthy one, or that is asked on and on."""
    _fail(breakers, time, 2)
    assert breakers.admit("A.act", 10)
    _fail(breakers, time, 1)
    assert not breakers.admit("A.act", 10)
    assert breakers.admit("A.other", 10)


def test_failures_that_are_long_ago_do_not_count(breakers: Breakers, time: Time) -> None:
    """Prevents: three failures in a year that open a circuit."""
    for _ in range(5):
        _fail(breakers, time, 1)
        time.now += 40
    assert breakers.admit("A.act", 10)


def test_the_same_failure_counts_once(breakers: Breakers) -> None:
    """Prevents: one failure, told three times by the bus, that opens a circuit."""
    for _ in range(5):
        breakers.record_failure("A.act", THREE_A_MINUTE, "one")
    assert breakers.admit("A.act", 10)


def test_after_the_window_one_may_try(breakers: Breakers, time: Time) -> None:
    """Prevents: everybody at once on an agent that has just come back."""
    _fail(breakers, time, 3)
    time.now += 61
    assert [breakers.admit("A.act", 30) for _ in range(3)] == [True, False, False]


def test_a_failed_try_opens_it_again_and_a_good_one_closes_it(breakers: Breakers, time: Time) -> None:
    """Prevents: a circuit that needs three more failures to open again, and one that never closes."""
    _fail(breakers, time, 3)
    time.now += 61
    assert breakers.admit("A.act", 1)
    _fail(breakers, time, 1)
    assert not breakers.admit("A.act", 1)
    time.now += 61
    breakers.record_success("A.act")
    assert [breakers.admit("A.act", 30) for _ in range(3)] == [True, True, True]
