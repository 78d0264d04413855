"""Push: one approved action to the outside world."""

from __future__ import annotations

from agents.acting import links
from agents.acting.email import Way
from agents.acting.policy import load_policy
from agents.acting.service import Ports, act_on
from agents.tools.mail import smtp
from agents.tools.once import once
from agents.tools.outbox import firestore_outbox
from agents.tools.outcomes import collect
from agents.tools.profiles import firestore_profiles
from agents.tools.settings import require, settings
from agents.tools.webhooks import http_webhooks
from functions.push import Delivery, handle_push


@once
def _ports() -> Ports:
    return Ports(
        outbox=firestore_outbox(),
        profiles=firestore_profiles(),
        mailer=smtp(),
        webhooks=http_webhooks(),
        outcomes=collect(),
        policy=load_policy(),
        way=_find_way,
    )


def _find_way() -> Way:
    address = require(settings().message_links, "ARGO_MESSAGE_LINKS").rstrip("/")
    return Way(address=address, keys=links.read_keys(), shop=load_policy().shop)


def handle_delivery(delivery: Delivery) -> None:
    """Act."""
    act_on(delivery.data, _ports())


act = handle_push("act", handle_delivery)
