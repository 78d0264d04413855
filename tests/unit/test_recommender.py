"""The recommender: what it does when a stage lies, is missing, or knows nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from starlette.datastructures import QueryParams

from agents.recommender.candidates import Candidate
from agents.recommender.paths import Relevance
from agents.recommender.ranking import rank_items
from agents.recommender.service import Choice, Context, NothingToRecommend, Ports, ProductName, recommend
from agents.tools.graph import FakeGraph, GraphUnavailable
from agents.tools.models import FakeGateway, ModelRefused, ModelUnavailable
from agents.tools.warehouse import FakeWarehouse, Record
from functions.recommend import find_problem, shape_choice

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROMPT = "choose_product@1"
PATH = "BUNTING → bought together in 14 orders → JUMBO BAG"


def stage_1(*product_ids: str) -> list[Record]:
    return [
        {"product_id": product, "score": 1.0, "name": f"Name of {product}", "price": Decimal("2.080000000")}
        for product in product_ids
    ]


SEVEN = stage_1("p1", "p2", "p3", "p4", "p5", "p6", "p7")
BAG = {
    "productId": "p2",
    "name": "JUMBO BAG",
    "score": 0.5,
    "links": [
        {"fromName": "BUNTING", "together": 15, "orders": 14},
        {"fromName": "TEAPOT", "together": 1, "orders": 0},
    ],
}


def make_ports(
    answer: Mapping[str, Any] | Exception | None = None,
    candidates: list[Record] = SEVEN,
    graph: FakeGraph | None = None,
    popular: list[Record] | None = None,
) -> Ports:
    outputs = {} if answer is None else {PROMPT: answer if isinstance(answer, Exception) else dict(answer)}
    return Ports(
        warehouse=FakeWarehouse({"current_candidates": candidates, "popular_products": popular or []}),
        graph=graph or FakeGraph({"candidateIds": [BAG], "User": [{"productId": "b", "name": "BUNTING"}]}),
        models=FakeGateway(outputs, model="model-1"),
        now=lambda: NOW,
    )


def choose(ports: Ports, **context: Any) -> Choice:
    return recommend("u1", Context(**context), ports)


def test_a_founded_choice_of_the_model_is_taken() -> None:
    """Prevents: a model that is asked and then ignored."""
    choice = choose(make_ports({"productId": "p3", "reason": "Because.", "evidence": ["p3", PATH, "b"]}))
    assert (choice.item.product_id, choice.reason, choice.chosen_by) == ("p3", "Because.", "model-1")


@pytest.mark.parametrize(
    "answer",
    [
        {"productId": "p7", "reason": "Not among the five.", "evidence": ["p7"]},
        {"productId": "gold", "reason": "Made up.", "evidence": ["gold"]},
        {"productId": "p3", "reason": "Invented evidence.", "evidence": ["p3", "you live in Bath"]},
        {"productId": "p3", "reason": "No evidence.", "evidence": []},
        {"productId": "p3", "evidence": ["p3"]},
        {"productId": ["p3"], "reason": "Wrong type.", "evidence": ["p3"]},
        ModelUnavailable("429"),
        ModelRefused("unknown prompt"),
    ],
    ids=["sixth", "made up", "strange evidence", "no evidence", "no reason", "wrong type", "unavailable", "refused"],
)
def test_an_unfounded_choice_is_replaced_by_the_template(answer: Mapping[str, Any] | Exception) -> None:
    """Prevents: an email about a product that nobody sells, for a reason that nobody can check."""
    choice = choose(make_ports(answer))
    assert (choice.item.product_id, choice.chosen_by, choice.evidence) == ("p2", "template", [PATH])
    assert choice.reason == "Others chose it together with BUNTING."


def test_the_model_gets_five_with_paths_and_what_is_known_of_the_person() -> None:
    """Prevents: a model that has to guess, or that pays for a hundred candidates."""
    ports = make_ports()
    choose(ports, language="ko", task_id="t1")
    assert isinstance(ports.models, FakeGateway)
    (request,) = ports.models.asked
    best, *others = request.data["candidates"]
    assert len(others) == 4
    assert best == {
        **{"productId": "p2", "name": "Name of p2", "category": None, "price": 2.08, "score": best["score"]},
        "paths": [PATH, "TEAPOT → looked at together in 1 visit → JUMBO BAG"],
    }
    recent = [{"productId": "b", "name": "BUNTING"}]
    assert request.data["context"] == {"userId": "u1", "language": "ko", "recentProducts": recent}
    assert (request.task_id, request.agent) == ("t1", "RecommendationAgent")


def test_the_callers_recent_products_come_first() -> None:
    """Prevents: an agent's context that the recommender throws away."""
    ports = make_ports({"productId": "p1", "reason": "r", "evidence": ["mine"]})
    choice = choose(ports, recent_products=[ProductName(product_id="mine", name="Mine")])
    assert choice.chosen_by == "model-1"


def test_without_a_graph_stage_1_decides() -> None:
    """Prevents: no recommendation at all because one store is down."""
    choice = choose(make_ports(graph=FakeGraph(error=GraphUnavailable("down"))))
    assert choice.item.product_id == "p1"
    assert choice.reason == "Chosen by people whose taste is like yours."


def test_a_stranger_gets_what_is_popular() -> None:
    """Prevents: an empty answer on a person's first visit."""
    popular = [{**row, "buyers": 12} for row in stage_1("p9", "p8")]
    choice = choose(make_ports(candidates=[], popular=popular, graph=FakeGraph()))
    assert [item.product_id for item in choice.items] == ["p9", "p8"]
    assert choice.reason == "Popular right now: bought by 12 people in 90 days."


def test_what_only_filled_up_the_list_is_not_sold_as_taste() -> None:
    """Prevents: "people like you chose it" for what was merely popular."""
    filled = [{**row, "score": 0.0000004} for row in stage_1("p1")]
    choice = choose(make_ports(candidates=filled, graph=FakeGraph()))
    assert choice.reason == "Popular right now: one of the 100 most popular in 90 days."


def test_what_the_person_just_touched_is_not_recommended() -> None:
    """Prevents: "LAMP goes well with LAMP", by id, or by name where a shop sells one product under two ids."""
    graph = FakeGraph({"candidateIds": [BAG], "User": [{"productId": "p2", "name": "JUMBO BAG"}]})
    mine = [ProductName(product_id="x", name="NAME OF P3"), ProductName(product_id="p1", name="Mine")]
    ports = make_ports(graph=graph)
    choice = choose(ports, recent_products=mine)
    assert [item.product_id for item in choice.items] == ["p4", "p5", "p6", "p7"]
    assert isinstance(ports.warehouse, FakeWarehouse)
    assert ports.warehouse.asked[0][1]["recent_ids"] == ["x", "p1", "p2"], "dropped before the limit"


def test_who_touched_every_candidate_gets_what_is_popular() -> None:
    """Prevents: no recommendation because everything that was trained for a person is in their hands already."""
    graph = FakeGraph({"candidateIds": [], "User": [{"productId": "p1", "name": "Name of p1"}]})
    choice = choose(make_ports(candidates=stage_1("p1"), popular=stage_1("p1", "p9"), graph=graph))
    assert [item.product_id for item in choice.items] == ["p9"]


def test_an_empty_shop_is_said_so() -> None:
    """Prevents: a choice of nothing."""
    with pytest.raises(NothingToRecommend, match="u1"):
        choose(make_ports(candidates=[]))


def test_a_task_has_one_recommendation_and_every_visit_its_own() -> None:
    """Prevents: a redelivered task that counts twice, and two visits that count once."""
    again = make_ports()
    first, second = (choose(again, task_id="t1", channel="swarm").to_row() for _ in range(2))
    assert first.recommendation_id == second.recommendation_id
    visit = choose(again).to_row()
    later = choose(msgspec_replace(again)).to_row()
    assert len({first.recommendation_id, visit.recommendation_id, later.recommendation_id}) == 3
    handed_over = msgspec.json.decode(first.evidence or "")
    assert [item["productId"] for item in handed_over["candidates"]][:2] == ["p2", "p1"]


def msgspec_replace(ports: Ports) -> Ports:
    return Ports(warehouse=ports.warehouse, graph=ports.graph, models=ports.models, now=lambda: NOW.replace(minute=30))


def test_both_stages_have_a_say_in_the_order() -> None:
    """Prevents: a graph that changes nothing, and one that lifts a hopeless candidate over everything."""
    candidates = [Candidate(product_id=f"p{place}") for place in range(1, 101)]
    relevance = {"p3": Relevance(score=2.0, paths=[]), "p100": Relevance(score=3.0, paths=[])}
    order = [item.product_id for item in rank_items(candidates, relevance, 100)]
    assert order[:3] == ["p3", "p1", "p2"]
    assert 3 < order.index("p100") < 50


@pytest.mark.parametrize(("price", "shown"), [("2.080000000", "2.08"), ("10.000000000", "10"), ("0", "0")])
def test_a_price_is_shown_as_people_write_it(price: str, shown: str) -> None:
    """Prevents: 1E+1 or nine decimals in an email."""
    (item,) = rank_items([Candidate(product_id="p", score=1.0, price=Decimal(price))], {}, 1)
    assert str(item.price) == shown


def test_the_answer_explains_only_when_asked() -> None:
    """Prevents: paths that every client has to download."""
    choice = choose(make_ports())
    short, long = (shape_choice(choice, 2, explain=explain) for explain in (False, True))
    assert [set(item) for item in short["items"]] == [{"product_id", "name", "price", "score"}] * 2
    assert long["items"][0]["paths"][0] == PATH
    assert short["choice"] == {"product_id": "p2", "reason": choice.reason, "chosen_by": "template"}


@pytest.mark.parametrize(
    ("query", "named"),
    [("", "user_id"), ("user_id=", "user_id"), (f"user_id={'x' * 257}", "user_id")]
    + [(f"user_id=u&limit={limit}", "limit") for limit in ("0", "51", "five", "-1", "٣")],
)
def test_a_bad_request_is_told_what_to_change(query: str, named: str) -> None:
    """Prevents: a 500, or a 400 that does not say which parameter."""
    assert find_problem(QueryParams(query)).startswith(named)


def test_a_good_request_has_no_problem() -> None:
    """Prevents: a check that refuses everybody."""
    assert find_problem(QueryParams("user_id=u&limit=50")) == ""
