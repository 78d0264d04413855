"""MasterOrchestratorAgent: from a moment, through a playbook's steps, to one action, one result, or a reason why not.

Every message only says "look again": what comes next is worked out anew from the task's facts (`agents.swarm.progress`)
and published with ids that are always the same. So a lost publish is repaired by the redelivery of whatever led to it, or
by the clock (`agents.swarm.clock`); a doubled one is harmless; order does not matter. The outcome is durable before
anything follows from it, and what follows is on the bus before the task is closed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from agents.errors import Poison
from agents.swarm import progress
from agents.swarm.planning import find_plan_problems, read_plan
from agents.swarm.playbooks import ORCHESTRATOR, Playbook, Step
from agents.swarm.progress import Ask, Fail, Failure, Outcome, Record, Settle, State
from agents.swarm.tasks import Tasks
from agents.swarm.wire import RESULTS_TOPIC, Wire
from agents.tools.blackboard import Blackboard
from agents.tools.breaker import Breakers, Limit
from agents.tools.bus import Bus, Outgoing, send_all
from agents.tools.seals import Seals
from agents.tools.task_store import TaskStore
from schemas import rows, topology
from schemas.messages import AgentMessage, Json, Kind, Status, StepResult, derive_id

TASKS_TOPIC = "agent-tasks"
ACTIONS_TOPIC = "actions"
MOMENTS_TOPIC = "moments"
MAX_LOOKS = 200  # rounds of one look at a task: more than its steps and their attempts can need at once
# What a playbook's conditions and agents get of an event that is its own moment; traits and properties may hold
# personal data, and every word between agents is kept.
EVENT_FIELDS = ("event_id", "event_type", "event_timestamp", "order_id", "revenue", "currency", "products")
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What the orchestrator needs from outside."""

    blackboard: Blackboard
    store: TaskStore
    breakers: Breakers
    seals: Seals
    bus: Bus
    playbooks: Mapping[str, Playbook]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class _Event(msgspec.Struct, frozen=True):
    event_id: Annotated[str, Meta(min_length=1)]
    event_type: Annotated[str, Meta(min_length=1)]
    user_id: str | None = None


class Orchestrator:
    """Runs playbooks. `on_begin` is called for every task that begins or goes on, so that the clock looks after it."""

    def __init__(self, ports: Ports, on_begin: Callable[[], None] = lambda: None) -> None:
        self._ports = ports
        self._on_begin = on_begin
        self.tasks = Tasks(ports.blackboard, ports.store)
        self.wire = Wire(agent=ORCHESTRATOR, bus=ports.bus, seals=ports.seals, now=ports.now)

    def take_event(self, data: bytes) -> None:
        """An event that is a moment by itself goes where every moment comes from, when a playbook answers it.

        Without a user id nobody knows whom to write to, so nothing happens.
        """
        moment = read_event_moment(data, self._ports.now())
        if moment and self._find_playbooks(moment):
            message = Outgoing(data=rows.encode(moment), attributes={"kind": moment.kind})
            send_all(self._ports.bus, MOMENTS_TOPIC, [message])

    def take_moment(self, data: bytes) -> None:
        """A moment, found by a job or shown by an event: the task of each playbook that answers it begins."""
        moment = _decode(data, rows.Moment)
        for playbook in self._find_playbooks(moment):
            self._start(moment, playbook)

    def take_result(self, data: bytes, attributes: Mapping[str, str]) -> None:
        """An agent's answer; events on the same topic are for the record only."""
        message = self.wire.receive(data, attributes)
        if message.kind is Kind.EVENT:
            return
        if message.kind is not Kind.RESPONSE or message.target_agent != ORCHESTRATOR:
            raise Poison(f"a {message.kind} to {message.target_agent} is not an answer to {ORCHESTRATOR}")
        result = _convert_result(message.payload)
        self._take_answer(message, message.source_agent, result)

    def take_failed(self, data: bytes, attributes: Mapping[str, str]) -> None:
        """A request that its agent could not handle in the allowed attempts: the attempt has failed."""
        message = self.wire.receive(data, attributes)
        attempts = attributes.get("CloudPubSubDeadLetterSourceDeliveryCount", "")
        reason = f"{message.target_agent} could not handle the request{f' in {attempts} attempts' if attempts else ''}"
        self._take_answer(
            message, message.target_agent, StepResult(status=Status.FAILED, reason=reason, retryable=True)
        )

    def look_at(self, task_id: str) -> None:
        """Do whatever is due in a task; nothing for one that is closed or unknown."""
        state = self.tasks.find(task_id)
        if state is None or state.closed:
            self.tasks.drop(task_id)
            return
        self._advance(state)

    def _find_playbooks(self, moment: rows.Moment) -> list[Playbook]:
        found: Json = _decode(moment.data.encode(), dict[str, Any])
        return [playbook for playbook in self._ports.playbooks.values() if playbook.applies_to(moment.kind, found)]

    def _start(self, moment: rows.Moment, playbook: Playbook) -> None:
        now = self._ports.now()
        record = Record(
            task_id=progress.task_id_of(moment.moment_id, playbook.playbook),
            playbook=playbook,
            moment_id=moment.moment_id,
            kind=moment.kind,
            user_id=moment.user_id,
            data=_decode(moment.data.encode(), dict[str, Any]),
            started_at=now,
            deadline=now + timedelta(seconds=playbook.deadline_seconds),
        )
        self._advance(self.tasks.begin(record))
        self._on_begin()

    def _take_answer(self, message: AgentMessage, agent: str, result: StepResult) -> None:
        state = self.tasks.find(message.parent_task_id or "")
        if state is None:
            raise Poison(f"no task {message.parent_task_id} was ever begun")
        found = progress.find_attempt(state, message.task_id)
        if found is None:
            raise Poison(f"{agent} has no step {message.task_id} in task {state.record.task_id}")
        name, attempt = found
        step = state.playbook.steps[name]
        asked, action = progress.find_asked(state.playbook, step, attempt)
        if agent != asked:
            raise Poison(f"{agent} has no step {message.task_id} in task {state.record.task_id}; {asked} has")
        if state.closed:
            return
        if result.retryable:
            self._count_failure(step, f"{asked}.{action}", message.task_id)
        else:
            self._ports.breakers.record_success(f"{asked}.{action}")
        if state.playbook.plan and state.playbook.plan.step == name:
            result = check_plan(state, result)
        if result.status is Status.COMPLETED:
            state = self.tasks.settle(state, name, result)
        else:
            failure = Failure(at=self._ports.now(), reason=result.reason, final=not result.retryable)
            state = self.tasks.note_failed(state, name, attempt, failure)
        self._advance(state)

    def _advance(self, state: State) -> None:
        """Make every move that is due, until the task waits for something or has ended."""
        for _ in range(MAX_LOOKS):
            if state.closed:
                return
            now = self._ports.now()
            outcome = state.outcome or progress.find_outcome(state, now)
            if outcome:
                self._finish(state, outcome)
                return
            moves, look_at = progress.find_moves(state, now)
            if not moves:
                self.tasks.look_again(state.record.task_id, look_at)
                return
            for move in moves:
                if isinstance(move, Settle):
                    state = self.tasks.settle(state, move.step, move.result)
                elif isinstance(move, Fail):
                    state = self._fail(state, move)
            state = self._ask(state, [move for move in moves if isinstance(move, Ask)])
        raise RuntimeError(f"task {state.record.task_id} does not come to rest")

    def _ask(self, state: State, asks: list[Ask]) -> State:
        """Publish requests; those whose circuit is open fail at once instead."""
        sent: list[Ask] = []
        for ask in asks:
            agent, action = self._find_asked(state, ask)
            step = state.playbook.steps[ask.step]
            if self._ports.breakers.admit(f"{agent}.{action}", float(step.timeout_seconds)):
                sent.append(ask)
                continue
            reason = f"the circuit of {agent}.{action} is open after {step.breaker.failures} failures"
            state = self._fail(
                state, Fail(step=ask.step, attempt=ask.attempt, failure=Failure(at=self._ports.now(), reason=reason))
            )
        if not sent:
            return state
        self.wire.send(TASKS_TOPIC, [self._write_request(state, ask) for ask in sent])
        return self.tasks.note_asked(state, [(ask.step, ask.attempt) for ask in sent], self._ports.now())

    def _find_asked(self, state: State, ask: Ask) -> tuple[str, str]:
        return progress.find_asked(state.playbook, state.playbook.steps[ask.step], ask.attempt)

    def _write_request(self, state: State, ask: Ask) -> AgentMessage:
        record, now = state.record, self._ports.now()
        agent, action = self._find_asked(state, ask)
        step = state.playbook.steps[ask.step]
        payload: Json = {
            "userId": record.user_id,
            "moment": {"momentId": record.moment_id, "kind": record.kind, "data": record.data},
            "inputs": progress.collect_inputs(state, ask.step),
        }
        if allowance := progress.find_allowance(state):
            payload["allowance"] = msgspec.to_builtins(allowance)
        return AgentMessage(
            task_id=progress.attempt_id_of(record.task_id, ask.step, ask.attempt),
            parent_task_id=record.task_id,
            correlation_id=record.moment_id,
            source_agent=ORCHESTRATOR,
            target_agent=agent,
            action=action,
            kind=Kind.REQUEST,
            payload=payload,
            timestamp=now,
            deadline=min(record.deadline, now + timedelta(seconds=step.timeout_seconds)),
        )

    def _fail(self, state: State, move: Fail) -> State:
        """Note that an attempt failed without an answer, and tell it, so that the task's timeline shows it."""
        record, step = state.record, state.playbook.steps[move.step]
        agent, action = progress.find_asked(state.playbook, step, move.attempt)
        attempt_id = progress.attempt_id_of(record.task_id, move.step, move.attempt)
        if (move.step, move.attempt) in state.asked:
            self._count_failure(step, f"{agent}.{action}", attempt_id)
        event = self._write_event(record, "step_failed", {"step": move.step, "reason": move.failure.reason})
        event = msgspec.structs.replace(event, task_id=attempt_id, parent_task_id=record.task_id)
        self.wire.send(RESULTS_TOPIC, [event])
        return self.tasks.note_failed(state, move.step, move.attempt, move.failure)

    def _count_failure(self, step: Step, circuit: str, attempt_id: str) -> None:
        limit = Limit(failures=step.breaker.failures, window_seconds=float(step.breaker.window_seconds))
        self._ports.breakers.record_failure(circuit, limit, attempt_id)

    def _finish(self, state: State, outcome: Outcome) -> None:
        """Make an outcome durable, then publish what follows from it, then close the task."""
        if outcome.status is Status.COMPLETED:
            found = self._complete(state.record.task_id)
            if found is None:
                return
            state, outcome = found
        record, held = state.record, self.tasks.decide(state, outcome)
        payload: Json = {"playbook": record.playbook.playbook, "userId": record.user_id, "startedAt": record.started_at}
        if held.action:
            attributes = {"kind": _decode(held.action.encode(), rows.Action).kind, "taskId": record.task_id}
            send_all(self._ports.bus, ACTIONS_TOPIC, [Outgoing(data=held.action.encode(), attributes=attributes)])
            payload["actionId"] = progress.action_id_of(record.task_id)
        elif held.status is Status.COMPLETED:
            payload["result"] = held.result
        else:
            payload["reason"] = held.reason
        self.wire.send(RESULTS_TOPIC, [self._write_event(record, f"task_{held.status.value.lower()}", payload)])
        self.tasks.close(state, held.status)
        log.info("task %s (%s): %s %s", record.task_id, record.playbook.playbook, held.status, held.reason)

    def _complete(self, task_id: str) -> tuple[State, Outcome] | None:
        """The outcome with its action, from durable facts alone; None when those do not say that the task is complete."""
        state = self.tasks.read_durable(task_id)
        if state.outcome:
            return state, state.outcome
        outcome = progress.find_outcome(state, self._ports.now())
        if outcome is None:
            log.error("task %s: Redis says that it is complete, and the durable record does not", task_id)
            self.tasks.forget(task_id)
            self.tasks.look_again(task_id, self._ports.now())
            return None
        if outcome.status is Status.COMPLETED and state.playbook.action:
            action = write_action(state, self._ports.now())
            outcome = msgspec.structs.replace(outcome, action=rows.encode(action).decode())
        return state, outcome

    def _write_event(self, record: Record, action: str, payload: Json) -> AgentMessage:
        return AgentMessage(
            task_id=record.task_id,
            correlation_id=record.moment_id,
            source_agent=ORCHESTRATOR,
            target_agent=ORCHESTRATOR,
            action=action,
            kind=Kind.EVENT,
            payload=payload,
            timestamp=self._ports.now(),
        )


def read_event_moment(data: bytes, now: datetime) -> rows.Moment | None:
    """The moment that an event (a row of user_interactions) is, or None when nobody is known behind it."""
    event = _decode(data, _Event)
    if not event.user_id:
        return None
    row: Json = _decode(data, dict[str, Any])
    kept = {field: row[field] for field in EVENT_FIELDS if field in row}
    return rows.Moment(
        moment_id=derive_id(event.event_type, event.event_id),
        kind=event.event_type,
        user_id=event.user_id,
        detected_at=now,
        data=msgspec.json.encode(kept).decode(),
    )


def check_plan(state: State, result: StepResult) -> StepResult:
    """A planning step's result, or its failure when what was planned may not be done: a plan is a model's word."""
    if result.status is not Status.COMPLETED:
        return result
    try:
        problems = find_plan_problems(read_plan(result.output), topology.load(), state.record.playbook)
    except msgspec.ValidationError as error:
        problems = [str(error)]
    if not problems:
        return result
    reason = f"the plan is not usable: {'; '.join(problems)}"
    return StepResult(status=Status.FAILED, reason=reason, spent=result.spent)


def write_action(state: State, now: datetime) -> rows.Action:
    """The one action of a task whose every step is settled.

    Raises:
        ValueError: its playbook has no action.
    """
    record, action = state.record, state.playbook.action
    if action is None:
        raise ValueError(f"playbook {state.playbook.playbook} has no action")
    outputs = progress.read_outputs(state)
    product = outputs[action.product].get("productId") if action.product else None
    return rows.Action(
        action_id=progress.action_id_of(record.task_id),
        task_id=record.task_id,
        moment_id=record.moment_id,
        kind=action.kind,
        user_id=record.user_id,
        created_at=now,
        approved_by=state.playbook.steps[action.approved_by].agent,
        content=msgspec.json.encode(outputs[action.content]).decode(),
        product_id=product,
        risk=action.risk,
    )


def _convert_result(payload: Json) -> StepResult:
    try:
        return msgspec.convert(payload, StepResult)
    except msgspec.ValidationError as error:
        raise Poison(f"not a step's result: {error}") from error


def _decode(data: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise Poison(f"not a {getattr(kind, '__name__', kind)}: {error}") from error
