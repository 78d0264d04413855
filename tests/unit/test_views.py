"""What the views say about the rows, held to the code that writes them."""

from __future__ import annotations

import re

from schemas import warehouse
from schemas.rows import OUTCOME_TYPES


def test_no_outcome_counts_as_an_act_of_the_person() -> None:
    """Prevents: an email or webhook of ours that makes somebody look engaged."""
    (interactions,) = (view for view in warehouse.view_queries() if view.name == "interactions")
    (named,) = re.findall(r"event_type NOT IN \(([^)]*)\) AS is_own", interactions.query)
    assert set(OUTCOME_TYPES) <= set(re.findall(r"'(\w+)'", named))
