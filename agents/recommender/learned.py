"""What a training run learned, as `model_runs.settings` keeps it, and the part of it that serving reads: how much paths count.

Owns both shapes and stage 2's constants. Values only, without numpy: the function that serves reads it within its cold start.
"""

from __future__ import annotations

import msgspec

STAGE_1 = "stage_1"
RECENT_PRODUCTS = 10  # from which paths start: each of a person's latest products once
FADE = 0.9  # a recent product counts this much less than the one touched after it


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has chosen, as it is recorded with the model (table model_runs).

    `values` are each signal's settings, `weights` those of stage 1's signals, `path_weights` those of stage 1 as a whole
    ("stage_1") and of stage 2's kinds of relations; `alone` are the weights of stage 2 without stage 1. `validation` holds
    NDCG@20 on the validation split: of each signal, of stage 1, of both stages, of popularity.
    """

    values: dict[str, dict[str, float]]
    weights: dict[str, float]
    path_weights: dict[str, float]
    alone: dict[str, float]
    validation: dict[str, float]


class PathWeights(msgspec.Struct, frozen=True, kw_only=True):
    """How much stage 1 and each kind of path count; `alone`: the kinds against each other, where stage 1 knows nothing."""

    stage_1: float = 1.0
    kinds: dict[str, float] = {}
    alone: dict[str, float] = msgspec.field(
        default_factory=lambda: {"bought_with": 1.0, "then": 0.5, "viewed_with": 0.5, "alike": 0.1}
    )

    def stress(self, total: float) -> PathWeights:
        """The kinds in the shares that they have alone, together `total` times as much as stage 1."""
        whole = sum(self.alone.values())
        return PathWeights(
            stage_1=1.0, kinds={kind: total * weight / whole for kind, weight in self.alone.items()}, alone=self.alone
        )


UNLEARNED = PathWeights().stress(0.25)
"""Before the first run, or without the serving copy that carries what the last one learned."""


def read_path_weights(settings: str) -> PathWeights:
    """The weights that a run recorded (`model_runs.settings`); what it did not learn is as in UNLEARNED.

    Raises:
        msgspec.MsgspecError: the text is not a run's settings.
    """
    run = msgspec.json.decode(settings, type=Settings)
    alone = {kind: weight for kind, weight in run.alone.items() if weight > 0} or UNLEARNED.alone
    if not run.path_weights:
        return PathWeights(kinds=UNLEARNED.kinds, alone=alone)
    kinds = {kind: weight for kind, weight in run.path_weights.items() if weight > 0 and kind != STAGE_1}
    return PathWeights(stage_1=run.path_weights.get(STAGE_1, 1.0), kinds=kinds, alone=alone)
