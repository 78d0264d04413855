"""Values of properties are those that the provider documents, and properties are those that it knows.

Mocks take any text. The provider's own documentation names the values of most enumerations ("Possible values are:");
this walks every recorded property through the provider's types and compares.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from policy.graph import Graph, Resource

from tests.infra.changes import changed

# The documentation is behind Google here: (property, value) with the page that says so.
KNOWN = {
    # https://cloud.google.com/armor/docs/security-policy-overview#rate-limiting
    ("action", "throttle"),
}
_ANNOTATION = re.compile(r"outputs\.(\w+)")
_SENTENCE = re.compile(
    r"(?:[Pp]ossible|[Ss]upported|[Vv]alid) values (?:are|include)[^`]{0,40}((?:`[^`]+`(?:, | and | or |,? ?)?)+)"
)


def find_class(kind: str) -> tuple[type, Any]:
    """The provider's class of a recorded kind, and the module of its nested types."""
    module, name = kind.split("/")
    package = importlib.import_module(f"pulumi_gcp.{module}")
    return getattr(package, name), importlib.import_module(f"pulumi_gcp.{module}.outputs")


def find_properties(owner: type) -> dict[str, property]:
    """The properties of a class, by the provider's own camelCase names."""
    found = {name: value for name, value in vars(owner).items() if isinstance(value, property)}
    return {re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name): value for name, value in found.items()}


def find_wrong(entry: Resource) -> Iterator[str]:
    """Every property of a resource that the provider does not know, or whose value it does not list."""
    owner, outputs = find_class(entry.kind)
    yield from _walk(f"{entry.kind} {entry.name}", entry.inputs, owner, outputs)


def _walk(where: str, inputs: dict[str, Any], owner: type, outputs: Any) -> Iterator[str]:
    known = find_properties(owner)
    for name, value in inputs.items():
        if name not in known:
            yield f"{where}: {owner.__name__} knows no {name}"
            continue
        yield from _check_value(f"{where}.{name}", name, value, known[name])
        nested = _ANNOTATION.search(str(known[name].fget.__annotations__.get("return", "")))  # pyright: ignore[reportOptionalMemberAccess] -- a property of theirs always has a getter
        if not nested:
            continue
        items: list[Any] = value if isinstance(value, list) else [value]
        for index, item in enumerate(items):
            if isinstance(item, dict):
                yield from _walk(f"{where}.{name}[{index}]", item, getattr(outputs, nested[1]), outputs)


def _check_value(where: str, name: str, value: Any, described: property) -> Iterator[str]:
    listed = find_listed(described.__doc__ or "")
    values: list[Any] = value if isinstance(value, list) else [value]
    for item in values:
        if listed and isinstance(item, str) and item not in listed and (name, item) not in KNOWN:
            yield f"{where} is {item!r}; the provider lists {sorted(listed)}"


def find_listed(text: str) -> set[str]:
    """The values that a documentation text lists, in a sentence or one per line."""
    flat = re.sub(r"\s+", " ", text)
    if match := _SENTENCE.search(flat):
        return {value.strip('"') for value in re.findall(r"`([^`]+)`", match[1])}
    lines = re.search(r"Possible values:((?: [A-Z][A-Z0-9_]+)+)", flat)
    return set(lines[1].split()) if lines else set()


def test_the_provider_knows_every_property_and_value(graph: Graph) -> None:
    wrong = [problem for entry in graph.resources if "/" in entry.kind for problem in find_wrong(entry)]
    assert wrong == []


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("cloudrunv2/Service", "ingress", "INGRESS_TRAFFIC_INSIDE"),
        ("memorystore/Instance", "transitEncryptionMode", "TLS"),
        ("firestore/Database", "type", "NATIVE"),
        ("compute/SSLPolicy", "profile", "STRONG"),
        ("cloudrunv2/Service", "template.executionEnvironment", "GEN2"),
        ("cloudrunv2/Service", "template.vpcAccess.egress", "PRIVATE"),
        ("pubsub/Subscription", "pushConfig.endpoint", "https://x"),
    ],
)
def test_a_wrong_value_or_name_is_seen(prod: Graph, kind: str, path: str, value: str) -> None:
    """The walk above would be worthless if it could not fail."""
    name = next(entry.name for entry in prod.of(kind) if entry.get(path.rpartition(".")[0] or path) is not None)
    wrong = changed(prod, kind, path, value, name)
    assert [problem for entry in wrong.of(kind) for problem in find_wrong(entry)] != []
