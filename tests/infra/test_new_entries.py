"""One entry in the topology is a deployed function or job with its grants, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
import yaml
from infra.settings import Place, read_settings
from infra.stack import StackBuilder
from policy.graph import Graph, Resource
from policy.record import read_config, record_program
from policy.rules import judge
from policy.rules_identity import find_grants

from schemas import topology
from schemas.topology import Topology
from tests.infra.test_grants import account, held, wanted

NAME = "newcomer"
Entry = dict[str, Any]
FUNCTION: Entry = {"name": NAME, "target": "agent", "description": "One more"}
JOB: Entry = {"name": NAME, "description": "One more"}
PUSHED: Entry = {
    "name": "moments-newcomer",
    "topic": "moments",
    "push": {"function": NAME},
    "dead_letter": {"topic": "dead-letters"},
}
RIGHTS: Entry = {
    "publishes": ["agent-results"],
    "pulls": ["dead-letters-replay"],
    "stores": ["warehouse", "graph", "profiles", "blackboard", "models", "mail"],
    "secrets": ["neo4j-password", "smtp-credentials"],
    "reads_buckets": ["archive"],
    "writes_buckets": ["landing"],
    "writes_tables": ["candidates"],
    "calls": ["llm", "collect"],
}
PRIVATE: Entry = {**FUNCTION, **RIGHTS}
KINDS: dict[str, tuple[str, Entry, list[Entry]]] = {
    "public": ("functions", {**FUNCTION, "public": True, "publishes": ["moments"]}, []),
    "keyed": ("functions", {**FUNCTION, "keyed": {"requests": ["POST /v1/new"], "per_minute": 60}}, []),
    "pushed": ("functions", PRIVATE, [PUSHED]),
    "job": ("jobs", JOB, []),
    "scheduled job": ("jobs", {**RIGHTS, **JOB, "schedule": "0 3 * * *"}, []),
}


def record(named: Topology) -> Graph:
    def build() -> None:
        place = Place(project="argo-prod", region=named.region, stack="prod")
        StackBuilder(place, read_settings(pulumi.Config("argo")), named).build()

    return record_program(build, stack="prod", config=read_config("prod"))


def key(entry: Resource) -> tuple[str, str]:
    return entry.kind, entry.name


# What is about all functions together, and so changes with each: alerts, the dashboard, the load balancer's hosts.
SHARED = {"monitoring/AlertPolicy", "monitoring/Dashboard", "compute/URLMap", "compute/ManagedSslCertificate"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_is_deployed_with_its_grants_and_nothing_else(prod: Graph, kind: str) -> None:
    place, entry, subscriptions = KINDS[kind]
    content = yaml.safe_load(topology.PATH.read_text(encoding="utf-8"))
    content[place].append(entry)
    content["subscriptions"] += subscriptions
    named = topology.parse(yaml.safe_dump(content))
    graph = record(named)
    access = named.access(NAME)
    member = account(graph, access)

    assert held(graph, member) == wanted(graph, access, named)
    assert judge(graph) == []
    before, after = {key(item): item for item in prod.resources}, {key(item): item for item in graph.resources}
    assert before.keys() <= after.keys(), "an addition took something away"
    added = [item for name, item in after.items() if name not in before]
    assert all(NAME in item.name for item in added), "an addition made something that is not its own"
    moved = {item.kind for name, item in after.items() if name in before and item.inputs != before[name].inputs}
    assert moved <= SHARED
    runs = [item for item in added if item.kind in {"cloudrunv2/Service", "cloudrunv2/Job"}]
    assert [item.get("name") for item in runs] == [NAME]
    opened = {item.get("name") for item in find_grants(graph) if item.get("member") == "allUsers"}
    assert (NAME in opened) == bool(entry.get("public"))
    assert bool([item for item in added if item.kind == "cloudscheduler/Job"]) == bool(entry.get("schedule"))
    assert bool([item for item in added if item.kind == "pubsub/Subscription"]) == bool(subscriptions)
