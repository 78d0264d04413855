"""Every rule. A rule is a plain function: it takes a recorded stack and yields what is wrong, naming the resource."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from policy import rules_durability, rules_exposure, rules_identity, rules_placement
from policy.graph import Graph

Rule = Callable[[Graph], Iterator[str]]

RULES: tuple[Rule, ...] = (
    *rules_identity.RULES,
    *rules_exposure.RULES,
    *rules_durability.RULES,
    *rules_placement.RULES,
)


def judge(graph: Graph) -> list[str]:
    """Every violation of every rule."""
    return [f"{graph.stack}: {rule.__name__}: {problem}" for rule in RULES for problem in rule(graph)]
