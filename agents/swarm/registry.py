"""Which class is which agent, by its name: MarketTrendAgent is the class of that name in agents/swarm/market_trend.py.

A process imports only the one that it hosts, so that it pays only for its tools.
"""

from __future__ import annotations

import importlib
import re

from agents.swarm.agent import ConversableAgent, Ports
from schemas import topology


def find_module(name: str) -> str:
    """The module of an agent's class."""
    return "agents.swarm." + re.sub("(?<=.)(?=[A-Z])", "_", name.removesuffix("Agent")).lower()


def find_class(name: str) -> type[ConversableAgent]:
    """The class of an agent.

    Raises:
        LookupError: there is no such module or class; the message says which file is to have it.
    """
    module = find_module(name)
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise LookupError(f"{module.replace('.', '/')}.py is not there; it must have the class {name}") from error
    except AttributeError as error:
        raise LookupError(f"{module.replace('.', '/')}.py has no class {name}") from error


def build_agent(name: str, ports: Ports) -> ConversableAgent:
    """The agent of that name with its real tools."""
    return find_class(name).build(ports)


def find_hosted(service: str) -> str:
    """The agent that a function hosts.

    Raises:
        LookupError: the topology gives it none.
    """
    for agent in topology.load().agents:
        if agent.function == service and agent.asked_by:
            return agent.name
    raise LookupError(f"no agent of topology.yaml that somebody may ask has the function {service!r}")
