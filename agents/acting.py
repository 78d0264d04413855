"""The acting arm: an approved action becomes one email, or a reason why not, exactly once in effect.

Owns the contact policy, the unsubscribe line and the order of things: take the action in the outbox, send, settle,
tell. A crash between any two of them is repaired by the redelivery. After a crash between sending and settling nobody
knows whether the server took the mail, so it is sent again with the same Message-ID, by which mailboxes show it once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from smtplib import SMTPException
from typing import Any
from urllib.parse import quote

import msgspec

from agents.errors import Poison, TryAgain
from agents.swarm.outputs import UNSUBSCRIBE
from agents.swarm.user_context import read_marketing_consent
from agents.tools.mail import Mail, Mailer, MailRefused
from agents.tools.outbox import Entry, Outbox, State
from agents.tools.outcomes import Outcome, Outcomes
from agents.tools.profiles import Profiles
from schemas.messages import derive_id
from schemas.rows import Action

_UNSUBSCRIBE_WORDS = {"en": "Unsubscribe", "ko": "수신 거부"}
_EVENTS = {State.SENT: "Email Sent", State.SKIPPED: "Email Skipped", State.FAILED: "Email Failed"}
log = logging.getLogger(__name__)


NO_ADDRESS = "no usable email address in the profile"
# The profile and the moment come from the same events on different ways: an address may be a little later than the action.
PROFILE_GRACE = timedelta(seconds=60)


class NotYet(TryAgain):
    """The person's address is not in the profile, but may be on its way; try again."""


class Busy(TryAgain):
    """Another delivery of this action is at work; try again when it is done or its lease is over."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What acting needs from outside."""

    outbox: Outbox
    profiles: Profiles
    mailer: Mailer
    outcomes: Outcomes
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """The content of an email action."""

    subject: str
    text: str
    html: str
    language: str = "en"


def act_on(data: bytes, ports: Ports) -> None:
    """Do what an action says, unless it is done.

    Raises:
        Poison: this is no action that can be done.
        Busy, NotYet, smtplib.SMTPException, OSError, httpx.HTTPError and the store's errors: try again.
    """
    action, content = _decode(data)
    claim = ports.outbox.take(action.action_id, action.user_id, ports.now())
    entry = claim.entry
    if claim.held:
        entry = _deliver(action, content, entry, ports)
    elif entry.state not in _EVENTS:
        raise Busy(f"action {action.action_id} is in other hands until {entry.lease_until}")
    if not entry.reported:
        ports.outcomes.report(_write_outcome(action, entry))
        ports.outbox.settle(msgspec.structs.replace(entry, reported=True))
    log.info("action %s: %s %s", action.action_id, entry.state, entry.reason)


def find_refusal(fields: Mapping[str, Any]) -> str:
    """Why a person must not get mail; empty when they may."""
    email = fields.get("email")
    if not isinstance(email, str) or not is_address(email):
        return NO_ADDRESS
    if read_marketing_consent(fields) is False:
        return "no consent to marketing"
    if fields.get("unsubscribed") is True:
        return "unsubscribed"
    return ""


def is_address(text: str) -> bool:
    """Whether a text is one plain address; what could smuggle a second header or recipient is not."""
    name, _, host = text.rpartition("@")
    plain = text.isascii() and text.isprintable() and not any(letter in ' ,;:<>()[]\\"' for letter in text)
    return plain and bool(name) and "@" not in name and "." in host.strip(".") and len(text) <= 254


def _deliver(action: Action, content: Content, entry: Entry, ports: Ports) -> Entry:
    profile = ports.profiles.read(action.user_id)
    fields = profile.fields if profile else {}
    if reason := find_refusal(fields):
        if reason == NO_ADDRESS and ports.now() - action.created_at < PROFILE_GRACE:
            _settle(entry, State.PENDING, "", ports)
            raise NotYet(f"action {action.action_id}: {reason}, yet")
        return _settle(entry, State.SKIPPED, reason, ports)
    mail = compose_mail(action, content, fields["email"], ports)
    try:
        ports.mailer.send(mail)
    except MailRefused as error:
        return _settle(entry, State.FAILED, str(error), ports)
    except (SMTPException, OSError):
        # Given back at once, so that the next delivery need not wait for the lease to end.
        _settle(entry, State.PENDING, "", ports)
        raise
    return _settle(entry, State.SENT, "", ports)


def _settle(entry: Entry, state: State, reason: str, ports: Ports) -> Entry:
    settled = msgspec.structs.replace(entry, state=state, reason=reason, lease_until=None, updated_at=ports.now())
    ports.outbox.settle(settled)
    return settled


def compose_mail(action: Action, content: Content, recipient: str, ports: Ports) -> Mail:
    """The mail of an action, with the person's own unsubscribe line in text, HTML and header."""
    sender = ports.mailer.sender
    link = f"mailto:{sender}?subject={quote(f'unsubscribe {action.action_id}')}"
    words = _UNSUBSCRIBE_WORDS.get(content.language, _UNSUBSCRIBE_WORDS["en"])
    return Mail(
        message_key=action.action_id,
        recipient=recipient,
        subject=" ".join(content.subject.split()),
        text=content.text.replace(UNSUBSCRIBE, f"{words}: {link}"),
        html=content.html.replace(UNSUBSCRIBE, f'<a href="{escape(link)}">{words}</a>'),
        sent_at=ports.now(),
        headers={"List-Unsubscribe": f"<{link}>", "Auto-Submitted": "auto-generated"},
    )


def _write_outcome(action: Action, entry: Entry) -> Outcome:
    properties = {"action_id": action.action_id, "moment_id": action.moment_id, "reason": entry.reason}
    if entry.state is State.SENT:
        # Of a mail that never came the person saw no product, so its event must not tie one to them.
        properties["product_id"] = action.product_id or ""
    return Outcome(
        event=_EVENTS[entry.state],
        message_id=derive_id(action.action_id, entry.state.value.lower()),
        user_id=action.user_id,
        timestamp=entry.updated_at,
        properties={name: value for name, value in properties.items() if value},
    )


def _decode(data: bytes) -> tuple[Action, Content]:
    try:
        action = msgspec.json.decode(data, type=Action)
        if action.kind != "email":
            raise Poison(f"action {action.action_id} is of kind {action.kind!r:.60}; only email can be done")
        content = msgspec.json.decode(action.content, type=Content)
    except msgspec.MsgspecError as error:
        raise Poison(f"not an action: {error}") from error
    if UNSUBSCRIBE not in content.text or UNSUBSCRIBE not in content.html:
        raise Poison(f"action {action.action_id} has no place for the unsubscribe line")
    return action, content
