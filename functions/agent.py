"""Push: one request to the agent that this deployment hosts (the topology's agent whose function is this service)."""

from __future__ import annotations

from agents.swarm.agent import ConversableAgent, Ports
from agents.swarm.registry import build_agent, find_hosted
from agents.tools import bus
from agents.tools.blackboard import redis_blackboard
from agents.tools.once import once
from agents.tools.seals import google_seals
from agents.tools.settings import settings
from functions.push import Delivery, handle_push


@once
def _agent() -> ConversableAgent:
    ports = Ports(blackboard=redis_blackboard(), bus=bus.pubsub(), seals=google_seals())
    return build_agent(find_hosted(settings().service), ports)


def handle_delivery(delivery: Delivery) -> None:
    """Let the hosted agent answer."""
    _agent().handle(delivery.data, delivery.attributes)


agent = handle_push("agent", handle_delivery)
