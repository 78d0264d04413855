"""What is left of a caller's plan, in Redis: reserved before a call, settled after it, each in one atomic step.

Owns the counters, the reservation, and a shadow plan's counters beside them. Minutes and days slide: they are the last 60
seconds and 24 hours whenever one asks, so that no edge lets twice a limit pass. Money is the calendar month's (UTC), as
providers bill it. A reservation that nobody settles stays: who died in a call may have spent it. Deliberately
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
WINDOWS = {"minute": (60, 60), "day": (86_400, 96)}  # seconds, and in how many slots they are counted
# KEYS: the reservation, counters. ARGV: seconds that the reservation is kept, how many counters refuse (the others are
# a shadow's), then per counter: what is asked, its limit, the slot of now, the oldest slot that counts, its seconds.
# A counter is a hash of slot -> use; older slots are dropped. Answers the first counter that refuses, what is used of it
# and the slot after which there is room; or 0, 0, 0 and then the shadow's counters that would have refused, which then
# count nothing.
_RESERVE = """
local refusing, over = tonumber(ARGV[2]), {}
for i = 1, #KEYS - 1 do
  local at = 5 * i - 2
  local asked, limit, oldest = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 3])
  local used, slots, found = 0, {}, redis.call('HGETALL', KEYS[i + 1])
  for j = 1, #found, 2 do
    local slot, amount = tonumber(found[j]), tonumber(found[j + 1])
    if slot < oldest then
      redis.call('HDEL', KEYS[i + 1], found[j])
    else
      used = used + amount
      slots[#slots + 1] = {slot, amount}
    end
  end
  if asked > 0 and used + asked > limit then
    if i <= refusing then
      table.sort(slots, function(a, b) return a[1] < b[1] end)
      local left, last = used, oldest
      for _, entry in ipairs(slots) do
        if left + asked <= limit then break end
        left, last = left - entry[2], entry[1]
      end
      return {i, used, last}
    end
    over[#over + 1] = i
  end
end
local counting = #over > 0 and refusing or #KEYS - 1
for i = 1, counting do
  local at = 5 * i - 2
  redis.call('HINCRBY', KEYS[i + 1], ARGV[at + 2], ARGV[at])
  redis.call('EXPIRE', KEYS[i + 1], ARGV[at + 4])
  redis.call('HSET', KEYS[1], i, ARGV[at])
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return {0, 0, 0, unpack(over)}
"""
# KEYS: the reservation, counters. ARGV: per counter what was used and the slot in which it was held; a slot that has gone
# is left alone. The second time does nothing.
_SETTLE = """
for i = 1, #KEYS - 1 do
  local held = redis.call('HGET', KEYS[1], i)
  if held and redis.call('HEXISTS', KEYS[i + 1], ARGV[2 * i]) == 1 then
    local change = string.format('%.0f', tonumber(ARGV[2 * i - 1]) - tonumber(held))
    redis.call('HINCRBY', KEYS[i + 1], ARGV[2 * i], change)
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
    """One limit: its name in plans.yaml, its key, its limit, and the slots of time that it counts, `oldest` to `slot`.

    Each slot is `width_seconds` long, so that a slot that has just begun is counted for the whole window and a little
    longer: no more than the limit passes in any window, wherever it begins. A month is one slot, which `ends`.
    """

    name: str
    unit: str
    key: str
    limit: int
    slot: int = 0
    oldest: int = 0
    width_seconds: float = 0
    ends: float = 0
    seconds: int

    def free_at(self, slot: int) -> float:
        """When the use of a slot no longer counts, in seconds since 1970."""
        return self.ends or (slot + self.slot - self.oldest + 1) * self.width_seconds


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """What is held for one call; `shadow_limits` would have refused it."""

    id: str
    counters: tuple[Counter, ...]
    shadow_limits: tuple[str, ...] = ()


class OverQuota(Exception):
    """A limit of the plan leaves no room: which, how much of it is used, what was asked, seconds until there is room."""

    def __init__(self, counter: Counter, used: int, asked: int, wait_seconds: float) -> None:
        super().__init__(f"{counter.name} is {write_amount(counter, counter.limit)}")
        self.counter = counter
        self.used = used
        self.asked = asked
        self.retry_after_seconds = max(1, math.ceil(wait_seconds))


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
        now = self._now()
        refusing, shadow = list_counters(terms, now)
        counters, name = (*refusing, *shadow), str(uuid4())
        values = [
            value
            for counter in counters
            for value in (_amount(use, counter), counter.limit, counter.slot, counter.oldest, counter.seconds)
        ]
        index, used, slot, *over = client().register_script(_RESERVE)(
            keys=_keys(terms.caller, name, counters), args=[HOUR_SECONDS, len(refusing), *values]
        )
        if index:
            counter = counters[index - 1]
            raise OverQuota(counter, used, _amount(use, counter), counter.free_at(slot) - now)
        limits = tuple(counters[number - 1].name for number in over)
        return Reservation(id=_held(terms.caller, name), counters=counters, shadow_limits=limits)

    def settle(self, reservation: Reservation, use: Use) -> None:
        """Put what was used in place of what was held; once."""
        client().register_script(_SETTLE)(
            keys=[reservation.id, *(counter.key for counter in reservation.counters)],
            args=[value for counter in reservation.counters for value in (_amount(use, counter), counter.slot)],
        )


class FakeQuotas:
    """The same limits in dicts as if no time passed, without shadows; `error` fails everything."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.used: dict[str, int] = {}
        self._held: dict[str, dict[str, int]] = {}

    def reserve(self, terms: Terms, use: Use) -> Reservation:
        """Hold what a call may use at most, or nothing of it; OverQuota when a limit leaves no room."""
        if self.error:
            raise self.error
        now = time.time()
        counters, _ = list_counters(terms, now)
        for counter in counters:
            used, asked = self.used.get(counter.key, 0), _amount(use, counter)
            if asked and used + asked > counter.limit:
                raise OverQuota(counter, used, asked, counter.free_at(counter.slot) - now)
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


def list_counters(terms: Terms, now: float) -> tuple[list[Counter], list[Counter]]:
    """The counters of a caller's plan at a time (seconds since 1970), and those of its shadow."""
    shadow = list(_count(terms.caller, terms.shadow, now, "shadow")) if terms.shadow else []
    return list(_count(terms.caller, terms.plan, now, "plan")), shadow


def write_amount(counter: Counter, amount: int) -> str:
    """An amount as people write it."""
    return f"{amount / NANO:.4f} USD" if counter.unit == "nano_usd" else str(amount)


def _count(caller: str, plan: Plan, now: float, kind: str) -> Iterator[Counter]:
    limits = [
        ("requests_per_minute", "requests", plan.requests_per_minute),
        ("tokens_per_minute", "tokens", plan.tokens_per_minute),
        ("requests_per_day", "requests", plan.requests_per_day),
        ("tokens_per_day", "tokens", plan.tokens_per_day),
    ]
    for name, unit, limit in limits:
        window_seconds, slots = WINDOWS[name.rpartition("_")[2]]
        width = window_seconds / slots
        slot = math.floor(now / width)
        yield Counter(
            name=name,
            unit=unit,
            key=f"quota:{{{caller}}}:{kind}:{name}",
            limit=limit,
            slot=slot,
            oldest=slot - slots,
            width_seconds=width,
            seconds=2 * window_seconds,
        )
    begins = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    ends = (begins + timedelta(days=32)).replace(day=1)
    yield Counter(
        name="usd_per_month",
        unit="nano_usd",
        key=f"quota:{{{caller}}}:{kind}:usd_per_month:{begins:%Y%m}",
        limit=int(plan.usd_per_month * NANO),
        ends=ends.timestamp(),
        seconds=62 * 86400,
    )


def _amount(use: Use, counter: Counter) -> int:
    return {"requests": use.requests, "tokens": use.tokens, "nano_usd": use.nano_usd}[counter.unit]


def _held(caller: str, name: str) -> str:
    # The braces keep a caller's keys on one node of a cluster, where a script needs them together.
    return f"quota:{{{caller}}}:held:{name}"


def _keys(caller: str, name: str, counters: Sequence[Counter]) -> list[str]:
    return [_held(caller, name), *(counter.key for counter in counters)]
