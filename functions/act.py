"""Push: one approved action to the outside world."""

from __future__ import annotations

from agents.acting import Ports, act_on
from agents.tools.mail import smtp
from agents.tools.once import once
from agents.tools.outbox import firestore_outbox
from agents.tools.outcomes import collect
from agents.tools.profiles import firestore_profiles
from functions.push import Delivery, handle_push


@once
def _ports() -> Ports:
    return Ports(outbox=firestore_outbox(), profiles=firestore_profiles(), mailer=smtp(), outcomes=collect())


def handle_delivery(delivery: Delivery) -> None:
    """Act."""
    act_on(delivery.data, _ports())


act = handle_push("act", handle_delivery)
