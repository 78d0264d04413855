"""Circuit breakers in Redis: what fails too often is left alone for a while, by every instance of every function.

Owns the states: closed; open for as long as the window after too many failures in it; then half open: one may try, and
its success closes the circuit, its failure opens it again. A Redis that was emptied has closed circuits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agents.tools.blackboard import client
from agents.tools.once import once

# KEYS: failures (sorted set by time), open (until when). ARGV: now, window, failures that open it, name of the failure.
_RECORD = """
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1] - ARGV[2])
redis.call('EXPIRE', KEYS[1], math.ceil(ARGV[2]) * 2)
local was = redis.call('GET', KEYS[2])
if (was and tonumber(was) <= tonumber(ARGV[1])) or redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
  redis.call('SET', KEYS[2], ARGV[1] + ARGV[2], 'EX', math.ceil(ARGV[2]) * 10)
end
return 1
"""
# KEYS: open, probe. ARGV: now, how long one try keeps the others away. 1: go on, 0: leave it alone.
_ADMIT = """
local till = redis.call('GET', KEYS[1])
if not till then return 1 end
if tonumber(till) > tonumber(ARGV[1]) then return 0 end
return redis.call('SET', KEYS[2], '1', 'NX', 'EX', math.ceil(ARGV[2])) and 1 or 0
"""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """When a circuit opens: so many failures within the window. It stays open for as long."""

    failures: int
    window_seconds: float


class Breakers(Protocol):
    """Circuits by name."""

    def admit(self, name: str, try_seconds: float) -> bool:
        """Whether to go on: the circuit is closed, or half open and nobody else has tried within `try_seconds`."""
        ...

    def record_failure(self, name: str, limit: Limit, failure_id: str) -> None:
        """Count a failure; the same id counts once."""
        ...

    def record_success(self, name: str) -> None:
        """Close the circuit."""
        ...


class RedisBreakers:
    """Redis. Raises redis.exceptions.RedisError when it does not answer in time."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now

    def admit(self, name: str, try_seconds: float) -> bool:
        """Whether to go on."""
        _, opened, probe = _keys(name)
        return bool(client().register_script(_ADMIT)(keys=[opened, probe], args=[self._now(), try_seconds]))

    def record_failure(self, name: str, limit: Limit, failure_id: str) -> None:
        """Count a failure."""
        failures, opened, _ = _keys(name)
        client().register_script(_RECORD)(
            keys=[failures, opened], args=[self._now(), limit.window_seconds, limit.failures, failure_id]
        )

    def record_success(self, name: str) -> None:
        """Close the circuit."""
        client().delete(*_keys(name))


class FakeBreakers:
    """The same states in dicts."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._failures: dict[str, dict[str, float]] = {}
        self._open_until: dict[str, float] = {}
        self._tried_until: dict[str, float] = {}

    def admit(self, name: str, try_seconds: float) -> bool:
        """Whether to go on."""
        now = self._now()
        if name not in self._open_until:
            return True
        if self._open_until[name] > now or self._tried_until.get(name, 0) > now:
            return False
        self._tried_until[name] = now + try_seconds
        return True

    def record_failure(self, name: str, limit: Limit, failure_id: str) -> None:
        """Count a failure."""
        now = self._now()
        recent = {key: at for key, at in self._failures.get(name, {}).items() if at > now - limit.window_seconds}
        self._failures[name] = {**recent, failure_id: now}
        half_open = name in self._open_until and self._open_until[name] <= now
        if half_open or len(self._failures[name]) >= limit.failures:
            self._open_until[name] = now + limit.window_seconds

    def record_success(self, name: str) -> None:
        """Close the circuit."""
        for kept in (self._failures, self._open_until, self._tried_until):
            kept.pop(name, None)


@once
def redis_breakers() -> RedisBreakers:
    """The process's breakers."""
    return RedisBreakers()


def _keys(name: str) -> tuple[str, str, str]:
    # The braces keep the three on one node of a cluster, where a script needs them together.
    return f"breaker:{{{name}}}:failures", f"breaker:{{{name}}}:open", f"breaker:{{{name}}}:probe"
