"""Plans, fallbacks, circuits and money at the gateway: who answers, who pays, and what a refusal says."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from agents.gateway import models, plans
from agents.gateway.errors import GatewayError
from agents.gateway.plans import Plan
from agents.gateway.providers import EXTRAS, find_provider
from agents.gateway.questions import FakeProvider, ProviderError, Question, Reply
from agents.gateway.quotas import FakeQuotas
from agents.gateway.service import CALL_SECONDS, generate
from agents.tools.settings import settings
from tests.unit.test_gateway import BUSY, CALLER, GOOD, REVIEW, World, make_ports

FLASH, LITE = "gemini-3.8-flash", "gemini-3.5-flash-lite"
ON_FLASH = msgspec.structs.replace(REVIEW, model=FLASH)


class Split(FakeProvider):
    """Fails for one model, answers for the others; keeps whom it was asked for."""

    def __init__(self, failing: str, error: Exception) -> None:
        super().__init__()
        self.failing, self.error = failing, error

    async def ask(self, question: Question) -> Reply:
        self.asked.append(question)
        if question.model == self.failing:
            raise self.error
        return Reply(text=GOOD, model_version=question.model, input_tokens=1000, output_tokens=100)


def _refusal(ports: World, caller: str = CALLER) -> GatewayError:
    with pytest.raises(GatewayError) as refused:
        asyncio.run(generate(ON_FLASH, caller, ports))
    return refused.value


def _limit(monkeypatch: pytest.MonkeyPatch, **limits: object) -> None:
    terms = plans.load()[CALLER]
    plan: Plan = msgspec.structs.replace(terms.plan, **limits)
    changed = msgspec.structs.replace(terms, plan=plan)
    monkeypatch.setattr(plans, "load", lambda: {CALLER: changed})


@pytest.mark.parametrize(
    "error",
    [
        BUSY,
        ProviderError("404 NOT_FOUND", status=404, retryable=False),
        ProviderError("TIMEOUT", status=504, retryable=True),
    ],
)
def test_a_model_that_fails_is_answered_for_by_its_fallback(error: ProviderError) -> None:
    """Prevents: a swarm that stands still because one model does."""
    ports = make_ports(provider=Split(FLASH, error))
    answer = asyncio.run(generate(ON_FLASH, CALLER, ports))
    assert (answer.model, ports.row().model, ports.row().asked_model) == (LITE, LITE, FLASH)
    assert ports.row().status == "ok"


def test_what_the_question_itself_is_refused_for_is_not_asked_again() -> None:
    """Prevents: paying a second model to say the same."""
    ports = make_ports(provider=Split(FLASH, ProviderError("400 INVALID_ARGUMENT", status=400, retryable=False)))
    assert _refusal(ports).status == 502
    assert [question.model for question in ports.provider.asked] == [FLASH]


def test_a_model_that_hangs_leaves_time_for_its_fallback() -> None:
    """Prevents: a fallback that is never reached in time."""

    class Hanging(Split):
        async def ask(self, question: Question) -> Reply:
            if question.model == self.failing:
                await asyncio.sleep(CALL_SECONDS)
            return await super().ask(question)

    ports = make_ports(provider=Hanging(FLASH, BUSY), call_seconds=0.5)
    assert asyncio.run(generate(ON_FLASH, CALLER, ports)).model == LITE


def test_a_circuit_keeps_calls_from_a_model_that_is_down() -> None:
    """Prevents: every call that waits for three tries of a dead model first."""
    ports = make_ports(provider=Split(FLASH, BUSY))
    for _ in range(8):
        asyncio.run(generate(ON_FLASH, CALLER, ports))
    tried = [question.model for question in ports.provider.asked].count(FLASH)
    assert tried == 5 * 3, "five failures of three tries open the circuit"


def test_when_every_circuit_is_open_the_answer_says_when_to_come_back() -> None:
    """Prevents: callers that hammer, and an error that blames the key."""
    ports = make_ports(*[BUSY] * 99)
    for _ in range(5):
        _refusal(ports)
    refusal = _refusal(ports)
    assert (refusal.status, refusal.retry_after_seconds) == (503, 30)
    assert FLASH in refusal.error


def test_a_caller_without_a_plan_gets_nothing() -> None:
    """Prevents: a key that was made and forgotten."""
    ports = make_ports(GOOD)
    refusal = _refusal(ports, "stranger")
    assert (refusal.status, ports.provider.asked) == (403, [])
    assert "plans.yaml" in refusal.fix


def test_a_model_outside_the_plan_is_refused_and_never_a_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a cheap plan that ends at a dear model."""
    _limit(monkeypatch, models=[LITE])
    assert (_refusal(make_ports(GOOD)).status, _refusal(make_ports(GOOD)).error) == (
        403,
        f"the plan of SecurityGuardianAgent does not hold the model {FLASH}",
    )
    _limit(monkeypatch, models=[FLASH])
    ports = make_ports(provider=Split(FLASH, BUSY))
    assert _refusal(ports).status == 503
    assert {question.model for question in ports.provider.asked} == {FLASH}


@pytest.mark.parametrize(
    ("limits", "status", "name"),
    [
        ({"requests_per_minute": 1}, 429, "requests_per_minute"),
        ({"requests_per_day": 1}, 429, "requests_per_day"),
        ({"tokens_per_minute": 12_000}, 429, "tokens_per_minute"),
        ({"usd_per_month": Decimal("0.04")}, 402, "usd_per_month"),
    ],
)
def test_a_used_up_limit_is_named_with_its_value_and_its_end(
    monkeypatch: pytest.MonkeyPatch, limits: dict[str, object], status: int, name: str
) -> None:
    """Prevents: a 429 that nobody can act on."""
    _limit(monkeypatch, **limits)
    heavy = Reply(text=GOOD, model_version=FLASH, input_tokens=2000, output_tokens=9_000)
    ports = make_ports(heavy, heavy)
    asyncio.run(generate(ON_FLASH, CALLER, ports))
    refusal = _refusal(ports)
    assert (refusal.status, refusal.limit) == (status, name)
    assert name in refusal.error
    assert "agents/gateway/plans.yaml" in refusal.fix
    assert (refusal.retry_after_seconds or 0) > 0
    assert len(ports.provider.asked) == 1
    assert ports.rows()[-1].status == f"OVER_{name.upper()}"


def test_what_can_never_fit_is_not_told_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a caller that waits a minute, again and again."""
    _limit(monkeypatch, tokens_per_minute=100)
    refusal = _refusal(make_ports(GOOD))
    assert (refusal.status, refusal.retry_after_seconds) == (413, None)


def test_a_call_is_settled_at_what_it_used_and_a_failed_one_at_nothing() -> None:
    """Prevents: a month's money that is eaten by estimates."""
    ports = make_ports(GOOD)
    asyncio.run(generate(ON_FLASH, CALLER, ports))
    cost = models.load()[FLASH].cost_nano_usd(ports.now().date(), 10, 5)
    used = {key.split(":")[3]: amount for key, amount in ports.quotas.used.items()}
    assert used["usd_per_month"] == cost
    assert (used["tokens_per_day"], used["requests_per_day"]) == (15, 1)
    assert ports.row().cost_usd == Decimal(cost) / 10**9
    ports = make_ports(provider=Split(FLASH, ProviderError("400 BAD", status=400, retryable=False)))
    _refusal(ports)
    assert {key.split(":")[3]: amount for key, amount in ports.quotas.used.items()}["usd_per_month"] == 0


def test_a_call_that_ran_out_of_time_is_charged_what_it_held() -> None:
    """Prevents: money that the provider bills and no budget knows."""

    class Slow(FakeProvider):
        async def ask(self, question: Question) -> Reply:
            await asyncio.sleep(30)
            return await super().ask(question)

    ports = make_ports(provider=Slow(GOOD), call_seconds=0.3)
    assert _refusal(ports).status == 504
    assert {key.split(":")[3]: amount for key, amount in ports.quotas.used.items()}["usd_per_month"] > 0
    assert (ports.row().cost_usd or 0) > 0


def test_without_redis_nothing_is_asked() -> None:
    """Prevents: budgets that do not hold while their store is away."""
    ports = make_ports(GOOD, quotas=FakeQuotas(error=RedisConnectionError("down")))
    assert _refusal(ports).status == 503
    assert not ports.provider.asked


def test_a_price_holds_from_its_day_and_cached_tokens_are_cheaper() -> None:
    """Prevents: the new year's price that comes as a surprise, and rows that overstate a cache."""
    flash, sonnet = models.load()[FLASH], models.load()["claude-sonnet-5-5"]
    from datetime import date

    assert flash.cost_nano_usd(date(2026, 12, 31), 1_000_000, 0) == 750_000_000
    assert flash.cost_nano_usd(date(2027, 1, 1), 1_000_000, 1_000_000) == 9_000_000_000
    assert sonnet.cost_nano_usd(date(2026, 11, 20), 1_000_000, 0, cached_tokens=1_000_000) == 100_000_000


def test_a_registry_with_a_wrong_fallback_or_price_is_refused() -> None:
    """Prevents: a fallback that fails when it is needed."""
    text = models.PATH.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"models.yaml:[0-9]+: 2.fallback: 'gemini-0' is not in it"):
        models.parse(text.replace("cached: 0.10}]\n  fallback: [gemini-3.8-flash]", "}]\n  fallback: [gemini-0]"))
    with pytest.raises(ValueError, match="below 0"):
        models.parse(text.replace("input: 0.30", "input: -1"))


@pytest.mark.parametrize("provider", sorted(EXTRAS))
def test_a_missing_extra_is_told_by_its_command(monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    """Prevents: a stack trace for a package that was never asked for."""
    import sys

    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("K_SERVICE", "llm")
    monkeypatch.delitem(sys.modules, f"agents.gateway.providers.{provider}", raising=False)
    monkeypatch.setitem(sys.modules, provider, None)
    settings.cache_clear()
    find_provider.cache_clear()
    try:
        with pytest.raises(GatewayError, match=provider) as refused:
            find_provider(provider)
    finally:
        settings.cache_clear()
        find_provider.cache_clear()
    assert (refused.value.status, "argo[models]" in refused.value.fix) == (501, True)
