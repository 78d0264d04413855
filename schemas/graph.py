"""Reads the graph's files in `schemas/cypher`: constraints and named statements. Talks to no Neo4j.

The shape: (:User {userId})-[:STARTED]->(:Session {sessionId, startTime})-[:CONTAINS]->(:Event {key, eventId, type, at})
-[:ON]->(:Product {productId, name, price})-[:IN]->(:Category {name}), and between products what is significant
(schemas/bigquery/models/product_relations.sql), at most 50 of a kind from a product:
(:Product)-[:BOUGHT_WITH|VIEWED_WITH|THEN {score, support, version}]->(:Product). `score` is 0 to 1; `support` is in how
many orders, visits or steps both occurred; BOUGHT_WITH and VIEWED_WITH are there in both directions, THEN means "later".
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("cypher")


class RelationKind(StrEnum):
    """A kind of product_relations; its type in the graph is the same in capitals."""

    BOUGHT_WITH = "bought_with"
    VIEWED_WITH = "viewed_with"
    THEN = "then"


def constraints() -> list[str]:
    """The statements that make every key unique; safe to repeat."""
    text = statement("constraints")
    return [part.strip() for part in text.split(";") if part.strip()]


@cache
def statement(name: str) -> str:
    """The Cypher of schemas/cypher/<name>.cypher without its comment lines."""
    lines = (FOLDER / f"{name}.cypher").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("//")).strip()


def relation_statement(name: str, kind: RelationKind) -> str:
    """The same for one kind of relation: Cypher takes no parameter where a type stands."""
    return statement(name).replace(":RELATION", f":{kind.name}")
