"""Push from the landing bucket's notifications: files in."""

from __future__ import annotations

from agents.errors import Poison
from agents.intake.ingestion import Notice, Ports, ingest_object
from agents.tools import bulk, landing, progress, weather
from agents.tools.bus import Outgoing
from agents.tools.progress import LandedObject
from agents.tools.settings import settings
from functions.push import Delivery, handle_push
from schemas import topology

PART = (
    0.5  # of the function's own limit is read in one request; the rest is for what is under way, and for a slow start
)


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
    notice = Notice(
        landed=landed,
        message_id=delivery.message_id,
        again=Outgoing(data=delivery.data, attributes=attributes),
        seconds=PART * topology.load().function(settings().service).timeout_seconds,
    )
    ports = Ports(
        landing=landing.cloud_storage(),
        bulk=bulk.pubsub_bulk(),
        progress=progress.firestore_progress(),
        weather=weather.redis_weather(),
    )
    ingest_object(notice, ports)


ingest = handle_push("ingest", handle_notification)
