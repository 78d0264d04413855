"""A task on the blackboard: its record, its steps' ids and results, its one outcome.

Owns which keys are read and written, and that a result or an outcome is set once: the first claim stays. Deliberately
decides nothing (`agents.swarm.orchestrator`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from agents.swarm.playbooks import ORCHESTRATOR, Playbook
from agents.tools.blackboard import Blackboard
from schemas.messages import (
    Json,
    Status,
    StepResult,
    asked_key,
    derive_id,
    result_key,
    status_key,
    task_key,
)


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a task began with. The first one stays, so a redelivered moment does not move the deadline."""

    task_id: str
    playbook: str
    moment_id: str
    kind: str
    user_id: str
    data: Json
    started_at: datetime
    deadline: datetime


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A task as the blackboard shows it at one instant, by step name."""

    status: Status | None
    outcome: StepResult | None
    results: dict[str, StepResult]
    asked: frozenset[str]


def task_id_of(moment_id: str, playbook: str) -> str:
    """The task of a moment under a playbook."""
    return derive_id(moment_id, playbook)


def step_id_of(task_id: str, step: str) -> str:
    """The step's own task id."""
    return derive_id(task_id, step)


def action_id_of(task_id: str) -> str:
    """The one action of a task."""
    return derive_id(task_id, "action")


class Tasks:
    """Tasks on one blackboard."""

    def __init__(self, blackboard: Blackboard) -> None:
        self._blackboard = blackboard

    def begin(self, record: Record) -> Record:
        """Put a task's record unless it is there; the record that holds."""
        kept = self._blackboard.claim(task_key(record.task_id), _write(record))
        self._blackboard.claim(status_key(record.task_id), Status.IN_PROGRESS.value)
        return msgspec.json.decode(kept, type=Record)

    def find(self, task_id: str) -> Record | None:
        """A task's record, or None."""
        kept = self._blackboard.get(task_key(task_id))
        return msgspec.json.decode(kept, type=Record) if kept else None

    def read(self, task_id: str, playbook: Playbook) -> Progress:
        """How far a task is, in one read."""
        steps = {name: step_id_of(task_id, name) for name in playbook.steps}
        results = [result_key(steps[name], step.agent) for name, step in playbook.steps.items()]
        values = self._blackboard.get_all(
            [status_key(task_id), result_key(task_id, ORCHESTRATOR), *results, *map(asked_key, steps.values())]
        )
        status, outcome, rest = values[0], values[1], values[2:]
        found = zip(steps, rest[: len(steps)], strict=True)
        asked = zip(steps, rest[len(steps) :], strict=True)
        return Progress(
            status=Status(status) if status else None,
            outcome=_read(outcome) if outcome else None,
            results={name: _read(value) for name, value in found if value},
            asked=frozenset(name for name, value in asked if value),
        )

    def answer(self, step_id: str, agent: str, result: StepResult) -> StepResult:
        """Set a step's result unless it has one; the result that holds."""
        kept = _read(self._blackboard.claim(result_key(step_id, agent), _write(result)))
        self._blackboard.put(status_key(step_id), kept.status.value)
        return kept

    def find_answer(self, step_id: str, agent: str) -> StepResult | None:
        """A step's result, or None."""
        kept = self._blackboard.get(result_key(step_id, agent))
        return _read(kept) if kept else None

    def mark_asked(self, step_id: str, at: datetime) -> None:
        """Note that a step's request is on the bus."""
        self._blackboard.put(asked_key(step_id), at.isoformat())

    def decide(self, task_id: str, outcome: StepResult) -> StepResult:
        """Set a task's outcome unless it has one; the outcome that holds."""
        return _read(self._blackboard.claim(result_key(task_id, ORCHESTRATOR), _write(outcome)))

    def close(self, task_id: str, status: Status) -> None:
        """Set the final status, after everything that follows from the outcome is on the bus."""
        self._blackboard.put(status_key(task_id), status.value)


def _write(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()


def _read(text: str) -> StepResult:
    return msgspec.json.decode(text, type=StepResult)
