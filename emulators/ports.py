"""Chooses the loopback ports of one laptop cloud.

A cloud takes a whole block of ports and holds it by listening on the block's first one, so that clouds that start at
the same moment never choose the same port. The range lies below the ports that systems hand out for outgoing ones
(Linux from 32768, macOS from 49152): a connection could else take a function's port while it restarts.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping

HOST = "127.0.0.1"
_FIRST, _LAST, _BLOCK = 20_000, 32_000, 200


class PortError(Exception):
    """A port that was asked for cannot be had; the message names the variable and the port."""


class Ports:
    """Hands out ports by service name: the one in `ARGO_PORT_<NAME>`, else a free one of this cloud's block."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._taken: dict[int, str] = {}
        self._guard, first = _hold_block()
        self._free = iter(range(first + 1, first + _BLOCK))

    def take(self, name: str) -> int:
        """Returns the port for a service; PortError when the fixed one is not usable or none is left."""
        variable = "ARGO_PORT_" + name.upper().replace("-", "_")
        fixed = self._environ.get(variable)
        if fixed:
            port = self._check_fixed(variable, fixed)
        else:
            port = next((port for port in self._free if port not in self._taken and is_free(port)), 0)
            if not port:
                raise PortError(f"no free port left for {name}: set {variable}")
        self._taken[port] = variable
        return port

    def close(self) -> None:
        """Gives the block back."""
        self._guard.close()

    def _check_fixed(self, variable: str, value: str) -> int:
        if not value.isdecimal() or not 1 <= int(value) <= 65_535:
            raise PortError(f"{variable}={value!r} is not a port: use 1 to 65535")
        port = int(value)
        if port in self._taken:
            raise PortError(f"{variable}={port}: the port is already taken by {self._taken[port]}")
        if not is_free(port):
            raise PortError(f"{variable}={port}: the port is already taken by another program")
        return port


def is_free(port: int) -> bool:
    """Says whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # As servers do: a port that only waits for old connections to fade out is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
        return True


def _hold_block() -> tuple[socket.socket, int]:
    blocks = list(range(_FIRST, _LAST, _BLOCK))
    random.shuffle(blocks)
    for first in blocks:
        guard = socket.socket()
        try:
            guard.bind((HOST, first))
            guard.listen()
        except OSError:
            guard.close()
            continue
        return guard, first
    raise PortError(f"every block of ports between {_FIRST} and {_LAST} is in use")
