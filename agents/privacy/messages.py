"""The part of what is still on its way: dead letters that a pull subscription holds, and keys of the blackboard."""

from __future__ import annotations

import re

from agents.privacy.person import Person
from agents.privacy.stores import Erased
from agents.tools.held import Held
from agents.tools.keys import Keys

BATCH = 200
MAX_PULLS = 500  # a hundred thousand messages; the next run goes on


def erase_keys(person: Person, keys: Keys) -> Erased:
    """Delete every key that is named after the person or their tasks, or whose value names them."""
    names = "|".join(re.escape(one) for one in (*person.ids, *person.work))
    named = re.compile(rf"(?:^|:)(?:{names})(?:$|:)")
    found = [key for key, text in keys.scan() if named.search(key) or person.is_in_text(text)]
    return Erased(deleted={"keys": keys.delete(found)})


def erase_held(person: Person, held: Held) -> Erased:
    """Let go for ever of messages that name the person; the others are given back."""
    kept: dict[str, str] = {}
    count = 0
    try:
        for _ in range(MAX_PULLS):
            batch = held.pull(BATCH)
            fresh = [message for message in batch if message.message_id not in kept]
            kept |= {message.message_id: message.ack_id for message in batch}
            theirs = [one for one in fresh if person.is_in_text(one.data.decode("utf-8", errors="replace"))]
            if theirs:
                held.acknowledge([message.ack_id for message in theirs])
                count += len(theirs)
            for message in theirs:
                del kept[message.message_id]
            if not fresh:
                break
    finally:
        if kept:
            held.release(list(kept.values()))
    return Erased(deleted={"messages": count})
