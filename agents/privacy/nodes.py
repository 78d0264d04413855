"""The graph's part: the person's nodes, their visits unless others share them, and every event of theirs.

Whose an event is, the graph does not say where two people used one device in one visit; the warehouse does. So this part
comes before the warehouse's, and is repeated until both are done.
"""

from __future__ import annotations

from agents.privacy.person import Person
from agents.privacy.stores import Erased
from agents.tools.graph import Graph
from agents.tools.warehouse import Warehouse
from schemas.graph import statement
from schemas.messages import derive_id

EVENTS = """
SELECT DISTINCT source, IFNULL(producer, '') AS producer, event_id
FROM argo.user_interactions
WHERE user_id IN UNNEST(@ids) OR anonymous_id IN UNNEST(@ids) OR previous_id IN UNNEST(@ids)
"""
BATCH = 1000


def erase_nodes(person: Person, graph: Graph, warehouse: Warehouse) -> Erased:
    """Delete what the graph has of a person; raises as the two stores do."""
    rows = warehouse.query(EVENTS, {"ids": list(person.ids)})
    keys = [derive_id("event", row["source"], row["producer"], row["event_id"]) for row in rows]
    sessions = [row["id"] for row in graph.read(statement("find_own_sessions"), {"ids": list(person.ids)})]
    deleted = {"User": 0, "Session": 0, "Event": 0}
    for name, label, ids in (
        ("delete_events", "Event", keys),
        ("delete_sessions", "Session", sessions),
        ("delete_people", "User", list(person.ids)),
    ):
        for start in range(0, len(ids), BATCH):
            found = graph.write(statement(name), {"ids": ids[start : start + BATCH]})
            deleted[label] += sum(int(row["count"]) for row in found)
    return Erased(deleted=deleted)
