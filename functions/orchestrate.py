"""Push: moments, events that are moments, agents' answers, given-up requests and the clock's ticks, each on its own path."""

from __future__ import annotations

from agents.errors import Poison
from agents.swarm import playbooks
from agents.swarm.clock import Clock
from agents.swarm.orchestrator import Ports
from agents.tools import bus
from agents.tools.blackboard import redis_blackboard
from agents.tools.breaker import redis_breakers
from agents.tools.once import once
from agents.tools.seals import google_seals
from agents.tools.task_store import firestore_tasks
from functions.push import Delivery, handle_push


@once
def _clock() -> Clock:
    ports = Ports(
        blackboard=redis_blackboard(),
        store=firestore_tasks(),
        breakers=redis_breakers(),
        seals=google_seals(),
        bus=bus.pubsub(),
        playbooks=playbooks.load(),
    )
    return Clock(ports)


def handle_delivery(delivery: Delivery) -> None:
    """Hand a message to the method that its path names; the paths are those of the topology."""
    clock = _clock()
    orchestrator = clock.orchestrator
    match delivery.path:
        case "/event":
            orchestrator.take_event(delivery.data)
        case "/moment":
            orchestrator.take_moment(delivery.data)
        case "/result":
            orchestrator.take_result(delivery.data, delivery.attributes)
        case "/failed":
            orchestrator.take_failed(delivery.data, delivery.attributes)
        case "/tick":
            clock.take_tick(delivery.data)
        case _:
            raise Poison(f"orchestrate knows /event, /moment, /result, /failed and /tick, not {delivery.path!r:.80}")


orchestrate = handle_push("orchestrate", handle_delivery)
