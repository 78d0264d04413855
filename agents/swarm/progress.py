"""How far a task is, and what comes next. Pure: facts in, moves out.

A task is a set of facts that are each set once: its record, when an attempt of a step was asked or failed, each step's
result, the outcome. Nothing is ever changed, so that facts can arrive twice, late and in any order. What to do next is
worked out anew from the facts whenever anybody looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

import msgspec

from agents.swarm.planning import extend
from agents.swarm.playbooks import OnFailure, Playbook, Step, read_path
from schemas.messages import Json, Spent, Status, StepResult, derive_id

RECORD, OUTCOME, CLOSED = "record", "outcome", "closed"
ASKED, FAILED, DONE = "asked:", "failed:", "done:"
# An end is decided this long before the deadline, so that what follows from it is inside it as well.
CLOSING = timedelta(seconds=2)


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a task began with, its playbook included: a deployment in mid-task does not change it."""

    task_id: str
    playbook: Playbook
    moment_id: str
    kind: str
    user_id: str
    data: Json
    started_at: datetime
    deadline: datetime


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt of a step failed; `final`: another attempt would fail the same way."""

    at: datetime
    reason: str
    final: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a task ended: COMPLETED with the action (a row of `actions`, as JSON) or the result, or FAILED with a reason."""

    status: Status
    reason: str = ""
    action: str = ""
    result: Json = {}


@dataclass(frozen=True, kw_only=True)
class State:
    """A task's facts at one instant."""

    record: Record
    asked: Mapping[tuple[str, int], datetime] = field(default_factory=dict[tuple[str, int], datetime])
    failed: Mapping[tuple[str, int], Failure] = field(default_factory=dict[tuple[str, int], Failure])
    results: Mapping[str, StepResult] = field(default_factory=dict[str, StepResult])
    outcome: Outcome | None = None
    closed: bool = False

    @cached_property
    def playbook(self) -> Playbook:
        """The playbook that is followed, with what was planned in the meantime."""
        plan = self.record.playbook.plan
        return extend(self.record.playbook, self.results.get(plan.step)) if plan else self.record.playbook

    @property
    def spent(self) -> Spent:
        """What the settled steps' model calls have cost so far."""
        parts = [result.spent for result in self.results.values()]
        return Spent(tokens=sum(part.tokens for part in parts), usd=sum(part.usd for part in parts))


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Ask an agent, for the first time or again."""

    step: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Fail:
    """Note that an attempt failed."""

    step: str
    attempt: int
    failure: Failure


@dataclass(frozen=True, kw_only=True)
class Settle:
    """Note a step's result."""

    step: str
    result: StepResult


Move = Ask | Fail | Settle


def task_id_of(moment_id: str, playbook: str) -> str:
    """The task of a moment under a playbook."""
    return derive_id(moment_id, playbook)


def attempt_id_of(task_id: str, step: str, attempt: int = 0) -> str:
    """The `taskId` of the request of an attempt; each attempt has its own, so that an agent works again."""
    return derive_id(task_id, step, str(attempt)) if attempt else derive_id(task_id, step)


def action_id_of(task_id: str) -> str:
    """The one action of a task."""
    return derive_id(task_id, "action")


def read_state(facts: Mapping[str, str]) -> State:
    """The typed state of a task's facts; the record must be among them."""
    asked: dict[tuple[str, int], datetime] = {}
    failed: dict[tuple[str, int], Failure] = {}
    results: dict[str, StepResult] = {}
    for name, text in facts.items():
        kind, _, rest = name.partition(":")
        step, _, attempt = rest.partition(":")
        if kind == ASKED[:-1]:
            asked[step, int(attempt)] = datetime.fromisoformat(text)
        elif kind == FAILED[:-1]:
            failed[step, int(attempt)] = msgspec.json.decode(text, type=Failure)
        elif kind == DONE[:-1]:
            results[step] = msgspec.json.decode(text, type=StepResult)
    return State(
        record=msgspec.json.decode(facts[RECORD], type=Record),
        asked=asked,
        failed=failed,
        results=results,
        outcome=msgspec.json.decode(facts[OUTCOME], type=Outcome) if OUTCOME in facts else None,
        closed=CLOSED in facts,
    )


def find_attempt(state: State, attempt_id: str) -> tuple[str, int] | None:
    """The step and the attempt behind a request's `taskId`, or None when it is none of this task's."""
    for name, step in state.playbook.steps.items():
        for attempt in range(_count_attempts(state.playbook, step)):
            if attempt_id_of(state.record.task_id, name, attempt) == attempt_id:
                return name, attempt
    return None


def find_asked(playbook: Playbook, step: Step, attempt: int) -> tuple[str, str]:
    """Whom an attempt asks for what: the step's agent and action, or after all tries its substitute's."""
    other = playbook.substitutes.get(step.fallback or "")
    if attempt > step.retries and other and other.agent and other.action:
        return other.agent, other.action
    return step.agent, step.action


def find_moves(state: State, now: datetime) -> tuple[list[Move], datetime]:
    """What is to be done now, and when to look again if nothing happens until then."""
    moves: list[Move] = []
    look_at = state.record.deadline - CLOSING
    for name, step in state.playbook.steps.items():
        if name in state.results or not all(need in state.results for need in step.waits_for):
            continue
        move = _find_move(state, name, now)
        if isinstance(move, datetime):
            look_at = min(look_at, move)
        else:
            moves.append(move)
    return moves, look_at


def _find_move(state: State, name: str, now: datetime) -> Move | datetime:
    step = state.playbook.steps[name]
    attempt, last = _find_next(state, name)
    if attempt >= _count_attempts(state.playbook, step):
        reason = last.reason if last else ""
        tries = sum(1 for asked, _ in state.asked if asked == name)
        suffix = f" (asked {tries} times)" if tries > 1 else ""
        return Settle(step=name, result=StepResult(status=Status.FAILED, reason=f"{reason}{suffix}"))
    asked = state.asked.get((name, attempt))
    if asked:
        until = asked + timedelta(seconds=step.timeout_seconds)
        if now < until:
            return until
        agent, _ = find_asked(state.playbook, step, attempt)
        reason = f"{agent} did not answer within {step.timeout_seconds:g} s"
        return Fail(step=name, attempt=attempt, failure=Failure(at=now, reason=reason))
    if last and 0 < attempt <= step.retries:
        ready = last.at + timedelta(seconds=step.backoff_seconds * 2 ** (attempt - 1))
        if now < ready:
            return ready
    return Ask(step=name, attempt=attempt)


def _find_next(state: State, name: str) -> tuple[int, Failure | None]:
    """The attempt that is under way or due, and how the one before it failed."""
    retries = state.playbook.steps[name].retries
    attempt, last = 0, None
    while failure := state.failed.get((name, attempt)):
        last = failure
        attempt = retries + 1 if failure.final and attempt <= retries else attempt + 1
    return attempt, last


def _count_attempts(playbook: Playbook, step: Step) -> int:
    other = playbook.substitutes.get(step.fallback or "")
    return step.retries + 1 + (1 if other and other.agent else 0)


def find_outcome(state: State, now: datetime) -> Outcome | None:
    """How a task ends, or None while it goes on: a closed failure, the deadline, the budget, or every step settled.

    A COMPLETED one has no action yet: only the orchestrator writes those.
    """
    playbook, results = state.playbook, state.results
    for name in playbook.steps:
        result = results.get(name)
        if result and result.status is Status.FAILED and _stops(playbook, name):
            return Outcome(status=Status.FAILED, reason=f"step {name}: {result.reason}")
    waiting = [name for name in playbook.steps if name not in results]
    if now > state.record.deadline - CLOSING:
        waits = f"; no answer from {', '.join(waiting)}" if waiting else ""
        return Outcome(status=Status.FAILED, reason=f"past the deadline of {playbook.deadline_seconds} s{waits}")
    if waiting:
        return _find_overspending(state)
    outputs = read_outputs(state)
    missing = [name for name in playbook.ends_with if name not in outputs]
    action = playbook.action
    if action and outputs.get(action.approved_by, {}).get("approved") is not True:
        return Outcome(status=Status.FAILED, reason=f"step {action.approved_by}: no approval in its output")
    if missing:
        return Outcome(status=Status.FAILED, reason=f"no output from {', '.join(missing)} to end with")
    return Outcome(status=Status.COMPLETED, result=outputs[playbook.result] if playbook.result else {})


def _stops(playbook: Playbook, name: str) -> bool:
    """Whether a step's failure is the task's: unless it may fail, or a fixed output stands in. A substitute that was asked
    and has failed as well stands in for nothing."""
    step = playbook.steps[name]
    other = playbook.substitutes.get(step.fallback or "")
    stands_in = step.on_failure is OnFailure.FALLBACK and other is not None and other.output is not None
    return step.on_failure is not OnFailure.FAIL_OPEN and not stands_in


def _find_overspending(state: State) -> Outcome | None:
    budget, spent = state.playbook.budget, state.spent
    if budget and (spent.tokens >= budget.tokens or spent.usd >= budget.usd):
        reason = f"the budget of {budget.tokens} tokens and {budget.usd:g} USD is used up"
        return Outcome(status=Status.FAILED, reason=f"{reason}: {spent.tokens} tokens, {spent.usd:.4f} USD")
    return None


def find_allowance(state: State) -> Spent | None:
    """What one step may spend: its even share of what is left of the budget; None without a budget."""
    budget, spent = state.playbook.budget, state.spent
    if budget is None:
        return None
    left = max(1, len(state.playbook.steps) - len(state.results))
    tokens = max(0, budget.tokens - spent.tokens) // left
    return Spent(tokens=tokens, usd=max(0.0, budget.usd - spent.usd) / left)


def read_outputs(state: State) -> dict[str, Json]:
    """The output of every settled step that has one: its own, or its substitute; none when it failed open."""
    outputs: dict[str, Json] = {}
    for name, result in state.results.items():
        step = state.playbook.steps[name]
        other = state.playbook.substitutes.get(step.fallback or "")
        if result.status is Status.COMPLETED:
            outputs[name] = result.output
        elif step.on_failure is OnFailure.FALLBACK and other and other.output is not None:
            outputs[name] = other.output
    return outputs


def collect_inputs(state: State, name: str) -> Json:
    """What a step gets: the outputs of its needs by the action that made them, and its named inputs."""
    steps, outputs = state.playbook.steps, read_outputs(state)
    needed = {steps[need].action: outputs[need] for need in steps[name].needs if need in outputs}
    return needed | dict(_resolve_inputs(state, steps[name], outputs))


def _resolve_inputs(state: State, step: Step, outputs: Mapping[str, Json]) -> Iterator[tuple[str, object]]:
    sources: dict[str, object] = {**outputs, "moment": state.record.data}
    for key, value in step.inputs.items():
        path = read_path(value)
        if path is None:
            yield key, value
            continue
        found: object = sources
        for part in path:
            found = found.get(part) if isinstance(found, Mapping) else None  # pyright: ignore[reportUnknownMemberType] -- JSON
        if found is not None:
            yield key, found
