"""Reads the graph's files in `schemas/cypher`: constraints and named statements. Talks to no Neo4j.

The shape: (:User {userId})-[:STARTED]->(:Session {sessionId, startTime})-[:CONTAINS]->(:Event {key, eventId, type, at})
-[:ON]->(:Product {productId, name, price})-[:IN]->(:Category {name}).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("cypher")


def constraints() -> list[str]:
    """The statements that make every key unique; safe to repeat."""
    text = statement("constraints")
    return [part.strip() for part in text.split(";") if part.strip()]


@cache
def statement(name: str) -> str:
    """The Cypher of schemas/cypher/<name>.cypher without its comment lines."""
    lines = (FOLDER / f"{name}.cypher").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("//")).strip()
