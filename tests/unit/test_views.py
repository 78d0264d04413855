"""What the views say about the rows, held to the code that writes them."""

from __future__ import annotations

import re

from schemas import warehouse
from schemas.rows import OUTCOME_TYPES, Interaction


def _read_sql(name: str) -> str:
    (found,) = (view for view in warehouse.view_queries() if view.name == name)
    return found.query


def test_interactions_has_every_column_of_its_table() -> None:
    """Prevents: a new column that no analyst sees, because the view lists them."""
    listed = re.findall(r"^  events\.(\w+),$", _read_sql("interactions"), re.MULTILINE)
    assert listed == list(Interaction.__struct_fields__)


def test_no_outcome_counts_as_an_act_of_the_person() -> None:
    """Prevents: an email or webhook of ours that makes somebody look engaged."""
    (named,) = re.findall(r"event_type NOT IN \(([^)]*)\) AS is_own", _read_sql("interactions"))
    assert set(OUTCOME_TYPES) <= set(re.findall(r"'(\w+)'", named))
