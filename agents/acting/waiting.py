"""What waits, and how it goes on: approvals that people give, and the return to the bus of whatever is due.

Owns the sending back of an action exactly as it was. Whether it may go out is asked again by `agents.acting.service`.
"""

from __future__ import annotations

import logging
from datetime import datetime

from agents.acting import links
from agents.tools.bus import Bus, Outgoing, send_all
from agents.tools.outbox import Approval, Entry, Outbox

ACTIONS_TOPIC = "actions"
BATCH = 500  # entries of one look
log = logging.getLogger(__name__)


class NotWaiting(Exception):
    """The action waits for no such word: it is decided, expired, done, or its content is another."""


def decide_action(request: links.Request, decision: Approval, outbox: Outbox, bus: Bus) -> Entry:
    """Write a person's word and send the action on its way; the word is durable first.

    Raises:
        NotWaiting: there is nothing to decide.
    """
    entry = outbox.decide_approval(request.action_id, decision)
    if entry is None:
        # The same word again, after a crash between writing and sending, only sends again.
        known = outbox.read(request.action_id)
        same = known and known.approval and known.body and known.approval.digest == request.digest
        if not (known and same and known.approval and known.approval.approved is decision.approved):
            raise NotWaiting(f"action {request.action_id} does not wait for this approval any more")
        entry = known
    send_all(bus, ACTIONS_TOPIC, [Outgoing(data=entry.body.encode())])
    return entry


def release_due(outbox: Outbox, bus: Bus, now: datetime) -> int:
    """Send what is due back to its topic; the number of actions. Sending one twice changes nothing."""
    due = [entry for entry in outbox.list_waiting(BATCH) if entry.not_before and entry.not_before <= now and entry.body]
    send_all(bus, ACTIONS_TOPIC, [Outgoing(data=entry.body.encode()) for entry in due])
    return len(due)


def list_requests(outbox: Outbox, now: datetime) -> list[Entry]:
    """The actions that wait for a person's word now."""
    waiting = outbox.list_waiting(BATCH)
    return [
        entry
        for entry in waiting
        if entry.approval and entry.approval.approved is None and entry.approval.expires_at > now
    ]
