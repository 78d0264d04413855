"""The function `approvals`: actions that are too risky to go out by themselves wait here for a person's word.

Owns the routes and pages. IAM decides who may come in; a signed link, which expires, decides about exactly one wording of
one action. Who decided is taken from the caller's identity token, which Cloud Run has checked, else from the form.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import parse_qs

import functions_framework.aio
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from agents.acting import links
from agents.acting.policy import load_policy
from agents.acting.waiting import NotWaiting, decide_action, list_requests
from agents.tools.bus import pubsub
from agents.tools.identity import read_caller
from agents.tools.outbox import Approval, Entry, firestore_outbox
from functions.answers import answer, answer_page

PATH = "/v1/approvals"
MAX_FORM_BYTES = 10_000
DECISIONS = {"approve": True, "refuse": False}


@functions_framework.aio.http
async def approvals(request: Request) -> Response:
    """GET /v1/approvals: what waits. GET /v1/approvals/<token>: one. POST there: decision=approve|refuse."""
    path = request.url.path.rstrip("/")
    as_page = "text/html" in request.headers.get("accept", "")
    if path == PATH and request.method == "GET":
        return await asyncio.to_thread(_list, as_page)
    token = path.removeprefix(f"{PATH}/")
    if not path.startswith(f"{PATH}/") or request.method not in ("GET", "POST"):
        return _answer(404, f"no route {request.method} {path!r:.80}; there is GET {PATH}", as_page)
    if request.method == "GET":
        return await asyncio.to_thread(_show, token, as_page)
    form = parse_qs((await request.body())[:MAX_FORM_BYTES].decode(errors="replace"))
    caller = read_caller(request.headers) or form.get("approver", [""])[0].strip()[:200]
    return await asyncio.to_thread(_decide, token, form.get("decision", [""])[0], caller, as_page)


def _list(as_page: bool) -> Response:
    waiting = [_shape(entry) for entry in list_requests(firestore_outbox(), datetime.now(UTC))]
    if not as_page:
        return answer(200, {"waiting": waiting})
    rows = "".join(
        f'<li><a href="approvals/{escape(one["token"])}">{escape(one["kind"])} to {escape(one["user_id"])}</a>, until '
        f"{escape(one['expires_at'])}</li>"
        for one in waiting
    )
    return _page("Waiting for approval", f"<ul>{rows}</ul>" if rows else "<p>Nothing waits.</p>")


def _show(token: str, as_page: bool) -> Response:
    entry = _find(token)
    if entry is None:
        return _answer(410, "this link is not ours, has expired, or its action waits no more", as_page)
    one = _shape(entry)
    if not as_page:
        return answer(200, one)
    content = msgspec.json.format(msgspec.json.encode(one["content"]), indent=2).decode()
    form = (
        '<form method="post"><label>Your name <input name="approver" maxlength="200"></label> '
        '<button name="decision" value="approve">Approve</button> '
        '<button name="decision" value="refuse">Refuse</button></form>'
    )
    facts = f"<p>{escape(one['kind'])} to {escape(one['user_id'])}, until {escape(one['expires_at'])}</p>"
    return _page(f"Action {one['action_id']}", f"{facts}<pre>{escape(content)}</pre>{form}")


def _decide(token: str, decision: str, caller: str, as_page: bool) -> Response:
    if decision not in DECISIONS:
        return _answer(400, f"decision must be approve or refuse, not {decision!r:.40}", as_page)
    if not caller:
        return _answer(400, "who decides? Come with an identity token, or give `approver`", as_page)
    request = _read(token)
    if request is None:
        return _answer(410, "this link is not ours or has expired", as_page)
    now = datetime.now(UTC)
    word = Approval(
        digest=request.digest, expires_at=now, approved=DECISIONS[decision], decided_by=caller, decided_at=now
    )
    try:
        decide_action(request, word, firestore_outbox(), pubsub())
    except NotWaiting as error:
        return _answer(409, str(error), as_page)
    return _answer(200, f"action {request.action_id}: {decision}d by {caller}", as_page)


def _find(token: str) -> Entry | None:
    request = _read(token)
    entry = firestore_outbox().read(request.action_id) if request else None
    approval = entry.approval if entry else None
    current = approval and approval.approved is None and request and approval.digest == request.digest
    return entry if current else None


def _read(token: str) -> links.Request | None:
    seconds = load_policy().approval.expires_hours * 3600
    try:
        return links.read(token, links.APPROVAL, links.read_keys(), links.Request, seconds)
    except links.Expired:
        return None


def _shape(entry: Entry) -> dict[str, Any]:
    approval = entry.approval
    action: dict[str, Any] = msgspec.json.decode(entry.body)
    request = links.Request(action_id=entry.action_id, digest=approval.digest if approval else "")
    return {
        "action_id": entry.action_id,
        "kind": action["kind"],
        "user_id": entry.user_id,
        "content": msgspec.json.decode(action["content"]),
        "waiting_since": entry.updated_at.isoformat(),
        "expires_at": approval.expires_at.isoformat() if approval else "",
        "token": links.sign(request, links.APPROVAL, links.read_keys()),
    }


def _answer(status: int, words: str, as_page: bool) -> Response:
    if as_page:
        return _page("Approvals", f"<p>{escape(words)}</p>", status)
    return answer(status, {"message" if status < 400 else "error": words})


def _page(title: str, body: str, status: int = 200) -> Response:
    return answer_page(title, f"<h1>{escape(title)}</h1>{body}", status)
