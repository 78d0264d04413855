"""Every key of Redis, whatever it is for: how a person is found in keys that nobody has thought of.

Owns the walk over all keys and the reading of every type as one text. For the job `forget`; everybody else knows the keys
that they ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

import msgspec

from agents.tools.blackboard import client
from agents.tools.once import once

SCAN_KEYS = 500


class Keys(Protocol):
    """Where short-lived texts are."""

    def scan(self) -> Iterator[tuple[str, str]]:
        """Every key with its value as a text; a key may come twice."""
        ...

    def delete(self, keys: Iterable[str]) -> int:
        """Remove keys; how many were there."""
        ...


class RedisKeys:
    """Redis. Raises redis.exceptions.RedisError when it does not answer in time."""

    def scan(self) -> Iterator[tuple[str, str]]:
        """Every key with its value as a text; one that expires meanwhile is left out."""
        names: Iterator[str] = client().scan_iter(count=SCAN_KEYS)
        while chunk := list(islice(names, SCAN_KEYS)):
            for key in chunk:
                text = _read(key)
                if text is not None:
                    yield key, text

    def delete(self, keys: Iterable[str]) -> int:
        """Remove keys; how many were there."""
        names = list(keys)
        return int(client().delete(*names)) if names else 0  # pyright: ignore[reportArgumentType] -- redis types sync and async as one


class FakeKeys:
    """Keys in a dict; `error` fails everything."""

    def __init__(self, values: dict[str, str] | None = None, error: Exception | None = None) -> None:
        self.values = dict(values or {})
        self.error = error

    def scan(self) -> Iterator[tuple[str, str]]:
        """Every key with its value."""
        if self.error:
            raise self.error
        yield from list(self.values.items())

    def delete(self, keys: Iterable[str]) -> int:
        """Remove keys."""
        return sum(self.values.pop(key, None) is not None for key in keys)


@once
def redis_keys() -> RedisKeys:
    """The process's one view of Redis' keys."""
    return RedisKeys()


def _read(key: str) -> str | None:
    redis: Any = client()  # redis types sync and async as one
    readers: dict[str, Callable[[str], Any]] = {
        "string": redis.get,
        "hash": redis.hgetall,
        "list": lambda name: redis.lrange(name, 0, -1),
        "set": redis.smembers,
        "zset": lambda name: redis.zrange(name, 0, -1),
        "stream": redis.xrange,
    }
    reader = readers.get(redis.type(key))
    value = reader(key) if reader else None
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()
