"""What the recommender answers where there is no history: people nobody has met, products that nobody has touched.

Beside the main table, whose peers cannot know either. Every question is asked of the same held-out part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from scipy.sparse import csr_matrix

from agents.recommender.learned import FADE, RECENT_PRODUCTS, UNLEARNED
from agents.recommender.training import metrics
from agents.recommender.training.blending import scale_scores
from agents.recommender.training.events import Events, Floats, Ints
from agents.recommender.training.matrices import count_pairs, scale_columns, sum_columns
from agents.recommender.training.neighbours import LinearModel
from agents.recommender.training.news import ask_after_news, make_news_model, split_first_visit
from agents.recommender.training.ranking import Model, find_hits, rank
from agents.recommender.training.signals import NEW, SIGNALS
from agents.recommender.training.splitting import Split
from agents.recommender.training.stages import TwoStages
from agents.recommender.training.trends import PopularityModel, fit_place_popularity, fit_popularity
from agents.recommender.training.walks import find_recent

CUT = 20
FEWEST_PEOPLE = 5  # of whom a figure says anything
POPULAR_SHARE = 0.05  # of a session's score: it orders what paths say nothing about


class ColdFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to one question, of `people`."""

    question: str
    model: str
    people: int
    ndcg_20: float
    recall_20: float


def measure_cold(split: Split, test: Events, stages: TwoStages) -> list[ColdFigures]:
    """New products, asked of people whom training knows; then new people, before and after their first visit."""
    found = _measure_new_products(split, stages) + _measure_news(split, test, stages)
    if not test.timed:  # there is no first visit where no order is known
        return found
    strangers = np.diff(split.known.indptr) == 0
    events = test.select(strangers[test.users])
    if not len(events):
        return found
    first, later = split_first_visit(events)
    popular = fit_popularity(split.train)
    at_once: dict[str, Model] = {"popularity": popular}
    places = fit_place_popularity(split.train)
    if places:
        at_once["popularity of the place"] = places
    nothing = csr_matrix(split.known.shape, dtype=np.float32)
    found += _measure("new people, nothing known", at_once, _ask(split, count_pairs(events), nothing))
    session = _fit_session(split.train, first, stages.settings.alone, popular)
    after: dict[str, Model] = {"popularity": popular, "session (paths and content)": session}
    return found + _measure(
        "new people, after their first visit", after, _ask(split, count_pairs(later), count_pairs(first))
    )


def _measure_new_products(split: Split, stages: TwoStages) -> list[ColdFigures]:
    content = SIGNALS[NEW].fit(split.train, SIGNALS[NEW].grid[0])
    if split.wanted_new is None or not split.wanted_new.nnz or content is None:
        return []
    asked = replace(split.ask_for_new(), wanted=split.wanted_new)
    users = np.flatnonzero((np.diff(asked.wanted.indptr) > 0) & (np.diff(asked.known.indptr) > 0)).astype(np.int32)
    asked = replace(asked, users=users)
    ours = replace(stages, split=asked, stage_1=replace(stages.stage_1, split=asked))
    all_products: dict[str, Model] = {"popularity": fit_popularity(split.train), "ARGO stages 1+2": ours}
    # Among the new ones only, any order of them is a guess.
    untouched = split.is_new.astype(np.float32)
    guess = np.random.default_rng(1).random(len(untouched)).astype(np.float32) * untouched
    among_new: dict[str, Model] = {"a random order": PopularityModel(guess), "content": content}
    return _measure("new products, among all", all_products, asked) + _measure(
        f"new products, among the {int(untouched.sum())} new", among_new, asked
    )


def _measure_news(split: Split, test: Events, stages: TwoStages) -> list[ColdFigures]:
    """Known people, asked after a visit that stage 1 was trained without: what stage 2 is for while the day goes on."""
    settings = stages.settings
    kinds = {kind: weight for kind, weight in settings.alone.items() if weight > 0 and kind in SIGNALS}
    if not test.timed or not kinds:
        return []
    asked = ask_after_news(split, test)
    paths = {kind: model for kind in kinds if (model := SIGNALS[kind].fit(split.train, SIGNALS[kind].grid[0]))}
    weights = {kind: settings.news * weight / sum(kinds.values()) for kind, weight in kinds.items()}
    models: dict[str, Model] = {
        "stage 1 as it was trained": replace(stages.stage_1, split=asked[0]),
        "ARGO stages 1+2": make_news_model(stages.stage_1, paths, weights, asked),
    }
    return _measure("known people, after a visit since training", models, asked[0])


def _measure(question: str, models: Mapping[str, Model], split: Split) -> list[ColdFigures]:
    if len(split.users) < FEWEST_PEOPLE:
        return []
    relevant = np.diff(split.wanted.indptr)[split.users].astype(np.int32)
    found: list[ColdFigures] = []
    for name, model in models.items():
        hits = find_hits(rank(model, split, CUT), split.wanted, split.users)
        found.append(
            ColdFigures(
                question=question,
                model=name,
                people=len(split.users),
                ndcg_20=round(float(metrics.ndcg(hits, relevant, CUT).mean()), 5),
                recall_20=round(float(metrics.recall(hits, relevant, CUT).mean()), 5),
            )
        )
    return found


def _ask(split: Split, wanted: csr_matrix, known: csr_matrix) -> Split:
    """For what these people touched and did not know, of what training knows."""
    seen = (sum_columns(split.known) > 0).astype(np.float32)
    asked = scale_columns(csr_matrix(wanted - wanted.multiply(known)), seen)
    asked.eliminate_zeros()
    users = np.flatnonzero(np.diff(asked.indptr) > 0).astype(np.int32)
    return Split(train=split.train, known=known, wanted=asked, users=users)


@dataclass(frozen=True)
class _SessionModel:
    """What serving does for somebody whom only the visit tells of: stage 2 alone, then what is popular."""

    kinds: Mapping[str, LinearModel]
    weights: Mapping[str, float]
    popular: Model

    def score(self, users: Ints) -> Floats:
        """Scores of all items, (people, items)."""
        total = POPULAR_SHARE * scale_scores(self.popular.score(users).astype(np.float32))
        for kind, model in self.kinds.items():
            total += np.float32(self.weights[kind]) * scale_scores(model.score(users))
        return total


def _fit_session(train: Events, first: Events, alone: Mapping[str, float], popular: Model) -> Model:
    weights = {kind: weight for kind, weight in alone.items() if weight > 0} or UNLEARNED.alone
    recent = find_recent(first, RECENT_PRODUCTS, FADE)
    kinds: dict[str, LinearModel] = {}
    for kind in weights:
        model = SIGNALS[kind].fit(train, SIGNALS[kind].grid[0])
        if isinstance(model, LinearModel):
            kinds[kind] = replace(model, start=recent)
    return _SessionModel(kinds=kinds, weights=weights, popular=popular)
