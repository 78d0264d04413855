"""What the shape of `topology.yaml` cannot say: that every name is there, once, and that deliveries can work. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from schemas.topology import Function, Job, Topology


def find_problems(topology: Topology) -> Iterator[str]:
    """Every name that is there twice or nowhere, and every subscription that cannot deliver."""
    yield from _find_doubles(topology)
    yield from _find_dangling(topology)
    for subscription in topology.subscriptions:
        kinds = (subscription.push, subscription.pull, subscription.bigquery, subscription.storage)
        if sum(kind is not None for kind in kinds) != 1:
            yield f"subscription {subscription.name!r} needs exactly one of push, pull, bigquery, storage"
        if subscription.dead_letter and subscription.dead_letter.topic == subscription.topic:
            yield f"subscription {subscription.name!r} dead-letters to its own topic {subscription.topic!r}"
    for function in topology.functions:
        if function.public and function.keyed:
            yield f"function {function.name!r} is public and keyed: everybody may call it, or only who has a key"
    inside = {function.name for function in topology.functions if not function.public}
    for client in topology.clients:
        for name in inside.intersection(client.calls):
            yield f"client {client.name!r} calls {name!r}, which is not public"
    delivered = {entry.name for entry in topology.subscriptions if entry.pull is None}
    for access in (*topology.functions, *topology.jobs):
        for name in delivered.intersection(access.pulls):
            yield f"{access.name!r} pulls {name!r}, which is not a pull subscription"


def _find_doubles(topology: Topology) -> Iterator[str]:
    for kind in ("topics", "subscriptions", "buckets", "secrets", "functions", "jobs", "agents", "clients"):
        for name, count in Counter(entry.name for entry in getattr(topology, kind)).items():
            if count > 1:
                yield f"{kind}: {name!r} is there {count} times"


def _find_dangling(topology: Topology) -> Iterator[str]:
    names = {
        kind: {entry.name for entry in getattr(topology, kind)}
        for kind in ("topics", "subscriptions", "buckets", "secrets", "functions", "agents")
    }
    for where, kind, name in _references(topology):
        if name not in names[kind]:
            yield f"{where} names {name!r}, which is not among {kind}"


def _references(topology: Topology) -> Iterator[tuple[str, str, str]]:
    """Every use of a name: (where, kind of the name, name)."""
    for entry in topology.subscriptions:
        where = f"subscription {entry.name!r}"
        yield where, "topics", entry.topic
        if entry.push:
            yield where, "functions", entry.push.function
        if entry.storage:
            yield where, "buckets", entry.storage.bucket
        if entry.dead_letter:
            yield where, "topics", entry.dead_letter.topic
    for bucket in topology.buckets:
        yield from ((f"bucket {bucket.name!r}", "topics", n.topic) for n in bucket.notifications)
    for access in (*topology.functions, *topology.jobs):
        where = f"{type(access).__name__.lower()} {access.name!r}"
        yield from ((where, "topics", name) for name in access.publishes)
        yield from ((where, "subscriptions", name) for name in access.pulls)
        yield from ((where, "buckets", name) for name in _name_buckets(access))
        yield from ((where, "secrets", name) for name in access.secrets)
        yield from ((where, "functions", name) for name in access.calls)
    for client in topology.clients:
        yield from ((f"client {client.name!r}", "functions", name) for name in client.calls)
    if defaults := topology.agent_defaults:
        yield from (("agent_defaults", "topics", name) for name in (defaults.requests, defaults.failed))
    for agent in topology.agents:
        where = f"agent {agent.name!r}"
        yield where, "functions", agent.function
        yield from ((where, "agents", name) for name in agent.asked_by)


def _name_buckets(access: Function | Job) -> list[str]:
    return [*access.reads_buckets, *access.writes_buckets, *access.rewrites_buckets]
