"""Push: one update of one person's live profile."""

from __future__ import annotations

import msgspec

from agents.errors import Poison
from agents.tools.profiles import firestore_profiles
from functions.push import Delivery, handle_push
from schemas.messages import ProfileUpdate


def handle_delivery(delivery: Delivery) -> None:
    """Merge the update into Firestore."""
    try:
        update = msgspec.json.decode(delivery.data, type=ProfileUpdate)
    except msgspec.MsgspecError as error:
        raise Poison(f"not a profile update: {error}") from error
    firestore_profiles().apply(update)


profiles = handle_push("profiles", handle_delivery)
