"""What a training run learned, as `model_runs.settings` keeps it, and the part of it that serving reads: how much paths count.

Owns both shapes and stage 2's constants. Values only, without numpy: the function that serves reads it within its cold start.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

STAGE_1 = "stage_1"
ALIKE = "alike"  # the kind of path over what products are said to be; the others are schemas.graph.RelationKind's
VISITS = "visits"  # the kind of path over shared visits, walked where relations lead to too little; never learned
RECENT_PRODUCTS = 10  # from which paths start: each of a person's latest products once
FADE = 0.9  # a recent product counts this much less than the one touched after it
LEAST_WALKED = 0.05  # what counts for nothing may still be the reason, so every kind is walked
NEWS_WEIGHT = 1.5  # until a run has learned one


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has chosen, as it is recorded with the model (table model_runs).

    `values` are each signal's settings, `weights` those of stage 1's signals, `path_weights` those of stage 1 as a whole
    ("stage_1") and of stage 2's kinds of paths; `alone` are the weights of stage 2 without stage 1, `news` how much all of it
    counts against stage 1 when the person has touched something since. `validation` holds NDCG@20 on the validation split:
    of each signal, of stage 1, of both stages, of popularity.
    """

    values: dict[str, dict[str, float]]
    weights: dict[str, float]
    path_weights: dict[str, float]
    alone: dict[str, float]
    validation: dict[str, float]
    news: float = NEWS_WEIGHT


def _unlearned_alone() -> dict[str, float]:
    return {"bought_with": 1.0, "then": 0.5, "viewed_with": 0.5, ALIKE: 0.1, VISITS: 0.1}


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """How much stage 1 and each kind of path count for a person whom stage 1 knows.

    `alone`: the kinds against each other where it does not; `news`: what they count together against stage 1 then.
    """

    stage_1: float = 1.0
    kinds: dict[str, float] = {}
    alone: dict[str, float] = msgspec.field(default_factory=_unlearned_alone)
    news: float = NEWS_WEIGHT

    def stress(self, total: float, present: Collection[str]) -> Mapping[str, float]:
        """The kinds that are there, as they count without stage 1, together `total`."""
        there = {kind: max(self.alone.get(kind, 0.0), LEAST_WALKED) for kind in present}
        return {kind: total * weight / sum(there.values()) for kind, weight in there.items()}

    def walk(self, kind: str) -> float:
        """How much relations of a kind count while paths are looked for, of which the best are kept."""
        return max(self.alone.get(kind, 0.0), self.kinds.get(kind, 0.0), LEAST_WALKED)


UNLEARNED = Weights(kinds={"bought_with": 0.1, "then": 0.05, "viewed_with": 0.05, VISITS: 0.05})
"""Before the first run, or without the serving copy that carries what the last one learned."""


def read_weights(settings: str) -> Weights:
    """The weights that a run recorded (`model_runs.settings`); what it did not learn is as in UNLEARNED.

    Raises:
        msgspec.MsgspecError: the text is not a run's settings.
    """
    run = msgspec.json.decode(settings, type=Settings)
    alone = {kind: weight for kind, weight in run.alone.items() if weight > 0 and kind != STAGE_1}
    if not run.path_weights:
        return msgspec.structs.replace(UNLEARNED, alone=alone or UNLEARNED.alone, news=run.news)
    kinds = {kind: weight for kind, weight in run.path_weights.items() if weight > 0 and kind != STAGE_1}
    return Weights(
        stage_1=run.path_weights.get(STAGE_1, 1.0),
        kinds={**kinds, VISITS: UNLEARNED.kinds[VISITS]},
        alone=alone or UNLEARNED.alone,
        news=run.news,
    )
