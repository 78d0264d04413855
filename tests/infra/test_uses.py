"""What a function may do is what its code does: declared in the topology and found in the source, in both directions.

Too little declared is a refusal at three in the morning; too much is a right that a stolen token can use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pytest

from agents.replay import find_routes
from agents.swarm.registry import find_module
from schemas import people, topology
from schemas.tables import TABLES
from schemas.topology import Function, Job
from tests.infra.reach import Evidence, Place, reach, read_modules

NAMED = topology.load()
EVERYBODY: tuple[Function | Job, ...] = (*NAMED.functions, *NAMED.jobs)
CLIENTS = {
    "google.cloud.bigquery": "warehouse",
    "google.cloud.firestore": "profiles",
    "neo4j.": "graph",
    "redis.": "blackboard",
    "smtplib": "mail",
    "google.genai": "models",
}
WRITTEN = re.compile(r"(?i)\b(?:insert\s+into|merge(?:\s+into)?|update|delete\s+from|truncate\s+table)\s+argo\.(\w+)")
READS, WRITES = {"get_blob", "list_blobs"}, {"upload_from_string", "upload_from_file"}


# Declared a little ahead of code that is being written (2026-11-20); an entry here is a right that nobody needs yet.
AHEAD = {}


@dataclass(frozen=True)
class Uses:
    """What code was found to use, by the topology's own words."""

    stores: frozenset[str]
    secrets: frozenset[str]
    publishes: frozenset[str]
    calls: frozenset[str]
    reads_buckets: frozenset[str]
    writes_buckets: frozenset[str]
    rewrites_buckets: frozenset[str]
    writes_tables: frozenset[str]
    pulls: bool


def find_roots(access: Function | Job) -> list[Place]:
    """Where a process of this function or job begins. Which agent a function hosts, the topology says."""
    if isinstance(access, Job):
        return [(f"functions.jobs.{access.name}", "run")]
    target = read_modules()["functions.main"].imported[access.target].rpartition(".")
    hosted = [agent.name for agent in NAMED.agents if agent.function == access.name]
    agents = [(find_module(name), name) for name in hosted if access.target == "agent"]
    return [(target[0], target[2]), *agents]


def find_uses(access: Function | Job) -> Uses:
    """What the code behind an entry point uses."""
    found = reach(find_roots(access))
    outside = {name for evidence in found.values() for name in evidence.outside if ".exceptions" not in name}
    publishing = any("PublisherClient" in name for name in outside)
    calls = frozenset(
        function.name
        for function in NAMED.functions
        if any(f"{function.name.replace('-', '_')}_url" in evidence.attributes for evidence in found.values())
    )
    # The key for a keyed function is named after its caller, by one function that says so.
    names_key = any("key_secret" in evidence.attributes for evidence in found.values())
    keys = {topology.key_secret(name, access.name) for name in calls if names_key and NAMED.function(name).keyed}
    return Uses(
        stores=frozenset(store for prefix, store in CLIENTS.items() if any(_is_of(name, prefix) for name in outside)),
        secrets=_named(found, {secret.name for secret in NAMED.secrets}) | keys,
        publishes=_find_topics(found) if publishing else frozenset(),
        calls=calls,
        reads_buckets=_find_buckets(found, READS),
        writes_buckets=_find_buckets(found, WRITES),
        rewrites_buckets=frozenset(),
        writes_tables=frozenset(
            table for evidence in found.values() for text in evidence.texts for table in WRITTEN.findall(text)
        )
        | _find_loaded(found),
        pulls=any("SubscriberClient" in name for name in outside),
    )


def _find_loaded(found: dict[Place, Evidence]) -> frozenset[str]:
    """Tables named where something is loaded (agents.tools.whole_tables)."""
    loading = [evidence for evidence in found.values() if "load_rows" in evidence.attributes]
    return frozenset(table for evidence in loading for table in evidence.texts if table in TABLES)


def _is_of(name: str, prefix: str) -> bool:
    return name.startswith(prefix) or f"{name}." == prefix


def _named(found: dict[Place, Evidence], names: Iterable[str]) -> frozenset[str]:
    texts = {text for evidence in found.values() for text in evidence.texts}
    return frozenset(set(names) & texts)


def _find_topics(found: dict[Place, Evidence]) -> frozenset[str]:
    """A name with a hyphen is a topic's wherever it stands; a single word only as a constant that says so."""
    topics = {topic.name for topic in NAMED.topics}
    words = {name for name in topics if "-" not in name}
    said = {place: evidence for place, evidence in found.items() if place[1].endswith("TOPIC")}
    return _named(found, topics - words) | _named(said, words)


def _find_buckets(found: dict[Place, Evidence], methods: set[str]) -> frozenset[str]:
    """A bucket belongs to the module that names it; what is done with it, the methods there that are reached say."""
    buckets: set[str] = set()
    for bucket in NAMED.buckets:
        modules = {
            place[0]
            for place, evidence in found.items()
            if bucket.name in evidence.texts and "bucket_id" in evidence.attributes
        }
        used = {name for place, evidence in found.items() if place[0] in modules for name in evidence.attributes}
        if used & methods:
            buckets.add(bucket.name)
    return frozenset(buckets)


def declare(access: Function | Job) -> Uses:
    """What the topology says of it."""
    return Uses(
        stores=frozenset(access.stores),
        secrets=frozenset(access.secrets),
        publishes=frozenset(access.publishes),
        calls=frozenset(access.calls),
        reads_buckets=frozenset(access.reads_buckets),
        writes_buckets=frozenset(access.writes_buckets),
        rewrites_buckets=frozenset(access.rewrites_buckets),
        writes_tables=frozenset(access.writes_tables),
        pulls=bool(access.pulls),
    )


def expect(access: Function | Job) -> Uses:
    """What the source shows, and what it only computes: `replay` sends to wherever a dead letter can be from."""
    found = find_uses(access)
    if access.name == "replay":
        return replace(found, publishes=frozenset(find_routes(NAMED).values()))
    if (
        access.name == "forget"
    ):  # whatever can hold a person: a new table or bucket is missing here until it is declared
        buckets = frozenset(bucket.name for bucket in NAMED.buckets)
        tables = frozenset(table.name for table in people.tables())
        return replace(found, writes_tables=tables, rewrites_buckets=buckets)
    return found


@pytest.mark.parametrize("access", EVERYBODY, ids=lambda access: access.name)
def test_the_topology_declares_what_the_code_uses_and_nothing_else(access: Function | Job) -> None:
    used, declared = vars(expect(access)), vars(declare(access))
    missing = {kind: sorted(used[kind] - declared[kind]) for kind in used if kind != "pulls"}
    ahead = {kind: {name for who, where, name in AHEAD if (who, where) == (access.name, kind)} for kind in used}
    unused = {kind: sorted(declared[kind] - used[kind] - ahead[kind]) for kind in used if kind != "pulls"}
    assert {kind: names for kind, names in missing.items() if names} == {}, (
        "the code uses it: declare it in topology.yaml"
    )
    assert {kind: names for kind, names in unused.items() if names} == {}, (
        "declared in topology.yaml, and no code that tests/infra/reach.py finds uses it"
    )
    assert used["pulls"] == declared["pulls"]


CHECKS: list[tuple[str, Callable[[Uses], object]]] = [
    ("collect", lambda uses: "landing" in uses.writes_buckets and "landing" not in uses.reads_buckets),
    ("ingest", lambda uses: "landing" in uses.reads_buckets and "landing" not in uses.writes_buckets),
    ("act", lambda uses: uses.calls == frozenset({"collect"}) and "mail" in uses.stores),
    ("agent-creative-content", lambda uses: "warehouse" not in uses.stores),
    ("agent-user-context", lambda uses: {"warehouse", "profiles"} <= uses.stores),
    ("llm", lambda uses: "models" in uses.stores),
    ("replay", lambda uses: uses.pulls),
    ("train_candidates", lambda uses: "candidates" in uses.writes_tables),
]


@pytest.mark.parametrize(("name", "check"), CHECKS, ids=[name for name, _ in CHECKS])
def test_the_reading_sees_what_is_known(name: str, check: Callable[[Uses], object]) -> None:
    """A reading that found nothing, or everything, would agree with any topology that says so."""
    assert check(find_uses(NAMED.access(name)))
