"""People and products without history, through the serving copy as the job publishes it. The stores are fakes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from agents.recommender import copies
from agents.recommender.items import Context, ProductName, Relation
from agents.recommender.learned import STAGE_1, UNLEARNED, Settings
from agents.recommender.rules import Rules
from agents.recommender.service import Choice, Ports, recommend
from agents.tools.graph import FakeGraph
from agents.tools.models import FakeGateway
from agents.tools.serving import FakeServing
from agents.tools.warehouse import FakeWarehouse, Record
from functions.jobs.publish_serving import publish

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEARNED = Settings(
    values={},
    weights={},
    path_weights={STAGE_1: 1.0, "then": 0.4},
    alone={"then": 1.0, "alike": 0.5},
    validation={},
    news=2.0,
)


def product(product_id: str, name: str, category: str, people: int) -> Record:
    known: Record = {"product_id": product_id, "name": name, "category": category, "brand": None, "price": None}
    return {**known, "cost": None, "in_stock": True, "is_new": not people, "buyers": people, "people": people}


SHOP = [
    product("lamp", "Desk lamp", "lights", 90),
    product("mug", "Red mug with a lid", "mugs", 50),
    product("cup", "Blue mug with a lid", "mugs", 40),
    product("hat", "Straw hat", "hats", 30),
    product("cap", "Baseball cap", "hats", 20),
    product("fresh", "Green mug with a lid", "mugs", 0),
]


def publish_shop(settings: str = msgspec.json.encode(LEARNED).decode()) -> FakeServing:
    serving = FakeServing()
    warehouse = FakeWarehouse(
        {
            "SELECT version": [{"version": "v1", "trained_at": NOW}],
            "settings": [{"settings": settings}],
            "popular_by_country": [{"country": "KR", "product_id": "cap"}],
            "product_catalog": SHOP,
        }
    )
    publish(warehouse, serving, NOW)
    return serving


def ask(serving: FakeServing, user_id: str = "stranger", **context: Any) -> Choice:
    ports = Ports(
        warehouse=FakeWarehouse(),
        graph=FakeGraph(),
        models=FakeGateway({}),
        serving=serving,
        now=lambda: NOW,
        experiments={},
        rules=Rules(),
    )
    return recommend(user_id, Context(**context), ports)


def shown(choice: Choice) -> list[str]:
    return [item.product_id for item in choice.items]


def test_a_stranger_is_answered_by_the_country() -> None:
    """Prevents: a shop in two countries that shows strangers of the small one what the large one buys."""
    assert shown(ask(publish_shop()))[0] == "lamp"
    assert shown(ask(publish_shop(), country="KR"))[:2] == ["cap", "lamp"]
    assert shown(ask(publish_shop(), country="nowhere"))[0] == "lamp"


def test_a_product_that_nobody_has_touched_is_found_by_what_it_is() -> None:
    """Prevents: a new product that stays unseen because it was never seen; a reason that others never gave."""
    choice = ask(publish_shop(), recent_products=[ProductName(product_id="mug", name="Red mug with a lid")])
    assert set(shown(choice)[:2]) == {"cup", "fresh"}
    fresh = next(item for item in choice.items if item.product_id == "fresh")
    assert [(link.relation, link.from_id) for link in fresh.links] == [(Relation.ALIKE, "mug")]
    assert choice.reason == "It is similar to Red mug with a lid."
    assert ask(publish_shop(), related_to="fresh").reason == "It is similar to Green mug with a lid."


def test_a_visit_tells_the_category() -> None:
    """Prevents: lamps for somebody who looks at hats, because lamps are what most people buy."""
    choice = ask(publish_shop(), recent_products=[ProductName(product_id="hat", name="Straw hat")])
    assert shown(choice)[0] == "cap"


def test_a_new_product_in_the_list_is_not_sold_as_taste() -> None:
    """Prevents: "people like you chose it" for what nobody has touched."""
    serving = publish_shop()
    person = copies.Person(candidates=[("fresh", 1.0)])
    serving.put({copies.person_key("v1", "known"): msgspec.json.encode(person).decode()})
    assert ask(serving, "known").reason == "It is similar to what you chose."


@pytest.mark.parametrize(("settings", "news"), [(msgspec.json.encode(LEARNED).decode(), 2.0), ("{}", UNLEARNED.news)])
def test_what_the_last_run_learned_is_published(settings: str, news: float) -> None:
    """Prevents: paths weighed by a constant while training learns better; a publication that a bad record stops."""
    pointer = copies.read_pointer(publish_shop(settings))
    assert pointer
    assert pointer.weights.news == news
