"""An approved action becomes one email or one webhook call, or a reason why not, exactly once in effect.

Owns the order of things: ask the policy, wait for a time or a person where it says so, take the action in the outbox,
send, settle, tell. A crash between any two of them is repaired by the redelivery. After a crash between sending and
settling nobody knows whether the receiver has it, so it is sent again with the same id, by which mailboxes show it once.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from smtplib import SMTPException
from typing import Any

import msgspec

from agents.acting import email, policy, webhook
from agents.acting.policy import NO_ADDRESS, Policy
from agents.errors import Poison, TryAgain
from agents.swarm.user_context import read_marketing_consent
from agents.tools.mail import Mailer, MailRefused
from agents.tools.outbox import Approval, Contact, Entry, Limit, Order, Outbox, State, fresh_entry
from agents.tools.outcomes import Outcome, Outcomes
from agents.tools.profiles import Profile, Profiles
from agents.tools.webhooks import WebhookRefused, Webhooks, WebhookUnavailable
from schemas.messages import derive_id
from schemas.rows import Action

EMAIL, WEBHOOK = "email", "webhook"
log = logging.getLogger(__name__)

# The profile and the moment come from the same events on different ways: an address may be a little later than the action.
PROFILE_GRACE = timedelta(seconds=60)


class NotYet(TryAgain):
    """The person's address is not in the profile, but may be on its way; try again."""


class Busy(TryAgain):
    """Another delivery of this action is at work; try again when it is done or its lease is over."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What acting needs from outside. `way` is asked when something is sent, not before."""

    outbox: Outbox
    profiles: Profiles
    mailer: Mailer
    webhooks: Webhooks
    outcomes: Outcomes
    policy: Policy
    way: Callable[[], email.Way]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class _Refused(Exception):
    """The receiver refuses for good; the text says why."""


def act_on(data: bytes, ports: Ports) -> None:
    """Do what an action says, unless it is done.

    Raises:
        Poison: this is no action that can be done.
        Busy, NotYet, smtplib.SMTPException, OSError, httpx.HTTPError and the store's errors: try again.
    """
    action = _decode(data, ports.policy)
    entry = ports.outbox.read(action.action_id)
    if entry is None or entry.state in {State.PENDING, State.WAITING}:
        entry = _prepare(action, data, entry, ports)
    elif entry.state is State.SENDING:
        entry = _take(action, ports)
    if entry.state is State.WAITING:
        _tell_waiting(action, entry, ports)
    elif not entry.reported:
        ports.outcomes.report(_write_outcome(action, entry))
        ports.outbox.settle(msgspec.structs.replace(entry, reported=True))
    log.info("action %s: %s %s", action.action_id, entry.state, entry.reason)


def digest_of(data: bytes) -> str:
    """What an approval is bound to: these bytes and no others."""
    return hashlib.sha256(data).hexdigest()


def _decode(data: bytes, rules: Policy) -> Action:
    try:
        action = msgspec.json.decode(data, type=Action)
    except msgspec.MsgspecError as error:
        raise Poison(f"not an action: {error}") from error
    if action.kind == EMAIL:
        email.read_content(action)
    elif action.kind == WEBHOOK:
        receiver = webhook.read_content(action).receiver
        if receiver not in rules.webhooks:
            known = ", ".join(sorted(rules.webhooks)) or "none"
            raise Poison(f"action {action.action_id} is for the webhook {receiver!r:.60}; the policy has {known}")
    else:
        raise Poison(f"action {action.action_id} is of kind {action.kind!r:.60}; there are email and webhook")
    return action


def _prepare(action: Action, data: bytes, entry: Entry | None, ports: Ports) -> Entry:
    """Everything that is asked before anything is sent; it is asked again whenever the action comes again."""
    now = ports.now()
    known = entry or fresh_entry(_order_of(action, ports.policy), now)
    profile = ports.profiles.read(action.user_id)
    if reason := _find_refusal(action, profile, ports.outbox.read_contact(action.user_id), ports.policy):
        if reason == NO_ADDRESS and now - action.created_at < PROFILE_GRACE:
            raise NotYet(f"action {action.action_id}: {reason}, yet")
        return _settle(known, State.SKIPPED, reason, ports)
    digest = digest_of(data)
    if _find_risk(action, ports.policy) > ports.policy.approval.above:
        approval = known.approval
        if approval is None:
            return _ask_approval(known, data, digest, ports)
        if reason := find_disapproval(approval, digest, now):
            return _settle(known, State.SKIPPED, reason, ports)
        if approval.approved is None:
            return known
    fields = profile.fields if profile else {}
    quiet_end = policy.find_quiet_end(fields, ports.policy, now) if action.kind == EMAIL else None
    if quiet_end:
        reason = f"quiet hours until {quiet_end.isoformat(timespec='minutes')}"
        held = msgspec.structs.replace(known, not_before=quiet_end, body=data.decode())
        return _settle(held, State.WAITING, reason, ports)
    return _take(action, ports, fields)


def find_disapproval(approval: Approval, digest: str, now: datetime) -> str:
    """Why an action must not go out, judged again when its approval is used; empty when it may, or is undecided."""
    if approval.digest != digest:
        return "its approval is for other content"
    if approval.approved is False:
        return f"refused by {approval.decided_by}"
    if now >= approval.expires_at:
        return "its approval expired"
    return ""


def _ask_approval(known: Entry, data: bytes, digest: str, ports: Ports) -> Entry:
    expires_at = ports.now() + timedelta(hours=ports.policy.approval.expires_hours)
    approval = Approval(digest=digest, expires_at=expires_at)
    # When nobody decides, its expiry is what it waits for.
    held = msgspec.structs.replace(known, approval=approval, not_before=expires_at, body=data.decode())
    return _settle(held, State.WAITING, "a person must approve it", ports)


def _take(action: Action, ports: Ports, fields: Mapping[str, Any] | None = None) -> Entry:
    claim = ports.outbox.take(_order_of(action, ports.policy), ports.now())
    if not claim.held:
        if claim.entry.state is State.SENDING:
            raise Busy(f"action {action.action_id} is in other hands until {claim.entry.lease_until}")
        return claim.entry
    if fields is None:
        profile = ports.profiles.read(action.user_id)
        fields = profile.fields if profile else {}
    try:
        _send(action, fields, ports)
    except _Refused as error:
        return _settle(claim.entry, State.FAILED, str(error), ports)
    except (SMTPException, OSError, WebhookUnavailable):
        # Given back at once, so that the next delivery need not wait for the lease to end.
        _settle(claim.entry, State.PENDING, "", ports)
        raise
    return _settle(claim.entry, State.SENT, "", ports)


def _send(action: Action, fields: Mapping[str, Any], ports: Ports) -> None:
    try:
        if action.kind == EMAIL:
            if not policy.is_address(str(fields.get("email"))):  # the profile went while a crash was being repaired
                raise _Refused(NO_ADDRESS)
            ports.mailer.send(email.compose_mail(action, fields["email"], ports.way(), ports.now()))
            return
        receiver = webhook.read_content(action).receiver
        url = ports.policy.webhooks[receiver].url
        ports.webhooks.post(webhook.compose_call(action, url, ports.webhooks.read_secret(receiver), ports.now()))
    except (MailRefused, WebhookRefused) as error:
        raise _Refused(str(error)) from error


def _find_refusal(action: Action, profile: Profile | None, contact: Contact, rules: Policy) -> str:
    if action.kind != EMAIL:
        return ""
    fields = profile.fields if profile else {}
    opted_out = contact.opted_out_at
    if opted_out:
        # Only a yes that is newer than the no counts.
        agreed_at = profile.at.get("marketingConsent") if profile else None
        if not (read_marketing_consent(fields) and agreed_at and agreed_at > opted_out):
            return "unsubscribed"
    return policy.find_refusal(fields, rules)


def _find_risk(action: Action, rules: Policy) -> int:
    receiver = webhook.read_content(action).receiver if action.kind == WEBHOOK else ""
    return max(action.risk or 0, policy.find_risk(action.kind, receiver, rules))


def _order_of(action: Action, rules: Policy) -> Order:
    """Caps are for what reaches a person; a webhook reaches a system."""
    caps = rules.caps if action.kind == EMAIL else []
    return Order(
        action_id=action.action_id,
        user_id=action.user_id,
        moment_id=action.moment_id if action.kind == EMAIL else "",
        limits=[Limit(messages=cap.messages, span=timedelta(hours=cap.hours)) for cap in caps],
    )


def _settle(entry: Entry, state: State, reason: str, ports: Ports) -> Entry:
    body = entry.body if state is State.WAITING else ""
    settled = msgspec.structs.replace(
        entry, state=state, reason=reason, body=body, lease_until=None, updated_at=ports.now()
    )
    ports.outbox.settle(settled)
    return settled


def _tell_waiting(action: Action, entry: Entry, ports: Ports) -> None:
    """That an action waits, and for what, is on record as well; once per reason."""
    ports.outcomes.report(_write_outcome(action, entry))


def _write_outcome(action: Action, entry: Entry) -> Outcome:
    properties = {"action_id": action.action_id, "moment_id": action.moment_id, "reason": entry.reason}
    if entry.state is State.SENT:
        # Of a message that never came the person saw no product, so its event must not tie one to them.
        properties["product_id"] = action.product_id or ""
    if entry.approval and entry.approval.decided_by:
        properties |= {"decided_by": entry.approval.decided_by, "digest": entry.approval.digest}
    ending = {State.SENT: "Sent", State.SKIPPED: "Skipped", State.FAILED: "Failed", State.WAITING: "Waiting"}
    parts = [action.action_id, entry.state.value.lower(), entry.reason if entry.state is State.WAITING else ""]
    return Outcome(
        event=f"{action.kind.capitalize()} {ending[entry.state]}",
        message_id=derive_id(*filter(None, parts)),
        user_id=action.user_id,
        timestamp=entry.updated_at,
        properties={name: value for name, value in properties.items() if value},
    )
