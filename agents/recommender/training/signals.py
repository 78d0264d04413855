"""The signals of both stages: how each is fitted on events, and which settings are tried for it, the likeliest first.

Stage 1 learns tastes over night: ALS, EASE (as it is, and with recent touches counting more), the spectrum (spectral.py),
neighbours, walks (walks.py), popularity, trends, categories, and what products are said to be, which alone knows those that
nobody has touched. Stage 2 walks the graph's relations (relations.py) and likeness from a person's latest products while the
person waits: its formula is the contract in walks.py. How much each counts is learned (blending.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from agents.recommender.content import find_alike, weigh_words
from agents.recommender.learned import ALIKE, FADE, RECENT_PRODUCTS
from agents.recommender.training.events import Events
from agents.recommender.training.factors import AlsSettings, fit_als
from agents.recommender.training.matrices import count_pairs, damp_popular, weigh_pairs
from agents.recommender.training.neighbours import LinearModel, fit_ease_within, fit_item_knn, fit_people_knn
from agents.recommender.training.ranking import Model
from agents.recommender.training.relations import relate_significant
from agents.recommender.training.spectral import SpectralSettings, fit_spectral
from agents.recommender.training.splitting import touched_items
from agents.recommender.training.trends import fit_categories, fit_popularity, fit_trend
from agents.recommender.training.walks import (
    WalkSettings,
    find_recent,
    fit_rp3beta,
    relate,
    relate_sequences,
    relate_visits,
)
from schemas.graph import RelationKind

Values = Mapping[str, float]
Grid = list[dict[str, float]]
NEW = "new"
NO_DECAY = 0.0  # in a grid: half_life 0 means that age does not count


@dataclass(frozen=True, kw_only=True)
class Signal:
    """`grid` holds settings to try; a `half_life` in it is a share of the events' span, in fitted values it is in days.

    `free`: its weight may be negative. `shared`: one list for everybody, which brings no candidates of its own.
    """

    fit: Callable[[Events, Values], Model | None]
    grid: Grid
    stage: int = 1
    free: bool = False
    shared: bool = False
    timed: bool = False


def _fit_als(events: Events, values: Values) -> Model:
    settings = AlsSettings(
        factors=int(values["factors"]), regularisation=values["regularisation"], alpha=values["alpha"]
    )
    weights = weigh_pairs(events, values["half_life"] or None)
    return fit_als(damp_popular(weights, values["damping"]), settings)


def _fit_ease(events: Events, values: Values) -> Model:
    return fit_ease_within(count_pairs(events), values["regularisation"])


def _fit_recent_ease(events: Events, values: Values) -> Model:
    return fit_ease_within(weigh_pairs(events, values["half_life"]), values["regularisation"])


def _fit_spectral(events: Events, values: Values) -> Model:
    settings = SpectralSettings(
        factors=int(values["factors"]),
        people=values["people"],
        items=values["items"],
        power=values["power"],
        out=values["out"],
    )
    half_life = values["half_life"]
    return fit_spectral(weigh_pairs(events, half_life) if half_life else count_pairs(events), settings)


def _fit_neighbours(events: Events, values: Values) -> Model:
    return fit_item_knn(count_pairs(events), int(values["neighbours"]), values["shrink"])


def _fit_people(events: Events, values: Values) -> Model:
    return fit_people_knn(count_pairs(events), int(values["neighbours"]), values["damping"])


def _fit_popularity(events: Events, _values: Values) -> Model:
    return fit_popularity(events)


def _fit_trend(events: Events, values: Values) -> Model:
    return fit_trend(events, values["half_life"])


def _fit_categories(events: Events, values: Values) -> Model | None:
    recent = find_recent(events, int(values["limit"]), values["decay"])
    return fit_categories(events, recent, values["half_life"] or None)


def _walk(values: Values) -> WalkSettings:
    return WalkSettings(
        spread=values.get("spread", WalkSettings.spread),
        damping=values["damping"],
        neighbours=int(values.get("neighbours", WalkSettings.neighbours)),
    )


def _fit_together(events: Events, values: Values) -> Model:
    return fit_rp3beta(count_pairs(events), _walk(values))


def _fit_recent(events: Events, values: Values) -> Model:
    recent = find_recent(events, int(values["limit"]), values["decay"])
    return LinearModel(recent, relate(count_pairs(events), _walk(values)))


def _fit_visit(events: Events, values: Values) -> Model:
    recent = find_recent(events, int(values["limit"]), values["decay"])
    return LinearModel(recent, relate_visits(events, _walk(values)))


def _fit_next(events: Events, values: Values) -> Model:
    recent = find_recent(events, int(values["limit"]), values["decay"])
    return LinearModel(recent, relate_sequences(events, _walk(values)))


def _fit_content(events: Events, values: Values) -> Model | None:
    """What is like a person's recent products by its words; None where no product has any."""
    if not any(events.words):
        return None
    recent = find_recent(events, int(values["limit"]), values["decay"])
    return LinearModel(recent, find_alike(weigh_words(events.words)))


def _fit_new(events: Events, values: Values) -> Model | None:
    """The same among products that nobody has touched: every other signal is silent about them."""
    untouched = ~touched_items(events)
    if not any(events.words) or not untouched.any():
        return None
    recent = find_recent(events, int(values["limit"]), values["decay"])
    return LinearModel(recent, find_alike(weigh_words(events.words), untouched))


def _fit_relation(kind: RelationKind) -> Callable[[Events, Values], Model | None]:
    """Paths over the significant relations of a kind, as the graph serves them."""

    def fit(events: Events, _values: Values) -> Model | None:
        links = relate_significant(events, kind)
        return None if links is None else LinearModel(find_recent(events, RECENT_PRODUCTS, FADE), links)

    return fit


def _als(factors: int, regularisation: float, alpha: float) -> dict[str, float]:
    return {"factors": factors, "regularisation": regularisation, "alpha": alpha}


def _spectrum(factors: int, people: float, power: float, out: float, half_life: float = NO_DECAY) -> dict[str, float]:
    return {"factors": factors, "people": people, "items": 0.4, "power": power, "out": out, "half_life": half_life}


def _walked(spread: float, damping: float, neighbours: int = 300, **recent: float) -> dict[str, float]:
    return {"spread": spread, "damping": damping, "neighbours": neighbours, **recent}


ALS_GRID: Grid = [
    _als(64, 5, 2), _als(256, 20, 40), _als(32, 5, 20), _als(128, 10, 20),
    _als(64, 5, 5), _als(64, 10, 1), _als(32, 1, 20), _als(128, 10, 1),
    _als(32, 1, 1), _als(16, 1, 40), _als(64, 1, 1), _als(32, 10, 5),
]  # fmt: skip
"""Of the peer ALS; ours tries the same with ages. Few factors for few products, many for tens of thousands: one of each first."""
EASE_GRID: Grid = [{"regularisation": value} for value in (300, 100, 1000, 30, 500, 200, 3000, 10)]
KNN_GRID: Grid = [{"neighbours": count, "shrink": shrink} for shrink in (10, 0, 30, 100) for count in (100, 300, 50)]
WALK_GRID: Grid = [
    _walked(spread, damping, count)
    for spread, damping, count in (
        (0.7, 0.25, 500), (0.5, 0.3, 500), (0.6, 0.2, 300), (0.5, 0.6, 300), (0.6, 0.4, 300), (1.0, 0.4, 300),
        (0.6, 0.6, 100), (1.0, 0.2, 300), (0.4, 0.5, 500), (0.4, 0.2, 300), (0.8, 0.6, 100), (0.8, 0.3, 500),
    )
]  # fmt: skip
SPECTRAL_GRID: Grid = [
    _spectrum(1024, 0.4, 0.5, 0.3), _spectrum(128, 0.3, 0.5, 0.3, 0.25), _spectrum(128, 0.4, 2, 0.3),
    _spectrum(1024, 0.3, 0.5, 0.2), _spectrum(64, 0.4, 0.5, 0.3, 0.1), _spectrum(256, 0.4, 0.5, 0.3),
    _spectrum(128, 0.4, 0.5, 0.3, 0.25), _spectrum(512, 0.4, 1, 0.3), _spectrum(128, 0.4, 1, 0.4),
    _spectrum(32, 0.3, 0.5, 0.3, 0.1), _spectrum(512, 0.3, 0.5, 0.3, 0.25), _spectrum(64, 0.4, 1, 0.3),
]  # fmt: skip
"""Many factors for many products, few for few; spectral.py bounds them by the shorter side, the pairs and memory."""
RECENT: Grid = [{"limit": limit, "decay": decay} for limit, decay in ((20, 0.85), (50, 0.95), (10, 0.7), (5, 0.5))]

SIGNALS: dict[str, Signal] = {
    "als": Signal(
        fit=_fit_als,
        grid=[
            {**values, "half_life": (0.25, NO_DECAY)[place % 2], "damping": (0.0, 0.4)[place % 2]}
            for place, values in enumerate(ALS_GRID)
        ],
    ),
    "ease": Signal(fit=_fit_ease, grid=EASE_GRID),
    "ease_recent": Signal(
        fit=_fit_recent_ease,
        grid=[
            {"regularisation": regularisation, "half_life": half_life}
            for half_life in (0.1, 0.05, 0.25)
            for regularisation in (300, 100, 1000)
        ],
        timed=True,
    ),
    "spectral": Signal(fit=_fit_spectral, grid=SPECTRAL_GRID),
    "neighbours": Signal(fit=_fit_neighbours, grid=KNN_GRID),
    "people": Signal(
        fit=_fit_people,
        grid=[{"neighbours": count, "damping": damping} for damping in (0.8, 0.4, 1.2) for count in (150, 60, 400)],
    ),
    "popularity": Signal(fit=_fit_popularity, grid=[{}], free=True, shared=True),
    "trend_short": Signal(
        fit=_fit_trend, grid=[{"half_life": share} for share in (0.02, 0.01, 0.04)], free=True, shared=True, timed=True
    ),
    "trend_long": Signal(fit=_fit_trend, grid=[{"half_life": 0.1}], free=True, shared=True, timed=True),
    "category": Signal(
        fit=_fit_categories,
        grid=[{**recent, "half_life": share} for share in (0.3, NO_DECAY) for recent in RECENT],
    ),
    "together": Signal(fit=_fit_together, grid=WALK_GRID),
    "recent": Signal(fit=_fit_recent, grid=[{**_walked(0.7, 0.25), **recent} for recent in RECENT], timed=True),
    "visit": Signal(
        fit=_fit_visit,
        grid=[{**_walked(0.8, damping), **recent} for damping in (0.35, 0.2) for recent in RECENT],
        timed=True,
    ),
    "next": Signal(
        fit=_fit_next, grid=[{"damping": 0.2, "neighbours": 200, **recent} for recent in RECENT], timed=True
    ),
    "content": Signal(fit=_fit_content, grid=RECENT),
    NEW: Signal(fit=_fit_new, grid=RECENT[:1]),
    **{kind.value: Signal(fit=_fit_relation(kind), grid=[{}], stage=2) for kind in RelationKind},
    ALIKE: Signal(fit=_fit_content, grid=[{"limit": RECENT_PRODUCTS, "decay": FADE}], stage=2),
}


def to_days(values: Values, events: Events) -> dict[str, float]:
    """The values with their half-life in days instead of a share of the events' span; 0 without times."""
    if "half_life" not in values:
        return dict(values)
    span = float(np.ptp(events.days)) if events.timed and len(events) else 0.0
    return {**values, "half_life": values["half_life"] * span}
