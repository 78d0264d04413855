"""One nightly run of stage 1: events in; candidates and the record of the run out, or why they must not be taken.

Owns the rows; the gates are agents/recommender/gates.py's, reading and loading the job's (functions/jobs/train_candidates.py).
The other backend is agents/recommender/bigquery_ml.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np
from scipy.sparse import csr_matrix

from agents.recommender.gates import Judged, find_fault
from agents.recommender.learned import STAGE_1
from agents.recommender.training.blending import Blend
from agents.recommender.training.events import ORDERED, Events, Ints
from agents.recommender.training.matrices import count_pairs
from agents.recommender.training.ranking import Model, make_blocks, take_best
from agents.recommender.training.signals import NEW, SIGNALS
from agents.recommender.training.splitting import Split, touched_items
from agents.recommender.training.stages import (
    CANDIDATES,
    choose_settings,
    count_trials,
    fit_stages,
    make_validation,
)
from agents.recommender.training.trends import fit_popularity
from schemas.rows import Candidate, ModelRun

SHORT_LIST = 20  # a person with fewer candidates is filled up to these with what is popular
FILLED_SCORE = 0.0000005  # of what only filled up: below agents.recommender.ranking.POPULAR_SCORE
LEAST_SCORE = 0.00001  # of what a signal brought
NEW_PLACES = 5  # of a person's candidates, for products that nobody has touched: without any they never would be
NEW_SCORE = 0.000005
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
    judged = Judged(
        asked=asked,
        found=settings.validation.get(STAGE_1, 0.0),
        popular=settings.validation.get("popularity", 0.0),
        people=events.shape[0],
        last=last_count,
        covered=len({candidate.user_id for candidate in candidates}),
        count=len(candidates),
    )
    reason = find_fault(judged)
    run = ModelRun(
        version=version,
        trained_at=trained_at,
        backend="implicit",
        accepted=not reason,
        reason=reason,
        events=len(events),
        people=events.shape[0],
        products=int(touched_items(events).sum()),
        candidates=len(candidates),
        validation_people=asked,
        validation_ndcg=judged.found,
        popularity_ndcg=judged.popular,
        seconds=round(time.monotonic() - started, 3),
        settings=msgspec.json.encode(settings).decode(),
    )
    return Outcome(candidates=candidates, run=run)


def _list_candidates(stage_1: Blend, version: str, trained_at: datetime) -> Iterator[Candidate]:
    """Each person's best, scores from 1 down; then what is new; where that is a short list, what is popular.

    Scores say which of these brought a candidate.
    """
    split = stage_1.split
    events = split.train
    is_new = split.is_new
    popular = [item for item in np.argsort(-fit_popularity(events).scores, kind="stable").tolist() if not is_new[item]]
    new = SIGNALS[NEW].fit(events, SIGNALS[NEW].grid[0])
    for users in make_blocks(split.users, events.shape[1]):
        scores = stage_1.score(users)
        best, news = take_best(scores, CANDIDATES).tolist(), _list_new(new, users)
        for row, user in enumerate(users.tolist()):
            items = [item for item in best[row] if item >= 0]
            news_here = [item for item in news[row] if item >= 0 and item not in items]
            news_here = news_here[: max(NEW_PLACES - int(is_new[items].sum()), 0)]
            items = items[: CANDIDATES - len(news_here)]
            largest = float(scores[row, items[0]]) if items else 1.0
            shares = [max(round(float(scores[row, item]) / largest, 6), LEAST_SCORE) for item in items]
            items, shares = items + news_here, shares + [NEW_SCORE] * len(news_here)
            if len(items) < SHORT_LIST:
                known = split.known.indices[split.known.indptr[user] : split.known.indptr[user + 1]].tolist()
                hidden = {*items, *known}
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


def _list_new(new: Model | None, users: Ints) -> list[list[int]]:
    """For each person the untouched products that are most like what they touched."""
    if new is None:
        return [[] for _ in users]
    scores = new.score(users)
    return take_best(np.where(scores > 0, scores, -np.inf).astype(np.float32), NEW_PLACES).tolist()
