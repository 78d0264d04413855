"""The published OpenAPI document is what is served, and answers are as it says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import msgspec
import pytest

from agents.recommender.items import Choice, Item, Link, Relation
from functions.recommend_shapes import OPENAPI, RECOMMEND, describe_api, render_api, shape_choice

PUBLISHED = Path(__file__).parents[2] / "docs" / "recommend.openapi.json"
LINK = Link(relation=Relation.BOUGHT, count=3, from_id="a", from_name="A")
CHOICE = Choice(
    user_id="u1",
    item=Item(product_id="b", name="B", score=1.0, links=[LINK], paths=[LINK.describe("B")]),
    reason="Others bought it together with A.",
    chosen_by="template",
    evidence=["b"],
    items=[Item(product_id="b", name="B", score=1.0, links=[LINK]), Item(product_id="c", name="C", score=0.5)],
    served_at=datetime(2026, 3, 1, tzinfo=UTC),
    experiment="try",
    variant="control",
)


def test_the_published_document_is_the_served_one() -> None:
    """Prevents: a client written against an old contract. `python -m functions.recommend_shapes` prints the new one."""
    assert PUBLISHED.read_text(encoding="utf-8") == render_api()
    assert OPENAPI not in describe_api()["paths"]


@pytest.mark.parametrize("explain", [False, True])
def test_an_answer_is_as_the_document_says(explain: bool) -> None:
    """Prevents: a contract that nothing holds to."""
    document = describe_api()
    schema = document["paths"][RECOMMEND]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    answer = msgspec.to_builtins(shape_choice(CHOICE, 5, explain=explain))
    jsonschema.validate(answer, {**schema, "components": document["components"]})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**answer, "items": [{}]}, {**schema, "components": document["components"]})
    assert ("experiment" in answer) is explain
