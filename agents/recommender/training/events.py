"""What people did with products, as arrays. Values only: where the events come from is not known here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

KINDS = ("product_viewed", "product_added", "order_completed")
VIEWED, ADDED, ORDERED = range(3)


@dataclass(frozen=True, kw_only=True)
class Events:
    """One row per product of an event, in the order of time. `users`, `items` are positions in the lists of ids.

    `days` are days since any fixed moment; without times (`timed` is False) they are all 0 and their order means nothing.
    `sessions` number the visits or baskets (without any, one per person); `categories` has a number per item, -1 unknown.
    `words` are what each item is said to be (agents.recommender.content), `places` the number of each person's, -1 unknown;
    empty where nobody says any. An item may be there without an event: the catalogue knows it, nobody has touched it yet.
    """

    user_ids: list[str]
    item_ids: list[str]
    users: Ints
    items: Ints
    kinds: NDArray[np.int8]
    quantities: Floats
    days: NDArray[np.float64]
    sessions: Ints
    categories: Ints
    words: Sequence[list[str]] = ()
    places: Ints = field(default_factory=lambda: np.empty(0, np.int32))
    timed: bool = True

    def __len__(self) -> int:
        return len(self.users)

    def select(self, rows: Flags) -> Events:
        """The flagged rows, over the same people and items."""
        return replace(
            self,
            users=self.users[rows],
            items=self.items[rows],
            kinds=self.kinds[rows],
            quantities=self.quantities[rows],
            days=self.days[rows],
            sessions=self.sessions[rows],
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(people, items)."""
        return len(self.user_ids), len(self.item_ids)
