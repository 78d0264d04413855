"""The public function `links`: what people do with a message. A click leads to the shop, the way out is taken at once.

Owns the routes and the pages. A GET of the way out changes nothing, because mail scanners follow every link; the button
on its page and the mail program's own one-click (RFC 8058) send a POST.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from html import escape

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from agents.acting import links as tokens
from agents.acting.policy import load_policy
from agents.tools.outbox import firestore_outbox
from agents.tools.outcomes import Outcome, collect
from functions.answers import answer_page
from schemas.messages import derive_id

_ASK = "Do you want no more messages from us?"
_DONE = "You will get no more messages from us."
_WORDS = {
    "ask": f"{_ASK} / 더 이상 메시지를 받지 않으시겠습니까?",
    "button": "Unsubscribe / 수신 거부",
    "done": f"{_DONE} / 수신 거부가 완료되었습니다.",
    "unknown": "This link is not ours, or is incomplete. / 올바르지 않은 링크입니다.",
}
log = logging.getLogger(__name__)


@functions_framework.aio.http
async def links(request: Request) -> Response:
    """GET /c/<token>: 302 to the product. GET /u/<token>: a page with a button; POST /u/<token>: unsubscribed."""
    _, _, rest = request.url.path.partition("/")
    kind, _, token = rest.partition("/")
    if kind == "c" and request.method in ("GET", "HEAD"):
        return await asyncio.to_thread(_click, token, request.method == "GET")
    if kind == "u" and request.method in ("GET", "HEAD", "POST"):
        return await asyncio.to_thread(_leave, token, request.method == "POST")
    return _page(_WORDS["unknown"], 404)


def _click(token: str, counts: bool) -> Response:
    """To the product, or to the shop's front page when the link is too old; nowhere when it is not ours."""
    shop = load_policy().shop
    try:
        link = tokens.read(token, tokens.CLICK, tokens.read_keys(), tokens.Link, tokens.CLICK_SECONDS)
    except tokens.Expired:
        return _lead(shop.home)
    if link is None:
        return _page(_WORDS["unknown"], 404)
    if counts:
        _tell("Email Clicked", link)
    return _lead(shop.product_url(link.product_id) if link.product_id else shop.home)


def _leave(token: str, confirmed: bool) -> Response:
    """A way out never expires."""
    link = tokens.read(token, tokens.UNSUBSCRIBE, tokens.read_keys(), tokens.Link, None)
    if link is None:
        return _page(_WORDS["unknown"], 404)
    if not confirmed:
        button = f'<form method="post"><button>{escape(_WORDS["button"])}</button></form>'
        return _page(_WORDS["ask"], 200, button)
    firestore_outbox().opt_out(link.user_id, datetime.now(UTC))
    _tell("Unsubscribed", link)
    return _page(_WORDS["done"], 200)


def _tell(event: str, link: tokens.Link) -> None:
    """Tell what the person did; the same act by the same link is one event. Losing it must not keep anybody waiting."""
    properties = {"action_id": link.action_id, "product_id": link.product_id}
    outcome = Outcome(
        event=event,
        message_id=derive_id(link.action_id, event),
        user_id=link.user_id,
        timestamp=datetime.now(UTC),
        properties={name: value for name, value in properties.items() if value},
    )
    try:
        collect().report(outcome)
    except Exception:
        log.exception("%s of action %s could not be told", event, link.action_id)


def _lead(address: str) -> Response:
    return RedirectResponse(
        address, status_code=302, headers={"cache-control": "no-store", "referrer-policy": "no-referrer"}
    )


def _page(words: str, status: int, more: str = "") -> Response:
    return answer_page("ARGO", f"<p>{escape(words)}</p>{more}", status)
