"""What a laptop cloud knows about itself, as `DIR/state.json`: written by its supervisor, read by everything else.

No secret is in it, yet it is readable by its owner only: the environment may hold addresses with a password.
"""

from __future__ import annotations

import os
from collections import deque
from enum import StrEnum
from pathlib import Path

import msgspec

from emulators.processes import is_same


class Phase(StrEnum):
    """The cloud as a whole."""

    STARTING = "starting"
    READY = "ready"
    BROKEN = "broken"
    FAILED = "failed"
    STOPPING = "stopping"


class Status(StrEnum):
    """One service."""

    WAITING = "waiting"
    STARTING = "starting"
    UP = "up"
    DONE = "done"
    RESTARTING = "restarting"
    DOWN = "down"


class Health(msgspec.Struct, kw_only=True):
    """One service: `seconds` is how long it took to be ready, `created` tells its process from one with the same id."""

    status: Status = Status.WAITING
    endpoint: str = ""
    note: str = ""
    kind: str = ""
    log: str = ""
    pid: int = 0
    created: float = 0.0
    restarts: int = 0
    seconds: float = 0.0
    reason: str = ""


class State(msgspec.Struct, kw_only=True):
    """The cloud: its supervisor, its services, and the environment that its functions and jobs get."""

    pid: int
    created: float
    root: str
    phase: Phase = Phase.STARTING
    failed: str = ""
    """The service that kept the cloud from starting."""
    reason: str = ""
    services: dict[str, Health] = {}
    environment: dict[str, str] = {}

    @property
    def is_alive(self) -> bool:
        """Whether the supervisor that wrote this still runs."""
        return is_same(self.pid, self.created)

    @property
    def is_healthy(self) -> bool:
        """Whether everything is as it should be."""
        return self.phase is Phase.READY and all(
            health.status in (Status.UP, Status.DONE) for health in self.services.values()
        )


def state_path(directory: Path) -> Path:
    """Where the state of the cloud in this directory is."""
    return directory / "state.json"


def log_path(directory: Path, name: str) -> Path:
    """Where a service's log is."""
    return directory / "logs" / f"{name}.log"


def write_state(directory: Path, state: State) -> None:
    """Replaces the state file."""
    write_private(state_path(directory), msgspec.json.format(msgspec.json.encode(state)).decode())


def read_state(directory: Path) -> State | None:
    """The last state that was written, or None when there is none that this version can read."""
    try:
        return msgspec.json.decode(state_path(directory).read_bytes(), type=State)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read; nobody ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def tail(path: Path, lines: int = 30) -> str:
    """The last lines of a log; empty when there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, lines))
    except FileNotFoundError:
        return ""
