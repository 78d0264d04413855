"""Drives a laptop cloud from Python: for tests, the demo, and the command line.

The cloud runs under its own supervisor process, so that the caller may use threads and gRPC as it likes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from emulators.environment import read_exports
from emulators.processes import is_same, kill_survivors
from emulators.services import REPOSITORY
from emulators.state import Health, Phase, State, Status, log_path, read_state, tail

_LOOK_SECONDS = 0.05
_STOP_SECONDS = 20.0
OnProgress = Callable[[str, float], None]


class CloudError(Exception):
    """The cloud did not start or did not stop; the message names the service and ends with its log's tail."""


class LaptopCloud:
    """A laptop cloud for the length of a `with` block; it also ends when the calling process does."""

    def __init__(
        self,
        directory: Path,
        *,
        google: bool = False,
        schedule: bool = False,
        on_progress: OnProgress | None = None,
        flags: tuple[str, ...] = (),
    ) -> None:
        """`flags` are further ones of `python -m emulators run`, such as another topology."""
        self.directory = directory.resolve()
        self._flags = (*(["--google"] if google else []), *([] if schedule else ["--no-schedule"]), *flags)
        self._on_progress = on_progress
        self._supervisor: subprocess.Popen[bytes] | None = None
        self.env: dict[str, str] = {}
        """Every variable of local.env."""

    def __enter__(self) -> LaptopCloud:
        running = read_state(self.directory)
        if running is not None and running.is_alive:
            raise CloudError(f"a laptop cloud is up in {self.directory} already: stop it, or wait until it has ended")
        self._supervisor = start_supervisor(self.directory, (*self._flags, "--parent", str(os.getpid())))
        try:
            await_ready(self.directory, self._supervisor, self._on_progress)
        except BaseException:
            self.stop()
            raise
        self.env = read_exports(self.directory / "local.env")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops everything and waits for it; CloudError when a process had to be killed by name."""
        if self._supervisor is None:
            return
        survivors = stop_supervisor(self.directory, self._supervisor)
        self._supervisor = None
        if survivors:
            raise CloudError(f"the supervisor left processes behind, which were killed: {survivors}")

    @property
    def state(self) -> State:
        """What the supervisor last wrote; CloudError when the cloud is not up."""
        state = read_state(self.directory)
        if state is None or not state.is_alive:
            raise CloudError(f"no cloud is up in {self.directory}")
        return state

    def health(self, name: str) -> Health:
        """One service now; KeyError when there is none of this name."""
        return self.state.services[name]

    def endpoint(self, name: str) -> str:
        """A service's address: a URL, or host:port where its clients want that."""
        return self.health(name).endpoint

    def kill(self, name: str) -> int:
        """Kills a service's process without a warning; returns its id. A function comes back by itself."""
        health = self.health(name)
        if is_same(health.pid, health.created):
            os.kill(health.pid, signal.SIGKILL)
        return health.pid

    def wait_until_back(self, name: str, former_pid: int, timeout_seconds: float = 20.0) -> None:
        """Waits until a killed service is up again as another process; CloudError when it is not in time."""
        deadline = time.monotonic() + timeout_seconds
        while (health := self.health(name)).status is not Status.UP or health.pid == former_pid:
            if time.monotonic() > deadline:
                raise CloudError(f"{name} did not come back: {health.status} {health.reason}\n{self.log_tail(name)}")
            time.sleep(_LOOK_SECONDS)

    def log_tail(self, name: str, lines: int = 30) -> str:
        """The last lines of a service's log."""
        return tail(log_path(self.directory, name), lines)

    def run_job(self, name: str) -> subprocess.CompletedProcess[str]:
        """Runs a job of the topology to its end, with its output as text."""
        state = self.state
        return subprocess.run(
            job_command(name),
            cwd=state.root,
            env=job_environment(state.environment, name),
            capture_output=True,
            text=True,
            check=False,
        )


def job_command(name: str) -> list[str]:
    """How a job is started here and in the cloud."""
    return [sys.executable, "-m", "functions.jobs", name]


def job_environment(environment: Mapping[str, str], name: str) -> dict[str, str]:
    """A job's environment: Cloud Run tells a job its name by another variable than a service."""
    return {**environment, "CLOUD_RUN_JOB": name}


def start_supervisor(directory: Path, flags: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Starts the supervisor of a directory in a session of its own, so that no terminal ends it."""
    log = log_path(directory, "supervisor")
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "emulators", "run", "--quiet", "--dir", str(directory), *flags]
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def await_ready(directory: Path, supervisor: subprocess.Popen[bytes], on_progress: OnProgress | None) -> State:
    """Waits until everything is ready, telling of each service once.

    Raises:
        CloudError: naming the service that did not start, with the end of its log.
    """
    told: set[str] = set()
    while True:
        ended = supervisor.poll() is not None
        state = read_state(directory)
        if state is not None and state.pid == supervisor.pid:
            _tell(state, told, on_progress)
            if state.phase is Phase.READY:
                return state
        if ended:
            raise CloudError(explain_failure(directory, state, supervisor.pid))
        time.sleep(_LOOK_SECONDS)


def explain_failure(directory: Path, state: State | None, pid: int) -> str:
    """Why a cloud did not start: the service, the reason, and the end of its log."""
    if state is None or state.pid != pid or not state.failed:
        return tail(log_path(directory, "supervisor")).strip() or "the supervisor ended without a word"
    log = log_path(directory, state.failed)
    return f"{state.failed} {state.reason}; the end of {log}:\n{tail(log)}".rstrip()


def stop_supervisor(directory: Path, supervisor: subprocess.Popen[bytes]) -> list[int]:
    """Stops a supervisor that this process has started; returns what had to be killed."""
    supervisor.terminate()
    try:
        supervisor.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()
    return kill_survivors(directory)


def stop_cloud(directory: Path) -> list[int]:
    """Stops whatever cloud runs in a directory, and returns what its supervisor had left; nothing running is fine."""
    state = read_state(directory)
    if state is not None and state.is_alive:
        os.kill(state.pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while state.is_alive and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        if state.is_alive:
            os.kill(state.pid, signal.SIGKILL)
    survivors = kill_survivors(directory)
    for name in ("state.json", "local.env", "secrets.json", "credentials.json"):
        (directory / name).unlink(missing_ok=True)
    shutil.rmtree(directory / "accounts", ignore_errors=True)
    return survivors


def _tell(state: State, told: set[str], on_progress: OnProgress | None) -> None:
    for name, health in state.services.items():
        if name not in told and health.status in (Status.UP, Status.DONE):
            told.add(name)
            if on_progress:
                on_progress(name, health.seconds)
