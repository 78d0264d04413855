"""Stage 1 by BigQuery itself: the same gates, record and table as the job's own training. The SQL is typed and run in
tests/emulator/test_warehouse_sql.py, except for what only BigQuery has."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
import pytest
from google.api_core.exceptions import BadRequest

from agents.recommender.bigquery_ml import GRID, SIGNAL
from agents.recommender.learned import UNLEARNED, Settings, read_weights
from agents.tools.warehouse import FakeWarehouse, Parameter, Record
from agents.tools.whole_tables import FakeTables
from functions.jobs.train_candidates import BackendRefused, BadRun, train_candidates
from schemas.rows import ModelRun
from schemas.topology import CandidatesBackend

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPAN = {"events": 900, "people": 100, "products": 50, "days": 40.0, "cut": datetime(2026, 2, 20, tzinfo=UTC)}


class Trainer(FakeWarehouse):
    """BigQuery with a reservation: the fitted model's figure depends on what it was fitted with."""

    def __init__(self, popular: float = 0.1, inserted: int = 10_000, error: Exception | None = None) -> None:
        super().__init__({"COUNT(*) AS orders": [{"orders": 1}], "APPROX_QUANTILES": [SPAN], "last_count": []})
        self.popular, self.inserted, self.refusal = popular, inserted, error
        self.fitted: list[str] = []

    def query(self, sql: str, parameters: Mapping[str, Parameter] = {}) -> list[Record]:
        if "CREATE OR REPLACE MODEL" in sql:
            if self.refusal:
                raise self.refusal
            self.fitted.append(sql)
            return []
        if "ideals" in sql:
            figure = 0.3 if "num_factors = 128" in self.fitted[-1] else 0.2
            return [{"people": 60, "ndcg": figure, "popularity_ndcg": self.popular}]
        return super().query(sql, parameters)

    def execute(self, sql: str, parameters: Mapping[str, Parameter] = {}) -> int:
        self.query(sql, parameters)
        return self.inserted if "INSERT INTO argo.candidates" in sql else 0


def train(warehouse: Trainer, tables: FakeTables) -> ModelRun:
    return train_candidates(warehouse, tables, NOW, CandidatesBackend.BIGQUERY_ML)


def test_the_best_settings_are_fitted_on_everything_and_recorded() -> None:
    """Prevents: Google's defaults, which lose half; settings chosen on what is asked for; candidates nobody can trace."""
    warehouse, tables = Trainer(), FakeTables()
    done = train(warehouse, tables)
    assert len(warehouse.fitted) == len(GRID) + 1
    assert all("touched_at <= TIMESTAMP '2026-02-20T00:00:00+00:00'" in sql for sql in warehouse.fitted[:-1])
    assert "num_factors = 128" in warehouse.fitted[-1]
    assert f"touched_at <= TIMESTAMP '{NOW.isoformat()}'" in warehouse.fitted[-1]
    assert (done.backend, done.accepted, done.candidates) == ("bigquery_ml", True, 10_000)
    assert (done.validation_people, done.validation_ndcg, done.popularity_ndcg) == (60, 0.3, 0.1)
    chosen = msgspec.json.decode(done.settings, type=Settings).values[SIGNAL]
    assert (chosen["num_factors"], chosen["half_life_days"]) == (128, 10.0)
    assert read_weights(done.settings).kinds == UNLEARNED.kinds, "paths are served as before any run"
    assert tables.loads["model_runs"] == [done]


@pytest.mark.parametrize(
    ("warehouse", "message", "inserts"),
    [
        (Trainer(popular=0.4), r"NDCG@20 on the validation split is 0\.3000, popularity's 0\.4000", 0),
        (Trainer(inserted=0), "fewer than 90% of 100 people", 1),
    ],
)
def test_a_bad_run_replaces_nothing(warehouse: Trainer, message: str, inserts: int) -> None:
    """Prevents: a backend with weaker gates than the other."""
    tables = FakeTables()
    with pytest.raises(BadRun, match=message):
        train(warehouse, tables)
    (record,) = tables.loads["model_runs"]
    assert isinstance(record, ModelRun)
    assert not record.accepted
    loading = [asked for sql, asked in warehouse.asked if "INSERT INTO argo.candidates" in sql]
    assert len(loading) == inserts
    assert all((asked["fewest_people"], asked["fewest_candidates"]) == (90, 0) for asked in loading)


def test_without_a_reservation_it_is_said_what_to_do() -> None:
    """Prevents: a stack trace every night in a project that cannot train this kind of model."""
    tables = FakeTables()
    with pytest.raises(BackendRefused, match=r"reservation .* candidates_backend: implicit"):
        train(Trainer(error=BadRequest("not available for on-demand usage")), tables)
    assert tables.loads["model_runs"] == []
