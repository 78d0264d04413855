"""A recorded stack: every resource with its inputs as Google would get them, and what the stack tells its operator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Inputs = dict[str, Any]  # the JSON border: a provider's own property names


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource. `kind` is the short type (`pubsub/Topic`), `waits_for` the names of its dependencies."""

    kind: str
    name: str
    inputs: Inputs
    parent: str = ""
    protected: bool = False
    waits_for: tuple[str, ...] = ()

    def get(self, path: str) -> Any:
        """The value under a dotted path, None where nothing is; numbers step into lists."""
        value: Any = self.inputs
        for step in path.split("."):
            if isinstance(value, list):
                value = value[int(step)] if int(step) < len(value) else None
            elif isinstance(value, dict):
                value = value.get(step)
            else:
                return None
        return value


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One stack."""

    stack: str
    project: str
    region: str
    resources: list[Resource]
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])

    def of(self, *kinds: str) -> Iterator[Resource]:
        """Resources of these kinds."""
        return (resource for resource in self.resources if resource.kind in kinds)

    def names(self, kind: str, path: str = "name") -> set[str]:
        """The values of one property of every resource of a kind."""
        return {resource.get(path) for resource in self.of(kind)}


def shorten(token: str) -> str:
    """`gcp:pubsub/topic:Topic` -> `pubsub/Topic`; a component keeps its token."""
    if not token.startswith("gcp:"):
        return token
    _, module, name = token.split(":")
    return f"{module.partition('/')[0]}/{name}"
