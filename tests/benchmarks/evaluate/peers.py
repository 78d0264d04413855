"""The single models that everybody compares with, each tuned on the same validation split with as many trials as ours.

They learn from who touched what (each pair once), as their papers and libraries do; ages and kinds of events are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from agents.recommender.training.events import Events
from agents.recommender.training.factors import AlsSettings, FactorModel, fit_als, fit_bpr
from agents.recommender.training.matrices import count_pairs
from agents.recommender.training.neighbours import fit_ease_within, fit_item_knn
from agents.recommender.training.ranking import Model
from agents.recommender.training.signals import ALS_GRID, EASE_GRID, KNN_GRID, WALK_GRID, Grid
from agents.recommender.training.trends import fit_popularity
from agents.recommender.training.walks import WalkSettings, fit_rp3beta

Values = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One model to compare with; `missing` says why it cannot run here."""

    fit: Callable[[Events, Values], Model | None]
    grid: Grid
    missing: str = ""


def _fit_popularity(events: Events, _values: Values) -> Model:
    return fit_popularity(events)


def _fit_item_knn(events: Events, values: Values) -> Model:
    return fit_item_knn(count_pairs(events), int(values["neighbours"]), values["shrink"])


def _fit_als(events: Events, values: Values) -> Model:
    settings = AlsSettings(
        factors=int(values["factors"]), regularisation=values["regularisation"], alpha=values["alpha"]
    )
    return fit_als(count_pairs(events), settings)


def _fit_bpr(events: Events, values: Values) -> Model:
    return fit_bpr(count_pairs(events), int(values["factors"]), values["rate"], int(values["iterations"]))


def _fit_ease(events: Events, values: Values) -> Model:
    return fit_ease_within(count_pairs(events), values["regularisation"])


def _fit_rp3beta(events: Events, values: Values) -> Model:
    settings = WalkSettings(spread=values["spread"], damping=values["damping"], neighbours=int(values["neighbours"]))
    return fit_rp3beta(count_pairs(events), settings)


def _fit_lightfm(events: Events, values: Values) -> Model:
    from lightfm import LightFM  # pyright: ignore[reportMissingImports] -- only where it is installed

    model: Any = LightFM(no_components=int(values["factors"]), loss="warp", random_state=1)
    model.fit(count_pairs(events).tocoo(), epochs=int(values["iterations"]))
    people_bias, people = model.get_user_representations()
    item_bias, items = model.get_item_representations()
    ones = np.ones_like(people_bias)
    return FactorModel(
        people=np.column_stack([people, people_bias, ones]).astype(np.float32),
        items=np.column_stack([items, np.ones_like(item_bias), item_bias]).astype(np.float32),
    )


_BPR_GRID: Grid = [
    {"factors": factors, "rate": rate, "iterations": iterations}
    for iterations in (60, 200)
    for rate in (0.02, 0.05, 0.1)
    for factors in (64, 128)
]
_LIGHTFM_GRID: Grid = [{"factors": factors, "iterations": count} for count in (30, 100) for factors in (64, 128, 32)]

PEERS: dict[str, Peer] = {
    "popularity": Peer(fit=_fit_popularity, grid=[{}]),
    "item-kNN": Peer(fit=_fit_item_knn, grid=KNN_GRID),
    "ALS": Peer(fit=_fit_als, grid=ALS_GRID),
    "BPR": Peer(fit=_fit_bpr, grid=_BPR_GRID),
    "EASE": Peer(fit=_fit_ease, grid=EASE_GRID),
    "RP3beta": Peer(fit=_fit_rp3beta, grid=WALK_GRID),
    "LightFM": Peer(
        fit=_fit_lightfm,
        grid=_LIGHTFM_GRID,
        missing="" if find_spec("lightfm") else "not installed (its last release, 1.17, does not build on Python 3.11)",
    ),
}
