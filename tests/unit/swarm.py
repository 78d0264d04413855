"""A swarm in one process for tests: the real orchestrator and the real agents' base over fakes, and a bus that can go wrong.

Owns how messages are delivered (in any order, twice, after a crash). Deliberately knows no broker.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

import msgspec

from agents.errors import Poison, TryAgain
from agents.swarm import agent as agents
from agents.swarm import orchestrator as orchestration
from agents.swarm import playbooks
from agents.swarm.agent import Action, ConversableAgent, Task
from agents.swarm.clock import Clock as SwarmClock
from agents.swarm.playbooks import Playbook
from agents.tools.blackboard import TASK_SECONDS, FakeBlackboard
from agents.tools.breaker import FakeBreakers
from agents.tools.bus import FakeBus, Outgoing
from agents.tools.seals import FakeSeals
from agents.tools.task_store import FakeTasks
from schemas import rows, topology
from schemas.messages import AgentMessage, Json, Kind, Spent, derive_id, status_key

START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
EMAIL: Json = {"subject": "s", "text": "t {{unsubscribe}}", "html": "<p>{{unsubscribe}}</p>", "productId": "p1"}
AGENTS = tuple(agent.name for agent in topology.load().agents if agent.asked_by)
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
    """Writes, and then now and then the process dies; or everything in it is gone."""

    def __init__(self, chance: random.Random, share: float = 0.0, emptied: float = 0.0) -> None:
        super().__init__()
        self.chance = chance
        self.share = share
        self.emptied = emptied

    def put(self, key: str, value: str, ttl_seconds: int = TASK_SECONDS) -> None:
        super().put(key, value, ttl_seconds)
        self._die()

    def learn(self, key: str, facts: Mapping[str, str], *, create: bool = False) -> dict[str, str] | None:
        known = super().learn(key, facts, create=create)
        if facts:
            self._die()
        if self.chance.random() < self.emptied:
            self.empty()
        return known

    def _die(self) -> None:
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
        self.spends = Spent()

    @classmethod
    def build(cls, ports: agents.Ports) -> Self:
        return cls(ports, cls.name, OUTPUTS)

    def actions(self) -> Mapping[str, Action]:
        return {action: self._work_on(action) for action in self.outputs}

    def _work_on(self, action: str) -> Action:
        def work(task: Task) -> Json:
            self.worked.append(task)
            output: Any = self.outputs[action]
            self.meter.add(self.spends)
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
    emptied: float = 0.0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.clock = Clock()
        self.bus = ShakyBus(self.chance, self.trouble)
        self.board = ShakyBlackboard(self.chance, self.trouble / 4, self.emptied)
        self.store = FakeTasks()
        self.breakers = FakeBreakers(lambda: self.clock().timestamp())
        ports = orchestration.Ports(
            blackboard=self.board,
            store=self.store,
            breakers=self.breakers,
            seals=FakeSeals("orchestrate"),
            bus=self.bus,
            playbooks=self.known,
            now=self.clock,
        )
        self.ticking = SwarmClock(ports, sleep=self.clock.pass_seconds)
        self.orchestrator = self.ticking.orchestrator
        self.agents = {name: self._play(name) for name in AGENTS}
        self.poison: list[Poison] = []
        self.heard = {"agent-tasks", "agent-results"}  # and "ticks", where time is to pass by itself
        self.silent: set[str] = set()  # agents whose requests are lost
        self._read = 0

    def _play(self, name: str) -> ScriptedAgent:
        seals = FakeSeals(topology.load().agent(name).function)
        return ScriptedAgent(
            agents.Ports(blackboard=self.board, bus=self.bus, seals=seals, now=self.clock), name, self.outputs
        )

    def new_messages(self) -> list[tuple[str, Outgoing]]:
        """What was published since the last time, except what nobody in here takes."""
        new = self.bus.sent[self._read :]
        self._read = len(self.bus.sent)
        return [(topic, message) for topic, message in new if topic in self.heard]

    def handler(self, topic: str, message: Outgoing) -> Callable[[], None]:
        """Who takes a message."""
        if topic == "agent-results":
            return lambda: self.orchestrator.take_result(message.data, message.attributes)
        if topic == "ticks":
            return lambda: self.ticking.take_tick(message.data)
        agent = message.attributes["targetAgent"]
        if agent in self.silent:
            return lambda: None
        return lambda: self.agents[agent].handle(message.data, message.attributes)

    def run(self, moment: bytes | None = None, doubled: float = 0.0) -> None:
        """A moment comes; deliver until nothing is left, in random order; a share comes again, as does every crash."""
        data = moment or make_moment()
        self.deliver([lambda: self.orchestrator.take_moment(data)], doubled)

    def deliver(self, waiting: list[Callable[[], None]] | None = None, doubled: float = 0.0) -> None:
        """Deliver whatever waits and whatever follows from it."""
        waiting = [*(waiting or []), *(self.handler(*new) for new in self.new_messages())]
        for _ in range(10_000):
            if not waiting:
                return
            handle = waiting.pop(self.chance.randrange(len(waiting)))
            try:
                handle()
            except Poison as poison:
                self.poison.append(poison)
            except (Crash, TryAgain):
                waiting.append(handle)
            if self.chance.random() < doubled:
                waiting.append(handle)
            waiting += [self.handler(*new) for new in self.new_messages()]
        raise AssertionError("the swarm does not come to rest")

    def look_at_due(self) -> None:
        """What a tick does, without the next one."""
        for task_id, _ in self.orchestrator.tasks.find_due(self.clock(), 1000):
            self.orchestrator.look_at(task_id)

    def sweep(self) -> None:
        """What the sweep does; it may die like everybody else."""
        for task_id in self.orchestrator.tasks.find_open():
            with suppress(Crash, TryAgain):
                self.orchestrator.look_at(task_id)

    def spend(self, spent: Spent) -> None:
        """Have every step cost something."""
        for agent in self.agents.values():
            agent.spends = spent

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


def seal(message: AgentMessage, function: str = "") -> tuple[bytes, dict[str, str]]:
    """A message as its sender, or another function, would publish it: data and attributes."""
    data = msgspec.json.encode(message)
    known = {agent.name: agent.function for agent in topology.load().agents}
    function = function or known.get(message.source_agent, "stranger")
    return data, message.attributes() | FakeSeals(function).seal(data)


def make_request(sealed_by: str = "", **changes: Any) -> tuple[bytes, dict[str, str]]:
    """The orchestrator's request to UserContextAgent, or a changed one: data and attributes."""
    values: dict[str, Any] = {
        "task_id": "s1",
        "parent_task_id": "t1",
        "correlation_id": "m1",
        "source_agent": "MasterOrchestratorAgent",
        "target_agent": "UserContextAgent",
        "action": "summarise",
        "kind": Kind.REQUEST,
        "payload": {"userId": "u1", "moment": {"momentId": "m1", "kind": "lapsed_buyer"}},
        "timestamp": START,
        **changes,
    }
    return seal(AgentMessage(**values), sealed_by)


def make_moment(kind: str = "lapsed_buyer", moment_id: str = "m1", **data: Any) -> bytes:
    """A moment as the job publishes it."""
    row = {"user_id": "u1", "case_id": "c1", "orders": 5, **data}
    return rows.encode(
        rows.Moment(
            moment_id=moment_id, kind=kind, user_id="u1", detected_at=START, data=msgspec.json.encode(row).decode()
        )
    )
