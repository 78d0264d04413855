"""What a webhook action becomes: a signed body for a receiver that the policy names. Pure.

Signed as Standard Webhooks has it (https://www.standardwebhooks.com): HMAC-SHA256 over id, time and body. An action names
its receiver; it can never name an address.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Any

import msgspec

from agents.errors import Poison
from agents.tools.webhooks import Call
from schemas.rows import Action


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a webhook action: the receiver's name in the policy, and what it is told."""

    receiver: str
    data: dict[str, Any] = {}


def read_content(action: Action) -> Content:
    """The content of a webhook action.

    Raises:
        Poison: it is none.
    """
    try:
        return msgspec.json.decode(action.content, type=Content)
    except msgspec.MsgspecError as error:
        raise Poison(f"action {action.action_id} has no webhook content: {error}") from error


def compose_call(action: Action, url: str, secret: str, now: datetime) -> Call:
    """The signed call of an action; its id is the action's, so that the receiver can tell a repeat."""
    content = read_content(action)
    told = {"type": "action", "actionId": action.action_id, "userId": action.user_id, "momentId": action.moment_id}
    body = msgspec.json.encode({**told, "createdAt": action.created_at, "data": content.data})
    stamp = str(int(now.timestamp()))
    signed = b".".join((action.action_id.encode(), stamp.encode(), body))
    signature = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
    headers = {"content-type": "application/json", "webhook-id": action.action_id, "webhook-timestamp": stamp}
    return Call(url=url, body=body, headers={**headers, "webhook-signature": f"v1,{signature}"})
