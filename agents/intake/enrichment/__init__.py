"""Enrichment: fills in what the client did not say about an event and what can be known without asking it.

Every module of this package that has a COLUMN is one enrichment: `fill(row, clues)` returns the column's new value, or None
when there is nothing to add; AFTER names the columns that must have been filled before. To add one: its file here, its
example in tests/unit/enrichment, nothing else. An enrichment waits for nothing, and one that fails is counted and leaves
the event as it was. Nothing is filled in for who does not want to be followed: what that means is consent.py's.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec

from agents.intake.enrichment import consent
from agents.intake.enrichment.clues import Clues, attribute_clues

if TYPE_CHECKING:
    from schemas.rows import Interaction

LOG_EVERY = 1000  # failures; the first is logged too
failures: Counter[str] = Counter()
"""How often each enrichment has failed in this process, by its column."""
log = logging.getLogger(__name__)


class Enrichment(Protocol):
    """What a module of this package offers."""

    COLUMN: str
    AFTER: tuple[str, ...]

    def fill(self, row: Interaction, clues: Clues) -> object | None:
        """The column's new value, or None."""
        ...


def enrich(row: Interaction, raw: object, clues: Clues) -> Interaction:
    """The row with everything that could be added. `raw` is the event as it came, `clues` what its request shows."""
    own = attribute_clues(row, raw, clues)
    stated = consent.decide(row.consent, clues)
    if stated is not row.consent:
        row = msgspec.structs.replace(row, consent=stated)
    if consent.is_refused(stated):
        return row
    for enrichment in enrichments():
        try:
            value = enrichment.fill(row, own)
        except Exception as error:  # noqa: BLE001  # whatever fails, the event goes on without
            note_failure(enrichment.COLUMN, error)
            continue
        if value is not None:
            row = msgspec.structs.replace(row, **cast("dict[str, Any]", {enrichment.COLUMN: value}))
    return row


@cache
def enrichments() -> tuple[Enrichment, ...]:
    """Every enrichment, each after those that it builds on."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    modules = (importlib.import_module(f"{__name__}.{name}") for name in names)
    found = {module.COLUMN: cast("Enrichment", module) for module in modules if hasattr(module, "COLUMN")}
    graph = {column: set(module.AFTER) for column, module in sorted(found.items())}
    return tuple(found[column] for column in TopologicalSorter(graph).static_order())


def note_failure(name: str, error: Exception) -> None:
    """Count a failure; the log gets the first and then every thousandth."""
    failures[name] += 1
    if failures[name] % LOG_EVERY == 1:
        log.warning("enrichment %s has failed %d times; events go on without", name, failures[name], exc_info=error)
