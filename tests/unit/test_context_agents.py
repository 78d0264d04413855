"""What is known about a person, and what goes on outside: said without saying who it is, and whatever is down."""

from __future__ import annotations

from typing import Any

import msgspec

from agents.swarm.agent import Occasion, Ports, Task
from agents.swarm.kit import check_promises, make_ports
from agents.swarm.market_trend import MarketTrendAgent
from agents.swarm.outputs import ChosenProduct, MarketSignals
from agents.swarm.user_context import UserContextAgent
from agents.tools.blackboard import FakeBlackboard
from agents.tools.bus import FakeBus
from agents.tools.graph import FakeGraph, GraphUnavailable
from agents.tools.profiles import FakeProfiles
from agents.tools.seals import FakeSeals
from agents.tools.warehouse import FakeWarehouse
from schemas.messages import Json, ProfileUpdate, context_key
from tests.unit.swarm import START, Clock

LAMP = ChosenProduct(product_id="p1", name="T-LIGHT HOLDER", reason="It goes with your lamp.")


def _ports() -> Ports:
    return Ports(blackboard=FakeBlackboard(), bus=FakeBus(), seals=FakeSeals("agent-user-context"), now=Clock())


def _task(**inputs: Json) -> Task:
    return Task(user_id="u1", moment=Occasion(moment_id="m1", kind="lapsed_buyer", data={"orders": 5}), inputs=inputs)


# UserContextAgent


def _context_agent(graph: FakeGraph | None = None, **fields: Any) -> UserContextAgent:
    profiles = FakeProfiles()
    if fields:
        profiles.apply(ProfileUpdate(user_id="u1", event_id="e1", at=START, fields=fields))
    row = {"orders": 3, "product_id": "p1", "name": "Lamp"}
    warehouse = FakeWarehouse({"argo.user_interactions": [row, {**row, "product_id": "p2", "name": None}]})
    return UserContextAgent(_ports(), profiles, warehouse, graph or FakeGraph())


def test_a_summary_says_what_is_known_but_not_who_it_is() -> None:
    """Prevents: an address in a message between agents, which is a row in the warehouse."""
    agent = _context_agent(email="ann@example.com", name="Ann Lee", locale="ko-KR", country="KR", marketingConsent=True)
    summary = agent.summarise(_task())
    assert summary == {
        "userId": "u1",
        "language": "ko",
        "country": "KR",
        "emailKnown": True,
        "marketingConsent": True,
        "recentProducts": [{"productId": "p1", "name": "Lamp"}, {"productId": "p2", "name": "p2"}],
        "orders": 3,
        "categories": [],
        "neighbours": [],
    }
    assert "ann" not in str(summary).lower()


def test_a_person_without_a_profile_has_a_summary_too() -> None:
    """Prevents: a task that fails because collect was faster than profiles."""
    summary = _context_agent().summarise(_task())
    assert (summary["language"], summary["emailKnown"], summary["marketingConsent"]) == ("en", False, None)


def test_a_summary_is_kept_for_five_minutes_under_its_contract_key() -> None:
    """Prevents: asking BigQuery for every step, and summaries that never change again."""
    agent = _context_agent(language="en")
    assert agent.summarise(_task()) == agent.summarise(_task())
    board = agent.ports.blackboard
    assert isinstance(board, FakeBlackboard)
    assert board.ttls_seconds == {context_key("u1"): 300}


def test_a_summary_holds_what_lies_around_in_the_graph() -> None:
    """Prevents: a neighbourhood that repeats what the person has, or one product many times."""
    row = {"fromId": "p1", "category": "light", "productId": "p9", "name": "Shade", "relation": "THEN", "score": 2.0}
    rows = [
        row,
        {**row, "relation": "VIEWED_WITH"},
        {**row, "productId": "p1"},
        {**row, "productId": None, "name": None},
    ]
    graph = FakeGraph({"Category": rows})
    summary = _context_agent(graph).summarise(_task())
    assert summary["categories"] == ["light"]
    assert summary["neighbours"] == [{"productId": "p9", "name": "Shade", "relation": "THEN", "fromId": "p1"}]
    [(_, parameters)] = graph.asked
    assert parameters["userId"] == "u1"


def test_a_summary_without_a_graph_is_poorer_and_there() -> None:
    """Prevents: no email because Neo4j rests."""
    summary = _context_agent(FakeGraph(error=GraphUnavailable("down"))).summarise(_task())
    assert (summary["orders"], summary["neighbours"]) == (3, [])


# MarketTrendAgent

SIGNAL = {"kind": "trend", "product_id": "p1", "category": None, "value": 1.4, "source": "feed", "observed_at": START}


def test_signals_are_asked_for_about_the_chosen_product() -> None:
    """Prevents: signals about what nobody is offered, and feeds that tell the next agent whatever they like."""
    weather = {"observed_at": START, "condition": "rain", "temperature_celsius": 4.5}
    warehouse = FakeWarehouse({"argo.market_signals": [SIGNAL], "argo.user_interactions": [weather]})
    agent = MarketTrendAgent(make_ports("MarketTrendAgent"), warehouse)
    answer = check_promises(agent, "find_signals", choose=LAMP)
    found = msgspec.convert(answer.output, MarketSignals)
    assert [(signal.kind, signal.product_id, signal.value) for signal in found.signals] == [("trend", "p1", 1.4)]
    assert found.weather
    assert found.weather.condition == "rain"
    assert warehouse.asked[0][1]["product_ids"] == ["p1"]


def test_without_a_choice_signals_are_about_what_the_person_knows() -> None:
    """Prevents: an agent that only works in one place of a playbook."""
    warehouse = FakeWarehouse()
    agent = MarketTrendAgent(_ports(), warehouse)
    known = {"userId": "u1", "recentProducts": [{"productId": "p7", "name": "Mug"}]}
    assert agent.find_signals(_task(summarise=known)) == {"signals": [], "weather": None}
    assert warehouse.asked[0][1]["product_ids"] == ["p7"]
