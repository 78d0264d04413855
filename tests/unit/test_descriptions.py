"""Everything that an analyst can see in BigQuery says what it is, and a file that does not is named with what to write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from schemas import analyser, warehouse
from schemas.analyser import Undescribed

VIEW = """-- A view.
-- @column n: How many,
-- in all
SELECT event_id, COUNT(*) AS n FROM argo.user_interactions GROUP BY event_id
"""


def _list_silent(fields: Iterable[dict[str, Any]], above: str) -> list[str]:
    found: list[str] = []
    for field in fields:
        path = f"{above}.{field['name']}"
        found += [] if field.get("description") else [path]
        found += _list_silent(field.get("fields", []), path)
    return found


def test_every_table_and_its_columns_say_what_they_are() -> None:
    """Prevents: a column whose unit, time zone or meaning is known only to whoever wrote it."""
    silent = [name for table in warehouse.tables() for name in _list_silent(table.fields, table.name)]
    assert silent == [], "add Meta(description=...) in schemas/rows.py, then make render"
    assert [table.name for table in warehouse.tables() if not table.resource["description"]] == []


def test_every_view_and_its_columns_say_what_they_are() -> None:
    silent = [name for view in warehouse.views() for name in _list_silent(view.fields, view.name)]
    assert silent == [], "make render"
    assert [view.name for view in warehouse.views() if not view.description] == []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of views that is read instead of schemas/bigquery."""
    (tmp_path / "views").mkdir()
    monkeypatch.setattr(warehouse, "FOLDER", tmp_path)
    return tmp_path / "views"


def _describe() -> dict[str, list[dict[str, Any]]]:
    fields = [
        {"name": "event_id", "type": "STRING", "mode": "REQUIRED", "description": "One event"},
        {"name": "page", "type": "RECORD", "mode": "NULLABLE", "description": "Where", "fields": [
            {"name": "url", "type": "STRING", "mode": "NULLABLE", "description": "Address"},
        ]},
    ]  # fmt: skip
    return analyser.describe_views({"user_interactions": fields})


def test_a_view_takes_over_what_its_table_says_and_adds_its_own(folder: Path) -> None:
    """Prevents: descriptions written twice, of which one grows old."""
    (folder / "counts.sql").write_text(VIEW)
    (folder / "outer.sql").write_text("-- Of a view.\nSELECT n, page FROM argo.counts, argo.user_interactions")
    found = _describe()
    assert [(field["name"], field["description"], field["mode"]) for field in found["counts"]] == [
        ("event_id", "One event", "NULLABLE"),
        ("n", "How many, in all", "NULLABLE"),
    ]
    assert found["outer"][0]["description"] == "How many, in all"
    assert found["outer"][1]["fields"] == [
        {"name": "url", "mode": "NULLABLE", "type": "STRING", "description": "Address"}
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-- A view.\nSELECT 1 AS n", "views/bad.sql: column n: nothing describes it; add a line -- @column n: what it is"),
        ("-- A view.\n-- @column m: x\nSELECT event_id FROM argo.user_interactions", "@column m: it returns no such column"),
        ("-- A view.\nSELECT n FROM argo.counts JOIN argo.other USING (n)", "column n: what it reads describes it in several"),
    ],
)  # fmt: skip
def test_a_view_without_words_is_named_with_what_to_write(folder: Path, text: str, says: str) -> None:
    (folder / "counts.sql").write_text(VIEW)
    (folder / "other.sql").write_text("-- Another.\n-- @column n: Not the same\nSELECT 1 AS n")
    (folder / "bad.sql").write_text(text)
    with pytest.raises(Undescribed) as caught:
        _describe()
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text", ["SELECT 1 AS n", "-- @column n: x\nSELECT 1 AS n", "-- A view.\n-- @columns n x\nSELECT 1 AS n"]
)
def test_a_head_that_cannot_be_read_is_an_error(folder: Path, text: str) -> None:
    """Prevents: a description that is lost because of a misspelt mark."""
    (folder / "bad.sql").write_text(text)
    with pytest.raises(ValueError, match=r"bad\.sql.*(must be a comment|must read)"):
        warehouse.view_queries()


def test_a_statement_is_bound_to_its_project_but_for_its_comments() -> None:
    query = warehouse.Query(name="x", description="d", query="-- of argo.a\nSELECT 1 FROM argo.a JOIN argo.b_2 AS b")
    assert query.bind("p-1", "d") == "-- of argo.a\nSELECT 1 FROM `p-1.d.a` JOIN `p-1.d.b_2` AS b"
