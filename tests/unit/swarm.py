"""A swarm in one process for tests: the real orchestrator and the real agents' base over fakes, and a bus that can go wrong.

Owns how messages are delivered (in any order, twice, after a crash). Deliberately knows no broker.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

import msgspec

from agents.errors import Poison
from agents.swarm import agent as agents
from agents.swarm import orchestrator as orchestration
from agents.swarm import playbooks
from agents.swarm.agent import Action, ConversableAgent, Task
from agents.swarm.orchestrator import Orchestrator
from agents.swarm.playbooks import Playbook
from agents.tools.blackboard import TASK_SECONDS, FakeBlackboard
from agents.tools.bus import FakeBus, Outgoing
from schemas import rows
from schemas.messages import AgentMessage, Json, derive_id, status_key

START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
EMAIL: Json = {"subject": "s", "text": "t {{unsubscribe}}", "html": "<p>{{unsubscribe}}</p>", "productId": "p1"}
OUTPUTS: Mapping[str, Json] = {
    "summarise": {"userId": "u1", "language": "en"},
    "choose": {"productId": "p1", "name": "Lamp", "reason": "r"},
    "write_email": EMAIL,
    "review": {"approved": True, "reasons": []},
}


def as_json(output: Any) -> Json:
    return output


class Clock:
    """A time that moves only when told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Crash(Exception):
    """The process died here."""


class ShakyBus(FakeBus):
    """Fails now and then: before Pub/Sub has the message, or after it, when only the acknowledgement is lost."""

    def __init__(self, chance: random.Random, share: float = 0.0) -> None:
        super().__init__()
        self.chance = chance
        self.share = share

    def send(self, topic: str, message: Outgoing) -> Future[str]:
        if self.chance.random() < self.share / 2:
            raise Crash
        future = super().send(topic, message)
        if self.chance.random() < self.share / 2:
            raise Crash
        return future


class ShakyBlackboard(FakeBlackboard):
    """Writes, and then now and then the process dies."""

    def __init__(self, chance: random.Random, share: float = 0.0) -> None:
        super().__init__()
        self.chance = chance
        self.share = share

    def put(self, key: str, value: str, ttl_seconds: int = TASK_SECONDS) -> None:
        super().put(key, value, ttl_seconds)
        if self.chance.random() < self.share:
            raise Crash


class ScriptedAgent(ConversableAgent):
    """Any agent of the topology, with its outputs prepared: a value, an exception, or a function of the task."""

    name: ClassVar[str] = ""

    def __init__(self, ports: agents.Ports, name: str, outputs: Mapping[str, Any]) -> None:
        super().__init__(ports)
        self.name = name  # pyright: ignore[reportAttributeAccessIssue]  # one class plays all of them
        self.outputs = outputs
        self.worked: list[Task] = []

    @classmethod
    def build(cls, ports: agents.Ports) -> Self:
        return cls(ports, cls.name, OUTPUTS)

    def actions(self) -> Mapping[str, Action]:
        return {action: self._work_on(action) for action in self.outputs}

    def _work_on(self, action: str) -> Action:
        def work(task: Task) -> Json:
            self.worked.append(task)
            output: Any = self.outputs[action]
            if isinstance(output, Exception):
                raise output
            return as_json(output(task) if callable(output) else output)

        return work


@dataclass
class World:
    """One orchestrator, all agents, one bus with its undelivered messages."""

    outputs: Mapping[str, Any] = field(default_factory=lambda: dict(OUTPUTS))
    known: Mapping[str, Playbook] = field(default_factory=playbooks.load)
    seed: int = 0
    trouble: float = 0.0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.clock = Clock()
        self.bus = ShakyBus(self.chance, self.trouble)
        self.board = ShakyBlackboard(self.chance, self.trouble / 4)
        ports = orchestration.Ports(blackboard=self.board, bus=self.bus, playbooks=self.known, now=self.clock)
        self.orchestrator = Orchestrator(ports)
        agent_ports = agents.Ports(blackboard=self.board, bus=self.bus, now=self.clock)
        names = ("UserContextAgent", "RecommendationAgent", "CreativeContentAgent", "SecurityGuardianAgent")
        self.agents = {name: ScriptedAgent(agent_ports, name, self.outputs) for name in names}
        self.poison: list[Poison] = []
        self._read = 0

    def new_messages(self) -> list[tuple[str, Outgoing]]:
        """What was published since the last time, except what nobody in here takes."""
        new = self.bus.sent[self._read :]
        self._read = len(self.bus.sent)
        return [(topic, message) for topic, message in new if topic in {"agent-tasks", "agent-results"}]

    def handler(self, topic: str, message: Outgoing) -> Callable[[], None]:
        """Who takes a message."""
        if topic == "agent-results":
            return lambda: self.orchestrator.take_result(message.data)
        return lambda: self.agents[message.attributes["targetAgent"]].handle(message.data)

    def run(self, moment: bytes | None = None, doubled: float = 0.0) -> None:
        """Deliver until nothing is left, in random order; a share of deliveries comes again, as does every crash."""
        data = moment or make_moment()
        waiting: list[Callable[[], None]] = [lambda: self.orchestrator.take_moment(data)]
        for _ in range(10_000):
            if not waiting:
                return
            handle = waiting.pop(self.chance.randrange(len(waiting)))
            try:
                handle()
            except Poison as poison:
                self.poison.append(poison)
            except Crash:
                waiting.append(handle)
            if self.chance.random() < doubled:
                waiting.append(handle)
            waiting += [self.handler(*new) for new in self.new_messages()]
        raise AssertionError("the swarm does not come to rest")

    def sent(self, topic: str) -> list[AgentMessage]:
        """The agent messages on a topic."""
        return [msgspec.json.decode(message.data, type=AgentMessage) for message in self.bus.on(topic)]

    def requests(self, action: str) -> list[AgentMessage]:
        """The requests for an action."""
        return [message for message in self.sent("agent-tasks") if message.action == action]

    def actions(self) -> list[rows.Action]:
        """The actions on their topic."""
        return [msgspec.json.decode(message.data, type=rows.Action) for message in self.bus.on("actions")]

    def outcomes(self) -> list[AgentMessage]:
        """What the orchestrator said in the end."""
        return [message for message in self.sent("agent-results") if message.action.startswith("task_")]

    def status(self, playbook: str = "win_back", moment_id: str = "m1") -> str | None:
        """The status of a task."""
        return self.board.values.get(status_key(derive_id(moment_id, playbook)))


def make_moment(kind: str = "lapsed_buyer", moment_id: str = "m1", **data: Any) -> bytes:
    """A moment as the job publishes it."""
    row = {"user_id": "u1", "case_id": "c1", "orders": 5, **data}
    return rows.encode(
        rows.Moment(
            moment_id=moment_id, kind=kind, user_id="u1", detected_at=START, data=msgspec.json.encode(row).decode()
        )
    )
