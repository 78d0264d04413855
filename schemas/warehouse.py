"""Reads the warehouse's files: tables (JSON), views, moments and models (SQL). Talks to no BigQuery.

An analyst adds a view or a moment by adding a file: its first comment lines are its description.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("bigquery")
_REFERENCE = re.compile(r"\bargo\.(\w+)")


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table: `resource` is its body in BigQuery's REST API, without the reference."""

    name: str
    resource: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Query:
    """One SQL file: a view, a moment or a model. `references` are the tables and views of the dataset that it reads."""

    name: str
    description: str
    query: str

    @property
    def references(self) -> set[str]:
        """Names behind `argo.` in the statement, comments left out."""
        code = re.sub(r"--[^\n]*", "", self.query)
        return set(_REFERENCE.findall(code)) - {self.name}


def tables() -> list[Table]:
    """Every table, by name."""
    return [
        Table(name=path.stem, resource=json.loads(path.read_text(encoding="utf-8")))
        for path in sorted((FOLDER / "tables").glob("*.json"))
    ]


def views() -> list[Query]:
    """Every view, each after the views that it reads."""
    found = {query.name: query for query in read_queries("views")}
    graph = {name: query.references & found.keys() for name, query in found.items()}
    return [found[name] for name in TopologicalSorter(graph).static_order()]


def moments() -> list[Query]:
    """Every moment: SQL that returns one row per case, with user_id and case_id among its columns."""
    return read_queries("moments")


def model(name: str) -> Query:
    """One model of schemas/bigquery/models."""
    return _read(FOLDER / "models" / f"{name}.sql")


def read_queries(folder: str) -> list[Query]:
    """Every SQL file of a folder of schemas/bigquery, by name."""
    return [_read(path) for path in sorted((FOLDER / folder).glob("*.sql"))]


def _read(path: Path) -> Query:
    text = path.read_text(encoding="utf-8")
    comment: list[str] = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        comment.append(line.removeprefix("--").strip())
    if not comment:
        raise ValueError(f"{path}: the first line must be a comment that describes it (-- ...)")
    return Query(name=path.stem, description=" ".join(comment), query=text)
