"""What the stores' parts in forgetting share: the ports, and what one pass over a store gives. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agents.tools.documents import Documents
from agents.tools.graph import Graph
from agents.tools.held import Held
from agents.tools.keys import Keys
from agents.tools.objects import Objects
from agents.tools.warehouse import Warehouse


@dataclass(frozen=True, kw_only=True)
class Stores:
    """Every store in which a person can be. `buckets` and `held` are by their names in the topology."""

    warehouse: Warehouse
    graph: Graph
    documents: Documents
    keys: Keys
    buckets: Mapping[str, Objects]
    held: Mapping[str, Held]


@dataclass(frozen=True, kw_only=True)
class Erased:
    """One pass over one store: what was deleted by part of it, and what has to wait, with the reason."""

    deleted: dict[str, int] = field(default_factory=dict[str, int])
    later: dict[str, str] = field(default_factory=dict[str, str])
