"""ConversableAgent: what every agent does with a message before and after its own thinking.

Owns the envelope's checks, the deadline, "answered already", what thinking has cost, and the answer. An agent adds one
method per action that takes a Task and returns its output; it knows neither bus nor blackboard keys. Who may ask whom is
`agents.swarm.wire`'s. Guide: docs/agents.md.
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
from agents.swarm.metering import Meter, MeteredGateway
from agents.swarm.tasks import Answers
from agents.swarm.wire import RESULTS_TOPIC, Wire
from agents.tools.blackboard import Blackboard
from agents.tools.bus import Bus
from agents.tools.models import ModelGateway, ModelUnavailable
from agents.tools.seals import Seals
from schemas import topology
from schemas.messages import AgentMessage, Json, Kind, Spent, Status, StepResult

MAX_OUTPUT_BYTES = 500_000  # half of what a Firestore document holds; references, not contents, belong in an output
log = logging.getLogger(__name__)
Shape = TypeVar("Shape")


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What every agent needs from outside."""

    blackboard: Blackboard
    bus: Bus
    seals: Seals
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class Occasion(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The moment that a task is about."""

    moment_id: str
    kind: str
    data: Json = {}


class Task(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The payload of a request. `inputs` holds the outputs of earlier steps by the action that made them, and whatever
    the playbook gives by a name of its own.

    `allowance` is what this step's model calls may cost; None: no limit but the gateway's.
    """

    user_id: str
    moment: Occasion
    inputs: Json = {}
    task_id: str = ""
    parent_task_id: str | None = None
    allowance: Spent | None = None

    @property
    def whole_id(self) -> str:
        """The id of the task that this step is part of: the one that rows of actions, choices and model calls share."""
        return self.parent_task_id or self.task_id

    def read_text(self, name: str) -> str:
        """A text that the playbook may give; empty when it does not.

        Raises:
            StepFailed: it is no text.
        """
        value = self.inputs.get(name, "")
        if not isinstance(value, str):
            raise StepFailed(f"its input {name} must be a text, not {value!r:.60}")
        return value

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
    """One specialist. A new one is one file, named as `agents.swarm.registry` says, and one entry in the topology."""

    name: ClassVar[str]

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self._answers = Answers(ports.blackboard)
        self.meter = Meter()

    @classmethod
    @abstractmethod
    def build(cls, ports: Ports) -> Self:
        """The agent with the real tools that it needs."""

    @abstractmethod
    def actions(self) -> Mapping[str, Action]:
        """What it can do, by the names in the topology."""

    def handle(self, data: bytes, attributes: Mapping[str, str]) -> None:
        """Answer one request, or carry out one command, which nobody waits for; a repeat gets the same answer.

        Raises:
            Poison: no request, from an agent that may not ask this one, or for an action unknown to it.
        """
        wire = Wire(agent=self.name, bus=self.ports.bus, seals=self.ports.seals, now=self.ports.now)
        if attributes.get("targetAgent", self.name) != self.name:
            # The subscription's filter keeps these away; Google's Pub/Sub emulator ignores filters.
            log.debug("%s: message for %s", self.name, attributes["targetAgent"])
            return
        message = wire.receive(data, attributes)
        self._check(message)
        result = self._answers.find(message.task_id, self.name)
        if result is None:
            # Two deliveries at once may both think; the first claim is the answer of both.
            result = self._answers.keep(message.task_id, self.name, self._work(message))
        if message.kind is Kind.COMMAND:
            return
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
        wire.send(RESULTS_TOPIC, [answer])

    def _check(self, message: AgentMessage) -> None:
        if message.kind not in {Kind.REQUEST, Kind.COMMAND}:
            raise Poison(f"{self.name} takes requests and commands, not a {message.kind}")
        if message.target_agent != self.name:
            raise Poison(f"a message for {message.target_agent} came to {self.name}")
        if message.action not in topology.load().agent(self.name).actions:
            raise Poison(f"{self.name} has no action {message.action!r} in topology.yaml")

    def _work(self, message: AgentMessage) -> StepResult:
        if message.deadline and self.ports.now() > message.deadline:
            return StepResult(status=Status.FAILED, reason="past the deadline before work began", retryable=True)
        with self.meter.measure() as measured:
            result = self._think(message)
        result = msgspec.structs.replace(result, spent=measured.spent)
        if len(msgspec.json.encode(result)) > MAX_OUTPUT_BYTES:
            reason = f"the output has more than {MAX_OUTPUT_BYTES} bytes; it must refer to what it made"
            return StepResult(status=Status.FAILED, reason=reason, spent=measured.spent)
        return result

    def _think(self, message: AgentMessage) -> StepResult:
        try:
            task = msgspec.convert(
                {**message.payload, "taskId": message.task_id, "parentTaskId": message.parent_task_id}, Task
            )
            self.meter.allow(task.allowance)
            return StepResult(status=Status.COMPLETED, output=self.actions()[message.action](task))
        except msgspec.ValidationError as error:
            return StepResult(status=Status.FAILED, reason=f"the request's payload is not usable: {error}")
        except StepFailed as failure:
            log.info("%s: step %s failed: %s", self.name, message.task_id, failure)
            return StepResult(status=Status.FAILED, reason=str(failure))
        except ModelUnavailable as error:
            # Whether and when to try again is the playbook's node policy, not the bus's.
            return StepResult(status=Status.FAILED, reason=f"no model: {error}", retryable=True)


class ModelAgent(ConversableAgent):
    """An agent that also asks a model, through the gateway."""

    def __init__(self, ports: Ports, gateway: ModelGateway) -> None:
        super().__init__(ports)
        self.gateway = MeteredGateway(gateway, self.meter)

    @classmethod
    def build(cls, ports: Ports) -> Self:
        """The agent on the model gateway."""
        from agents.tools.models import http_gateway

        return cls(ports, http_gateway())


def to_json(value: Any) -> Json:
    """A typed output as the JSON that a message holds; money becomes text, so that it stays exact."""
    return msgspec.to_builtins(value)
