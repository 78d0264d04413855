"""Tasks: their facts in Redis, where every look at a task is one step, and in Firestore, where they stay.

Owns which facts are durable (the record, results, the outcome) and which are only Redis's (when an attempt was asked or
failed): without those, work is asked for again, which changes nothing that is decided. A task that Redis does not know is
read from Firestore. Deliberately decides nothing (`agents.swarm.progress`).
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from agents.errors import TryAgain
from agents.swarm.playbooks import ORCHESTRATOR
from agents.swarm.progress import (
    ASKED,
    CLOSED,
    DONE,
    FAILED,
    OUTCOME,
    RECORD,
    Failure,
    Outcome,
    Record,
    State,
    read_state,
)
from agents.tools.blackboard import Blackboard
from agents.tools.task_store import TaskStore
from schemas.messages import Status, StepResult, facts_key, result_key, status_key

DUE_KEY = "swarm:due"
SWEPT = 10_000  # open tasks that one sweep makes due; what is beyond is looked at by its own due time


class Tasks:
    """Tasks on one blackboard and in one store."""

    def __init__(self, blackboard: Blackboard, store: TaskStore) -> None:
        self._blackboard = blackboard
        self._store = store

    def begin(self, record: Record) -> State:
        """Put a task's record unless there is one; the state by the record that holds, so that a deadline never moves."""
        if known := self.find(record.task_id):
            return known
        text = _write(record)
        if not self._store.begin(record.task_id, text):
            known = self.find(record.task_id)
            if known is None:  # unreachable while documents stay: it is there, or we have just made it
                raise LookupError(f"task {record.task_id} is neither there nor new")
            return known
        self._blackboard.put(status_key(record.task_id), Status.IN_PROGRESS.value)
        return self._learn(record.task_id, {RECORD: text}, create=True)

    def find(self, task_id: str) -> State | None:
        """A task's state, or None; from Firestore when Redis does not know it (any more)."""
        facts = self._blackboard.learn(facts_key(task_id), {})
        return read_state(facts) if facts else self._restore(task_id)

    def note_asked(self, state: State, asked: list[tuple[str, int]], at: datetime) -> State:
        """Note that requests are on the bus."""
        return self._learn(state.record.task_id, {f"{ASKED}{step}:{n}": at.isoformat() for step, n in asked})

    def note_failed(self, state: State, step: str, attempt: int, failure: Failure) -> State:
        """Note that an attempt failed, unless that is noted."""
        return self._learn(state.record.task_id, {f"{FAILED}{step}:{attempt}": _write(failure)})

    def settle(self, state: State, step: str, result: StepResult) -> State:
        """Set a step's result unless it has one."""
        task_id = state.record.task_id
        if step in state.results:
            return state
        held = self._store.set_once(task_id, f"{DONE}{step}", _write(result))
        return self._learn(task_id, {f"{DONE}{step}": held})

    def decide(self, state: State, outcome: Outcome) -> Outcome:
        """Set a task's outcome unless it has one; the one that holds."""
        task_id = state.record.task_id
        held = self._store.set_once(task_id, OUTCOME, _write(outcome))
        self._blackboard.put(result_key(task_id, ORCHESTRATOR), held)
        self._learn(task_id, {OUTCOME: held})
        return msgspec.json.decode(held, type=Outcome)

    def close(self, state: State, status: Status) -> None:
        """Note that everything that follows from the outcome is on the bus."""
        task_id = state.record.task_id
        self._blackboard.put(status_key(task_id), status.value)
        self._store.close(task_id)
        self._learn(task_id, {CLOSED: "1"})
        self._blackboard.unschedule(DUE_KEY, task_id)

    def read_durable(self, task_id: str) -> State:
        """A task's state by what is durable only: every agent can write to Redis, and only the orchestrator to Firestore.

        Raises:
            LookupError: there is no such task.
        """
        kept = self._store.read(task_id)
        if kept is None:
            raise LookupError(f"task {task_id} is not in the durable record")
        return read_state({**kept.facts, RECORD: kept.record})

    def forget(self, task_id: str) -> None:
        """Drop what Redis says about a task; the next look reads the durable record."""
        self._blackboard.forget(facts_key(task_id))

    def look_again(self, task_id: str, at: datetime) -> None:
        """Have the clock look at a task at a time, whatever happens until then."""
        self._blackboard.schedule(DUE_KEY, task_id, at.timestamp())

    def find_due(self, until: datetime, limit: int) -> list[tuple[str, float]]:
        """The tasks to look at until then, with the times (seconds since 1970), the earliest first."""
        return self._blackboard.find_due(DUE_KEY, until.timestamp(), limit)

    def drop(self, task_id: str) -> None:
        """Have the clock look no more at a task."""
        self._blackboard.unschedule(DUE_KEY, task_id)

    def find_open(self) -> list[str]:
        """Open tasks by the durable record."""
        return self._store.find_open(SWEPT)

    def _learn(self, task_id: str, facts: dict[str, str], *, create: bool = False) -> State:
        """Add facts and read all; Redis may have been emptied since the last look."""
        known = self._blackboard.learn(facts_key(task_id), facts, create=create)
        if known is None:
            self._restore(task_id)
            known = self._blackboard.learn(facts_key(task_id), facts)
        if known is None:
            raise TryAgain(f"Redis lost task {task_id} as it was put there")
        return read_state(known)

    def _restore(self, task_id: str) -> State | None:
        kept = self._store.read(task_id)
        if kept is None:
            return None
        facts = {**kept.facts, RECORD: kept.record} | ({} if kept.is_open else {CLOSED: "1"})
        known = self._blackboard.learn(facts_key(task_id), facts, create=True)
        state = read_state(known or facts)
        status = state.outcome.status if state.closed and state.outcome else Status.IN_PROGRESS
        self._blackboard.put(status_key(task_id), status.value)
        return state


class Answers:
    """An agent's answers on the blackboard: the first to a request stays, so that a repeat is told the same."""

    def __init__(self, blackboard: Blackboard) -> None:
        self._blackboard = blackboard

    def keep(self, task_id: str, agent: str, result: StepResult) -> StepResult:
        """Set the answer to a request unless it has one; the answer that holds."""
        text = self._blackboard.claim(result_key(task_id, agent), _write(result))
        kept = msgspec.json.decode(text, type=StepResult)
        self._blackboard.put(status_key(task_id), kept.status.value)
        return kept

    def find(self, task_id: str, agent: str) -> StepResult | None:
        """The answer to a request, or None."""
        kept = self._blackboard.get(result_key(task_id, agent))
        return msgspec.json.decode(kept, type=StepResult) if kept else None


def _write(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
