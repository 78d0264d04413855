"""Playbooks: what the swarm does about a moment, as YAML files in `agents/playbooks`. Guide: docs/playbooks.md.

Owns their shape and their reading. The rules that a shape cannot say are in `agents.swarm.playbook_rules`; running them
is `agents.swarm.orchestrator`'s.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from schemas import topology
from schemas.messages import Json
from schemas.places import Places, Problem, read_places, read_validation
from schemas.topology import Topology

FOLDER = Path(__file__).parent.parent / "playbooks"
ORCHESTRATOR = "MasterOrchestratorAgent"
_REFERENCE = re.compile(r"\$([a-z][a-z0-9_]*)((?:\.[A-Za-z0-9_]+)*)")
log = logging.getLogger(__name__)

Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$")]
Number = int | float


class PlaybookError(ValueError):
    """A playbook is not usable; the message names the file, the line, the path, and what to do, for every problem."""


class OnFailure(StrEnum):
    """What a step's failure means: go on without it, stop the task, or take the named substitute."""

    FAIL_OPEN = "FAIL_OPEN"
    FAIL_CLOSED = "FAIL_CLOSED"
    FALLBACK = "FALLBACK"


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
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


class Breaker(_Entry, frozen=True, kw_only=True):
    """So many failures of an agent's action within the window, and nobody asks it for as long; then one asks."""

    failures: Annotated[int, Meta(ge=1, le=1000)] = 10
    window_seconds: Annotated[float, Meta(ge=1, le=3600)] = 60


class Step(_Entry, frozen=True, kw_only=True):
    """One thing asked of one agent, and its node policy.

    It gets the outputs of `needs`, each under the action that made it, and `inputs`: texts such as `$recommend.name` or
    `$moment.orders` stand for an earlier step's output or the moment's data, anything else for itself. The n-th retry
    waits `backoff_seconds` * 2^(n-1).
    """

    agent: str  # whether there is such an agent is a rule's to say, with the name that may have been meant
    action: str
    needs: list[Name] = []
    inputs: dict[str, Any] = {}
    timeout_seconds: Annotated[float, Meta(gt=0, le=3600)] = 60
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    backoff_seconds: Annotated[float, Meta(ge=0, le=600)] = 1
    breaker: Breaker = Breaker()
    on_failure: OnFailure = OnFailure.FAIL_CLOSED
    fallback: Name | None = None

    @property
    def waits_for(self) -> list[str]:
        """The steps that must be settled first: `needs`, and those that `inputs` refer to."""
        paths = [read_path(value) for value in self.inputs.values()]
        return list(dict.fromkeys([*self.needs, *(path[0] for path in paths if path and path[0] != "moment")]))


class Substitute(_Entry, frozen=True, kw_only=True):
    """What stands in for a failed step: a fixed output, or another agent's action with the same inputs."""

    output: Json | None = None
    agent: str | None = None
    action: str | None = None


class PlaybookAction(_Entry, frozen=True, kw_only=True):
    """What goes out in the end: the output of step `content`, about the product of step `product`."""

    kind: Literal["email", "webhook"]
    content: Name
    approved_by: Name
    product: Name | None = None
    risk: Annotated[int, Meta(ge=0, le=10)] | None = (
        None  # above what its kind has by itself (agents/acting/policy.yaml)
    )


class Budget(_Entry, frozen=True, kw_only=True):
    """What all model calls of a task may cost together."""

    tokens: Annotated[int, Meta(ge=1)]
    usd: Annotated[float, Meta(gt=0)]


class Plan(_Entry, frozen=True, kw_only=True):
    """The step whose output holds further steps (`agents.swarm.planning`)."""

    step: Name


class Playbook(_Entry, frozen=True, kw_only=True):
    """What the swarm does about a moment of one kind. It ends with an `action`, or with the output of step `result`."""

    playbook: Name
    moment: Name
    deadline_seconds: Annotated[int, Meta(ge=10, le=86_400)]
    steps: Annotated[dict[Name, Step], Meta(min_length=1, max_length=50)]
    action: PlaybookAction | None = None
    result: Name | None = None
    when: dict[str, Condition] = {}
    substitutes: dict[Name, Substitute] = {}
    budget: Budget | None = None
    plan: Plan | None = None

    @property
    def ends_with(self) -> list[str]:
        """The steps without whose output the task has not reached its end."""
        parts = (self.action.content, self.action.product) if self.action else (self.result,)
        return [part for part in parts if part]

    def applies_to(self, kind: str, data: Mapping[str, Any]) -> bool:
        """Whether it answers a moment of this kind with this data."""
        return kind == self.moment and all(condition.holds(data.get(field)) for field, condition in self.when.items())


def read_path(value: object) -> tuple[str, ...] | None:
    """The path that an input refers to (`$step.field` as its parts), or None when it stands for itself."""
    found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return tuple(".".join([found[1], *found[2].split(".")[1:]]).split(".")) if found else None


def parse(text: str, file: str, known: Topology) -> Playbook:
    """Read and check a playbook.

    Raises:
        PlaybookError: every problem, one a line, as `file:line: path: what is wrong and what to do`.
    """
    from agents.swarm.playbook_rules import find_problems

    places = read_places(text, file, PlaybookError)
    places.refuse(_find_misshapen(places))
    playbook = places.convert(Playbook)
    places.refuse(find_problems(playbook, known, Path(file).stem))
    return playbook


def _find_misshapen(places: Places) -> Iterator[Problem]:
    """Entries of the wrong shape, each by its own name: msgspec stops at the first, and names no key of a mapping."""
    if not isinstance(places.value, dict):
        yield Problem(path=(), text="is no mapping; begin with `playbook: <name>`")
        return
    for part, shape in (("steps", Step), ("substitutes", Substitute), ("when", Condition)):
        entries: Any = places.value.get(part)  # pyright: ignore[reportUnknownMemberType] -- YAML
        for name, entry in entries.items() if isinstance(entries, dict) else ():  # pyright: ignore[reportUnknownMemberType]
            try:
                msgspec.convert(entry, shape)
            except msgspec.ValidationError as error:
                yield read_validation(error, (part, str(name)), shape.__struct_fields__)


@cache
def load() -> dict[str, Playbook]:
    """The suite's own playbooks by name. A wrong one is left out and logged; `make check` refuses it before."""
    found: dict[str, Playbook] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        try:
            found[path.stem] = parse(path.read_text(encoding="utf-8"), path.name, topology.load())
        except PlaybookError as error:
            log.error("playbook left out: %s", error)
    return found
