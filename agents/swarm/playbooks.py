"""Playbooks: what the swarm does about a moment, as YAML files in `agents/playbooks`.

Owns their shape and every check that needs only the file and the topology. Deliberately runs nothing
(`agents.swarm.orchestrator`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta

from schemas import topology
from schemas.messages import Json
from schemas.topology import AgentName, Topology

FOLDER = Path(__file__).parent.parent / "playbooks"
ORCHESTRATOR = "MasterOrchestratorAgent"

Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$")]
Number = int | float


class PlaybookError(ValueError):
    """A playbook is not usable; the message names the file, the path in it, and what to do, for every problem."""


class OnFailure(StrEnum):
    """What a step's failure means: go on without it, stop the task, or take the named substitute."""

    FAIL_OPEN = "FAIL_OPEN"
    FAIL_CLOSED = "FAIL_CLOSED"
    FALLBACK = "FALLBACK"


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Condition(_Entry, frozen=True, kw_only=True):
    """What a field of the moment's data must be; several parts must all hold. Absent fields never do."""

    gte: Number | None = None
    lte: Number | None = None
    equals: str | Number | bool | None = None

    def holds(self, value: object) -> bool:
        """Whether a value of the moment's data fits; money may be a text, as NUMERIC travels."""
        if value is None:
            return False
        if self.equals is not None and value != self.equals:
            return False
        if self.gte is None and self.lte is None:
            return True
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            return False
        if not number.is_finite():
            return False
        above = self.gte is None or number >= Decimal(str(self.gte))
        return above and (self.lte is None or number <= Decimal(str(self.lte)))


class Step(_Entry, frozen=True, kw_only=True):
    """One thing asked of one agent. It gets the outputs of `needs`, each under the action that made it."""

    agent: AgentName
    action: str
    needs: list[Name] = []
    on_failure: OnFailure = OnFailure.FAIL_CLOSED
    fallback: Json | None = None


class PlaybookAction(_Entry, frozen=True, kw_only=True):
    """What goes out in the end: the output of step `content`, about the product of step `product`."""

    kind: Literal["email"]
    content: Name
    approved_by: Name
    product: Name | None = None


class Playbook(_Entry, frozen=True, kw_only=True):
    """What the swarm does about a moment of one kind."""

    playbook: Name
    moment: Name
    deadline_seconds: Annotated[int, Meta(ge=10, le=86_400)]
    steps: Annotated[dict[Name, Step], Meta(min_length=1, max_length=50)]
    action: PlaybookAction
    when: dict[str, Condition] = {}

    def applies_to(self, kind: str, data: Mapping[str, Any]) -> bool:
        """Whether it answers a moment of this kind with this data."""
        return kind == self.moment and all(condition.holds(data.get(field)) for field, condition in self.when.items())


def parse(text: str, file: str, known: Topology) -> Playbook:
    """Read and check a playbook.

    Raises:
        PlaybookError: the path of the first wrong value, or every broken rule with its fix.
    """
    try:
        playbook = msgspec.convert(yaml.safe_load(text), Playbook)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise PlaybookError(f"{file}: {error}") from error
    problems = [*_find_wrong_steps(playbook, known), *_find_wrong_action(playbook)]
    if playbook.playbook != Path(file).stem:
        problems.append(f"playbook: is {playbook.playbook!r}; give it the file's name, {Path(file).stem!r}")
    if problems:
        raise PlaybookError(f"{file}:\n- " + "\n- ".join(problems))
    return playbook


@cache
def load() -> dict[str, Playbook]:
    """The suite's own playbooks by name."""
    files = sorted(FOLDER.glob("*.yaml"))
    return {path.stem: parse(path.read_text(encoding="utf-8"), path.name, topology.load()) for path in files}


def _find_wrong_steps(playbook: Playbook, known: Topology) -> Iterator[str]:
    may_ask = known.agent(ORCHESTRATOR).may_ask
    actions = {agent.name: agent.actions for agent in known.agents}
    for name, step in playbook.steps.items():
        where = f"steps.{name}"
        if step.agent not in actions:
            yield f"{where}.agent: no agent {step.agent!r}; the topology has {', '.join(sorted(actions))}"
        elif step.agent not in may_ask:
            yield f"{where}.agent: {ORCHESTRATOR} may not ask {step.agent}; add it to may_ask in topology.yaml"
        elif step.action not in actions[step.agent]:
            yield f"{where}.action: {step.agent} has no {step.action!r}; it has {', '.join(actions[step.agent])}"
        if (step.on_failure is OnFailure.FALLBACK) != (step.fallback is not None):
            yield f"{where}.fallback: give it exactly when on_failure is FALLBACK"
        yield from _find_wrong_needs(playbook, name, step)
    needs = {name: step.needs for name, step in playbook.steps.items()}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        yield f"steps: {' -> '.join(error.args[1])} wait for each other; remove one of these needs"


def _find_wrong_needs(playbook: Playbook, name: str, step: Step) -> Iterator[str]:
    actions: dict[str, str] = {}
    for need in step.needs:
        if need not in playbook.steps:
            yield f"steps.{name}.needs: no step {need!r}; it has {', '.join(playbook.steps)}"
            continue
        action = playbook.steps[need].action
        if action in actions:
            yield f"steps.{name}.needs: {actions[action]!r} and {need!r} are both {action!r}; need only one of them"
        actions[action] = need


def _find_wrong_action(playbook: Playbook) -> Iterator[str]:
    action = playbook.action
    for field in ("content", "approved_by", "product"):
        step = getattr(action, field)
        if step is not None and step not in playbook.steps:
            yield f"action.{field}: no step {step!r}; it has {', '.join(playbook.steps)}"
    approval = playbook.steps.get(action.approved_by)
    if approval and approval.on_failure is not OnFailure.FAIL_CLOSED:
        yield f"steps.{action.approved_by}.on_failure: an approval must be FAIL_CLOSED"
    if approval and approval.agent != "SecurityGuardianAgent":
        yield f"action.approved_by: {approval.agent} cannot approve; name a step of SecurityGuardianAgent"
    if approval and action.content not in approval.needs:
        yield f"steps.{action.approved_by}.needs: add {action.content!r}, so that what goes out is what was approved"
