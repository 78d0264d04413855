"""The two stages together: settings chosen on a validation split, then everything fitted again on all of the training part.

This is what the job train_candidates runs every night and what `make evaluate` measures: one implementation.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

import numpy as np

from agents.recommender.learned import NEWS_WEIGHT, STAGE_1, Settings
from agents.recommender.training.blending import (
    Blend,
    learn_weights,
    make_pool,
    measure_weights,
    scale_model,
    scale_scores,
)
from agents.recommender.training.events import Events, Flags, Floats, Ints
from agents.recommender.training.news import weigh_news
from agents.recommender.training.ranking import Model, hide_known, take_best
from agents.recommender.training.signals import NEW, SIGNALS, to_days
from agents.recommender.training.splitting import Split, make_split, split_at_random, split_by_time
from agents.recommender.training.tuning import tune

CANDIDATES = 100  # per person, of stage 1; and as many of stage 2's own
TRAIN_SHARE = 0.8
LARGE_PAIRS = 400_000  # from here on a fit takes long: fewer trials
TRIALS, LARGE_TRIALS = 12, 4
VALIDATION_PEOPLE = 3000
UNLEARNED = {"ease": 1.0, "neighbours": 0.5, "popularity": 0.1}  # a first day's weights, when nobody came back yet
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TwoStages:
    """Stage 1's candidates and stage 2's own, in the order of both. Everything else scores -inf."""

    stage_1: Blend
    paths: Mapping[str, Model]
    settings: Settings
    split: Split

    def score(self, users: Ints) -> Floats:
        """Scores of all items, (people, items)."""
        first = self.stage_1.score(users)
        allowed = np.zeros(first.shape, dtype=np.bool_)
        _allow(first, allowed)
        total = np.float32(self.settings.path_weights.get(STAGE_1, 1.0)) * scale_scores(first)
        alone = np.zeros_like(total)
        for name, model in self.paths.items():
            scores = scale_model(model, self.split, users)
            total += np.float32(self.settings.path_weights.get(name, 0.0)) * scores
            alone += np.float32(self.settings.alone.get(name, 0.0)) * scores
        _allow(hide_known(np.where(alone > 0, alone, np.float32(-np.inf)), self.split, users), allowed)
        return np.where(allowed, total, np.float32(-np.inf))


def _allow(scores: Floats, allowed: Flags) -> None:
    best = take_best(scores, CANDIDATES)
    rows = np.broadcast_to(np.arange(len(scores))[:, None], best.shape)
    allowed[rows[best >= 0], best[best >= 0]] = True


def count_trials(events: Events) -> int:
    """How many settings each model may try, ours and peers alike."""
    return TRIALS if len(events) < LARGE_PAIRS else LARGE_TRIALS


def make_validation(train: Events, *, repeats: bool = False) -> Split:
    """The training part split once more, by time where there are times."""
    earlier, later = (split_by_time if train.timed else split_at_random)(train, TRAIN_SHARE)
    return make_split(earlier, later, repeats=repeats, at_most=VALIDATION_PEOPLE)


def choose_settings(validation: Split, trials: int, tried: MutableMapping[str, float] | None = None) -> Settings:
    """Tune every signal, then the weights of stage 1, then those of both stages. `tried`: as in `tune`."""
    values: dict[str, dict[str, float]] = {}
    models: dict[str, Model] = {}
    figures: dict[str, float] = {}
    for name, signal in SIGNALS.items():
        if signal.timed and not validation.train.timed:
            continue
        grid = [to_days(given, validation.train) for given in signal.grid]
        tuned = tune(name, signal.fit, _drop_doubles(grid)[:trials], validation, tried)
        if tuned and tuned.model:
            values[name], models[name], figures[name] = tuned.values, tuned.model, round(tuned.ndcg, 6)
    weights, first = _weigh_stage_1(models, validation)
    figures[STAGE_1] = round(first, 6)
    log.info("stage 1: NDCG@20 %.4f with %s", first, {name: weight for name, weight in weights.items() if weight})
    stage_1 = make_stage_1(models, weights, validation)
    second: dict[str, Model] = {STAGE_1: stage_1}
    second |= _of_stage(models, 2)
    paths, alone, both = _weigh_stage_2(second, validation)
    figures["both"] = round(both, 6)
    log.info("stages 1+2: NDCG@20 %.4f with %s", both, paths)
    test = validation.test
    news = weigh_news(stage_1, _of_stage(models, 2), alone, test) if test and len(test) else NEWS_WEIGHT
    return Settings(values=values, weights=weights, path_weights=paths, alone=alone, validation=figures, news=news)


def fit_stages(settings: Settings, split: Split) -> TwoStages:
    """Every signal of stage 1, for what it brings, and those of stage 2 with a weight, fitted on the split's training part."""
    first = {name for name in settings.weights if not SIGNALS[name].shared or settings.weights[name]}
    used = first | {name for part in (settings.path_weights, settings.alone) for name, weight in part.items() if weight}
    fitted = {name: SIGNALS[name].fit(split.train, settings.values[name]) for name in SIGNALS if name in used}
    models = {name: model for name, model in fitted.items() if model}
    return TwoStages(make_stage_1(models, settings.weights, split), _of_stage(models, 2), settings, split)


def make_stage_1(models: Mapping[str, Model], weights: Mapping[str, float], split: Split) -> Blend:
    """Stage 1's signals, blended. One without a weight still brings candidates: weights were learned among those of all.

    Shared lists bring candidates only where nothing else is there.
    """
    first = _of_stage(models, 1)
    return Blend(first, weights, split, _list_sources(first))


def make_paths(paths: Mapping[str, Model], settings: Settings, split: Split) -> Blend:
    """Stage 2 without stage 1."""
    return Blend(paths, settings.alone, split, list(paths))


def _list_sources(models: Mapping[str, Model]) -> list[str]:
    return [name for name in models if not SIGNALS[name].shared] or list(models)


def _of_stage(models: Mapping[str, Model], stage: int) -> dict[str, Model]:
    return {name: model for name, model in models.items() if SIGNALS[name].stage == stage}


def _weigh_stage_1(models: Mapping[str, Model], split: Split) -> tuple[dict[str, float], float]:
    first = _of_stage(models, 1)
    if not len(split.users):
        return UNLEARNED, 0.0
    new = first.pop(NEW, None)
    pool = make_pool(first, split, _list_sources(first))
    free = [name for name in first if SIGNALS[name].free]
    weights = learn_weights(pool, {}, free, list(first))
    figure = measure_weights(pool, weights)
    return (weights | _weigh_new(first | {NEW: new}, weights, split) if new else weights), figure


def _weigh_new(models: Mapping[str, Model], weights: Mapping[str, float], split: Split) -> dict[str, float]:
    """How much it counts that a product nobody has touched is like what the person touches: where such were wanted."""
    if split.wanted_new is None or not split.wanted_new.nnz:
        return {}
    pool = make_pool(models, split.ask_for_new(), _list_sources(models))
    return {NEW: learn_weights(pool, weights, [], [NEW])[NEW]}


def _weigh_stage_2(models: Mapping[str, Model], split: Split) -> tuple[dict[str, float], dict[str, float], float]:
    if not len(split.users):
        return {STAGE_1: 1.0}, {}, 0.0
    pool = make_pool(models, split, list(models))
    kinds = [name for name in models if name != STAGE_1]
    both = learn_weights(pool, {STAGE_1: 1.0}, [], kinds)
    alone = learn_weights(pool, {}, [], kinds)
    return both, alone, measure_weights(pool, both)


def _drop_doubles(grid: list[dict[str, float]]) -> list[dict[str, float]]:
    return [values for place, values in enumerate(grid) if values not in grid[:place]]
