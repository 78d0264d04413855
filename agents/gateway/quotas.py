"""What is left of a caller's plan, in Redis: reserved before a call, settled after it, each in one atomic step.

Owns the counters (a caller's requests, tokens and money per minute, day and month, UTC), the reservation, and a shadow
plan's counters beside them. A reservation that nobody settles stays: who died in a call may have spent it. Deliberately
knows no model and no price. A Redis that was emptied has counted nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import uuid4

from agents.gateway.plans import Plan, Terms
from agents.tools.blackboard import client
from agents.tools.once import once

NANO = 1_000_000_000
HOUR_SECONDS = 3600  # longer than any call: after that a reservation can no longer be settled
# KEYS: the reservation, counters. ARGV: seconds that the reservation is kept, how many counters refuse (the others are
# a shadow's), then per counter: what is asked, its limit, its seconds. Answers the first counter that refuses and what
# is used of it; or 0, 0 and then the shadow's counters that would have refused, which then count nothing.
_RESERVE = """
local refusing, over = tonumber(ARGV[2]), {}
for i = 1, #KEYS - 1 do
  local used = tonumber(redis.call('GET', KEYS[i + 1]) or '0')
  local asked = tonumber(ARGV[3 * i])
  if asked > 0 and used + asked > tonumber(ARGV[3 * i + 1]) then
    if i <= refusing then return {i, used} end
    over[#over + 1] = i
  end
end
local last = #over > 0 and refusing or #KEYS - 1
for i = 1, last do
  redis.call('INCRBY', KEYS[i + 1], ARGV[3 * i])
  redis.call('EXPIRE', KEYS[i + 1], ARGV[3 * i + 2])
  redis.call('HSET', KEYS[1], i, ARGV[3 * i])
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return {0, 0, unpack(over)}
"""
# KEYS: the reservation, counters. ARGV: per counter what was used. The second time does nothing.
_SETTLE = """
for i = 1, #KEYS - 1 do
  local held = redis.call('HGET', KEYS[1], i)
  if held and redis.call('EXISTS', KEYS[i + 1]) == 1 then
    redis.call('INCRBY', KEYS[i + 1], string.format('%.0f', tonumber(ARGV[i]) - tonumber(held)))
  end
end
return redis.call('DEL', KEYS[1])
"""


@dataclass(frozen=True, kw_only=True)
class Use:
    """Requests, tokens, and money in billionths of a dollar."""

    requests: int = 0
    tokens: int = 0
    nano_usd: int = 0


@dataclass(frozen=True, kw_only=True)
class Counter:
    """One limit in one window: its name in plans.yaml, its key, its limit, and when the window ends."""

    name: str
    unit: str
    key: str
    limit: int
    ends: datetime
    seconds: int


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """What is held for one call; `shadow_limits` would have refused it."""

    id: str
    counters: tuple[Counter, ...]
    shadow_limits: tuple[str, ...] = ()


class OverQuota(Exception):
    """A limit of the plan leaves no room: which, how much of it is used, what was asked, seconds until it begins anew."""

    def __init__(self, counter: Counter, used: int, asked: int, now: datetime) -> None:
        super().__init__(f"{counter.name} is {write_amount(counter, counter.limit)}")
        self.counter = counter
        self.used = used
        self.asked = asked
        self.retry_after_seconds = max(1, math.ceil((counter.ends - now).total_seconds()))


class Quotas(Protocol):
    """Where use is counted."""

    def reserve(self, terms: Terms, use: Use) -> Reservation:
        """Hold what a call may use at most, or nothing of it; OverQuota when a limit leaves no room."""
        ...

    def settle(self, reservation: Reservation, use: Use) -> None:
        """Put what was used in place of what was held; once."""
        ...


class RedisQuotas:
    """Redis. Raises redis.exceptions.RedisError when it does not answer in time."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now

    def reserve(self, terms: Terms, use: Use) -> Reservation:
        """Hold what a call may use at most, or nothing of it; OverQuota when a limit leaves no room."""
        now = datetime.fromtimestamp(self._now(), UTC)
        refusing, shadow = list_counters(terms, now)
        counters, name = (*refusing, *shadow), str(uuid4())
        amounts = [(_amount(use, counter), counter.limit, counter.seconds) for counter in counters]
        script = client().register_script(_RESERVE)
        index, used, *over = script(
            keys=_keys(terms.caller, name, counters),
            args=[HOUR_SECONDS, len(refusing), *(value for amount in amounts for value in amount)],
        )
        if index:
            raise OverQuota(counters[index - 1], used, amounts[index - 1][0], now)
        limits = tuple(counters[number - 1].name for number in over)
        return Reservation(id=_held(terms.caller, name), counters=counters, shadow_limits=limits)

    def settle(self, reservation: Reservation, use: Use) -> None:
        """Put what was used in place of what was held; once."""
        client().register_script(_SETTLE)(
            keys=[reservation.id, *(counter.key for counter in reservation.counters)],
            args=[_amount(use, counter) for counter in reservation.counters],
        )


class FakeQuotas:
    """The same counters in dicts, without shadows; `error` fails everything."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.used: dict[str, int] = {}
        self._held: dict[str, dict[str, int]] = {}

    def reserve(self, terms: Terms, use: Use) -> Reservation:
        """Hold what a call may use at most, or nothing of it; OverQuota when a limit leaves no room."""
        if self.error:
            raise self.error
        now = datetime.now(UTC)
        counters, _ = list_counters(terms, now)
        for counter in counters:
            used, asked = self.used.get(counter.key, 0), _amount(use, counter)
            if asked and used + asked > counter.limit:
                raise OverQuota(counter, used, asked, now)
        held = {counter.key: _amount(use, counter) for counter in counters}
        for key, amount in held.items():
            self.used[key] = self.used.get(key, 0) + amount
        name = str(uuid4())
        self._held[name] = held
        return Reservation(id=name, counters=tuple(counters))

    def settle(self, reservation: Reservation, use: Use) -> None:
        """Put what was used in place of what was held; once."""
        held = self._held.pop(reservation.id, {})
        for counter in reservation.counters:
            if counter.key in held:
                self.used[counter.key] += _amount(use, counter) - held[counter.key]


@once
def redis_quotas() -> RedisQuotas:
    """The process's quotas."""
    return RedisQuotas()


def list_counters(terms: Terms, now: datetime) -> tuple[list[Counter], list[Counter]]:
    """The counters of a caller's plan at a time, and those of its shadow."""
    shadow = list(_count(terms.caller, terms.shadow, now, "shadow")) if terms.shadow else []
    return list(_count(terms.caller, terms.plan, now, "plan")), shadow


def write_amount(counter: Counter, amount: int) -> str:
    """An amount as people write it."""
    return f"{amount / NANO:.4f} USD" if counter.unit == "nano_usd" else str(amount)


def _count(caller: str, plan: Plan, now: datetime, kind: str) -> Iterator[Counter]:
    minute = now.replace(second=0, microsecond=0)
    day = minute.replace(hour=0, minute=0)
    windows = {
        "minute": (minute, minute + timedelta(minutes=1), 120),
        "day": (day, day + timedelta(days=1), 2 * 86400),
        "month": (day.replace(day=1), (day.replace(day=1) + timedelta(days=32)).replace(day=1), 62 * 86400),
    }
    limits = [
        ("requests_per_minute", "requests", plan.requests_per_minute),
        ("tokens_per_minute", "tokens", plan.tokens_per_minute),
        ("requests_per_day", "requests", plan.requests_per_day),
        ("tokens_per_day", "tokens", plan.tokens_per_day),
        ("usd_per_month", "nano_usd", int(plan.usd_per_month * NANO)),
    ]
    for name, unit, limit in limits:
        begins, ends, seconds = windows[name.rpartition("_")[2]]
        key = f"quota:{{{caller}}}:{kind}:{name}:{begins:%Y%m%dT%H%M}"
        yield Counter(name=name, unit=unit, key=key, limit=limit, ends=ends, seconds=seconds)


def _amount(use: Use, counter: Counter) -> int:
    return {"requests": use.requests, "tokens": use.tokens, "nano_usd": use.nano_usd}[counter.unit]


def _held(caller: str, name: str) -> str:
    # The braces keep a caller's keys on one node of a cluster, where a script needs them together.
    return f"quota:{{{caller}}}:held:{name}"


def _keys(caller: str, name: str, counters: Sequence[Counter]) -> list[str]:
    return [_held(caller, name), *(counter.key for counter in counters)]
