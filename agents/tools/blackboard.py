"""The blackboard: short-lived texts in Redis that agents share. Every key has a TTL.

Owns the connection and its bounded waits. What the keys are called is in `schemas.messages`; what they mean belongs to
the swarm. Nothing here is the only copy of a fact: messages are rows in BigQuery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from agents.tools.once import once
from agents.tools.settings import require, settings
from schemas import topology

if TYPE_CHECKING:
    from redis import Redis

TASK_SECONDS = 86_400  # a task lives minutes; a day lets a person look at it
WAIT_SECONDS = 5.0  # one command; longer means that Redis is ill, and the message is tried again


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


class FakeBlackboard:
    """A dict that keeps each key's TTL; `error` fails everything."""

    def __init__(self, error: Exception | None = None) -> None:
        self.values: dict[str, str] = {}
        self.ttls_seconds: dict[str, int] = {}
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
