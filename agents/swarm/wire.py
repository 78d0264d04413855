"""The wire between agents: how a message gets its envelope and its seal, and which message is let in.

Owns the allow-list: a message is let in when the service account that sealed it is the one of its `sourceAgent`, and the
topology lets that agent say this to that one. A refusal is recorded twice: as an event on the bus, which is in the
task's timeline, and as a dead letter with its reason (`functions.push`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from agents.errors import Poison
from agents.tools.bus import Bus, Outgoing, send_all
from agents.tools.seals import SealBroken, Seals
from schemas import topology
from schemas.messages import AgentMessage, Kind, derive_id
from schemas.topology import Topology

RESULTS_TOPIC = "agent-results"
log = logging.getLogger(__name__)


class Refused(Poison):
    """A message from somebody who may not say this."""


@dataclass(frozen=True, kw_only=True)
class Wire:
    """One agent's end of the bus."""

    agent: str
    bus: Bus
    seals: Seals
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    known: Topology = field(default_factory=topology.load)

    def send(self, topic: str, messages: list[AgentMessage]) -> None:
        """Seal and publish; when it returns, Pub/Sub has every one."""
        send_all(self.bus, topic, [self.seal(message) for message in messages])

    def seal(self, message: AgentMessage) -> Outgoing:
        """A message ready to be published."""
        data = msgspec.json.encode(message)
        return Outgoing(data=data, attributes=message.attributes() | self.seals.seal(data))

    def receive(self, data: bytes, attributes: Mapping[str, str]) -> AgentMessage:
        """The message, when its sender is who it says and may say it.

        Raises:
            Poison: it is no agent message.
            Refused: its sender is somebody else, or may not talk to this agent; the refusal is on the bus.
        """
        try:
            message = msgspec.json.decode(data, type=AgentMessage)
        except msgspec.MsgspecError as error:
            raise Poison(f"not an agent message: {error}") from error
        try:
            sender = self.seals.find_sender(data, dict(attributes))
            reason = self._find_refusal(message, sender)
        except SealBroken as broken:
            reason = f"it says that it is from {message.source_agent}, but {broken}"
        if reason:
            self._tell_refusal(message, data, reason)
            raise Refused(f"refused: {reason}")
        return message

    def _find_refusal(self, message: AgentMessage, sender: str) -> str:
        known = {agent.name: agent for agent in self.known.agents}
        source = known.get(message.source_agent)
        if source is None:
            return f"no agent {message.source_agent} in topology.yaml"
        if sender != self.seals.account_of(source.function):
            return f"it says that it is from {source.name}, but {sender} sent it"
        if message.source_agent == self.agent or message.kind is Kind.EVENT:
            return ""
        asks, asked = message.source_agent, self.agent
        if message.kind is Kind.RESPONSE:
            asks, asked = asked, asks
        if asks not in known[asked].asked_by:
            return f"{asks} may not ask {asked}; topology.yaml says who may"
        return ""

    def _tell_refusal(self, message: AgentMessage, data: bytes, reason: str) -> None:
        log.warning("%s refuses a %s (task %s): %s", self.agent, message.kind, message.task_id, reason)
        refusal = AgentMessage(
            task_id=derive_id("refused", self.agent, data.hex()),
            parent_task_id=message.parent_task_id or message.task_id,
            correlation_id=message.correlation_id,
            source_agent=self.agent,
            target_agent=self.agent,
            action="message_refused",
            kind=Kind.EVENT,
            payload={"reason": reason, "claims": message.source_agent, "kind": message.kind, "action": message.action},
            timestamp=self.now(),
        )
        self.send(RESULTS_TOPIC, [refusal])
