"""Reads the warehouse's files: tables (JSON), views, moments, models and questions (SQL). Talks to no BigQuery.

An analyst adds a view or a moment by adding a file. Its first comment lines are its description; a column whose name and
meaning no table or view that it reads already explains has a line `-- @column name: what it is`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("bigquery")
_REFERENCE = re.compile(r"\bargo\.(\w+)")
_COLUMN = re.compile(r"@column\s+([\w.]+):\s*(\S.*)")


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table: `resource` is its body in BigQuery's REST API, without the reference."""

    name: str
    resource: dict[str, Any]

    @property
    def fields(self) -> list[dict[str, Any]]:
        """Its columns, as BigQuery's API has them."""
        return self.resource["schema"]["fields"]


@dataclass(frozen=True, kw_only=True)
class Query:
    """One SQL file: a view, a moment, a model or a question. `declared` are its columns' own descriptions, by path."""

    name: str
    description: str
    query: str
    declared: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def references(self) -> set[str]:
        """Names behind `argo.` in the statement, comments left out."""
        code = re.sub(r"--[^\n]*", "", self.query)
        return set(_REFERENCE.findall(code)) - {self.name}

    def bind(self, project: str, dataset: str) -> str:
        """The statement with every `argo.name` as `project.dataset.name`.

        A view needs it: BigQuery refuses a view without projects to whoever asks from another (billing) project.
        """
        lines = self.query.splitlines(keepends=True)
        full = rf"`{project}.{dataset}.\1`"
        return "".join(line if line.startswith("--") else _REFERENCE.sub(full, line) for line in lines)


@dataclass(frozen=True, kw_only=True)
class View(Query):
    """A view; `fields` are its columns, as BigQuery's API has them (rendered, see schemas.render)."""

    fields: list[dict[str, Any]]


def tables() -> list[Table]:
    """Every table, by name."""
    return [
        Table(name=path.stem, resource=json.loads(path.read_text(encoding="utf-8")))
        for path in sorted((FOLDER / "tables").glob("*.json"))
    ]


def views() -> list[View]:
    """Every view with its columns, each after the views that it reads.

    Raises:
        FileNotFoundError: a view's columns were not rendered yet; `make render` does it.
    """
    return [View(**vars(query), fields=_read_fields(query.name)) for query in view_queries()]


def view_queries() -> list[Query]:
    """The statement of every view, each after the views that it reads."""
    found = {query.name: query for query in read_queries("views")}
    graph = {name: query.references & found.keys() for name, query in found.items()}
    return [found[name] for name in TopologicalSorter(graph).static_order()]


def moments() -> list[Query]:
    """Every moment: SQL that returns one row per case, with user_id and case_id among its columns."""
    return read_queries("moments")


def questions() -> list[Query]:
    """Every example question of docs/warehouse.md."""
    return read_queries("questions")


def model(name: str) -> Query:
    """One model of schemas/bigquery/models."""
    return _read(FOLDER / "models" / f"{name}.sql")


def read_queries(folder: str) -> list[Query]:
    """Every SQL file of a folder of schemas/bigquery, by name."""
    return [_read(path) for path in sorted((FOLDER / folder).glob("*.sql"))]


def _read_fields(view: str) -> list[dict[str, Any]]:
    path = FOLDER / "columns" / f"{view}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: the view {view} is new, so run make render") from None


def _read(path: Path) -> Query:
    text = path.read_text(encoding="utf-8")
    parts: list[str] = []  # the description, then one for each column
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        words = line.removeprefix("--").strip()
        if words.startswith("@") or not parts:
            parts.append(words)
        else:
            parts[-1] += f" {words}"
    if not parts or not parts[0] or parts[0].startswith("@"):
        raise ValueError(f"{path}: the first line must be a comment that describes it (-- ...)")
    declared: dict[str, str] = {}
    for part in parts[1:]:
        found = _COLUMN.fullmatch(part)
        if not found:
            raise ValueError(f"{path}: {part[:60]!r} must read '-- @column name: what it is'")
        declared[found[1]] = found[2]
    return Query(name=path.stem, description=parts[0], declared=declared, query=text)
