"""Clients are built on first use, each once, one at a time.

`functools.cache` lets two threads build the same client; and two threads that import Google's packages for the first time
at the same time can run into Python's import deadlock detection (seen with `requests.exceptions`).
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

_building = threading.RLock()
Given = ParamSpec("Given")
Built = TypeVar("Built")


class once(Generic[Given, Built]):  # noqa: N801  # a decorator, used like functools.cache
    """Like `functools.cache`, but what is not built yet is built under one lock of the process."""

    def __init__(self, build: Callable[Given, Built]) -> None:
        self._build = build
        self._built: dict[object, Built] = {}
        self.__doc__ = build.__doc__

    def __call__(self, *args: Given.args, **kwargs: Given.kwargs) -> Built:
        """What the function built for these arguments, now or before; what is there needs no lock."""
        key = (args, tuple(sorted(kwargs.items()))) if kwargs else args
        if key not in self._built:
            with _building:
                if key not in self._built:
                    self._built[key] = self._build(*args, **kwargs)
                    # A client and the modules that it brought stay as long as the process: without this the collector
                    # walks them again and again, which was a quarter of collect's time (perf, 2026-11-20).
                    gc.freeze()
        return self._built[key]

    def cache_clear(self) -> None:
        """Forget what was built."""
        self._built.clear()
