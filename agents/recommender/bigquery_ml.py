"""Stage 1 trained by BigQuery itself: matrix factorisation, for shops that no single machine's memory holds.

The other backend beside agents/recommender/training, behind the same table, record and gates. Nothing of it leaves the
warehouse: settings are chosen on a temporal split there, and the candidates are inserted there. It knows one signal, and costs
a reservation, which Google asks for this kind of model
(https://cloud.google.com/bigquery/docs/reference/standard-sql/bigqueryml-syntax-create-matrix-factorization, 2026-11-20).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from datetime import datetime

import msgspec

from agents.recommender.gates import FEWEST_COVERED, FEWEST_KEPT, Judged, find_fault
from agents.recommender.learned import STAGE_1, Settings
from agents.tools.warehouse import Parameter, Warehouse
from schemas.rows import ModelRun
from schemas.warehouse import model

BACKEND = "bigquery_ml"
SIGNAL = "matrix_factorization"
HALF_LIFE_SHARE = 0.25  # of the span of the touches, as the job's own ALS tries first (training/signals.py)
GRID: tuple[Mapping[str, float], ...] = (
    {"num_factors": 64, "l2_reg": 5.0, "wals_alpha": 2.0},
    {"num_factors": 128, "l2_reg": 10.0, "wals_alpha": 20.0},
    {"num_factors": 32, "l2_reg": 5.0, "wals_alpha": 20.0},
    {"num_factors": 64, "l2_reg": 1.0, "wals_alpha": 40.0},
)
"""The likeliest settings of training/signals.py's ALS; Google's defaults lose much (shared/data/README.md)."""
# Training sees the earlier four fifths of the touches while settings are chosen.
SPAN = """
SELECT
  COUNT(*) AS events,
  COUNT(DISTINCT user_id) AS people,
  COUNT(DISTINCT product_id) AS products,
  TIMESTAMP_DIFF(MAX(touched_at), MIN(touched_at), SECOND) / 86400 AS days,
  APPROX_QUANTILES(touched_at, 100)[OFFSET(80)] AS cut
FROM argo.touches
WHERE version = @version
"""
INSERT = "INSERT INTO argo.candidates (user_id, product_id, rank, score, version, trained_at)\n"

log = logging.getLogger(__name__)


class _Span(msgspec.Struct, frozen=True):
    events: int
    people: int
    products: int
    days: float
    cut: datetime


class _Figures(msgspec.Struct, frozen=True):
    people: int
    ndcg: float
    popularity_ndcg: float


def train_in_warehouse(warehouse: Warehouse, trained_at: datetime, last_count: int) -> ModelRun:
    """Choose settings, fit, and insert the candidates if they pass; the record of the run, accepted or not.

    Reads the touches that the job gathered under `trained_at`.

    Raises:
        google.api_core.exceptions.GoogleAPICallError: BigQuery refuses, such as for want of a reservation.
    """
    started = time.monotonic()
    version = trained_at.isoformat()
    span = msgspec.convert(warehouse.query(SPAN, {"version": version})[0], _Span)
    half_life_days = max(span.days * HALF_LIFE_SHARE, 1.0)
    tried = [
        (_measure(warehouse, version, span.cut, {**values, "half_life_days": half_life_days}), values)
        for values in GRID
    ]
    figures, values = max(tried, key=lambda one: one[0].ndcg)
    chosen = {**values, "half_life_days": half_life_days}
    judged = Judged(
        asked=figures.people, found=figures.ndcg, popular=figures.popularity_ndcg, people=span.people, last=last_count
    )
    reason, count = find_fault(judged), 0
    if not reason:
        _fit(warehouse, version, trained_at, chosen)
        count = _insert(warehouse, trained_at, judged)
        reason = "" if count else _describe_too_few(judged)
    settings = Settings(
        values={SIGNAL: chosen},
        weights={SIGNAL: 1.0},
        path_weights={},
        alone={},
        validation={SIGNAL: figures.ndcg, STAGE_1: figures.ndcg, "popularity": figures.popularity_ndcg},
    )
    return ModelRun(
        version=version,
        trained_at=trained_at,
        backend=BACKEND,
        accepted=not reason,
        reason=reason,
        events=span.events,
        people=span.people,
        products=span.products,
        candidates=count,
        validation_people=figures.people,
        validation_ndcg=figures.ndcg,
        popularity_ndcg=figures.popularity_ndcg,
        seconds=round(time.monotonic() - started, 3),
        settings=msgspec.json.encode(settings).decode(),
    )


def fit_statement(version: str, until: datetime, values: Mapping[str, float]) -> str:
    """CREATE MODEL with these settings, on the touches of a version up to a moment."""
    return model("bigquery_ml_fit").query.format(
        version=version, until=until.isoformat(), **{**values, "num_factors": int(values["num_factors"])}
    )


def _fit(warehouse: Warehouse, version: str, until: datetime, values: Mapping[str, float]) -> None:
    warehouse.execute(fit_statement(version, until, values))


def _measure(warehouse: Warehouse, version: str, cut: datetime, values: Mapping[str, float]) -> _Figures:
    _fit(warehouse, version, cut, values)
    asked: dict[str, Parameter] = {"version": version, "cut_at": cut}
    figures = msgspec.convert(warehouse.query(model("bigquery_ml_measure").query, asked)[0], _Figures)
    log.info("%s %s: NDCG@20 %.4f of %d people", BACKEND, dict(values), figures.ndcg, figures.people)
    return figures


def _insert(warehouse: Warehouse, trained_at: datetime, judged: Judged) -> int:
    asked: dict[str, Parameter] = {
        "version": trained_at.isoformat(),
        "trained_at": trained_at,
        "fewest_people": math.ceil(FEWEST_COVERED * judged.people),
        "fewest_candidates": math.ceil(FEWEST_KEPT * judged.last),
    }
    return warehouse.execute(INSERT + model("bigquery_ml_candidates").query, asked)


def _describe_too_few(judged: Judged) -> str:
    return (
        f"candidates for fewer than {FEWEST_COVERED:.0%} of {judged.people} people, "
        f"or fewer than {FEWEST_KEPT:.0%} of the last good run's {judged.last}"
    )
