"""What stage 1 could not know: what a person has touched since it was trained. How much paths from there count is learned here.

The question is put to the validation split: each person's first visit after the cut is shown to the paths only, and what the
person touched later is asked for. Serving meets this moment all day; `make evaluate` measures it beside stage 1 alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix

from agents.recommender.gates import FEWEST_ASKED
from agents.recommender.learned import FADE, NEWS_WEIGHT, RECENT_PRODUCTS
from agents.recommender.training.blending import Blend, scale_model, scale_scores
from agents.recommender.training.events import Events, Flags, Floats, Ints
from agents.recommender.training.matrices import count_pairs
from agents.recommender.training.neighbours import LinearModel
from agents.recommender.training.ranking import Model, rank
from agents.recommender.training.splitting import Split
from agents.recommender.training.tuning import CUT, measure
from agents.recommender.training.walks import find_recent

TOTALS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class NewsModel:
    """Stage 1 as it was, and paths from what was touched since; `weights` count against stage 1's 1."""

    stage_1: Blend
    paths: Mapping[str, LinearModel]
    weights: Mapping[str, float]

    def score(self, users: Ints) -> Floats:
        """Scores of all items, (people, items)."""
        split = self.stage_1.split
        total = scale_scores(self.stage_1.score(users))
        for kind, model in self.paths.items():
            total += np.float32(self.weights.get(kind, 0.0)) * scale_model(model, split, users)
        return total


def split_first_visit(events: Events) -> tuple[Events, Events]:
    """Each person's first visit, and everything after it."""
    _, begins = np.unique(events.users, return_index=True)  # events are in the order of time
    visit = np.full(events.shape[0], -1)
    visit[events.users[begins]] = events.sessions[begins]
    first: Flags = events.sessions == visit[events.users]
    return events.select(first), events.select(~first)


def ask_after_news(split: Split, test: Events) -> tuple[Split, csr_matrix]:
    """What people want after their first visit of the test part, and their latest products including that visit."""
    first, later = split_first_visit(test)
    seen = csr_matrix(split.known + count_pairs(first))
    seen.data[:] = 1
    wanted = csr_matrix(split.wanted.multiply(count_pairs(later)))
    wanted = csr_matrix(wanted - wanted.multiply(seen))
    wanted.eliminate_zeros()
    asked = np.isin(split.users, np.flatnonzero(np.diff(wanted.indptr) > 0))
    recent = find_recent(join_events(split.train, first), RECENT_PRODUCTS, FADE)
    return replace(split, known=seen, wanted=wanted, users=split.users[asked]), recent


def make_news_model(
    stage_1: Blend, paths: Mapping[str, Model], weights: Mapping[str, float], asked: tuple[Split, csr_matrix]
) -> NewsModel:
    """Stage 1 and these paths, which start from the given products."""
    split, recent = asked
    started = {kind: replace(model, start=recent) for kind, model in paths.items() if isinstance(model, LinearModel)}
    return NewsModel(replace(stage_1, split=split), started, weights)


def weigh_news(stage_1: Blend, paths: Mapping[str, Model], alone: Mapping[str, float], test: Events) -> float:
    """How much all paths count together against stage 1 after news; NEWS_WEIGHT where too few people tell."""
    whole = sum(alone.get(kind, 0.0) for kind in paths)
    if not whole or not stage_1.split.train.timed:
        return NEWS_WEIGHT
    asked = ask_after_news(stage_1.split, test)
    if len(asked[0].users) < FEWEST_ASKED:
        return NEWS_WEIGHT
    figures: dict[float, float] = {}
    for total in TOTALS:
        weights = {kind: total * alone.get(kind, 0.0) / whole for kind in paths}
        model = make_news_model(stage_1, paths, weights, asked)
        figures[total] = measure(rank(model, asked[0], CUT), asked[0])
    return max(TOTALS, key=lambda total: figures[total])


def join_events(earlier: Events, later: Events) -> Events:
    """Both, in the order of time."""
    joined = {
        name: np.concatenate([getattr(earlier, name), getattr(later, name)])
        for name in ("users", "items", "kinds", "quantities", "days", "sessions")
    }
    return replace(earlier, **joined)
