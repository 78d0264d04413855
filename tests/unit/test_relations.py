"""Product relations: significant by a sum that can be followed by hand, and in the graph as the last run found them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from math import log, sqrt
from pathlib import Path
from typing import Any

import pytest

from agents.recommender import relations
from agents.recommender.relations import find_relations, sync_relations
from agents.tools.graph import FakeGraph, GraphUnavailable
from agents.tools.warehouse import FakeWarehouse, Parameter, Record
from schemas.graph import RelationKind, relation_statement

FIXTURE = Path(__file__).parents[1] / "emulator" / "sql" / "product_relations.json"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
STATE = [{"relation_count": 2, "found_at": NOW}]
MARKED = f"2 of {NOW.isoformat()}"


def make_relation(kind: str = "bought_with", related: str = "b") -> Record:
    return {
        **{"kind": kind, "product_id": "a", "related_id": related},
        **{"support": 9, "score": 0.5, "version": "v2"},
    }


def find_written(graph: FakeGraph, word: str) -> list[str]:
    return [statement for statement, _ in graph.asked if word in statement]


# k11 of row and column sums in a total, as the fixture's "about" counts them; how many products stand on either side.
@pytest.mark.parametrize(
    ("relation", "counts", "products"),
    [
        (("bought_with", "a", "b"), (10, 10 + 4 / 2, 10, 10 + 12 + 4 / 2 + 10), 6),
        (("viewed_with", "i", "j"), (8, 8, 8, 8 + 20 + 20 * 0.5**0.1), 6),  # nine days of ninety
        (("then", "e", "f"), (10, 10, 10, 20), 2),
    ],
)
def test_the_fixture_holds_what_dunnings_formula_gives(
    relation: tuple[str, str, str], counts: tuple[float, float, float, float], products: int
) -> None:
    """Prevents: expected figures that were copied from the SQL which they are to check."""
    k11, row, column, total = counts
    cells = [
        (k11, row * column),
        (row - k11, row * (total - column)),
        (column - k11, (total - row) * column),
        (total - row - column + k11, (total - row) * (total - column)),
    ]
    llr = 2 * sum(count * log(count * total / expected) for count, expected in cells if count > 1e-9)
    assert llr > 2 * log(products**2 / 0.05)
    support = round(k11)
    score = k11 / sqrt(row * column) * support / (support + 5)
    (found,) = [
        entry
        for entry in json.loads(FIXTURE.read_text())["expected"]
        if (entry["kind"], entry["product_id"], entry["related_id"]) == relation
    ]
    assert (found["llr"], found["score"], found["support"]) == (round(llr, 4), round(score, 4), support)


def test_a_run_is_one_statement() -> None:
    """Prevents: half a run's relations beside half of the last one's."""
    warehouse = FakeWarehouse({"MERGE INTO argo.product_relations": [{}, {}]})
    assert find_relations(warehouse, NOW) == 2
    assert [asked for _, asked in warehouse.asked] == [{"version": NOW.isoformat(), "found_at": NOW}]


def test_relations_of_each_kind_are_merged_then_the_others_removed_then_marked() -> None:
    """Prevents: a relation that stopped being significant and stays; a mark before what it says is there."""
    graph = FakeGraph({"removed": [{"removed": 0}]})
    found = [make_relation(), make_relation("then", "c")]
    assert sync_relations(FakeWarehouse({"COUNT(*)": STATE, "@after": found}), graph) == 2
    kinds = [parameters for statement, parameters in graph.asked if "MERGE (from)" in statement]
    assert [rows["relations"][0]["toId"] for rows in kinds] == ["b", "c"]
    assert ["BOUGHT_WITH" in found for found in find_written(graph, "MERGE (from)")] == [True, False]
    removals = [parameters["version"] for statement, parameters in graph.asked if "DELETE" in statement]
    assert removals == ["v2"] * len(RelationKind)
    assert graph.asked[-1][1] == {"name": relations.MARK, "state": MARKED}


def test_what_is_there_already_is_not_written_again() -> None:
    """Prevents: a job that carries every relation every five minutes."""
    graph = FakeGraph({"mark.state AS state": [{"state": MARKED}]})
    assert sync_relations(FakeWarehouse({"COUNT(*)": STATE}), graph) == 0
    assert find_written(graph, "MERGE (") == []


def test_when_nothing_is_significant_any_more_all_go() -> None:
    """Prevents: relations of a shop long gone, because no new run has any."""
    graph = FakeGraph({"mark.state AS state": [{"state": MARKED}], "removed": [{"removed": 0}]})
    sync_relations(FakeWarehouse({"COUNT(*)": [{"relation_count": 0, "found_at": None}]}), graph)
    assert len(find_written(graph, "DELETE")) == len(RelationKind)
    assert graph.asked[-1][1]["state"] == "0 of no run"


def test_a_removal_goes_on_until_nothing_is_left() -> None:
    """Prevents: one batch that is removed, and the rest for ever in the graph."""

    class Emptying(FakeGraph):
        left = 3

        def write(self, statement: str, parameters: Mapping[str, Any] = {}) -> list[Record]:
            super().write(statement, parameters)
            if "DELETE" in statement and ":THEN]" in statement:
                self.left -= 1
                return [{"removed": self.left}]
            return [{"removed": 0}]

    graph = Emptying()
    sync_relations(FakeWarehouse({"COUNT(*)": STATE, "@after": [make_relation()]}), graph)
    assert graph.left == 0


def test_a_run_that_was_cut_short_is_not_marked() -> None:
    """Prevents: a graph without half its relations that everybody believes complete."""

    class Failing(FakeGraph):
        def write(self, statement: str, parameters: Mapping[str, Any] = {}) -> list[Record]:
            if "DELETE" in statement:
                raise GraphUnavailable("gone")
            return super().write(statement, parameters)

    graph = Failing()
    with pytest.raises(GraphUnavailable):
        sync_relations(FakeWarehouse({"COUNT(*)": STATE, "@after": [make_relation()]}), graph)
    assert find_written(graph, "mark.state =") == []


def test_a_page_begins_after_the_last_relation_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: relations that are lost or endless where a page ends."""
    monkeypatch.setattr(relations, "PAGE_ROWS", 2)
    rows = [make_relation(related=name) for name in "bcd"]

    class Paged(FakeWarehouse):
        def query(self, sql: str, parameters: Mapping[str, Parameter] = {}) -> list[Record]:
            found = super().query(sql, parameters)
            key = "{kind}/{product_id}/{related_id}"
            return [row for row in found if key.format(**row) > str(parameters["after"])][:2] if parameters else found

    graph = FakeGraph({"removed": [{"removed": 0}]})
    assert sync_relations(Paged({"COUNT(*)": STATE, "@after": rows}), graph) == 3


@pytest.mark.parametrize("kind", RelationKind)
def test_a_kind_is_a_type_in_the_statement(kind: RelationKind) -> None:
    """Prevents: relations that are all of a type RELATION, which no path asks for."""
    for name in ("merge_relations", "delete_relations"):
        assert f"[relation:{kind.name}]" in relation_statement(name, kind)
