"""What one subscription still has to deliver, and what it has leased out: order, deadlines, redelivery, backoff.

One event loop owns a backlog; no method awaits, so none needs a lock. Consumers (pull, streaming pull, push)
put an event into `listeners`, which is set whenever there may be something to `take`. Does not know topics,
filters, gRPC or HTTP: the subscription gives it messages, and says through `bury` what becomes of one whose
delivery attempts are used up.
"""

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from google.pubsub_v1 import types

# The official client, in emulator mode, refuses responses over 4 MiB; a single larger message goes alone.
_MAX_BATCH_BYTES = 3_500_000
_OVERHEAD_BYTES = 300  # ack id, message id and times of one message
_SPARE_TIMERS = 10_000


class Stored(NamedTuple):
    """A published message, shared by all subscriptions that hold it. `attributes` are the message's, `size` is in bytes."""

    sequence: int
    message: types.PubsubMessage
    attributes: Mapping[str, str]
    published_seconds: float
    size: int


class Holder:
    """Who holds leases: lets a consumer count what it has outstanding, and be woken when some is settled."""

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self.wake = asyncio.Event()


@dataclass(slots=True, eq=False)
class Delivery:
    """One message's way through one subscription."""

    stored: Stored
    attempts: int = 0
    ack_id: str = ""
    deadline: float = 0.0
    holder: Holder | None = None
    lane: "Lane | None" = None
    is_acked: bool = False


@dataclass(slots=True, eq=False)
class Lane:
    """The messages of one ordering key.

    `window` runs from the oldest unacknowledged message handed out to the newest; while it is not empty nothing
    more of the key goes out, so that nobody can see a later message before an earlier one is settled.
    """

    pending: deque[Delivery] = field(default_factory=deque[Delivery])
    window: deque[Delivery] = field(default_factory=deque[Delivery])
    is_queued: bool = False
    is_backing_off: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What a subscription's settings mean for redelivery. Times are in seconds."""

    is_ordered: bool
    minimum_backoff: float
    maximum_backoff: float
    max_attempts: int  # 0: unlimited
    keeps_acked: bool
    lane_batch: int  # how many messages of one ordering key go out together; 1 for push


class Backlog:
    """The undelivered and the leased messages of one subscription."""

    def __init__(self, name: str, rules: Rules, bury: Callable[[Stored, int], bool]) -> None:
        self.rules = rules
        self.acked: dict[int, Stored] = {}
        self.listeners: set[asyncio.Event] = set()
        self._name = name
        self._bury = bury
        self._ready: deque[Delivery | Lane] = deque()
        self._live: dict[int, Delivery] = {}  # every unacknowledged message, by sequence
        self._leased: dict[str, Delivery] = {}
        self._lanes: dict[str, Lane] = {}
        self._timers: list[tuple[float, int, Delivery | Lane, str]] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._ids = itertools.count(1)

    def add(self, messages: Iterable[Stored]) -> None:
        """Takes in new messages, at the end."""
        for stored in messages:
            delivery = Delivery(stored)
            self._live[stored.sequence] = delivery
            key = stored.message.ordering_key if self.rules.is_ordered else ""
            if key:
                lane = self._lanes.setdefault(key, Lane())
                delivery.lane = lane
                lane.pending.append(delivery)
                self._queue_lane(lane)
            else:
                self._ready.append(delivery)
        self.wake()

    def replace(self, messages: Iterable[Stored]) -> None:
        """Makes exactly these the unacknowledged messages (seek); leases given before are void."""
        kept = sorted(messages, key=lambda stored: stored.sequence)
        wanted = {stored.sequence for stored in kept}
        for sequence, delivery in self._live.items():
            if sequence not in wanted:
                self._keep_acked(delivery.stored)
        for delivery in list(self._leased.values()):
            self._end_lease(delivery)
        self._ready.clear()
        self._live.clear()
        self._lanes.clear()
        self._timers.clear()
        for stored in kept:
            self.acked.pop(stored.sequence, None)
        self.add(kept)

    def unacked(self) -> list[Stored]:
        """Returns every message that is not acknowledged, leased ones included."""
        return [delivery.stored for delivery in self._live.values()]

    def ready_count(self) -> int:
        """Returns about how many entries wait; an ordering key counts once."""
        return len(self._ready)

    def take(self, limit: int, lease_seconds: float, holder: Holder | None = None) -> list[Delivery]:
        """Leases out up to `limit` messages, fewer when they are large, oldest first."""
        taken: list[Delivery] = []
        room_bytes = _MAX_BATCH_BYTES
        while self._ready and len(taken) < limit:
            entry = self._ready[0]
            batch = entry.pending if isinstance(entry, Lane) else (entry,)
            chosen = self._fitting(batch, limit - len(taken), room_bytes, is_first=not taken)
            if not chosen:
                break
            self._ready.popleft()
            if isinstance(entry, Lane):
                self._open_window(entry, chosen)
            for delivery in chosen:
                self._lease(delivery, lease_seconds, holder)
                room_bytes -= delivery.stored.size + _OVERHEAD_BYTES
            taken += chosen
        self._set_alarm()
        return taken

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        """Settles messages; an ack id whose lease has ended is ignored, as its message may be elsewhere."""
        for ack_id in ack_ids:
            delivery = self._leased.get(ack_id)
            if delivery is not None:
                self._settle(delivery)

    def extend(self, ack_ids: Iterable[str], seconds: float) -> None:
        """Moves deadlines to `seconds` from now; 0 gives the message back at once (nack)."""
        deadline = time.monotonic() + seconds
        for ack_id in ack_ids:
            delivery = self._leased.get(ack_id)
            if delivery is None:
                continue
            if seconds <= 0:
                self._fail(delivery)
                continue
            if deadline < delivery.deadline:
                self._push_timer(deadline, delivery, ack_id)
            delivery.deadline = deadline
        self._set_alarm()

    def check_ack_id(self, ack_id: str) -> bool:
        """Says whether the text can be an ack id of this subscription."""
        name, _, number = ack_id.rpartition(":")
        return name == self._name and number.isdigit()

    def drop_before(self, seconds: float) -> None:
        """Forgets messages published before that wall-clock time (retention), acknowledged or not."""
        for sequence in [s for s, stored in self.acked.items() if stored.published_seconds < seconds]:
            del self.acked[sequence]
        old = {
            delivery
            for delivery in self._live.values()
            if delivery.stored.published_seconds < seconds and delivery.ack_id not in self._leased
        }
        if not old:
            return
        self._ready = deque(entry for entry in self._ready if entry not in old)
        for lane in self._lanes.values():
            lane.pending = deque(delivery for delivery in lane.pending if delivery not in old)
        self._timers = [timer for timer in self._timers if timer[2] not in old]
        heapq.heapify(self._timers)
        for delivery in old:
            del self._live[delivery.stored.sequence]

    def wake(self) -> None:
        """Wakes all consumers, so that they look again."""
        for listener in self.listeners:
            listener.set()

    def close(self) -> None:
        """Lets go of everything and wakes all consumers."""
        self.replace([])
        self.acked.clear()
        if self._alarm is not None:
            self._alarm.cancel()
        self.wake()

    def _lease(self, delivery: Delivery, seconds: float, holder: Holder | None) -> None:
        delivery.attempts += 1
        delivery.ack_id = f"{self._name}:{next(self._ids)}"
        delivery.deadline = time.monotonic() + seconds
        delivery.holder = holder
        if holder is not None:
            holder.messages += 1
            holder.bytes += delivery.stored.size
        self._leased[delivery.ack_id] = delivery
        self._push_timer(delivery.deadline, delivery, delivery.ack_id)

    def _end_lease(self, delivery: Delivery) -> None:
        if self._leased.pop(delivery.ack_id, None) is None:
            return
        holder = delivery.holder
        if holder is not None:
            holder.messages -= 1
            holder.bytes -= delivery.stored.size
            holder.wake.set()
            delivery.holder = None

    def _settle(self, delivery: Delivery) -> None:
        self._end_lease(delivery)
        lane = delivery.lane
        if lane is None:
            self._forget(delivery)
            return
        delivery.is_acked = True
        while lane.window and lane.window[0].is_acked:
            self._forget(lane.window.popleft())
        if not lane.window:
            self._queue_lane(lane)

    def _forget(self, delivery: Delivery) -> None:
        self._live.pop(delivery.stored.sequence, None)
        self._keep_acked(delivery.stored)
        lane = delivery.lane
        if lane is not None and not lane.window and not lane.pending:
            self._lanes.pop(delivery.stored.message.ordering_key, None)

    def _keep_acked(self, stored: Stored) -> None:
        if self.rules.keeps_acked:
            self.acked[stored.sequence] = stored

    def _fail(self, delivery: Delivery) -> None:
        limit = self.rules.max_attempts
        if limit and delivery.attempts >= limit and self._bury(delivery.stored, delivery.attempts):
            self._settle(delivery)
            return
        self._end_lease(delivery)
        wait_seconds = self._backoff_seconds(delivery.attempts)
        lane = delivery.lane
        if lane is None:
            self._make_ready(delivery, wait_seconds)
            return
        self._roll_back(lane, delivery)
        if wait_seconds > 0:
            lane.is_backing_off = True
            self._push_timer(time.monotonic() + wait_seconds, lane, "")
        else:
            self._queue_lane(lane)

    def _roll_back(self, lane: Lane, failed: Delivery) -> None:
        # The documented price of order: a redelivered message brings all later ones of its key with it,
        # even those already acknowledged.
        while lane.window:
            delivery = lane.window.pop()
            self._end_lease(delivery)
            delivery.is_acked = False
            lane.pending.appendleft(delivery)
            if delivery is failed:
                break

    def _backoff_seconds(self, attempts: int) -> float:
        exponent = min(attempts - 1, 30)
        return min(self.rules.minimum_backoff * 2**exponent, self.rules.maximum_backoff)

    def _make_ready(self, delivery: Delivery, wait_seconds: float) -> None:
        if wait_seconds > 0:
            delivery.ack_id = ""
            self._push_timer(time.monotonic() + wait_seconds, delivery, "")
            return
        self._ready.append(delivery)
        self.wake()

    def _queue_lane(self, lane: Lane) -> None:
        if lane.pending and not lane.window and not lane.is_queued and not lane.is_backing_off:
            lane.is_queued = True
            self._ready.append(lane)
            self.wake()

    def _fitting(self, batch: Iterable[Delivery], limit: int, room_bytes: int, *, is_first: bool) -> list[Delivery]:
        """Returns the messages from the start of a batch that the response has room for."""
        chosen: list[Delivery] = []
        for delivery in itertools.islice(batch, min(limit, self.rules.lane_batch)):
            room_bytes -= delivery.stored.size + _OVERHEAD_BYTES
            if room_bytes < 0 and not (is_first and not chosen):
                break
            chosen.append(delivery)
        return chosen

    def _open_window(self, lane: Lane, chosen: list[Delivery]) -> None:
        lane.is_queued = False
        for _ in chosen:
            lane.window.append(lane.pending.popleft())

    def _push_timer(self, when: float, entry: Delivery | Lane, ack_id: str) -> None:
        if len(self._timers) > 4 * len(self._live) + _SPARE_TIMERS:
            # Settled messages leave their timers behind; a fast stream would pile up a minute's worth.
            self._timers = [t for t in self._timers if not t[3] or t[3] in self._leased]
            heapq.heapify(self._timers)
        heapq.heappush(self._timers, (when, next(self._ids), entry, ack_id))

    def _set_alarm(self) -> None:
        if not self._timers:
            return
        when = self._timers[0][0]
        if self._alarm is not None and not self._alarm.cancelled() and self._alarm.when() <= when:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_at(when, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, entry, ack_id = heapq.heappop(self._timers)
            if isinstance(entry, Lane):
                entry.is_backing_off = False
                self._queue_lane(entry)
            elif not ack_id:
                self._make_ready(entry, 0)
            elif ack_id in self._leased:
                if entry.deadline <= now:
                    self._fail(entry)
                else:
                    self._push_timer(entry.deadline, entry, ack_id)
        self._set_alarm()
