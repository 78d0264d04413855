"""About where the person is: what the load balancer says, or else a file in MaxMind's format, if the client did not."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from agents.tools import places

if TYPE_CHECKING:
    from agents.intake.enrichment.clues import Clues
    from schemas.rows import Interaction, Location

COLUMN = "location"
AFTER: tuple[str, ...] = ()


def fill(row: Interaction, clues: Clues) -> Location | None:
    """A coarse location; coordinates are rounded to `places.PLACE_DECIMALS`."""
    if row.location is not None:
        return None
    if clues.location is not None:
        return clues.location
    return _look_up(clues.address) if clues.address else None


@lru_cache(maxsize=1024)
def _look_up(address: str) -> Location | None:
    known = places.maxmind_file()
    return known.find(address) if known else None
