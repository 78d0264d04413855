"""What an email action becomes on its way out: the person's own links in their places. Pure."""

from __future__ import annotations

from datetime import datetime
from html import escape

import msgspec

from agents.acting import links
from agents.acting.policy import Shop
from agents.errors import Poison
from agents.swarm.outputs import PRODUCT_LINK, UNSUBSCRIBE
from agents.tools.mail import Mail
from schemas.rows import Action

_WORDS = {"en": ("Unsubscribe", "See it in the shop"), "ko": ("수신 거부", "상품 보러 가기")}


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """The content of an email action."""

    subject: str
    text: str
    html: str
    language: str = "en"


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """What links are made of: the address of the function `links`, the signing keys, the shop."""

    address: str
    keys: list[str]
    shop: Shop


def read_content(action: Action) -> Content:
    """The content of an email action.

    Raises:
        Poison: it is none, or has no place for the way out.
    """
    try:
        content = msgspec.json.decode(action.content, type=Content)
    except msgspec.MsgspecError as error:
        raise Poison(f"action {action.action_id} has no email: {error}") from error
    if UNSUBSCRIBE not in content.text or UNSUBSCRIBE not in content.html:
        raise Poison(f"action {action.action_id} has no place for the unsubscribe line")
    return content


def compose_mail(action: Action, recipient: str, way: Way, now: datetime) -> Mail:
    """The mail of an action, with the person's own links in text, HTML and header (RFC 8058: one click, by POST)."""
    content = read_content(action)
    out, see = _WORDS.get(content.language, _WORDS["en"])
    link = links.Link(action_id=action.action_id, user_id=action.user_id, product_id=action.product_id or "")
    leave = f"{way.address}/u/{links.sign(link, links.UNSUBSCRIBE, way.keys)}"
    shop = f"{way.address}/c/{links.sign(link, links.CLICK, way.keys)}"
    text = content.text.replace(PRODUCT_LINK, f"{see}: {shop}")
    html = content.html.replace(PRODUCT_LINK, f'<a href="{escape(shop)}">{escape(see)}</a>')
    return Mail(
        message_key=action.action_id,
        recipient=recipient,
        subject=" ".join(content.subject.split()),
        text=text.replace(UNSUBSCRIBE, f"{out}: {leave}"),
        html=html.replace(UNSUBSCRIBE, f'<a href="{escape(leave)}">{escape(out)}</a>'),
        sent_at=now,
        headers={
            "List-Unsubscribe": f"<{leave}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            "Auto-Submitted": "auto-generated",
        },
    )
