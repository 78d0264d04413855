"""When a training run must not replace the last good one. The same for every backend; pure."""

from __future__ import annotations

from dataclasses import dataclass

FEWEST_ASKED = 30  # people in the validation split, from which its figures are believed
FEWEST_COVERED = 0.9  # share of people who must have candidates
FEWEST_KEPT = 0.5  # of the last good run's candidates


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a run found: NDCG@20 of its candidates and of popularity, of how many people asked; of how many people in all.

    `last` are the candidates of the last good run, 0 before the first. `covered` people have `count` candidates; None before
    there are any.
    """

    asked: int
    found: float
    popular: float
    people: int
    last: int
    covered: int | None = None
    count: int | None = None


def find_fault(judged: Judged) -> str:
    """Why a run must not replace the last good one; empty when it may."""
    if judged.asked >= FEWEST_ASKED and judged.found < judged.popular:
        return f"NDCG@20 on the validation split is {judged.found:.4f}, popularity's {judged.popular:.4f}"
    if judged.covered is not None and judged.covered < FEWEST_COVERED * judged.people:
        return f"only {judged.covered} of {judged.people} people have candidates; at least {FEWEST_COVERED:.0%} must"
    if judged.count is not None and judged.count < FEWEST_KEPT * judged.last:
        return f"{judged.count} candidates, fewer than {FEWEST_KEPT:.0%} of the last good run's {judged.last}"
    return ""
