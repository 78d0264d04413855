"""A topology that cannot work is refused with the place and the reason, before anything is built from it."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from agents.replay import find_routes
from functions import main
from schemas import topology

Change = Callable[[dict[str, Any]], None]


def parse_changed(change: Change) -> topology.Topology:
    content = yaml.safe_load(topology.PATH.read_text(encoding="utf-8"))
    change(content)
    return topology.parse(yaml.safe_dump(content))


def add_subscription(**values: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        content["subscriptions"].append({"name": "extra", "topic": "moments", **values})

    return change


def set_first(kind: str, **values: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        content[kind][0].update(values)

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (add_subscription(), "exactly one of push, pull"),
        (add_subscription(pull={}, push={"function": "act"}), "exactly one of push, pull"),
        (add_subscription(pull={}, topic="nowhere"), "'nowhere', which is not among topics"),
        (add_subscription(push={"function": "nobody"}), "'nobody', which is not among functions"),
        (add_subscription(pull={}, dead_letter={"topic": "moments"}), "dead-letters to its own topic"),
        (add_subscription(pull={}, name="actions-act"), "'actions-act' is there 2 times"),
        (add_subscription(pull={}, ack_deadline_seconds=5), r"subscriptions\[\d+\].ack_deadline_seconds"),
        (add_subscription(pull={}, colour="red"), "unknown field `colour`"),
        (set_first("functions", secrets=["none-such"]), "'none-such', which is not"),
        (set_first("jobs", pulls=["none-such"]), "'none-such', which is not among subscriptions"),
        (set_first("jobs", pulls=["actions-act"]), "pulls 'actions-act', which is not a pull subscription"),
        (set_first("agents", asked_by=["GhostAgent"]), "'GhostAgent', which is not"),
        (set_first("clients", calls=["act"]), "client 'shop-backend' calls 'act', which is not public"),
        (set_first("clients", calls=["nobody"]), "'nobody', which is not among functions"),
        (set_first("topics", name="ab"), r"topics\[0\].name"),
    ],
)  # fmt: skip
def test_a_broken_topology_names_its_problem(change: Change, complaint: str) -> None:
    with pytest.raises(topology.TopologyError, match=complaint):
        parse_changed(change)


def test_every_problem_is_named_at_once() -> None:
    def change(content: dict[str, Any]) -> None:
        content["subscriptions"][0]["topic"] = "first-wrong"
        content["subscriptions"][1]["topic"] = "second-wrong"

    with pytest.raises(topology.TopologyError, match=r"(?s)first-wrong.*second-wrong"):
        parse_changed(change)


def test_not_yaml_is_a_topology_error() -> None:
    with pytest.raises(topology.TopologyError, match=r"topology\.yaml"):
        topology.parse("topics: [")


def test_functions_and_entry_points_are_the_same_set() -> None:
    targets = {function.target for function in topology.load().functions}
    assert targets == set(main.__all__)
    assert all(callable(getattr(main, target)) for target in targets)


def test_every_job_has_its_module() -> None:
    for job in topology.load().jobs:
        assert callable(importlib.import_module(f"functions.jobs.{job.name}").run)


def test_every_agent_that_can_be_asked_is_reached_by_one_filtered_subscription() -> None:
    loaded = topology.load()
    filters = [entry.filter for entry in loaded.subscriptions if entry.topic == "agent-tasks" and entry.push]
    for agent in loaded.agents:
        expected = 0 if agent.name == "MasterOrchestratorAgent" else 1
        assert filters.count(f'attributes.targetAgent = "{agent.name}"') == expected


def test_every_push_function_may_keep_its_poison() -> None:
    loaded = topology.load()
    pushed = {entry.push.function for entry in loaded.subscriptions if entry.push}
    silent = [name for name in pushed if "dead-letters" not in loaded.function(name).publishes]
    assert silent == [], "a push function without this grant would lose poison"


def test_only_what_says_so_is_public() -> None:
    public = [function.name for function in topology.load().functions if function.public]
    assert public == ["collect", "links", "recommend"]


def test_a_dead_letter_of_any_source_can_be_replayed() -> None:
    """Prevents: a subscription whose dead letters stay held for ever, or a right that nothing needs."""
    loaded = topology.load()
    job = loaded.access("replay")
    assert set(job.publishes) == set(find_routes(loaded).values())
    assert {entry.topic for entry in loaded.subscriptions if entry.name in job.pulls} == {"dead-letters"}


def test_a_job_without_a_schedule_is_run_by_hand() -> None:
    """Prevents: a replay that starts by itself, before anybody has repaired the cause."""
    assert [job.name for job in topology.load().jobs if not job.schedule] == ["requalify", "replay"]
