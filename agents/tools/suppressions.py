"""The copy of the suppression list that collect reads: digests in Redis, with a version that changes with them.

Firestore (`regulations.py`) has the truth; the job `forget` writes the copy anew with every run, so a Redis that lost it has
it again within the job's schedule.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from agents.tools.blackboard import client
from agents.tools.once import once

VERSION = "suppressions:version"
DIGESTS = "suppressions:digests"
TTL_SECONDS = 7 * 86_400  # the job writes it anew every few minutes


class Suppressions(Protocol):
    """Where the copy is."""

    def publish(self, digests: set[str]) -> None:
        """Make this the list."""
        ...

    def read(self, version: str) -> tuple[str, frozenset[str]] | None:
        """The list with its version; None when it is still the version given, or nobody has published one."""
        ...


class RedisSuppressions:
    """Redis. Raises redis.exceptions.RedisError when it does not answer in time."""

    def publish(self, digests: set[str]) -> None:
        """Make this the list."""
        with client().pipeline(transaction=True) as together:
            together.delete(DIGESTS)
            if digests:
                together.sadd(DIGESTS, *sorted(digests))
                together.expire(DIGESTS, TTL_SECONDS)
            together.set(VERSION, make_version(digests), ex=TTL_SECONDS)
            together.execute()

    def read(self, version: str) -> tuple[str, frozenset[str]] | None:
        """The list with its version; None when there is nothing new."""
        found = client().get(VERSION)
        if found is None or found == version:
            return None
        digests: set[str] = client().smembers(DIGESTS)  # pyright: ignore[reportAssignmentType] -- redis types sync and async as one
        return make_version(digests), frozenset(digests)


class FakeSuppressions:
    """A list in memory; `error` fails every read."""

    def __init__(self, digests: set[str] | None = None, error: Exception | None = None) -> None:
        self.digests = digests
        self.error = error
        self.reads = 0

    def publish(self, digests: set[str]) -> None:
        """Make this the list."""
        self.digests = set(digests)

    def read(self, version: str) -> tuple[str, frozenset[str]] | None:
        """The list with its version."""
        self.reads += 1
        if self.error:
            raise self.error
        if self.digests is None or make_version(self.digests) == version:
            return None
        return make_version(self.digests), frozenset(self.digests)


def make_version(digests: set[str]) -> str:
    """The version of a list: the same for the same ids."""
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


@once
def redis_suppressions() -> RedisSuppressions:
    """The process's one copy."""
    return RedisSuppressions()
