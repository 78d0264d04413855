"""ConversableAgent: what every agent does with a message before and after its own thinking.

Owns the envelope's checks, the allow-list, the deadline, "answered already", and the answer. An agent adds one method
per action that takes a Task and returns its output; it knows neither bus nor blackboard keys.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Self, TypeVar

import msgspec

from agents.errors import Poison, StepFailed
from agents.swarm.tasks import Tasks
from agents.tools.blackboard import Blackboard
from agents.tools.bus import Bus, Outgoing, send_all
from agents.tools.models import ModelGateway
from schemas import topology
from schemas.messages import AgentMessage, Json, Kind, Status, StepResult

RESULTS_TOPIC = "agent-results"
log = logging.getLogger(__name__)
Shape = TypeVar("Shape")


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What every agent needs from outside."""

    blackboard: Blackboard
    bus: Bus
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class Occasion(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The moment that a task is about."""

    moment_id: str
    kind: str
    data: Json = {}


class Task(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The payload of a request. `inputs` holds the outputs of earlier steps by the action that made them."""

    user_id: str
    moment: Occasion
    inputs: dict[str, Json] = {}
    task_id: str = ""
    parent_task_id: str | None = None

    @property
    def whole_id(self) -> str:
        """The id of the task that this step is part of: the one that rows of actions, choices and model calls share."""
        return self.parent_task_id or self.task_id

    def read_input(self, action: str, shape: type[Shape]) -> Shape:
        """An earlier step's output as a type.

        Raises:
            StepFailed: it is not there, or of another shape.
        """
        if action not in self.inputs:
            raise StepFailed(f"needs the output of {action}, which is not among its inputs")
        try:
            return msgspec.convert(self.inputs[action], shape)
        except msgspec.ValidationError as error:
            raise StepFailed(f"the output of {action} is not usable: {error}") from error


Action = Callable[[Task], Json]


class ConversableAgent(ABC):
    """One specialist. A new one is one file, one line in the registry and one entry in the topology."""

    name: ClassVar[str]

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self._tasks = Tasks(ports.blackboard)

    @classmethod
    @abstractmethod
    def build(cls, ports: Ports) -> Self:
        """The agent with the real tools that it needs."""

    @abstractmethod
    def actions(self) -> Mapping[str, Action]:
        """What it can do, by the names in the topology."""

    def handle(self, data: bytes) -> None:
        """Answer one request; a repeat gets the same answer.

        Raises:
            Poison: no request, from an agent that may not ask this one, or for an action unknown to it.
        """
        message = _decode(data)
        if message.target_agent != self.name:
            # The subscription's filter keeps these away; Google's Pub/Sub emulator ignores filters.
            log.debug("%s: message %s is for %s", self.name, message.task_id, message.target_agent)
            return
        self._check(message)
        result = self._tasks.find_answer(message.task_id, self.name)
        if result is None:
            # Two deliveries at once may both think; the first claim is the answer of both.
            result = self._tasks.answer(message.task_id, self.name, self._work(message))
        answer = AgentMessage(
            task_id=message.task_id,
            parent_task_id=message.parent_task_id,
            correlation_id=message.correlation_id,
            source_agent=self.name,
            target_agent=message.source_agent,
            action=message.action,
            kind=Kind.RESPONSE,
            payload=msgspec.to_builtins(result),
            timestamp=self.ports.now(),
            deadline=message.deadline,
        )
        outgoing = Outgoing(data=msgspec.json.encode(answer), attributes=answer.attributes())
        send_all(self.ports.bus, RESULTS_TOPIC, [outgoing])

    def _check(self, message: AgentMessage) -> None:
        known = topology.load()
        if message.kind not in {Kind.REQUEST, Kind.COMMAND}:
            raise Poison(f"{self.name} takes requests and commands, not a {message.kind}")
        asks = next((agent.may_ask for agent in known.agents if agent.name == message.source_agent), None)
        if asks is None or self.name not in asks:
            raise Poison(f"{message.source_agent} may not ask {self.name}; topology.yaml says who may")
        if message.action not in known.agent(self.name).actions:
            raise Poison(f"{self.name} has no action {message.action!r} in topology.yaml")

    def _work(self, message: AgentMessage) -> StepResult:
        if message.deadline and self.ports.now() > message.deadline:
            return StepResult(status=Status.FAILED, reason="past the deadline before work began")
        try:
            task = msgspec.convert(
                {**message.payload, "taskId": message.task_id, "parentTaskId": message.parent_task_id}, Task
            )
            return StepResult(status=Status.COMPLETED, output=self.actions()[message.action](task))
        except msgspec.ValidationError as error:
            return StepResult(status=Status.FAILED, reason=f"the request's payload is not usable: {error}")
        except StepFailed as failure:
            log.info("%s: step %s failed: %s", self.name, message.task_id, failure)
            return StepResult(status=Status.FAILED, reason=str(failure))


class ModelAgent(ConversableAgent):
    """An agent that also asks a model, through the gateway."""

    def __init__(self, ports: Ports, gateway: ModelGateway) -> None:
        super().__init__(ports)
        self.gateway = gateway

    @classmethod
    def build(cls, ports: Ports) -> Self:
        """The agent on the model gateway."""
        from agents.tools.models import http_gateway

        return cls(ports, http_gateway())


def to_json(value: Any) -> Json:
    """A typed output as the JSON that a message holds; money becomes text, so that it stays exact."""
    return msgspec.to_builtins(value)


def _decode(data: bytes) -> AgentMessage:
    try:
        return msgspec.json.decode(data, type=AgentMessage)
    except msgspec.MsgspecError as error:
        raise Poison(f"not an agent message: {error}") from error
