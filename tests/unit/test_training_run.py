"""A nightly run: what it reads, what it loads, and when the last good candidates stay. Stores are fakes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from agents.recommender import gates
from agents.recommender.gates import Judged, find_fault
from agents.recommender.training.collecting import KIND_OF_TYPE, Touch, collect_events
from agents.recommender.training.reading import read_events
from agents.tools.warehouse import FakeWarehouse
from agents.tools.whole_tables import FakeTables
from functions.jobs.train_candidates import BadRun, train_candidates
from schemas.rows import Candidate, ModelRun

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KINDS = ["product_viewed", "product_added", "order_completed"]


def make_rows(people: int = 40) -> list[dict[str, object]]:
    draw = np.random.default_rng(1)
    rows: list[dict[str, object]] = []
    for person in range(people):
        for item in draw.choice(10, size=6, replace=False).tolist():
            at = NOW - timedelta(hours=float(draw.uniform(1, 500)))
            half = "left" if person % 2 else "right"
            row = {"user_id": f"p{person}", "product_id": f"{half}{item}", "touched_at": at, "quantity": item + 1}
            rows.append({**row, "kind": KINDS[item % 3], "session_id": None, "category": half if item > 2 else None})
    return rows


def make_table(rows: list[dict[str, object]]) -> Any:
    return pa.Table.from_pylist(rows, schema=pa.schema([
        ("user_id", pa.string()), ("product_id", pa.string()), ("touched_at", pa.timestamp("us", tz="UTC")),
        ("quantity", pa.int64()), ("kind", pa.string()), ("session_id", pa.string()), ("category", pa.string()),
    ]))  # fmt: skip


def test_columns_become_the_same_events_as_rows() -> None:
    """Prevents: a job that learns from other events than the evaluation measures."""
    rows = make_rows()
    columns = read_events(make_table(rows))
    touches = (
        Touch(str(row["user_id"]), str(row["product_id"]), KIND_OF_TYPE[str(row["kind"])], row["touched_at"].timestamp(),
              float(str(row["quantity"])), "", str(row["category"] or ""))
        for row in rows if isinstance(row["touched_at"], datetime)
    )  # fmt: skip
    one_by_one = collect_events(touches)
    assert columns.user_ids == one_by_one.user_ids
    assert columns.item_ids == one_by_one.item_ids
    for name in ("users", "items", "kinds", "quantities", "days"):
        assert getattr(columns, name) == pytest.approx(getattr(one_by_one, name), abs=1e-6), name
    assert ((columns.categories >= 0) == (one_by_one.categories >= 0)).all()
    assert len(np.unique(columns.sessions)) == len(np.unique(one_by_one.sessions))


def warehouse() -> FakeWarehouse:
    return FakeWarehouse({"COUNT(*)": [{"orders": 1}], "model_runs": []})


def test_a_run_loads_candidates_and_its_record() -> None:
    """Prevents: candidates that nobody can trace to their settings, or that somebody has bought already."""
    tables = FakeTables({"touches": make_table(make_rows())})
    done = train_candidates(warehouse(), tables, NOW)
    candidates = [row for row in tables.loads["candidates"] if isinstance(row, Candidate)]
    bought = {(row["user_id"], row["product_id"]) for row in make_rows() if row["kind"] == "order_completed"}
    assert not bought & {(one.user_id, one.product_id) for one in candidates}
    assert {one.version for one in candidates} == {NOW.isoformat()} == {done.version}
    of_one = [one for one in candidates if one.user_id == "p1"]
    assert [one.rank for one in of_one] == list(range(1, len(of_one) + 1))
    assert of_one[0].score == 1
    assert sorted((one.score for one in of_one), reverse=True) == [one.score for one in of_one]
    assert tables.loads["model_runs"] == [done]
    assert done.accepted
    assert '"weights"' in done.settings


def test_a_bad_run_leaves_the_last_good_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a night's failure that everybody is shown in the morning."""
    monkeypatch.setattr(gates, "FEWEST_COVERED", 2.0)
    tables = FakeTables({"touches": make_table(make_rows())})
    with pytest.raises(BadRun, match=r"only 40 of 40 people have candidates.*the last good candidates stay"):
        train_candidates(warehouse(), tables, NOW)
    (record,) = tables.loads["model_runs"]
    assert tables.loads["candidates"] == []
    assert isinstance(record, ModelRun)
    assert not record.accepted


@pytest.mark.parametrize(
    ("figures", "asked", "people", "last", "message"),
    [
        ((0.2, 0.1), 100, 10, 20, ""),
        ((0.1, 0.2), 100, 10, 20, r"NDCG@20 .* popularity's 0\.2000"),
        ((0.1, 0.2), 5, 10, 20, ""),  # five people prove nothing
        ((0.2, 0.1), 100, 12, 20, "only 10 of 12 people"),
        ((0.2, 0.1), 100, 10, 50, "fewer than 50% of the last good run's 50"),
    ],
)
def test_every_gate(figures: tuple[float, float], asked: int, people: int, last: int, message: str) -> None:
    """Prevents: a run that beats nothing, leaves people out, or has lost half of its input."""
    found, popular = figures
    judged = Judged(asked=asked, found=found, popular=popular, people=people, last=last, covered=10, count=20)
    fault = find_fault(judged)
    assert re.search(message, fault) if message else not fault, fault


def test_a_product_that_nobody_has_touched_is_a_candidate() -> None:
    """Prevents: a product that is never shown because it was never shown; one that the shop does not have."""
    catalogue: list[dict[str, object]] = [
        {"product_id": f"left{item}", "name": f"Red mug {item}", "category": "mugs"} for item in range(10)
    ]
    fresh: dict[str, object] = {"product_id": "fresh", "name": "Red mug with a lid", "category": "mugs"}
    gone = {**fresh, "product_id": "gone", "in_stock": False}
    hat = {"product_id": "hat", "name": "Straw hat", "category": "hats"}
    found = FakeWarehouse({"COUNT(*)": [{"orders": 1}], "product_catalog": [*catalogue, fresh, gone, hat]})
    tables = FakeTables({"touches": make_table(make_rows())})
    done = train_candidates(found, tables, NOW)
    by_person: dict[str, set[str]] = {}
    for one in tables.loads["candidates"]:
        assert isinstance(one, Candidate)
        by_person.setdefault(one.user_id, set()).add(one.product_id)
    assert {person for person, products in by_person.items() if "fresh" in products} == {
        f"p{n}" for n in range(1, 40, 2)
    }
    assert not {"gone", "hat"} & set.union(*by_person.values())
    assert done.products == 20, "touched ones"
