"""A plan's limits hold whatever comes at once, in Redis as in the fake that other tests trust."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
import redis

from agents.gateway import plans
from agents.gateway.plans import Plan, Terms
from agents.gateway.quotas import NANO, FakeQuotas, OverQuota, Quotas, RedisQuotas, Use
from schemas import topology
from tests.unit.redis_server import real, redis_url

__all__ = ["real", "redis_url"]
PLAN = Plan(
    models=["gemini-3.8-flash"],
    requests_per_minute=10,
    requests_per_day=15,
    tokens_per_minute=1000,
    tokens_per_day=10_000,
    usd_per_month=Decimal(1),
)
NOON = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC).timestamp()


class Time:
    now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(params=["fake", "redis"])
def quotas(request: pytest.FixtureRequest, time: Time) -> Quotas:
    if request.param == "fake":
        return FakeQuotas()
    request.getfixturevalue("real")
    return RedisQuotas(time)


def _terms(caller: str = "A", shadow: Plan | None = None, **limits: object) -> Terms:
    return Terms(caller=caller, plan=msgspec.structs.replace(PLAN, **limits), shadow=shadow)


def _with(terms: Terms, name: str, limit: int) -> Terms:
    return msgspec.structs.replace(terms, plan=msgspec.structs.replace(terms.plan, **{name: limit}))


def _refused(reserve: Callable[[], object]) -> str:
    with pytest.raises(OverQuota) as over:
        reserve()
    return over.value.counter.name


def test_each_limit_refuses_by_its_name(quotas: Quotas) -> None:
    """Prevents: a 429 that does not say what to raise, and a limit that is only written down."""
    big = Use(requests=1, tokens=600, nano_usd=NANO // 10 * 6)
    for name in ("requests_per_minute", "requests_per_day"):
        terms = _with(_terms(name), name, 1)
        quotas.reserve(terms, Use(requests=1))
        assert _refused(lambda terms=terms: quotas.reserve(terms, Use(requests=1))) == name
    for name in ("tokens_per_minute", "tokens_per_day"):
        terms = _terms(name, tokens_per_minute=10**6, usd_per_month=Decimal(9)) if "day" in name else _terms(name)
        terms = _with(terms, name, 1000)
        quotas.reserve(terms, Use(requests=1, tokens=600))
        assert _refused(lambda terms=terms: quotas.reserve(terms, big)) == name
    terms = _terms("money", tokens_per_minute=10**6)
    quotas.reserve(terms, big)
    assert _refused(lambda: quotas.reserve(terms, big)) == "usd_per_month"


def test_a_refused_call_holds_nothing(quotas: Quotas) -> None:
    """Prevents: a caller that is locked out by the calls that it did not get."""
    terms = _terms()
    for _ in range(20):
        assert _refused(lambda: quotas.reserve(terms, Use(requests=1, tokens=1001))) == "tokens_per_minute"
    quotas.reserve(terms, Use(requests=1, tokens=1000))


def test_what_was_held_too_much_comes_back_once(quotas: Quotas) -> None:
    """Prevents: an estimate that counts as use, and a settlement that is delivered twice and pays twice."""
    terms = _terms()
    held = quotas.reserve(terms, Use(requests=1, tokens=900))
    assert _refused(lambda: quotas.reserve(terms, Use(requests=1, tokens=200))) == "tokens_per_minute"
    for _ in range(3):
        quotas.settle(held, Use(requests=1, tokens=100))
    quotas.reserve(terms, Use(requests=1, tokens=900))
    assert _refused(lambda: quotas.reserve(terms, Use(requests=1, tokens=1))) == "tokens_per_minute"


def test_use_beyond_the_reservation_counts(quotas: Quotas) -> None:
    """Prevents: a budget that is passed unseen because a model wrote more than was thought."""
    terms = _terms()
    quotas.settle(quotas.reserve(terms, Use(requests=1, tokens=10)), Use(requests=1, tokens=995))
    assert _refused(lambda: quotas.reserve(terms, Use(requests=1, tokens=6))) == "tokens_per_minute"


def test_callers_do_not_share(quotas: Quotas) -> None:
    """Prevents: one agent that talks on the bill of another."""
    for name in ("A", "B"):
        for _ in range(10):
            quotas.reserve(_terms(name), Use(requests=1))
    assert _refused(lambda: quotas.reserve(_terms("A"), Use(requests=1))) == "requests_per_minute"


def test_exactly_the_cap_is_admitted_under_concurrency(real: redis.Redis, time: Time) -> None:
    """Prevents: two calls that both see the last free place."""
    del real
    quotas = RedisQuotas(time)
    start = threading.Barrier(20)

    def ask(_number: int) -> int:
        start.wait()
        admitted = 0
        for _ in range(5):
            try:
                quotas.reserve(_terms(requests_per_minute=37, requests_per_day=100), Use(requests=1, tokens=1))
            except OverQuota as over:
                assert over.used == 37  # noqa: PT017  # not the test of the exception
            else:
                admitted += 1
        return admitted

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(ask, range(20))) == 37


def test_no_edge_of_a_minute_lets_twice_the_limit_pass(real: redis.Redis, time: Time) -> None:
    """Prevents: a caller that gets its whole minute before the clock turns, and another one after."""
    del real
    quotas, terms, passed = RedisQuotas(time), _terms(requests_per_day=10_000), list[float]()
    time.now = NOON + 29.5
    for _ in range(1500):  # five minutes, a try every fifth of a second
        try:
            quotas.reserve(terms, Use(requests=1))
            passed.append(time.now)
        except OverQuota:
            pass
        time.now += 0.2
    assert max(sum(begin <= at < begin + 60 for at in passed) for begin in passed) == 10
    assert len(passed) >= 45, "the window must let them pass again as it moves on"


def test_a_day_slides_as_a_minute_does(real: redis.Redis, time: Time) -> None:
    """Prevents: two days' tokens around midnight."""
    del real
    quotas, terms = RedisQuotas(time), _terms(tokens_per_day=1000)
    time.now = NOON + 12 * 3600 - 31  # a second before midnight
    quotas.reserve(terms, Use(tokens=1000))
    time.now += 61
    with pytest.raises(OverQuota) as over:
        quotas.reserve(terms, Use(tokens=1))
    assert over.value.counter.name == "tokens_per_day"
    assert 86_400 - 61 <= over.value.retry_after_seconds <= 86_400 - 61 + 900
    time.now += over.value.retry_after_seconds
    quotas.reserve(terms, Use(tokens=1000))


def test_a_retry_after_is_when_there_is_room(real: redis.Redis, time: Time) -> None:
    """Prevents: a Retry-After after which nothing is better."""
    quotas, terms = RedisQuotas(time), _terms()
    for _ in range(10):
        quotas.reserve(terms, Use(requests=1))
    with pytest.raises(OverQuota) as over:
        quotas.reserve(terms, Use(requests=1))
    assert over.value.retry_after_seconds == 61  # the second in which they were counted, and 60 more
    time.now += over.value.retry_after_seconds - 2
    with pytest.raises(OverQuota):
        quotas.reserve(terms, Use(requests=1))
    time.now += 2 - over.value.retry_after_seconds
    time.now += over.value.retry_after_seconds
    for _ in range(5):
        quotas.reserve(terms, Use(requests=1))
    with pytest.raises(OverQuota) as over:
        quotas.reserve(terms, Use(requests=1))
    assert over.value.counter.name == "requests_per_day"
    assert over.value.retry_after_seconds == 24 * 3600 + 900 - 61 - 30  # the quarter of an hour began 30 s before noon
    assert all(real.ttl(key) > 0 for key in real.keys("quota:*"))  # pyright: ignore[reportGeneralTypeIssues]


def test_money_is_kept_for_the_month_to_the_last_billionth(real: redis.Redis, time: Time) -> None:
    """Prevents: large sums that Lua rounds."""
    del real
    quotas, terms = RedisQuotas(time), _terms(usd_per_month=Decimal(2_000_000), requests_per_minute=99)
    most = 2_000_000 * NANO
    quotas.settle(quotas.reserve(terms, Use(nano_usd=most)), Use(nano_usd=most - 1))
    assert _refused(lambda: quotas.reserve(terms, Use(nano_usd=2))) == "usd_per_month"
    quotas.reserve(terms, Use(nano_usd=1))
    time.now += 86400 * 12  # December
    quotas.reserve(terms, Use(nano_usd=most))


def test_a_late_settlement_of_a_window_that_is_gone_leaves_no_counter_for_ever(real: redis.Redis, time: Time) -> None:
    """Prevents: keys without an end, and a minute that begins below zero."""
    quotas, terms = RedisQuotas(time), _terms()
    held = quotas.reserve(terms, Use(requests=1, tokens=900))
    for key in real.keys("*minute*"):  # pyright: ignore[reportGeneralTypeIssues]
        real.delete(key)
    quotas.settle(held, Use(requests=1, tokens=1))
    assert real.keys("*minute*") == []


def test_a_shadow_plan_reports_and_refuses_nothing(real: redis.Redis, time: Time) -> None:
    """Prevents: a new limit that is tried on customers, and a trial that counts what it would have refused."""
    del real
    quotas = RedisQuotas(time)
    terms = _terms(shadow=msgspec.structs.replace(PLAN, requests_per_minute=3))
    seen = [quotas.reserve(terms, Use(requests=1)) for _ in range(6)]
    assert [held.shadow_limits for held in seen] == [(), (), ()] + [("requests_per_minute",)] * 3
    quotas.settle(seen[5], Use(requests=0))  # it never counted in the shadow
    assert quotas.reserve(terms, Use(requests=1)).shadow_limits == ("requests_per_minute",)


def test_the_plans_on_file_are_whole() -> None:
    """Prevents: a caller of the laptop cloud that is refused, and a plan that names what is not there."""
    assert plans.load().keys() == set(topology.load().callers("llm").values()), (
        "who may call has a plan, and nobody else"
    )
    text = plans.PATH.read_text(encoding="utf-8")
    for wrong, words in [
        (text.replace("plan: standard", "plan: free"), "plans.yaml:20: default: the plan 'free' is not under plans"),
        (
            text.replace("plan: thinking", "plan: free"),
            "plans.yaml:22: callers.EngagementAnalystAgent: the plan 'free'",
        ),
        (
            text.replace("[gemini-3.8-flash", "[gemini-9", 1),
            "plans.standard.models: 'gemini-9' is not in models.yaml; there is gemini-3.8-flash",
        ),
        (text.replace("usd_per_month: 400", "usd_per_month: -1"), "usd_per_month"),
        (text.replace("    requests_per_day: 1000000\n", ""), "requests_per_day"),
        (text.replace("tokens_per_day", "token_per_day"), "token_per_day"),
    ]:
        with pytest.raises(ValueError, match=words):
            plans.parse(wrong)
