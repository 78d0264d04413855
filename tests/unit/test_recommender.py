"""The recommender: what it does when a stage lies, is missing, or knows nothing."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from google.api_core.exceptions import ServiceUnavailable

from agents.recommender import experiments
from agents.recommender.bounds import Bound, Unavailable
from agents.recommender.candidates import Candidate
from agents.recommender.items import Source
from agents.recommender.learned import STAGE_1, UNLEARNED, VISITS, Settings, Weights, read_weights
from agents.recommender.paths import Relevance
from agents.recommender.ranking import rank_items
from agents.recommender.rules import Rules
from agents.recommender.rules import parse as parse_rules
from agents.recommender.service import Choice, Context, NothingToRecommend, Ports, ProductName, recommend
from agents.tools.graph import FakeGraph, GraphUnavailable
from agents.tools.models import FakeGateway, ModelAnswer, ModelRefused, ModelRequest, ModelUnavailable
from agents.tools.serving import FakeServing
from agents.tools.warehouse import FakeWarehouse, Record
from functions.recommend_page import render_choice
from functions.recommend_shapes import shape_choice

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROMPT = "choose_product@2"
PATH = "BUNTING → bought together in 14 orders → Name of p2"


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
        {"fromId": "b", "fromName": "BUNTING", "kind": "BOUGHT_WITH", "count": 14},
        {"fromId": "t", "fromName": "TEAPOT", "kind": "VIEWED_WITH", "count": 1},
    ],
}
BUNTING = {"productId": "b", "name": "BUNTING", "type": "order_completed"}


def make_ports(
    answer: Mapping[str, Any] | Exception | None = None,
    candidates: list[Record] = SEVEN,
    graph: FakeGraph | None = None,
    popular: list[Record] | None = None,
    **more: Any,
) -> Ports:
    """Without a serving copy, so that the fakes of BigQuery and the graph are asked."""
    outputs = {} if answer is None else {PROMPT: answer if isinstance(answer, Exception) else dict(answer)}
    given: dict[str, Any] = {
        "warehouse": FakeWarehouse({"current_candidates": candidates, "popular_products": popular or []}),
        "graph": graph or FakeGraph({"$recentIds": [BAG], "User": [BUNTING]}),
        "models": FakeGateway(outputs, model="model-1"),
        "serving": FakeServing(),
        "now": lambda: NOW,
        "experiments": {},
        "rules": Rules(),
    }
    return Ports(**given | more)


def choose(ports: Ports, user_id: str = "u1", **context: Any) -> Choice:
    return recommend(user_id, Context(**context), ports)


GOOD = {"productId": "p3", "reason": "Name of p3 is a good match.", "evidence": ["c3"]}


def test_a_founded_choice_of_the_model_is_taken() -> None:
    """Prevents: a model that is asked and then ignored."""
    choice = choose(make_ports(GOOD))
    assert (choice.item.product_id, choice.reason, choice.chosen_by) == ("p3", GOOD["reason"], "model-1")
    assert choice.evidence == ["p3"]


@pytest.mark.parametrize(
    "answer",
    [
        {"productId": "p7", "reason": "It is not among the five.", "evidence": ["c1"]},
        {"productId": "gold", "reason": "It is good.", "evidence": ["c1"]},
        {"productId": "p3", "reason": "It is good.", "evidence": ["c3", "you live in Bath"]},
        {"productId": "p3", "reason": "It is good.", "evidence": []},
        {"productId": "p3", "reason": "Name of p3 is for sale: half the price!", "evidence": ["c3"]},
        {"productId": "p3", "evidence": ["c3"]},
        {"productId": ["p3"], "reason": "Wrong type.", "evidence": ["c3"]},
        ModelUnavailable("429"),
        ModelRefused("unknown prompt"),
    ],
    ids=["sixth", "made up", "strange", "no evidence", "promise", "no reason", "wrong type", "unavailable", "refused"],
)
def test_an_unfounded_choice_is_replaced_by_the_template(answer: Mapping[str, Any] | Exception) -> None:
    """Prevents: an email about a product that nobody sells, for a reason that nobody can check."""
    choice = choose(make_ports(answer))
    assert (choice.item.product_id, choice.chosen_by, choice.evidence) == ("p2", "template", [PATH])
    assert choice.reason == "Others bought it together with BUNTING."


class SecondThoughts:
    """A model that lies first and is honest when it is told."""

    def __init__(self) -> None:
        self.asked: list[ModelRequest] = []

    def generate(self, request: ModelRequest) -> ModelAnswer:
        self.asked.append(request)
        lie = {"productId": "p3", "reason": "You bought 99 of them.", "evidence": ["c3"]}
        return ModelAnswer(output=GOOD if "rejected" in request.data["context"] else lie, model="model-1")


def test_a_lie_may_be_mended_once_by_who_is_told_what_was_wrong() -> None:
    """Prevents: a template where the model would have found true words; and a model that is asked for ever."""
    models = SecondThoughts()
    assert choose(make_ports(models=models)).reason == GOOD["reason"]
    assert "99" in models.asked[1].data["context"]["rejected"]["problem"]
    assert len(models.asked) == 2


class SlowModel:
    """A model that does not answer while anybody waits."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.asked = 0

    def generate(self, request: ModelRequest) -> ModelAnswer:
        self.asked += 1
        self.released.wait(10)
        return ModelAnswer(output=GOOD, model=request.prompt)


def test_a_slow_model_is_not_waited_for_and_then_left_alone() -> None:
    """Prevents: a page that waits as long as a model likes, and the next one too."""
    models = SlowModel()
    ports = make_ports(models=models, model_bound=Bound("the model", 0.05, 0.05))
    started = time.monotonic()
    assert [choose(ports).chosen_by for _ in range(3)] == ["template"] * 3
    models.released.set()
    assert models.asked == 1
    assert time.monotonic() - started < 5


def test_the_model_gets_five_with_evidence_and_nothing_that_says_who_the_person_is() -> None:
    """Prevents: a model that has to guess, that pays for a hundred candidates, or that learns a customer's id."""
    ports = make_ports()
    choose(ports, language="ko", task_id="t1")
    assert isinstance(ports.models, FakeGateway)
    (request,) = ports.models.asked
    best, *others = request.data["candidates"]
    assert len(others) == 4
    assert (best["productId"], best["name"], best["price"]) == ("p2", "Name of p2", 2.08)
    assert [fact["text"] for fact in best["evidence"]][1] == "BUNTING → bought together in 14 orders → Name of p2"
    assert request.data["context"]["language"] == "ko"
    assert [fact["text"] for fact in request.data["context"]["recent"]] == ["ordered: BUNTING"]
    assert request.task_id == "t1"
    assert "u1" not in str(request.data)


def test_the_callers_recent_products_come_first() -> None:
    """Prevents: an agent's context that the recommender throws away."""
    ports = make_ports()
    choose(ports, recent_products=[ProductName(product_id="mine", name="Mine")])
    assert isinstance(ports.graph, FakeGraph)
    assert ports.graph.asked[-1][1]["recentIds"] == ["mine", "b"]


def test_without_a_graph_stage_1_decides_and_the_graph_rests() -> None:
    """Prevents: no recommendation at all because one store is down, or a slow one each time."""
    graph = FakeGraph(error=GraphUnavailable("down"))
    ports = make_ports(graph=graph)
    choice = choose(ports, use_model=False)
    assert choice.item.product_id == "p1"
    assert choice.reason == "Chosen by people whose taste is like yours."
    assert choice.degraded == [Source.SERVING, Source.GRAPH]
    choose(ports)
    assert len(graph.asked) == 1


def test_without_bigquery_paths_decide_and_without_anything_it_says_try_again() -> None:
    """Prevents: a page that waits for the client's own ten minutes of retries, or an answer made of nothing."""
    broken = FakeWarehouse(error=ServiceUnavailable("down"))
    choice = choose(make_ports(warehouse=broken), use_model=False)
    assert (choice.item.product_id, choice.degraded) == ("p2", [Source.SERVING, Source.WAREHOUSE])
    assert msgspec.json.decode(choice.to_row().evidence or "")["degraded"] == ["serving", "warehouse"]
    with pytest.raises(Unavailable):
        choose(make_ports(warehouse=broken, graph=FakeGraph(error=GraphUnavailable("down"))))


def test_an_answer_says_that_the_model_did_not_choose() -> None:
    """Prevents: a shop that believes its model chooses, while nobody has answered for days."""
    assert Source.MODEL in choose(make_ports(ModelUnavailable("429"))).degraded
    assert Source.MODEL not in choose(make_ports(GOOD)).degraded
    assert Source.MODEL not in choose(make_ports(ModelUnavailable("429")), use_model=False).degraded


def test_a_stranger_gets_what_is_popular() -> None:
    """Prevents: an empty answer on a person's first visit."""
    popular = [{**row, "score": 0.0, "buyers": 12} for row in stage_1("p9", "p8")]
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
    graph = FakeGraph({"$recentIds": [BAG], "User": [{"productId": "p2", "name": "JUMBO BAG"}]})
    mine = [ProductName(product_id="x", name="NAME OF P3"), ProductName(product_id="p1", name="Mine")]
    ports = make_ports(graph=graph)
    choice = choose(ports, recent_products=mine)
    assert [item.product_id for item in choice.items] == ["p4", "p5", "p6", "p7"]
    assert isinstance(ports.warehouse, FakeWarehouse)
    (asked,) = (given for _, given in ports.warehouse.asked if "recent_ids" in given)
    assert asked["recent_ids"] == ["x", "p1", "p2"], "dropped before the limit"


def test_an_empty_shop_is_said_so() -> None:
    """Prevents: a choice of nothing."""
    with pytest.raises(NothingToRecommend, match="u1"):
        choose(make_ports(candidates=[]))


def test_a_rule_empties_an_answer_rather_than_being_broken() -> None:
    """Prevents: what must not be sold, shown for want of something better."""
    forbidden = parse_rules("exclude: {products: [p1, p2, p3, p4, p5, p6]}", "rules.yaml")
    assert [item.product_id for item in choose(make_ports(rules=forbidden)).items] == ["p7"]


def test_a_task_has_one_recommendation_and_every_visit_its_own() -> None:
    """Prevents: a redelivered task that counts twice, and two visits that count once."""
    first, second = (choose(make_ports(), task_id="t1", channel="swarm").to_row() for _ in range(2))
    assert first.recommendation_id == second.recommendation_id
    visit = choose(make_ports()).to_row()
    later = choose(make_ports(now=lambda: NOW.replace(minute=30))).to_row()
    assert len({first.recommendation_id, visit.recommendation_id, later.recommendation_id}) == 3
    handed_over = msgspec.json.decode(first.evidence or "")
    assert [item["productId"] for item in handed_over["candidates"]][:2] == ["p2", "p1"]
    assert handed_over["shown"] == ["p2", "p1", "p3", "p4", "p5"]


def test_the_variant_is_kept_with_the_recommendation() -> None:
    """Prevents: an experiment of which nobody can say who was in it."""
    ports = make_ports(experiments=experiments.parse(ONE_SIDED, "e.yaml"))
    row = choose(ports).to_row()
    assert (row.experiment, row.variant) == ("try", "other")
    assert choose(ports, user_id="").to_row().variant is None


ONE_SIDED = "try: {running: true, about: x, variants: {control: {share: 1.0e-12}, other: {share: 1, use_model: false}}}"


def test_both_stages_have_a_say_in_the_order() -> None:
    """Prevents: a graph that changes nothing, and one that lifts a hopeless candidate over everything."""
    candidates = [Candidate(product_id=f"p{place}", score=0.5 - place / 250) for place in range(1, 101)]
    parts = {"p3": {"bought_with": 2.0}, "p100": {"bought_with": 4.0, "then": 0.3}, "elsewhere": {"bought_with": 9.0}}
    relevance = {name: Relevance(score=1.0, name="", links=[], parts=part) for name, part in parts.items()}
    weights = Weights(stage_1=1.0, kinds={"bought_with": 0.2, "then": 0.1}, alone={"then": 1.0}, news=3.0)
    items = rank_items(candidates, relevance, weights)
    scores = {item.product_id: item.score for item in items}
    # The contract in training/walks.py: stage 1's share, and each kind's part of the answer's largest, by their weights.
    assert scores["p1"] == 1
    assert scores["p3"] == pytest.approx(0.488 / 0.496 + 0.2 * 0.5, abs=1e-5)
    assert scores["p100"] == pytest.approx(0.1 / 0.496 + 0.2 + 0.1, abs=1e-5)
    assert [item.product_id for item in items][:2] == ["p3", "p1"]


def test_news_comes_before_what_stage_1_knew() -> None:
    """Prevents: a session that changes nothing, because the run that learned found paths worthless beside stage 1."""
    candidates = [Candidate(product_id=f"p{place}", score=1 / place) for place in range(1, 21)]
    relevance = {"p20": Relevance(score=1.0, name="", links=[], parts={"then": 0.1})}
    weights = Weights(kinds={}, alone={"bought_with": 1.0, "then": 0.5}, news=1.5)
    assert rank_items(candidates, relevance, weights)[0].product_id == "p1"
    first = rank_items(candidates, relevance, weights, weights.news)[0]
    assert (first.product_id, first.score) == ("p20", pytest.approx(0.05 + 1.5)), "the kind that is there has all of it"


def test_what_a_run_learned_is_what_serving_reads() -> None:
    """Prevents: weights that training records and nobody uses; a backend that learns none and leaves serving without."""
    run = Settings(
        values={},
        weights={},
        path_weights={STAGE_1: 1.0, "bought_with": 0.3, "then": 0.0},
        alone={STAGE_1: 0.0, "then": 2.0},
        validation={},
        news=0.5,
    )
    learned = read_weights(msgspec.json.encode(run).decode())
    assert (learned.stage_1, learned.alone, learned.news) == (1.0, {"then": 2.0}, 0.5)
    assert learned.kinds == {"bought_with": 0.3, VISITS: UNLEARNED.kinds[VISITS]}
    assert learned.walk("viewed_with") > 0, "it may still be the reason"
    nothing = msgspec.structs.replace(run, path_weights={}, alone={})
    assert read_weights(msgspec.json.encode(nothing).decode()).kinds == UNLEARNED.kinds


@pytest.mark.parametrize(("price", "shown"), [("2.080000000", "2.08"), ("10.000000000", "10"), ("0", "0")])
def test_a_price_is_shown_as_people_write_it(price: str, shown: str) -> None:
    """Prevents: 1E+1 or nine decimals in an email."""
    (item,) = rank_items([Candidate(product_id="p", score=1.0, price=Decimal(price))], {})
    assert str(item.price) == shown


def test_the_answer_explains_only_when_asked() -> None:
    """Prevents: paths that every client has to download."""
    choice = choose(make_ports())
    short, long = (msgspec.to_builtins(shape_choice(choice, 2, explain=explain)) for explain in (False, True))
    assert [set(item) for item in short["items"]] == [{"product_id", "name", "price", "score", "category"}] * 2
    assert long["items"][0]["paths"][0] == PATH
    assert long["items"][0]["links"][0]["count"] == 14
    assert short["choice"] == {"product_id": "p2", "reason": choice.reason, "chosen_by": "template"}


def test_the_page_shows_untrusted_words_as_words() -> None:
    """Prevents: a product's name that runs in an operator's browser."""
    evil = "</text><script>alert(1)</script>"
    page = render_choice(choose(make_ports(candidates=[{**SEVEN[1], "name": evil}])), 5)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<svg" in page
    assert "14 orders" in page


@pytest.mark.parametrize(("letter", "most"), [("가", 21), ("W", 31), ("i", 39)])
def test_the_page_fits_any_name_into_its_box(letter: str, most: int) -> None:
    """Prevents: a name that runs over the lines beside it: a Korean letter is twice as wide as a Latin one."""
    page = render_choice(choose(make_ports(candidates=[{**SEVEN[1], "name": letter * 200}])), 5)
    shown = max(len(found) for found in re.findall(f">({letter}+)…</text>", page))
    assert most - 2 <= shown <= most


def test_the_page_draws_a_product_without_a_path_too() -> None:
    """Prevents: a box to which nothing leads, which reads as a fault."""
    page = render_choice(choose(make_ports(graph=FakeGraph())), 5)
    assert "people of a like taste</text>" in page
    assert page.count('<path class="taste"') == 5
