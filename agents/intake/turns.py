"""The requests that reach collect in one turn of its event loop: judged back to back, stored together, answered each for itself.

One by one, with the server's own work in between, reading and encoding an event took four times as long as in a batch,
because Python's code and data had left the processor's caches meanwhile (`make bench`;
docs/decisions/2026-11-20-collect-publishes-in-calls.md). Nobody waits for a timer: a turn is what the sockets held when the
loop looked, and with a single request it is that request. How rows become durable is storing.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from agents.intake.outgoing import Outbox
from agents.intake.storing import NotDurable, store_rows
from agents.intake.verdicts import Keep
from agents.tools import metrics
from agents.tools.landing import Landing
from agents.tools.once import once
from agents.tools.publishing import Publisher

Answer = TypeVar("Answer")


@dataclass(kw_only=True, slots=True)
class _Request(Generic[Answer]):
    judge: Callable[[Keep], Answer]
    context: Context  # for the trace of its messages and log lines
    done: asyncio.Future[Answer]


class Turns:
    """Takes requests' batches to one publisher and one landing bucket."""

    def __init__(self, publisher: Publisher, landing: Landing) -> None:
        self._publisher, self._landing = publisher, landing
        self._requests: list[_Request[Any]] = []
        self._storing: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references

    def take(self, judge: Callable[[Keep], Answer]) -> asyncio.Future[Answer]:
        """What `judge` returns, once every row that it kept is durable. It is called in this turn and waits for nothing.

        What the future may end with instead: NotDurable, when neither Pub/Sub nor the landing bucket took the rows (nothing was
        lost that was promised), or whatever `judge` raises.
        """
        loop = asyncio.get_running_loop()
        request = _Request(judge=judge, context=copy_context(), done=loop.create_future())
        if not self._requests:
            loop.call_soon(self._end_turn, context=Context())  # after the other requests of this turn, and nobody's own
        self._requests.append(request)
        return request.done

    def _end_turn(self) -> None:
        requests, self._requests = self._requests, []
        outbox, judged = Outbox(), list[tuple[_Request[Any], Any]]()
        for request in requests:
            if request.done.done():  # the client went away
                continue
            try:
                answer = request.context.run(request.judge, outbox.add)
            except Exception as error:  # noqa: BLE001  # whatever one request does, the others go on
                request.done.set_exception(error)
            else:
                judged.append((request, answer))
        task = asyncio.get_running_loop().create_task(self._store(outbox, judged))
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)

    async def _store(self, outbox: Outbox, judged: list[tuple[_Request[Any], Any]]) -> None:
        error: Exception | None = None
        try:
            await store_rows(outbox, self._publisher, self._landing)
        except Exception as caught:  # noqa: BLE001  # whatever it is, it is the answer to every request of the turn
            error = caught
        if isinstance(error, NotDurable):
            metrics.count("requests_unavailable", len(judged))
        for request, answer in judged:
            if request.done.done():
                continue
            if error:
                request.done.set_exception(error)
            else:
                request.done.set_result(answer)


@once
def turns(publisher: Publisher, landing: Landing) -> Turns:
    """The process's turns of one publisher and one landing bucket."""
    return Turns(publisher, landing)
