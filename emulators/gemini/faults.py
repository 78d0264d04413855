"""Broken calls on demand: every n-th one fails, each one is late.

Owns the plan and the count of calls. Deliberately not here: which calls count, and how an error is written.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class FaultPlan:
    """`every` 3 fails calls 3, 6, 9 and so on with `status`; 0 fails none. Every call takes `latency_seconds`."""

    every: int = 0
    status: int = 503
    latency_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.every < 0 or self.latency_seconds < 0 or not 400 <= self.status <= 599:
            raise ValueError("every and latency_seconds must not be negative, status must be 400 to 599")


def read_plan(body: object) -> FaultPlan:
    """Returns the plan of a POST body; raises `ValueError` when a name or a type is wrong."""
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    kinds: dict[str, Any] = {"every": int, "status": int, "latency_seconds": (int, float)}
    given: dict[str, Any] = body
    for name, value in given.items():
        if name not in kinds or isinstance(value, bool) or not isinstance(value, kinds[name]):
            raise ValueError(f"{name} = {value!r} is not one of {sorted(kinds)} with a number")
    return FaultPlan(**given)


class Faults:
    """The plan in force and the calls since it began."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan
        self._calls = 0

    def set_plan(self, plan: FaultPlan) -> None:
        """Begins a plan; the count starts anew, so that a test knows which call fails."""
        self._plan = plan
        self._calls = 0

    def describe(self) -> dict[str, Any]:
        return {**asdict(self._plan), "calls": self._calls}

    async def meet(self) -> int | None:
        """Counts a call, lets it wait, and returns the status it must fail with, or None."""
        self._calls += 1
        fails = self._plan.every > 0 and self._calls % self._plan.every == 0
        status = self._plan.status
        await asyncio.sleep(self._plan.latency_seconds)
        return status if fails else None
