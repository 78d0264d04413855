"""The blackboard: short-lived texts in Redis that agents share. Every key has a TTL.

Owns the connection and its bounded waits. What the keys are called is in `schemas.messages`; what they mean belongs to
the swarm. Nothing here is the only copy of a fact: messages are rows in BigQuery.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from agents.tools.once import once
from agents.tools.settings import require, settings
from schemas import topology

if TYPE_CHECKING:
    from redis import Redis

TASK_SECONDS = 86_400  # a task lives minutes; a day lets a person look at it
WAIT_SECONDS = 5.0  # one command; longer means that Redis is ill, and the message is tried again
# Sets what is not set yet and reads everything, in one step: of two answers at once one handler sees both.
_LEARN = """
if ARGV[2] == '0' and redis.call('EXISTS', KEYS[1]) == 0 then return false end
for index = 3, #ARGV, 2 do redis.call('HSETNX', KEYS[1], ARGV[index], ARGV[index + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return redis.call('HGETALL', KEYS[1])
"""


class Blackboard(Protocol):
    """Where agents leave what others need."""

    def get(self, key: str) -> str | None:
        """The text under a key, or None."""
        ...

    def get_all(self, keys: list[str]) -> list[str | None]:
        """The texts under several keys, read at one instant, in their order."""
        ...

    def put(self, key: str, value: str, ttl_seconds: int = TASK_SECONDS) -> None:
        """Set a key."""
        ...

    def claim(self, key: str, value: str, ttl_seconds: int = TASK_SECONDS) -> str:
        """Set a key unless it is there; what it holds now. Of many claims at once exactly one wins."""
        ...

    def learn(self, key: str, facts: Mapping[str, str], *, create: bool = False) -> dict[str, str] | None:
        """Set those fields of a hash that are not set yet; the whole hash as it is now, at one instant.

        A hash that is not there stays so unless `create` is given, and None comes back.
        """
        ...

    def schedule(self, key: str, member: str, due: float) -> None:
        """Put a member into a list by the time (seconds since 1970) when it is due, or move it there."""
        ...

    def unschedule(self, key: str, member: str) -> None:
        """Take a member out of a list."""
        ...

    def find_due(self, key: str, until: float, limit: int) -> list[tuple[str, float]]:
        """The members that are due until then, with their times, the earliest first."""
        ...

    def forget(self, key: str) -> None:
        """Remove a key."""
        ...


class RedisBlackboard:
    """Redis. Raises redis.exceptions.RedisError when it does not answer in time."""

    def get(self, key: str) -> str | None:
        """The text under a key, or None."""
        return self.get_all([key])[0]

    def get_all(self, keys: list[str]) -> list[str | None]:
        """The texts under several keys, read at one instant, in their order."""
        values = client().mget(keys) if keys else []
        return [None if value is None else str(value) for value in values]

    def put(self, key: str, value: str, ttl_seconds: int = TASK_SECONDS) -> None:
        """Set a key."""
        client().set(key, value, ex=ttl_seconds)

    def claim(self, key: str, value: str, ttl_seconds: int = TASK_SECONDS) -> str:
        """Set a key unless it is there; what it holds now."""
        # NX with GET needs Redis 7; the laptop's is 6.2. A key that expires between the two is simply ours.
        if client().set(key, value, ex=ttl_seconds, nx=True):
            return value
        return self.get(key) or value

    def learn(self, key: str, facts: Mapping[str, str], *, create: bool = False) -> dict[str, str] | None:
        """Set those fields of a hash that are not set yet; the whole hash, or None when there is none."""
        parts = [part for fact in facts.items() for part in fact]
        found: Any = client().register_script(_LEARN)(keys=[key], args=[TASK_SECONDS, int(create), *parts])
        return dict(zip(found[::2], found[1::2], strict=True)) if found else None

    def schedule(self, key: str, member: str, due: float) -> None:
        """Put a member into a list by the time when it is due."""
        client().zadd(key, {member: due})

    def unschedule(self, key: str, member: str) -> None:
        """Take a member out of a list."""
        client().zrem(key, member)

    def find_due(self, key: str, until: float, limit: int) -> list[tuple[str, float]]:
        """The members that are due until then, with their times."""
        found: Any = client().zrangebyscore(key, "-inf", until, start=0, num=limit, withscores=True)
        return [(str(member), float(due)) for member, due in found]

    def forget(self, key: str) -> None:
        """Remove a key."""
        client().delete(key)


class FakeBlackboard:
    """A dict that keeps each key's TTL; `error` fails everything."""

    def __init__(self, error: Exception | None = None) -> None:
        self.values: dict[str, str] = {}
        self.ttls_seconds: dict[str, int] = {}
        self.hashes: dict[str, dict[str, str]] = {}
        self.lists: dict[str, dict[str, float]] = {}
        self.error = error

    def get(self, key: str) -> str | None:
        """The text under a key, or None."""
        return self.get_all([key])[0]

    def get_all(self, keys: list[str]) -> list[str | None]:
        """The texts under several keys."""
        if self.error:
            raise self.error
        return [self.values.get(key) for key in keys]

    def put(self, key: str, value: str, ttl_seconds: int = TASK_SECONDS) -> None:
        """Set a key."""
        if self.error:
            raise self.error
        self.values[key] = value
        self.ttls_seconds[key] = ttl_seconds

    def claim(self, key: str, value: str, ttl_seconds: int = TASK_SECONDS) -> str:
        """Set a key unless it is there; what it holds now."""
        if self.get(key) is None:
            self.put(key, value, ttl_seconds)
        return self.values[key]

    def learn(self, key: str, facts: Mapping[str, str], *, create: bool = False) -> dict[str, str] | None:
        """Set those fields of a hash that are not set yet; the whole hash, or None when there is none."""
        if self.error:
            raise self.error
        if key not in self.hashes and not create:
            return None
        self.hashes[key] = {**facts, **self.hashes.get(key, {})}
        return dict(self.hashes[key])

    def schedule(self, key: str, member: str, due: float) -> None:
        """Put a member into a list by the time when it is due."""
        self.lists.setdefault(key, {})[member] = due

    def unschedule(self, key: str, member: str) -> None:
        """Take a member out of a list."""
        self.lists.get(key, {}).pop(member, None)

    def find_due(self, key: str, until: float, limit: int) -> list[tuple[str, float]]:
        """The members that are due until then, with their times."""
        due = [(member, at) for member, at in self.lists.get(key, {}).items() if at <= until]
        return sorted(due, key=lambda entry: entry[1])[:limit]

    def forget(self, key: str) -> None:
        """Remove a key."""
        self.values.pop(key, None)
        self.hashes.pop(key, None)

    def empty(self) -> None:
        """Forget everything, as FLUSHALL does."""
        for kept in (self.values, self.hashes, self.lists, self.ttls_seconds):
            kept.clear()


@once
def redis_blackboard() -> RedisBlackboard:
    """The process's one blackboard."""
    return RedisBlackboard()


@once
def client() -> Redis:
    """The process's one Redis client, also used by the weather; it waits WAIT_SECONDS at most for one command."""
    from redis import Redis
    from redis.backoff import ExponentialBackoff
    from redis.retry import Retry

    if "blackboard" not in topology.load().access(settings().service).stores:
        raise PermissionError(f"{settings().service} may not use the blackboard; topology.yaml grants it")
    return Redis.from_url(
        require(settings().redis_url, "REDIS_URL"),
        decode_responses=True,
        socket_timeout=WAIT_SECONDS,
        socket_connect_timeout=WAIT_SECONDS,
        health_check_interval=30,  # an idle Cloud Run instance loses its connections silently
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),  # a stale connection; the bus does the rest
    )
