"""Which class is which agent. A process imports only the one that it hosts, so that it pays only for its tools."""

from __future__ import annotations

import importlib

from agents.swarm.agent import ConversableAgent, Ports
from schemas import topology

AGENTS = {
    "UserContextAgent": "agents.swarm.user_context",
    "RecommendationAgent": "agents.swarm.recommendation",
    "CreativeContentAgent": "agents.swarm.creative_content",
    "SecurityGuardianAgent": "agents.swarm.security_guardian",
}


def find_class(name: str) -> type[ConversableAgent]:
    """The class of an agent; KeyError when the registry has none."""
    return getattr(importlib.import_module(AGENTS[name]), name)


def build_agent(name: str, ports: Ports) -> ConversableAgent:
    """The agent of that name with its real tools."""
    return find_class(name).build(ports)


def find_hosted(service: str) -> str:
    """The agent that a function hosts.

    Raises:
        LookupError: the topology gives it none.
    """
    for agent in topology.load().agents:
        if agent.function == service and agent.name in AGENTS:
            return agent.name
    raise LookupError(f"no agent of topology.yaml names the function {service!r} and is in agents/swarm/registry.py")
