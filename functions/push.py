"""Pub/Sub push at the edge: one parser of the envelope, and the three outcomes.

Done answers 204. Anything raised answers 500 (503 for `TryAgain`, which is expected), and Pub/Sub tries again. `Poison`
is kept on the dead-letter topic with its reason, then answered 204. functions-framework's own Pub/Sub conversion is not
used: it drops the subscription, the delivery attempt and the ordering key (shared/facts.md).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

import functions_framework.aio
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from agents.errors import Poison, TryAgain
from agents.tools import bus, metrics, trace
from schemas.messages import fit_attribute

DEAD_LETTERS = "dead-letters"
ATTRIBUTES, KEY_BYTES = 100, 256  # https://cloud.google.com/pubsub/quotas#resource_limits
log = logging.getLogger(__name__)
# As many as a deployment takes requests at once (topology.yaml: concurrency): the event loop's own pool has five on one CPU,
# and handlers mostly wait for stores.
_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="push")


class _Message(msgspec.Struct, frozen=True, rename="camel"):
    message_id: Annotated[str, msgspec.Meta(min_length=1)]
    data: str = ""
    attributes: dict[str, str] = {}
    ordering_key: str = ""
    publish_time: str = ""


class _Envelope(msgspec.Struct, frozen=True, rename="camel"):
    message: _Message
    subscription: str
    delivery_attempt: int = 0


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One pushed message. `path` is the push endpoint's path, `attempt` is 0 without a dead-letter policy."""

    message_id: str
    data: bytes
    attributes: dict[str, str]
    subscription: str
    attempt: int
    path: str


def parse_push(body: bytes, path: str = "/") -> Delivery:
    """Read a wrapped push (https://cloud.google.com/pubsub/docs/push#receive_push).

    Raises:
        ValueError: the body is no push envelope; the message says what is wrong.
    """
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
        data = base64.b64decode(envelope.message.data, validate=True)
    except (msgspec.MsgspecError, binascii.Error) as error:
        raise ValueError(f"not a Pub/Sub push envelope: {error}") from error
    return Delivery(
        message_id=envelope.message.message_id,
        data=data,
        attributes=envelope.message.attributes,
        subscription=envelope.subscription.rpartition("/")[2],
        attempt=envelope.delivery_attempt,
        path=path,
    )


def handle_push(name: str, handle: Callable[[Delivery], None]) -> functions_framework.aio.HTTPFunction:
    """Make an entry point called `name` of a handler; the handler runs in a worker thread."""

    async def entry_point(request: Request) -> Response:
        try:
            delivery = parse_push(await request.body(), request.url.path)
        except ValueError as error:
            return Response(str(error), status_code=400)
        trace.follow(delivery.attributes.get(trace.ATTRIBUTE) or request.headers.get(trace.HEADER))
        told = {"message_id": delivery.message_id, "subscription": delivery.subscription}
        try:
            await asyncio.get_running_loop().run_in_executor(_threads, handle, delivery)
        except Poison as poison:
            return await asyncio.to_thread(_keep_poison, delivery, poison)
        except TryAgain as reason:
            log.info("%s: message %s waits: %s", name, delivery.message_id, reason, extra=told)
            return Response(status_code=503)
        except Exception:
            log.exception("%s: message %s failed", name, delivery.message_id, extra=told)
            return Response(status_code=500)
        return Response(status_code=204)

    entry_point.__name__ = name
    return functions_framework.aio.http(entry_point)


def _keep_poison(delivery: Delivery, poison: Poison) -> Response:
    told = {"message_id": delivery.message_id, "subscription": delivery.subscription}
    log.error("message %s is poison: %s", delivery.message_id, poison, extra=told)
    # Pub/Sub takes 100 attributes of 256 and 1,024 bytes; what a message with more has to say is in its body.
    known = [(key, value) for key, value in delivery.attributes.items() if key and len(key.encode()) <= KEY_BYTES]
    attributes = {
        **{key: fit_attribute(value) for key, value in known[: ATTRIBUTES - 3]},
        "CloudPubSubDeadLetterSourceSubscription": fit_attribute(delivery.subscription),
        "CloudPubSubDeadLetterSourceDeliveryErrorMessage": fit_attribute(str(poison)),
        "sourceMessageId": fit_attribute(delivery.message_id),
    }
    try:
        bus.send_all(bus.pubsub(), DEAD_LETTERS, [bus.Outgoing(data=delivery.data, attributes=attributes)])
    except Exception:  # not kept, so not acknowledged
        log.exception("message %s could not be kept", delivery.message_id, extra=told)
        return Response(status_code=500)
    metrics.count("messages_poisoned", 1, delivery.subscription[:64] or "none")
    return Response(status_code=204)
