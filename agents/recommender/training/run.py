"""One nightly run of stage 1: events in; candidates and the record of the run out, or why they must not be taken.

Owns the gates and the rows. Reading, loading and the other backend are the job's (functions/jobs/train_candidates.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np
from scipy.sparse import csr_matrix

from agents.recommender.training.blending import Blend
from agents.recommender.training.events import ORDERED, Events
from agents.recommender.training.matrices import count_pairs
from agents.recommender.training.ranking import make_blocks, take_best
from agents.recommender.training.splitting import Split
from agents.recommender.training.stages import (
    CANDIDATES,
    STAGE_1,
    Settings,
    choose_settings,
    count_trials,
    fit_stages,
    make_validation,
)
from agents.recommender.training.trends import fit_popularity
from schemas.rows import Candidate, ModelRun

FEWEST_ASKED = 30  # people in the validation split, from which its figures are believed
FEWEST_COVERED = 0.9  # share of people who must have candidates
FEWEST_KEPT = 0.5  # of the last good run's candidates
SHORT_LIST = 20  # a person with fewer candidates is filled up to these with what is popular
FILLED_SCORE = 0.0000005  # of what only filled up: below agents.recommender.ranking.POPULAR_SCORE
LEAST_SCORE = 0.00001  # of what a signal brought
TRIALS = 4  # settings tried per signal every night


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`candidates` in the order of people and rank. `run.accepted` says whether they may be loaded, `run.reason` why not."""

    candidates: list[Candidate]
    run: ModelRun


def train(events: Events, trained_at: datetime, last_count: int) -> Outcome:
    """Choose settings on a temporal validation split, fit on everything, rank, and check.

    `last_count` is the number of candidates of the last good run, 0 before the first.
    """
    started = time.monotonic()
    validation = make_validation(events)
    settings = choose_settings(validation, min(TRIALS, count_trials(events)))
    everybody = np.arange(events.shape[0], dtype=np.int32)
    ordered = count_pairs(events.select(events.kinds == ORDERED))
    nothing = csr_matrix(events.shape, dtype=np.float32)
    # Only what was ordered is left out: what somebody looked at and did not buy is as good a candidate as any.
    split = Split(train=events, known=ordered, wanted=nothing, users=everybody)
    stage_1 = fit_stages(settings, split).stage_1
    version = trained_at.isoformat()
    candidates = list(_list_candidates(stage_1, version, trained_at))
    asked = len(validation.users)
    reason = find_fault(settings, asked, candidates, events.shape[0], last_count)
    run = ModelRun(
        version=version,
        trained_at=trained_at,
        backend="implicit",
        accepted=not reason,
        reason=reason,
        events=len(events),
        people=events.shape[0],
        products=events.shape[1],
        candidates=len(candidates),
        validation_people=asked,
        validation_ndcg=settings.validation.get(STAGE_1, 0.0),
        popularity_ndcg=settings.validation.get("popularity", 0.0),
        seconds=round(time.monotonic() - started, 3),
        settings=msgspec.json.encode(settings).decode(),
    )
    return Outcome(candidates=candidates, run=run)


def find_fault(settings: Settings, asked: int, candidates: list[Candidate], people: int, last_count: int) -> str:
    """Why a run must not replace the last good one; empty when it may."""
    found, popular = settings.validation.get(STAGE_1, 0.0), settings.validation.get("popularity", 0.0)
    if asked >= FEWEST_ASKED and found < popular:
        return f"NDCG@20 on the validation split is {found:.4f}, popularity's {popular:.4f}"
    covered = len({candidate.user_id for candidate in candidates})
    if covered < FEWEST_COVERED * people:
        return f"only {covered} of {people} people have candidates; at least {FEWEST_COVERED:.0%} must"
    if len(candidates) < FEWEST_KEPT * last_count:
        return f"{len(candidates)} candidates, fewer than {FEWEST_KEPT:.0%} of the last good run's {last_count}"
    return ""


def _list_candidates(stage_1: Blend, version: str, trained_at: datetime) -> Iterator[Candidate]:
    """Each person's best, scores from 1 down; where that is a short list, what is popular, with a score that says so."""
    split = stage_1.split
    events = split.train
    popular = np.argsort(-fit_popularity(events).scores, kind="stable").astype(np.int32).tolist()
    for users in make_blocks(split.users, events.shape[1]):
        scores = stage_1.score(users)
        for row, (user, places) in enumerate(zip(users.tolist(), take_best(scores, CANDIDATES).tolist(), strict=True)):
            items = [item for item in places if item >= 0]
            best = float(scores[row, items[0]]) if items else 1.0
            shares = [max(round(float(scores[row, item]) / best, 6), LEAST_SCORE) for item in items]
            if len(items) < SHORT_LIST:
                hidden = {
                    *items,
                    *split.known.indices[split.known.indptr[user] : split.known.indptr[user + 1]].tolist(),
                }
                filled = [item for item in popular if item not in hidden][: SHORT_LIST - len(items)]
                items, shares = items + filled, shares + [FILLED_SCORE] * len(filled)
            for rank, (item, share) in enumerate(zip(items, shares, strict=True), start=1):
                yield Candidate(
                    user_id=events.user_ids[user],
                    product_id=events.item_ids[item],
                    rank=rank,
                    score=share,
                    version=version,
                    trained_at=trained_at,
                )
