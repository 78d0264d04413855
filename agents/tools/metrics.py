"""Metrics: added up in the process and written to its log, a line a metric every ten seconds and when the process ends.

A count costs a dictionary's update. Cloud Logging makes time series of the lines (pulumi/infra/measures.py); a process that
is killed loses the counts of its last seconds, never events. Owns no list of names: that is schemas/metrics.yaml.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType

from schemas import metrics

FLUSH_SECONDS = 10.0
log = logging.getLogger(__name__)
Handler = Callable[[int, FrameType | None], object]


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._totals: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._is_ending = False

    def count(self, name: str, value: float = 1, label: str = "") -> None:
        """Add to a total.

        Raises:
            KeyError: metrics.yaml lists no such total, or none with (or without) a label.
        """
        _check(name, label, total=True)
        with self._lock:
            key = (name, label)
            self._totals[key] = self._totals.get(key, 0) + value
            if self._timer is None and not self._is_ending:
                self._timer = threading.Timer(FLUSH_SECONDS, self.flush)
                self._timer.daemon = True
                self._timer.start()
        if self._is_ending:
            self.flush()

    def read(self, name: str, value: float, label: str = "") -> None:
        """Write a reading. Raises as `count` does."""
        _check(name, label, total=False)
        _write(name, value, label)

    def flush(self) -> None:
        """Write what was counted since the last time."""
        with self._lock:
            totals, self._totals = self._totals, {}
            if self._timer:
                self._timer.cancel()
            self._timer = None
        for (name, label), value in totals.items():
            _write(name, value, label)

    def end(self) -> None:
        """Write what there is, and from now on every count at once."""
        self._is_ending = True
        self.flush()


def _check(name: str, label: str, *, total: bool) -> None:
    metric = metrics.load().get(name)
    if metric is None or metric.total is not total or bool(metric.label) != bool(label):
        kind = "total" if total else "reading"
        raise KeyError(f"metrics.yaml lists no {kind} {name!r} {'with' if label else 'without'} a label")


def _write(name: str, value: float, label: str) -> None:
    log.info("%s %s %g", name, label, value, extra={"metric": {"metric": name, "value": value, "label": label}})


_process = Metrics()
count, read, flush = _process.count, _process.read, _process.flush


def flush_at_end() -> None:
    """Write the last counts when the process is told to end; what was to happen then still does."""
    if threading.current_thread() is not threading.main_thread():
        return  # signals are the main thread's
    before = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        _process.end()
        if callable(before):
            before(number, frame)
        else:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)
