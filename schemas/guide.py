"""Writes docs/warehouse.md from the descriptions that BigQuery shows: tables, views, columns, KPIs, questions to start from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schemas import warehouse
from schemas.tables import TABLES

Field = Mapping[str, Any]
HEAD = """# The warehouse

Made by `make render` from what BigQuery itself shows as descriptions; change those, not this file. Tables come from
`schemas/rows.py`, views from `schemas/bigquery/views/*.sql`. Times are UTC; money is exact (NUMERIC), in the currency beside it.

Read `interactions`, not the table `user_interactions`: a table keeps what arrived, at least once. Filter `interactions` by
`event_timestamp`: of the wide columns only those days are read then ([why](decisions/2026-11-20-each-event-once.md)).

A rate shows what it divides (`numerator`, `denominator`): to sum a KPI over days, divide the sums; never average `value`.

## To start with

Each of these runs in the tests. `argo` is the dataset; from another project write `project.argo`.
"""


def write_guide(tables: Mapping[str, Sequence[Field]], views: Mapping[str, Sequence[Field]]) -> str:
    """The page. `tables`, `views`: the described columns of each by its name."""
    queries = sorted(warehouse.view_queries(), key=lambda query: query.name)
    kpis = [query for query in queries if query.name.startswith("kpi_")]
    others = [query for query in queries if query not in kpis]
    parts = [HEAD]
    for question in warehouse.questions():
        code = "\n".join(line for line in question.query.splitlines() if not line.startswith("--")).strip()
        parts.append(f"{question.description}\n\n```sql\n{code}\n```\n")
    parts.append("## KPIs\n")
    parts += [_write_entry(query.name, query.description, views[query.name]) for query in kpis]
    parts.append("## Views\n")
    parts += [_write_entry(query.name, query.description, views[query.name]) for query in others]
    parts.append("## Tables\n")
    for name, table in sorted(TABLES.items()):
        clustered = f", clustered by {', '.join(table.cluster)}" if table.cluster else ""
        about = f"{table.description}. Partitioned by day of `{table.partition}`{clustered}."
        parts.append(_write_entry(name, about, tables[name]))
    return "\n".join(parts)


def _write_entry(name: str, description: str, fields: Iterable[Field]) -> str:
    lines = [
        f"### {name}\n",
        f"{description}\n",
        "| column | type | what it is |",
        "|---|---|---|",
        *_write_rows(fields),
    ]
    return "\n".join(lines) + "\n"


def _write_rows(fields: Iterable[Field], above: str = "") -> list[str]:
    lines: list[str] = []
    for field in fields:
        path = f"{above}{field['name']}"
        kind = f"{field['type']}, {field['mode'].lower()}" if field["mode"] != "NULLABLE" else field["type"]
        words = field.get("description", "").replace("|", "\\|")
        lines.append(f"| `{path}` | {kind} | {words} |")
        lines += _write_rows(field.get("fields", []), f"{path}.")
    return lines
