"""A source that is late or failing is left alone, and not for longer than it deserves."""

from __future__ import annotations

import pytest

from agents.recommender import bounds
from agents.recommender.bounds import REST_SECONDS, Bound, Unavailable


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


def fail() -> None:
    raise ConnectionError("refused")


def is_asked(bound: Bound) -> bool:
    try:
        bound.ask(fail, (ConnectionError,))
    except Unavailable as error:
        return "left alone" not in str(error)
    return True


def test_rest_grows_while_it_fails_and_ends_with_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a store's one pause that costs every answer its paths for long; a dead store that everybody waits for."""
    clock, bound = Clock(), Bound("graph", 0.5)
    monkeypatch.setattr(bounds, "time", clock)
    assert is_asked(bound)
    rests: list[float] = []
    for _ in range(6):
        began = clock.now
        while not is_asked(bound):
            clock.now += 0.25
        rests.append(clock.now - began)
    assert rests == [1.0, 2.0, 4.0, 8.0, REST_SECONDS, REST_SECONDS]
    clock.now += REST_SECONDS
    assert bound.ask(lambda: "well", (ConnectionError,)) == "well"
    assert is_asked(bound)
    clock.now += 1.0
    assert is_asked(bound), "after an answer it begins anew"
