"""A message is let in when its sender is who it says and may say it; any other is refused, and that is on record."""

from __future__ import annotations

import msgspec
import pytest

from agents.swarm.agent import Ports
from agents.swarm.wire import Refused
from agents.tools.blackboard import FakeBlackboard
from agents.tools.bus import FakeBus
from agents.tools.seals import FakeSeals
from schemas.messages import AgentMessage, Json, Kind
from tests.unit.swarm import OUTPUTS, Clock, ScriptedAgent, make_request


def _agent() -> ScriptedAgent:
    seals = FakeSeals("agent-user-context")
    return ScriptedAgent(
        Ports(blackboard=FakeBlackboard(), bus=FakeBus(), seals=seals, now=Clock()), "UserContextAgent", OUTPUTS
    )


def _told(agent: ScriptedAgent) -> list[AgentMessage]:
    bus = agent.ports.bus
    assert isinstance(bus, FakeBus)
    return [msgspec.json.decode(message.data, type=AgentMessage) for message in bus.on("agent-results")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source_agent": "CreativeContentAgent"}, "CreativeContentAgent may not ask UserContextAgent"),
        ({"source_agent": "StrangerAgent"}, "no agent StrangerAgent"),
        ({"kind": Kind.RESPONSE}, "UserContextAgent may not ask MasterOrchestratorAgent"),
        (
            {"sealed_by": "agent-creative-content"},
            "from MasterOrchestratorAgent, but fn-agent-creative-content@fake.* sent it",
        ),
    ],
)
def test_who_may_not_say_this_is_refused_and_that_is_on_record(changes: Json, reason: str) -> None:
    """Prevents: an agent that works for whoever writes to its topic, and an attempt that nobody sees."""
    agent = _agent()
    with pytest.raises(Refused, match=reason):
        agent.handle(*make_request(**changes))
    assert not agent.worked
    [told] = _told(agent)
    assert (told.kind, told.action, told.parent_task_id) == (Kind.EVENT, "message_refused", "t1")
    assert told.payload["claims"] == changes.get("source_agent", "MasterOrchestratorAgent")


def test_a_message_without_a_seal_or_with_another_ones_is_refused() -> None:
    """Prevents: a forged request that is taken because its text looks right, and a seal that is worn by another message."""
    agent = _agent()
    data, attributes = make_request()
    for worn in ({}, {**attributes, "senderSignature": "0" * 64}):
        with pytest.raises(Refused, match="it says that it is from MasterOrchestratorAgent, but it"):
            agent.handle(data, worn)
    other, _ = make_request(task_id="s2")
    with pytest.raises(Refused):
        agent.handle(other, attributes)
    assert not agent.worked
