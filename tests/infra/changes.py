"""Wrong versions of a recorded graph: each helper returns a changed copy."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from policy.graph import Graph, Inputs, Resource


def without(graph: Graph, kind: str, name: str | None = None) -> Graph:
    """The graph without the resources of a kind, or without the named one."""
    kept = [entry for entry in graph.resources if entry.kind != kind or name not in {None, entry.name}]
    assert len(kept) < len(graph.resources), f"nothing to remove: {kind} {name}"
    return replace(graph, resources=kept)


def plus(graph: Graph, kind: str, name: str, /, **inputs: Any) -> Graph:
    """The graph with one more resource, inside some component."""
    component = next(entry.name for entry in graph.resources if entry.kind.startswith("argo:"))
    extra = Resource(kind=kind, name=name, inputs=inputs, parent=component)
    return replace(graph, resources=[*graph.resources, extra])


def changed(graph: Graph, kind: str, path: str, value: Any, name: str | None = None) -> Graph:
    """The graph with one property of one resource set; the first of its kind unless named. None removes it."""
    index = next(
        index
        for index, entry in enumerate(graph.resources)
        if entry.kind == kind and name in {None, entry.name} and (name or entry.get(path) is not None)
    )
    entry = graph.resources[index]
    resources = list(graph.resources)
    resources[index] = replace(entry, inputs=_set(entry.inputs, path, value))
    return replace(graph, resources=resources)


def unprotected(graph: Graph, kind: str) -> Graph:
    """The graph with nothing of a kind protected."""
    resources = [replace(entry, protected=False) if entry.kind == kind else entry for entry in graph.resources]
    return replace(graph, resources=resources)


def orphaned(graph: Graph, kind: str) -> Graph:
    """The graph with the resources of a kind outside every component."""
    resources = [replace(entry, parent="") if entry.kind == kind else entry for entry in graph.resources]
    return replace(graph, resources=resources)


def _set(inputs: Inputs, path: str, value: Any) -> Inputs:
    fresh: Inputs = copy.deepcopy(inputs)
    *steps, last = path.split(".")
    target: Any = fresh
    for step in steps:
        target = target[int(step)] if isinstance(target, list) else target.setdefault(step, {})
    if isinstance(target, list):
        target[int(last)] = value
    elif value is None:
        target.pop(last, None)
    else:
        target[last] = value
    return fresh
