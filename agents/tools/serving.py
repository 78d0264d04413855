"""The serving copy: what an answer needs within milliseconds, in Redis, made anew by a job. Every key has a TTL.

Owns the reading and writing of texts, hashes and lists by time; what the keys mean is `agents.recommender.copies`'. Nothing
here is the only copy of a fact: an emptied Redis costs time (BigQuery is asked instead), not truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from agents.tools.blackboard import client
from agents.tools.once import once

TTL_SECONDS = 14 * 86_400  # a job that fails for two weeks leaves BigQuery to be asked
BATCH = 500  # keys in one round trip


class Serving(Protocol):
    """Where the serving copy is."""

    def read(self, texts: list[str], latest: list[str], count: int) -> tuple[list[str | None], list[dict[str, float]]]:
        """The texts under keys, and of each list its `count` latest members with their times; one round trip."""
        ...

    def pick(self, key: str, fields: list[str]) -> list[str | None]:
        """Fields of a hash, in their order."""
        ...

    def put(self, values: Mapping[str, str]) -> None:
        """Set texts."""
        ...

    def fill(self, key: str, fields: Mapping[str, str]) -> None:
        """Set fields of a hash."""
        ...

    def note(self, keys: list[str], members: Mapping[str, float], keep: int) -> None:
        """Put members into lists by time; each keeps its latest time, each list the `keep` latest members."""
        ...


class RedisServing:
    """Redis. Raises redis.exceptions.RedisError when it does not answer."""

    def read(self, texts: list[str], latest: list[str], count: int) -> tuple[list[str | None], list[dict[str, float]]]:
        """The texts under keys, and of each list its `count` latest members with their times."""
        with client().pipeline(transaction=False) as pipeline:
            pipeline.mget(texts)
            for key in latest:
                pipeline.zrevrange(key, 0, count - 1, withscores=True)
            found, *lists = pipeline.execute()
        return list(found), [dict(members) for members in lists]

    def pick(self, key: str, fields: list[str]) -> list[str | None]:
        """Fields of a hash, in their order."""
        found: Any = client().hmget(key, fields) if fields else []
        return list(found)

    def put(self, values: Mapping[str, str]) -> None:
        """Set texts."""
        entries = list(values.items())
        for start in range(0, len(entries), BATCH):
            with client().pipeline(transaction=False) as pipeline:
                for key, value in entries[start : start + BATCH]:
                    pipeline.set(key, value, ex=TTL_SECONDS)
                pipeline.execute()

    def fill(self, key: str, fields: Mapping[str, str]) -> None:
        """Set fields of a hash."""
        entries = list(fields.items())
        for start in range(0, len(entries), BATCH):
            client().hset(key, mapping=dict(entries[start : start + BATCH]))
        client().expire(key, TTL_SECONDS)

    def note(self, keys: list[str], members: Mapping[str, float], keep: int) -> None:
        """Put members into lists by time."""
        with client().pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.zadd(key, dict(members), gt=True)
                pipeline.zremrangebyrank(key, 0, -keep - 1)
                pipeline.expire(key, TTL_SECONDS)
            pipeline.execute()


class FakeServing:
    """The same in dicts; `error` fails everything."""

    def __init__(self, error: Exception | None = None) -> None:
        self.texts: dict[str, str] = {}
        self.hashes: dict[str, dict[str, str]] = {}
        self.lists: dict[str, dict[str, float]] = {}
        self.error = error

    def read(self, texts: list[str], latest: list[str], count: int) -> tuple[list[str | None], list[dict[str, float]]]:
        """The texts, and the latest members of the lists."""
        self._fail()
        lists = [sorted(self.lists.get(key, {}).items(), key=lambda entry: -entry[1])[:count] for key in latest]
        return [self.texts.get(key) for key in texts], [dict(members) for members in lists]

    def pick(self, key: str, fields: list[str]) -> list[str | None]:
        """Fields of a hash, in their order."""
        self._fail()
        return [self.hashes.get(key, {}).get(field) for field in fields]

    def put(self, values: Mapping[str, str]) -> None:
        """Set texts."""
        self._fail()
        self.texts |= values

    def fill(self, key: str, fields: Mapping[str, str]) -> None:
        """Set fields of a hash."""
        self._fail()
        self.hashes.setdefault(key, {}).update(fields)

    def note(self, keys: list[str], members: Mapping[str, float], keep: int) -> None:
        """Put members into lists by time."""
        self._fail()
        for key in keys:
            known = self.lists.setdefault(key, {})
            for member, at in members.items():
                known[member] = max(at, known.get(member, at))
            self.lists[key] = dict(sorted(known.items(), key=lambda entry: entry[1])[-keep:])

    def _fail(self) -> None:
        if self.error:
            raise self.error


@once
def redis_serving() -> RedisServing:
    """The process's one serving copy."""
    return RedisServing()
