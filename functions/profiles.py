"""Push: one update of one person's live profile, and at /touched one event's products for who touched them."""

from __future__ import annotations

from datetime import datetime

import msgspec

from agents.errors import Poison
from agents.recommender import copies
from agents.recommender.items import ProductName
from agents.tools.profiles import firestore_profiles
from agents.tools.serving import redis_serving
from functions.push import Delivery, handle_push
from schemas.messages import ProfileUpdate
from schemas.rows import Product


class _Touched(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a row of user_interactions."""

    event_type: str
    event_timestamp: datetime
    user_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    products: list[Product] = []


def handle_delivery(delivery: Delivery) -> None:
    """Merge the update into Firestore, or note the touched products in Redis."""
    if delivery.path == "/touched":
        return note_touched(delivery.data)
    try:
        update = msgspec.json.decode(delivery.data, type=ProfileUpdate)
    except msgspec.MsgspecError as error:
        raise Poison(f"not a profile update: {error}") from error
    return firestore_profiles().apply(update)


def note_touched(data: bytes) -> None:
    """Keep what an event touched for the next answer of `recommend`."""
    try:
        event = msgspec.json.decode(data, type=_Touched)
    except msgspec.MsgspecError as error:
        raise Poison(f"not an interaction: {error}") from error
    touch = copies.TOUCHES.get(event.event_type)
    if touch is not None:
        products = [
            ProductName(product_id=product.product_id, name=product.name or product.product_id, touch=touch)
            for product in event.products
        ]
        keys = copies.touch_keys(event.user_id, event.anonymous_id, event.session_id)
        copies.note_touches(redis_serving(), keys, products, event.event_timestamp)


profiles = handle_push("profiles", handle_delivery)
