"""A test kit for agents: ask one as the orchestrator would, over fakes, through the real envelope, seals and checks.

`make_ports` gives the fakes, `ask` one answer, `check_promises` what every agent must keep. For tests only; nothing here
is imported by a function. Guide: docs/agents.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from agents.errors import Poison
from agents.swarm.agent import ConversableAgent, Ports
from agents.swarm.playbooks import ORCHESTRATOR
from agents.swarm.wire import RESULTS_TOPIC, Refused
from agents.tools.blackboard import FakeBlackboard
from agents.tools.bus import FakeBus
from agents.tools.seals import FakeSeals
from schemas import topology
from schemas.messages import AgentMessage, Json, Kind, Status, StepResult

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


class PromiseBroken(AssertionError):
    """What every agent must keep, this one does not; the message says which promise."""


def make_ports(agent: str) -> Ports:
    """Fakes of everything that every agent needs; `agent` is its name in topology.yaml."""
    seals = FakeSeals(topology.load().agent(agent).function)
    return Ports(blackboard=FakeBlackboard(), bus=FakeBus(), seals=seals, now=lambda: NOW)


def ask(agent: ConversableAgent, action: str, **inputs: Any) -> StepResult:
    """What the agent answers to a request of the orchestrator's.

    `inputs` are earlier steps' outputs by the actions that made them; typed ones are turned into JSON. Three names mean
    something else: `user_id`, `kind` (of the moment) and `data` (the moment's).
    """
    agent.handle(*write_request(agent.name, action, inputs))
    return msgspec.convert(read_answers(agent)[-1].payload, StepResult)


def write_request(agent: str, action: str, inputs: Mapping[str, Any], **changes: Any) -> tuple[bytes, dict[str, str]]:
    """A sealed request of the orchestrator's, as data and attributes; `changes` are fields of the message."""
    given = dict(inputs)
    moment: Json = {"momentId": "m1", "kind": given.pop("kind", "lapsed_buyer"), "data": given.pop("data", {})}
    payload: Json = {"userId": given.pop("user_id", "u1"), "moment": moment, "inputs": msgspec.to_builtins(given)}
    values: dict[str, Any] = {
        "task_id": f"step-{action}",
        "parent_task_id": "task",
        "correlation_id": "m1",
        "source_agent": ORCHESTRATOR,
        "target_agent": agent,
        "action": action,
        "kind": Kind.REQUEST,
        "payload": payload,
        "timestamp": NOW,
        "deadline": NOW + timedelta(seconds=60),
        **changes,
    }
    message = AgentMessage(**values)
    data = msgspec.json.encode(message)
    known = {entry.name: entry.function for entry in topology.load().agents}
    sealed = FakeSeals(known.get(message.source_agent, "stranger")).seal(data)
    return data, message.attributes() | sealed


def read_answers(agent: ConversableAgent) -> list[AgentMessage]:
    """What the agent has answered so far."""
    bus = agent.ports.bus
    assert isinstance(bus, FakeBus), "the kit needs the ports of make_ports"  # noqa: S101  # a test's own mistake
    said = [msgspec.json.decode(message.data, type=AgentMessage) for message in bus.on(RESULTS_TOPIC)]
    return [message for message in said if message.kind is Kind.RESPONSE]


def check_promises(agent: ConversableAgent, action: str, **inputs: Any) -> StepResult:
    """Ask as `ask` does, and check what every agent must keep; the answer.

    Raises:
        PromiseBroken: naming the promise.
    """
    known = topology.load().agent(agent.name)
    _hold(set(known.actions) == set(agent.actions()), f"actions() and topology.yaml name the same: {known.actions}")
    answer = ask(agent, action, **inputs)
    _hold(msgspec.json.decode(msgspec.json.encode(answer.output)) == answer.output, "an output is JSON")
    agent.handle(*write_request(agent.name, action, inputs))
    first, second = read_answers(agent)[-2:]
    _hold(first.payload == second.payload, "the same request gets the same answer")
    stranger = write_request(agent.name, action, inputs, source_agent="StrangerAgent", task_id="by-stranger")
    _hold(_is_refused(agent, stranger), "a stranger is refused")
    late = write_request(agent.name, action, inputs, task_id="late", deadline=NOW - timedelta(seconds=1))
    agent.handle(*late)
    _hold(read_answers(agent)[-1].payload["status"] == Status.FAILED, "past the deadline no work is begun")
    agent.handle(*write_request(agent.name, action, inputs, task_id="unusable", payload={"user": 1}))
    _hold(read_answers(agent)[-1].payload["status"] == Status.FAILED, "an unusable payload fails the step")
    _hold(_is_poison(agent, write_request(agent.name, "no_such_action", inputs)), "an unknown action is poison")
    return answer


def _is_refused(agent: ConversableAgent, message: tuple[bytes, dict[str, str]]) -> bool:
    try:
        agent.handle(*message)
    except Refused:
        return True
    return False


def _is_poison(agent: ConversableAgent, message: tuple[bytes, dict[str, str]]) -> bool:
    try:
        agent.handle(*message)
    except Poison:
        return True
    return False


def _hold(kept: bool, promise: str) -> None:
    if not kept:
        raise PromiseBroken(promise)
