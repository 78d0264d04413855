"""Relations between products: found in the warehouse (job find_relations), carried into the graph (job sync_graph).

Owns when and how. What counts as a relation is schemas/bigquery/models/product_relations.sql's, its shape in the graph
schemas/graph.py's. The table holds what holds now: one statement replaces all of it, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from agents.tools.graph import Graph
from agents.tools.warehouse import Warehouse
from schemas.graph import RelationKind, relation_statement, statement
from schemas.warehouse import model

COLUMNS = ("kind", "product_id", "related_id", "support", "people", "llr", "score", "version", "found_at")
# One statement, so that readers meet the last run's relations or this one's; what is no longer significant goes with it.
REPLACE = """
MERGE INTO argo.product_relations AS old
USING ({model}) AS new
ON old.kind = new.kind AND old.product_id = new.product_id AND old.related_id = new.related_id
WHEN MATCHED THEN UPDATE SET {updates}
WHEN NOT MATCHED BY TARGET THEN INSERT ({columns}) VALUES ({values})
WHEN NOT MATCHED BY SOURCE THEN DELETE
""".format(  # noqa: S608 -- a committed file and column names
    model=model("product_relations").query,
    updates=", ".join(f"{name} = new.{name}" for name in COLUMNS[3:]),
    columns=", ".join(COLUMNS),
    values=", ".join(f"new.{name}" for name in COLUMNS),
)
STATE = "SELECT COUNT(*) AS relation_count, MAX(found_at) AS found_at FROM argo.product_relations"
PAGE = """
SELECT kind, product_id, related_id, support, score, version
FROM argo.product_relations
WHERE CONCAT(kind, '/', product_id, '/', related_id) > @after
ORDER BY CONCAT(kind, '/', product_id, '/', related_id)
LIMIT {limit}
"""
MARK = "product_relations"
PAGE_ROWS = 20_000  # what one query brings into memory
BATCH_ROWS = 1_000  # one transaction


class _State(msgspec.Struct, frozen=True):
    relation_count: int
    found_at: datetime | None = None

    @property
    def text(self) -> str:
        """What is written on the mark. None there at all is a state as well: everything stopped being significant."""
        return f"{self.relation_count} of {self.found_at.isoformat() if self.found_at else 'no run'}"


class _Relation(msgspec.Struct, frozen=True):
    kind: RelationKind
    product_id: str
    related_id: str
    support: int
    score: float
    version: str

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.product_id}/{self.related_id}"


def find_relations(warehouse: Warehouse, now: datetime) -> int:
    """Replace product_relations by what holds now; the number of rows added, changed and removed."""
    return warehouse.execute(REPLACE, {"version": now.isoformat(), "found_at": now})


def sync_relations(warehouse: Warehouse, graph: Graph) -> int:
    """Bring the relations into the graph if they are others than when they were brought last; how many were merged.

    Everything merges, and what carries another run's version is removed afterwards, so it may be killed at any time and
    be run again. Only then is the state marked.

    Raises:
        agents.tools.graph.GraphUnavailable: no graph.
        google.api_core.exceptions.GoogleAPICallError: the warehouse does not answer.
    """
    state = msgspec.convert(warehouse.query(STATE)[0], _State)
    marked = graph.read("MATCH (mark:Watermark {name: $name}) RETURN mark.state AS state", {"name": MARK})
    if (marked[0]["state"] if marked else _State(relation_count=0).text) == state.text:
        return 0
    count, version = 0, ""
    for batch in _read_batches(warehouse):
        version = batch[0].version
        for kind in RelationKind:
            rows = [_shape(relation) for relation in batch if relation.kind is kind]
            if rows:
                graph.write(relation_statement("merge_relations", kind), {"relations": rows})
        count += len(batch)
    for kind in RelationKind:
        _remove_others(graph, kind, version)
    graph.write(statement("merge_state"), {"name": MARK, "state": state.text})
    return count


def _read_batches(warehouse: Warehouse) -> Iterator[list[_Relation]]:
    after = ""
    while True:
        found = msgspec.convert(warehouse.query(PAGE.format(limit=PAGE_ROWS), {"after": after}), list[_Relation])
        for start in range(0, len(found), BATCH_ROWS):
            yield found[start : start + BATCH_ROWS]
        if len(found) < PAGE_ROWS:
            return
        after = found[-1].key


def _remove_others(graph: Graph, kind: RelationKind, version: str) -> None:
    asked: dict[str, Any] = {"version": version, "limit": BATCH_ROWS}
    while graph.write(relation_statement("delete_relations", kind), asked)[0]["removed"]:
        pass


def _shape(relation: _Relation) -> dict[str, Any]:
    return {
        "fromId": relation.product_id,
        "toId": relation.related_id,
        "score": relation.score,
        "support": relation.support,
        "version": relation.version,
    }
