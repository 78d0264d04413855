"""A contract grows and never breaks: what would not fit existing rows is refused with its name and the way out."""

from __future__ import annotations

import pytest

from schemas import evolution, warehouse

OLD = {
    "id": "STRING REQUIRED",
    "items": "RECORD REPEATED",
    "items.price": "NUMERIC NULLABLE",
    "note": "STRING NULLABLE",
}


@pytest.mark.parametrize("table", warehouse.tables(), ids=lambda table: table.name)
def test_every_table_keeps_what_it_promised(table: warehouse.Table) -> None:
    """Prevents: a renamed or retyped column that BigQuery refuses to deploy, or that empties somebody's query."""
    promised = evolution.read_promise(table.name)
    current = evolution.summarise(table.fields)
    assert evolution.find_breaks(promised, current) == []
    assert promised == current, "make render"


@pytest.mark.parametrize(
    "change",
    [
        {"new": "STRING NULLABLE"},
        {"items.name": "STRING NULLABLE"},
        {"id": "STRING NULLABLE"},
        {"tags": "STRING REPEATED"},
        {"place": "RECORD NULLABLE", "place.code": "STRING REQUIRED"},
    ],
)
def test_growing_and_relaxing_is_safe(change: dict[str, str]) -> None:
    assert evolution.find_breaks(OLD, OLD | change) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"note": None}, "note was STRING NULLABLE and is gone: keep it"),
        ({"items.price": None}, "items.price was NUMERIC NULLABLE and is gone"),
        ({"items.price": "FLOAT NULLABLE"}, "items.price was NUMERIC NULLABLE and is FLOAT NULLABLE"),
        ({"note": "STRING REQUIRED"}, "note was STRING NULLABLE and is STRING REQUIRED"),
        ({"note": "STRING REPEATED"}, "note was STRING NULLABLE and is STRING REPEATED"),
        ({"new": "STRING REQUIRED"}, "new is new and STRING REQUIRED: rows that exist have no value"),
        ({"items.sku": "STRING REQUIRED"}, "items.sku is new and STRING REQUIRED"),
    ],
)
def test_what_breaks_is_named_with_the_way_out(change: dict[str, str | None], says: str) -> None:
    now = {path: kind for path, kind in (OLD | change).items() if kind is not None}
    (problem,) = evolution.find_breaks(OLD, now)
    assert problem.startswith(says)


def test_a_break_is_not_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: `make render` that blesses whatever it finds."""

    def read(_name: str) -> dict[str, str]:
        return OLD

    monkeypatch.setattr(evolution, "read_promise", read)
    with pytest.raises(evolution.Breaking, match="orders: note was"):
        evolution.check("orders", {"id": "STRING REQUIRED", "items": OLD["items"], "items.price": OLD["items.price"]})
