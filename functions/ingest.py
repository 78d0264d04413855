"""Push from the landing bucket's notifications: files in."""

from __future__ import annotations

from agents.errors import Poison
from agents.intake.feeds import LandedObject, ingest_object
from agents.tools import bus, landing
from functions.push import Delivery, handle_push


def handle_notification(delivery: Delivery) -> None:
    """Ingest the object that the notification names; other kinds of notification are done at once.

    Source of the attributes: https://cloud.google.com/storage/docs/pubsub-notifications#attributes
    """
    attributes = delivery.attributes
    if attributes.get("eventType") != "OBJECT_FINALIZE":
        return
    try:
        landed = LandedObject(
            bucket=attributes["bucketId"], name=attributes["objectId"], generation=int(attributes["objectGeneration"])
        )
    except (KeyError, ValueError) as error:
        raise Poison(f"not a Cloud Storage notification: {error!r}") from error
    ingest_object(landed, landing.cloud_storage(), bus.pubsub())


ingest = handle_push("ingest", handle_notification)
