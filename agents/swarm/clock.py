"""The swarm's clock: a message that goes round once a second while tasks are open, and not at all otherwise.

Cloud Scheduler's shortest step is a minute, and a function's background threads stand still between requests; but a
message that is being handled is awake. Each tick looks at what is due, waits a moment, and publishes the next. Redis
holds whose turn it is, so that there is one chain of ticks; Pub/Sub brings a tick again whose handler died. Each minute
the job `sweep_tasks` sends a tick that makes every open task of the durable record due, and begins a chain where there is
none. When Redis was emptied, the next tick does the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec

from agents.errors import Poison
from agents.swarm.orchestrator import Orchestrator, Ports
from agents.tools.bus import Bus, Outgoing, send_all

TICKS_TOPIC = "ticks"
CHAIN_KEY = "swarm:clock"
MEMORY_KEY = "swarm:memory"  # gone when Redis was emptied
CHAIN_SECONDS = 20  # a chain that has not ticked for so long is dead
TICK_SECONDS = 1.0
PAUSE = timedelta(seconds=5)  # before a task is looked at again that could not be
BATCH = 200  # tasks that one tick looks at; the next one follows at once when there are more
_FAR = datetime(9000, 1, 1, tzinfo=UTC)  # whatever is due at all
log = logging.getLogger(__name__)


class Tick(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tick: its chain, its number in it, and whether it makes every open task due."""

    chain: str = ""
    number: int = 0
    sweep: bool = False


def send_sweep(bus: Bus) -> None:
    """Have every open task looked at."""
    _send(bus, Tick(sweep=True))


class Clock:
    """Looks at tasks when they are due."""

    def __init__(self, ports: Ports, sleep: Callable[[float], None] = time.sleep) -> None:
        self._ports = ports
        self._sleep = sleep
        self._orchestrator = Orchestrator(ports, on_begin=self.keep_going)

    @property
    def orchestrator(self) -> Orchestrator:
        """Whose tasks it looks at, and who keeps it going."""
        return self._orchestrator

    def keep_going(self) -> None:
        """Begin a chain of ticks unless there is one."""
        chain = uuid4().hex
        if self._ports.blackboard.claim(CHAIN_KEY, chain, CHAIN_SECONDS) == chain:
            _send(self._ports.bus, Tick(chain=chain))

    def take_tick(self, data: bytes) -> None:
        """Look at what is due, and see that the next tick comes while tasks are open."""
        try:
            tick = msgspec.json.decode(data, type=Tick)
        except msgspec.MsgspecError as error:
            raise Poison(f"not a tick: {error}") from error
        board, tasks = self._ports.blackboard, self._orchestrator.tasks
        mark = uuid4().hex
        if board.claim(MEMORY_KEY, mark) == mark or tick.sweep:
            for task_id in tasks.find_open():
                tasks.look_again(task_id, self._ports.now())
        if tick.sweep:
            if tasks.find_due(_FAR, 1):
                self.keep_going()
            return
        if board.claim(CHAIN_KEY, tick.chain, CHAIN_SECONDS) != tick.chain:
            return  # another chain is at work
        board.put(CHAIN_KEY, tick.chain, CHAIN_SECONDS)
        due = tasks.find_due(self._ports.now(), BATCH)
        self._look_at([task_id for task_id, _ in due])
        coming = tasks.find_due(_FAR, 1)
        if not coming:
            # A task that begins right now finds the chain there and begins none: so the end is checked once more.
            board.forget(CHAIN_KEY)
            if tasks.find_due(_FAR, 1):
                self.keep_going()
            return
        if len(due) < BATCH:
            until_next = coming[0][1] - self._ports.now().timestamp()
            self._sleep(min(TICK_SECONDS, max(0.05, until_next)))
        self._follow(Tick(chain=tick.chain, number=tick.number + 1))

    def _follow(self, tick: Tick) -> None:
        """Publish the next tick, once: two deliveries of one tick must not make two chains of one."""
        mark = uuid4().hex
        if self._ports.blackboard.claim(f"{CHAIN_KEY}:{tick.chain}:{tick.number}", mark, CHAIN_SECONDS) == mark:
            _send(self._ports.bus, tick)

    def _look_at(self, task_ids: list[str]) -> None:
        """Look at each; one that cannot be looked at now comes again a little later."""
        for task_id in task_ids:
            try:
                self._orchestrator.look_at(task_id)
            except Exception:
                log.exception("task %s could not be looked at", task_id)
                self._orchestrator.tasks.look_again(task_id, self._ports.now() + PAUSE)


def _send(bus: Bus, tick: Tick) -> None:
    send_all(bus, TICKS_TOPIC, [Outgoing(data=msgspec.json.encode(tick))])
