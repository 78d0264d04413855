"""MasterOrchestratorAgent: from a moment, through a playbook's steps, to one action or a reason why not.

Every message only says "look again": the next steps are worked out anew from the blackboard and published with ids
that are always the same. So a lost publish is repaired by the redelivery of whatever led to it, a doubled one is
harmless, and order does not matter. The outcome is claimed once; what follows from it is published before the status
is set.
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
from agents.swarm.playbooks import ORCHESTRATOR, OnFailure, Playbook, Step
from agents.swarm.tasks import Progress, Record, Tasks, action_id_of, step_id_of, task_id_of
from agents.tools.blackboard import Blackboard
from agents.tools.bus import Bus, Outgoing, send_all
from schemas import rows
from schemas.messages import AgentMessage, Json, Kind, Status, StepResult, derive_id

TASKS_TOPIC = "agent-tasks"
RESULTS_TOPIC = "agent-results"
ACTIONS_TOPIC = "actions"
MOMENTS_TOPIC = "moments"
# What a playbook's conditions and agents get of an event that is its own moment; traits and properties may hold
# personal data, and every word between agents is kept.
EVENT_FIELDS = ("event_id", "event_type", "event_timestamp", "order_id", "revenue", "currency", "products")
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What the orchestrator needs from outside."""

    blackboard: Blackboard
    bus: Bus
    playbooks: Mapping[str, Playbook]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class _Event(msgspec.Struct, frozen=True):
    event_id: Annotated[str, Meta(min_length=1)]
    event_type: Annotated[str, Meta(min_length=1)]
    user_id: str | None = None


class Orchestrator:
    """Runs playbooks."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._tasks = Tasks(ports.blackboard)

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

    def take_result(self, data: bytes) -> None:
        """An agent's answer; events on the same topic are for the record only."""
        message = _decode(data, AgentMessage)
        if message.kind is Kind.EVENT:
            return
        if message.kind is not Kind.RESPONSE or message.target_agent != ORCHESTRATOR:
            raise Poison(f"a {message.kind} to {message.target_agent} is not an answer to {ORCHESTRATOR}")
        result = _convert_result(message.payload)
        self._settle(message, message.source_agent, result)

    def take_failed(self, data: bytes, attempts: str = "") -> None:
        """A request that its agent could not handle in the allowed attempts: the step has failed."""
        message = _decode(data, AgentMessage)
        reason = f"{message.target_agent} could not handle the request{f' in {attempts} attempts' if attempts else ''}"
        self._settle(message, message.target_agent, StepResult(status=Status.FAILED, reason=reason))

    def _find_playbooks(self, moment: rows.Moment) -> list[Playbook]:
        found: Json = _decode(moment.data.encode(), dict[str, Any])
        return [playbook for playbook in self._ports.playbooks.values() if playbook.applies_to(moment.kind, found)]

    def _start(self, moment: rows.Moment, playbook: Playbook) -> None:
        now = self._ports.now()
        record = Record(
            task_id=task_id_of(moment.moment_id, playbook.playbook),
            playbook=playbook.playbook,
            moment_id=moment.moment_id,
            kind=moment.kind,
            user_id=moment.user_id,
            data=_decode(moment.data.encode(), dict[str, Any]),
            started_at=now,
            deadline=now + timedelta(seconds=playbook.deadline_seconds),
        )
        self._advance(self._tasks.begin(record))

    def _settle(self, message: AgentMessage, agent: str, result: StepResult) -> None:
        record = self._tasks.find(message.parent_task_id or "")
        if record is None:
            raise Poison(f"no task {message.parent_task_id} on the blackboard; it has expired or was never begun")
        steps = self._playbook(record).steps
        name = next((step for step in steps if step_id_of(record.task_id, step) == message.task_id), None)
        if name is None or steps[name].agent != agent:
            raise Poison(f"{agent} has no step {message.task_id} in task {record.task_id} ({record.playbook})")
        self._tasks.answer(message.task_id, agent, result)
        self._advance(record)

    def _playbook(self, record: Record) -> Playbook:
        playbook = self._ports.playbooks.get(record.playbook)
        if playbook is None:
            raise Poison(f"task {record.task_id} follows playbook {record.playbook!r}, which is gone")
        return playbook

    def _advance(self, record: Record) -> None:
        playbook = self._playbook(record)
        progress = self._tasks.read(record.task_id, playbook)
        if progress.status in {Status.COMPLETED, Status.FAILED}:
            return
        outcome = progress.outcome or find_outcome(playbook, progress, late=self._ports.now() > record.deadline)
        if outcome:
            self._finish(record, playbook, self._tasks.decide(record.task_id, outcome))
            return
        outputs = read_outputs(playbook, progress)
        for name in find_ready(playbook, progress):
            self._ask(record, name, playbook.steps[name], _collect_inputs(playbook, name, outputs))

    def _ask(self, record: Record, name: str, step: Step, inputs: Json) -> None:
        step_id = step_id_of(record.task_id, name)
        message = AgentMessage(
            task_id=step_id,
            parent_task_id=record.task_id,
            correlation_id=record.moment_id,
            source_agent=ORCHESTRATOR,
            target_agent=step.agent,
            action=step.action,
            kind=Kind.REQUEST,
            payload={
                "userId": record.user_id,
                "moment": {"momentId": record.moment_id, "kind": record.kind, "data": record.data},
                "inputs": inputs,
            },
            timestamp=self._ports.now(),
            deadline=record.deadline,
        )
        self._publish(TASKS_TOPIC, message)
        self._tasks.mark_asked(step_id, self._ports.now())

    def _finish(self, record: Record, playbook: Playbook, outcome: StepResult) -> None:
        payload: Json = {"playbook": record.playbook, "userId": record.user_id, "startedAt": record.started_at}
        if outcome.status is Status.COMPLETED:
            outputs = read_outputs(playbook, self._tasks.read(record.task_id, playbook))
            action = _write_action(record, playbook, outputs, self._ports.now())
            attributes = {"kind": action.kind, "taskId": record.task_id}
            send_all(self._ports.bus, ACTIONS_TOPIC, [Outgoing(data=rows.encode(action), attributes=attributes)])
            payload["actionId"] = action.action_id
        else:
            payload["reason"] = outcome.reason
        message = AgentMessage(
            task_id=record.task_id,
            correlation_id=record.moment_id,
            source_agent=ORCHESTRATOR,
            target_agent=ORCHESTRATOR,
            action=f"task_{outcome.status.value.lower()}",
            kind=Kind.EVENT,
            payload=payload,
            timestamp=self._ports.now(),
        )
        self._publish(RESULTS_TOPIC, message)
        self._tasks.close(record.task_id, outcome.status)
        log.info("task %s (%s) of moment %s: %s", record.task_id, record.playbook, record.moment_id, outcome.status)

    def _publish(self, topic: str, message: AgentMessage) -> None:
        outgoing = Outgoing(data=msgspec.json.encode(message), attributes=message.attributes())
        send_all(self._ports.bus, topic, [outgoing])


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


def find_outcome(playbook: Playbook, progress: Progress, *, late: bool) -> StepResult | None:
    """How a task ends, or None while it goes on: a closed failure, the deadline, or every step settled."""
    for name, step in playbook.steps.items():
        result = progress.results.get(name)
        if result and result.status is Status.FAILED and step.on_failure is OnFailure.FAIL_CLOSED:
            return StepResult(status=Status.FAILED, reason=f"step {name}: {result.reason}")
    waiting = [name for name in playbook.steps if name not in progress.results]
    if late:
        waits = f"; no answer from {', '.join(waiting)}" if waiting else ""
        return StepResult(status=Status.FAILED, reason=f"past the deadline of {playbook.deadline_seconds} s{waits}")
    if waiting:
        return None
    outputs = read_outputs(playbook, progress)
    action = playbook.action
    if outputs.get(action.approved_by, {}).get("approved") is not True:
        return StepResult(status=Status.FAILED, reason=f"step {action.approved_by}: no approval in its output")
    missing = [name for name in (action.content, action.product) if name and name not in outputs]
    if missing:
        return StepResult(status=Status.FAILED, reason=f"no output from {', '.join(missing)} to act on")
    return StepResult(status=Status.COMPLETED)


def find_ready(playbook: Playbook, progress: Progress) -> list[str]:
    """The steps whose needs are settled and that were not asked yet."""
    return [
        name
        for name, step in playbook.steps.items()
        if name not in progress.results
        and name not in progress.asked
        and all(need in progress.results for need in step.needs)
    ]


def read_outputs(playbook: Playbook, progress: Progress) -> dict[str, Json]:
    """The output of every settled step that has one: its own, or its fallback; none when it failed open."""
    outputs: dict[str, Json] = {}
    for name, result in progress.results.items():
        step = playbook.steps[name]
        if result.status is Status.COMPLETED:
            outputs[name] = result.output
        elif step.on_failure is OnFailure.FALLBACK and step.fallback is not None:
            outputs[name] = step.fallback
    return outputs


def _collect_inputs(playbook: Playbook, name: str, outputs: dict[str, Json]) -> Json:
    """Outputs by the action that made them, so that a playbook may name its steps freely."""
    needs = playbook.steps[name].needs
    return {playbook.steps[need].action: outputs[need] for need in needs if need in outputs}


def _write_action(record: Record, playbook: Playbook, outputs: dict[str, Json], now: datetime) -> rows.Action:
    action = playbook.action
    product = outputs[action.product].get("productId") if action.product else None
    return rows.Action(
        action_id=action_id_of(record.task_id),
        task_id=record.task_id,
        moment_id=record.moment_id,
        kind=action.kind,
        user_id=record.user_id,
        created_at=now,
        approved_by=playbook.steps[action.approved_by].agent,
        content=msgspec.json.encode(outputs[action.content]).decode(),
        product_id=product,
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
