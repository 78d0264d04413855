"""Push: moments, events that are moments, agents' answers and their given-up requests, each on its own path."""

from __future__ import annotations

from agents.errors import Poison
from agents.swarm import playbooks
from agents.swarm.orchestrator import Orchestrator, Ports
from agents.tools import bus
from agents.tools.blackboard import redis_blackboard
from agents.tools.once import once
from functions.push import Delivery, handle_push


@once
def _orchestrator() -> Orchestrator:
    return Orchestrator(Ports(blackboard=redis_blackboard(), bus=bus.pubsub(), playbooks=playbooks.load()))


def handle_delivery(delivery: Delivery) -> None:
    """Hand a message to the method that its path names; the paths are those of the topology."""
    match delivery.path:
        case "/event":
            _orchestrator().take_event(delivery.data)
        case "/moment":
            _orchestrator().take_moment(delivery.data)
        case "/result":
            _orchestrator().take_result(delivery.data)
        case "/failed":
            attempts = delivery.attributes.get("CloudPubSubDeadLetterSourceDeliveryCount", "")
            _orchestrator().take_failed(delivery.data, attempts)
        case _:
            raise Poison(f"orchestrate knows /event, /moment, /result and /failed, not {delivery.path!r:.80}")


orchestrate = handle_push("orchestrate", handle_delivery)
