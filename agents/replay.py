"""Replaying dead letters: each goes again to the topic that it once came from, as it once was.

Owns which topic that is, what is taken off a dead letter, and when a run is over. A message is let go only after
Pub/Sub has its copy, so a run may be killed at any time: what was sent and not let go is sent again, and everything
downstream takes a message twice (design.md, decision 4). Ordering keys are not kept: no topic here uses them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import wait
from dataclasses import dataclass, field
from datetime import datetime

from agents.tools.bus import ACK_SECONDS, Bus, Outgoing
from agents.tools.held import Held, HeldMessage
from schemas.topology import Topology

BATCH_MESSAGES = 200  # published, acknowledged and let go well within the subscription's deadline
# A pull may bring nothing, or only newer messages, although older ones are held; so a run ends only after two empty pulls'
# time (held.PULL_SECONDS; Pub/Sub answers an empty one a little earlier) without one that concerns it.
QUIET_SECONDS = 9.0
SOURCE = "CloudPubSubDeadLetterSourceSubscription"
# What Pub/Sub (https://cloud.google.com/pubsub/docs/handling-failures#dead_letter_topic) and `functions.push` add.
ADDED_PREFIX = "CloudPubSubDeadLetter"
ADDED = frozenset({"sourceMessageId"})


class NotReplayed(Exception):
    """Pub/Sub did not take every message; those stay held, and another run sends them."""


@dataclass(kw_only=True)
class Replayed:
    """What a run did: `sent` and `failed` by topic, `unknown` by source subscription, `newer` than the run itself."""

    sent: Counter[str] = field(default_factory=Counter[str])
    failed: Counter[str] = field(default_factory=Counter[str])
    unknown: Counter[str] = field(default_factory=Counter[str])
    newer: int = 0
    reason: str = ""

    def describe(self) -> str:
        """One line; what stays held is named only when there is any."""
        parts = [f"{self.sent.total()} sent{_list(self.sent)}"]
        if self.failed:
            parts.append(f"{self.failed.total()} not sent and still held{_list(self.failed)}: {self.reason}")
        if self.unknown:
            parts.append(f"{self.unknown.total()} of unknown source still held{_list(self.unknown)}")
        if self.newer:
            parts.append(f"{self.newer} newer than this run still held")
        return "; ".join(parts)


def find_routes(topology: Topology) -> dict[str, str]:
    """Source subscription -> its topic, for each that can dead-letter: by Pub/Sub's policy, or by a function's poison."""
    return {entry.name: entry.topic for entry in topology.subscriptions if entry.dead_letter or entry.push}


def restore(message: HeldMessage) -> Outgoing:
    """The message as it was before it was dead-lettered."""
    own = {
        name: value
        for name, value in message.attributes.items()
        if name not in ADDED and not name.startswith(ADDED_PREFIX)
    }
    return Outgoing(data=message.data, attributes=own)


def replay(
    held: Held, bus: Bus, routes: Mapping[str, str], started: datetime, clock: Callable[[], float] = time.monotonic
) -> Replayed:
    """Send everything again that was held before `started`; what comes back meanwhile is left for another run.

    Raises:
        google.api_core.exceptions.GoogleAPIError: the subscription refuses or does not answer; nothing is lost.
    """
    run = _Run(held, bus, routes, started)
    last = clock()
    try:
        while clock() - last < QUIET_SECONDS:
            if run.take(held.pull(BATCH_MESSAGES)):
                last = clock()
    finally:
        run.release()
    return run.report


class _Run:
    """One run: what it has met, by message id, because a lease that ends brings a message a second time."""

    def __init__(self, held: Held, bus: Bus, routes: Mapping[str, str], started: datetime) -> None:
        self.report = Replayed()
        self._held, self._bus, self._routes, self._started = held, bus, routes, started
        self._sent: set[str] = set()
        self._kept: dict[str, str] = {}  # message id -> its latest ack id

    def take(self, batch: list[HeldMessage]) -> bool:
        """Handle a batch; whether it brought anything that this run had still to look at."""
        known = [message for message in batch if message.message_id in self._sent]
        rest = [message for message in batch if message.message_id not in self._sent]
        fresh = [message for message in rest if self._concerns(message)]
        self._kept |= {message.message_id: message.ack_id for message in rest}
        routed = [(self._find_topic(message), message) for message in fresh]
        self._send([(topic, message) for topic, message in routed if topic])
        self._let_go(known)
        return bool(fresh)

    def release(self) -> None:
        """Give back what stays held; until then it is kept, so that no pull brings it again and again."""
        if self._kept:
            self._held.release(list(self._kept.values()))

    def _concerns(self, message: HeldMessage) -> bool:
        if message.message_id in self._kept:
            return False
        if message.published_at >= self._started:
            self.report.newer += 1
            return False
        return True

    def _find_topic(self, message: HeldMessage) -> str:
        source = message.attributes.get(SOURCE, "").rpartition("/")[2]
        if source not in self._routes:
            self.report.unknown[source or "no source"] += 1
        return self._routes.get(source, "")

    def _send(self, routed: list[tuple[str, HeldMessage]]) -> None:
        futures = [self._bus.send(topic, restore(message)) for topic, message in routed]
        wait(futures, timeout=2 * ACK_SECONDS)  # each ends by itself after ACK_SECONDS; this one only bounds the batch
        done: list[HeldMessage] = []
        for future, (topic, message) in zip(futures, routed, strict=True):
            error = future.exception() if future.done() else TimeoutError("no acknowledgement")
            if error is None:
                done.append(message)
                self.report.sent[topic] += 1
            else:
                self.report.failed[topic] += 1
                self.report.reason = f"{type(error).__name__}: {error}"[:200]
        self._let_go(done)

    def _let_go(self, messages: list[HeldMessage]) -> None:
        if not messages:
            return
        for message in messages:
            self._kept.pop(message.message_id, None)
        self._sent |= {message.message_id for message in messages}
        self._held.acknowledge([message.ack_id for message in messages])


def _list(counts: Counter[str]) -> str:
    return f" ({', '.join(f'{name} {count}' for name, count in sorted(counts.items()))})" if counts else ""
