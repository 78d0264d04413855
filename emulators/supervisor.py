"""Starts a planned cloud, watches it, and stops it.

Functions and workers that die come back, as Cloud Run's do, after a short and growing pause, and so do stores that keep
their data on disk. Another store does not: its data was in memory, and an empty store under the same address would lie;
the cloud is marked broken.
One thread does everything (see processes.py), and it imports no client, so that it can start processes at any time.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from emulators import environment, processes
from emulators.environment import Settings
from emulators.plan import Plan, make_plan
from emulators.ports import Ports
from emulators.probes import BrokenError, Ends, ask
from emulators.services import Kind, Service
from emulators.state import Health, Phase, State, Status, log_path, write_private, write_state
from schemas import topology

LOOK_SECONDS = 0.05
OUTSIDE_SECONDS = 3.0
GRACE_SECONDS = 5.0
_PRIVATE = ("local.env", "secrets.json", "credentials.json")
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS, _STABLE_SECONDS = 0.2, 5.0, 10.0


class StartError(Exception):
    """A service that kept the cloud from starting."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(f"{service}: {reason}")
        self.service, self.reason = service, reason


class AlreadyUpError(Exception):
    """Another supervisor runs in the same directory."""


@dataclass(kw_only=True)
class Child:
    """One service at run time."""

    service: Service
    health: Health
    process: subprocess.Popen[bytes] | None = None
    log_start_bytes: int = 0
    started: float = field(default_factory=time.monotonic)

    def exit_text(self) -> str | None:
        """How the process ended, or None while it runs."""
        code = self.process.poll() if self.process else None
        if code is None:
            return None
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


class Supervisor:
    """One cloud, from start to stop."""

    def __init__(self, settings: Settings, on_ready: Callable[[str, float], None] | None = None) -> None:
        self._settings = settings
        self._on_ready = on_ready
        self._children: dict[str, Child] = {}
        self._stopping = asyncio.Event()
        self._set_up = asyncio.Event()
        me = os.getpid()
        self.state = State(pid=me, created=processes.created_at(me), root=str(settings.root))

    async def run(self, parent: int | None = None) -> int:
        """Starts, watches until told to stop, stops; 1 when the cloud could not start. Ends when `parent` has ended.

        Raises:
            AlreadyUpError, PortError, ServicesError, TopologyError: before anything was started.
        """
        with _lock(self._settings):
            ports = Ports(self._settings.environ)
            try:
                plan = self._prepare(ports)
                return await self._run(plan, parent)
            finally:
                ports.close()

    def _prepare(self, ports: Ports) -> Plan:
        directory = self._settings.directory
        processes.kill_survivors(directory)  # of a supervisor that was killed where the kernel does not clean up
        _clear(self._settings)
        known = topology.parse(self._settings.topology.read_text(encoding="utf-8"))
        plan = make_plan(self._settings, known, ports)
        from emulators.identity import write_service_account

        credentials = directory / "credentials.json"
        token_uri = f"{plan.find_endpoint('identity')}/token"
        write_service_account(credentials, environment.PROJECT, token_uri)
        for path, email in plan.accounts.items():
            write_service_account(path, environment.PROJECT, token_uri, email)
        environment.write_contact_policy(self._settings)
        values = plan.credentials.secret_values(known.callers(environment.GATEWAY))
        write_private(directory / "secrets.json", json.dumps(values))
        self.state.environment = plan.environment
        for service in plan.services:
            health = Health(endpoint=service.endpoint, note=service.note, kind=service.kind)
            health.log = str(log_path(directory, service.name)) if service.command else ""
            self._children[service.name] = Child(service=service, health=health)
        self.state.services = {name: child.health for name, child in self._children.items()}
        return plan

    async def _run(self, plan: Plan, parent: int | None) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stopping.set)
        tasks = [asyncio.create_task(self._follow(parent))] if parent else []
        try:
            self._save()
            await self._until_stopped([asyncio.create_task(self._bring_up(c)) for c in self._children.values()])
            if not self._stopping.is_set():
                self._announce(plan)
                tasks += [asyncio.create_task(self._keep_up(c)) for c in self._children.values() if c.process]
                await self._until_stopped([asyncio.create_task(self._stand_by()), *tasks])
        except StartError as error:
            self.state.phase, self.state.failed, self.state.reason = Phase.FAILED, error.service, error.reason
        finally:
            for task in tasks:
                task.cancel()
            await self._stop()
        return 1 if self.state.phase is Phase.FAILED else 0

    async def _until_stopped(self, tasks: list[asyncio.Task[None]]) -> None:
        """Waits for all tasks or for the order to stop; raises what a task raises."""
        stop = asyncio.create_task(self._stopping.wait())
        pending: set[asyncio.Task[None] | asyncio.Task[bool]] = {stop, *tasks}
        try:
            while pending - {stop} and not stop.done():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in (stop, *tasks):
                task.cancel()

    def _announce(self, plan: Plan) -> None:
        write_private(self._settings.directory / "local.env", environment.render_exports(plan.local))
        self.state.phase = Phase.READY
        self._save()

    async def _bring_up(self, child: Child) -> None:
        if child.service.after_setup:
            await self._set_up.wait()
        self._start(child, Status.STARTING)
        outside = child.service.kind is Kind.OUTSIDE
        limit_seconds = OUTSIDE_SECONDS if outside else self._settings.start_seconds
        while not await self._is_ready(child):
            if time.monotonic() - child.started > limit_seconds:
                what = f"nothing answers at {child.service.endpoint} ({child.service.note})"
                raise StartError(child.service.name, what if outside else f"was not ready in {limit_seconds:.0f} s")
            await asyncio.sleep(LOOK_SECONDS)
        if child.service.kind is Kind.TASK:
            self._set_up.set()

    async def _is_ready(self, child: Child) -> bool:
        """Asks once, and notes the answer; StartError when the process has ended or can never be ready."""
        ended = child.exit_text()
        task = isinstance(child.service.probe, Ends)
        if ended and not (task and child.process and child.process.returncode == 0):
            raise StartError(child.service.name, ended)
        try:
            ready = bool(ended) or await ask(child.service.probe, self._log(child), child.log_start_bytes)
        except BrokenError as error:
            raise StartError(child.service.name, str(error)) from error
        if ready:
            child.health.status = Status.DONE if task else Status.UP
            child.health.seconds = round(time.monotonic() - child.started, 2)
            self._save()
            if self._on_ready:
                self._on_ready(child.service.name, child.health.seconds)
        return ready

    def _start(self, child: Child, status: Status) -> None:
        child.started = time.monotonic()
        child.health.status = status
        if child.service.command:
            log = self._log(child)
            log.parent.mkdir(parents=True, exist_ok=True)
            child.log_start_bytes = log.stat().st_size if log.exists() else 0
            service = child.service
            launch = processes.Launch(
                command=service.command, environment=service.environment, directory=service.directory, log=log
            )
            child.process = processes.spawn(launch)
            child.health.pid, child.health.created = child.process.pid, processes.created_at(child.process.pid)
        self._save()

    async def _keep_up(self, child: Child) -> None:
        """Waits for a process to die; brings it back, or marks the cloud broken."""
        pause_seconds = _FIRST_PAUSE_SECONDS
        while child.service.kind is not Kind.TASK:
            while (ended := child.exit_text()) is None:
                await asyncio.sleep(LOOK_SECONDS)
            child.health.pid, child.health.created, child.health.reason = 0, 0.0, ended
            if child.service.kind is Kind.STORE and not child.service.keeps_data:
                child.health.status = Status.DOWN
                self.state.phase, self.state.reason = Phase.BROKEN, f"{child.service.name} {ended}; its data is lost"
                self._save()
                return
            child.health.status = Status.RESTARTING
            child.health.restarts += 1
            self._save()
            if time.monotonic() - child.started > _STABLE_SECONDS:
                pause_seconds = _FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, _LAST_PAUSE_SECONDS)
            self._start(child, Status.RESTARTING)
            while child.exit_text() is None:
                try:
                    if await self._is_ready(child):
                        break
                except StartError as error:  # its code may be mended while it runs
                    child.health.reason = error.reason
                await asyncio.sleep(LOOK_SECONDS)

    async def _stand_by(self) -> None:
        await self._stopping.wait()

    async def _follow(self, parent: int) -> None:
        created = processes.created_at(parent)
        while processes.is_same(parent, created):
            await asyncio.sleep(0.2)
        self._stopping.set()

    async def _stop(self) -> None:
        """Ends functions and workers while the stores still answer them, then the stores."""
        failed = self.state.phase is Phase.FAILED
        if not failed:
            self.state.phase = Phase.STOPPING
        self._save()
        for wave in ((Kind.FUNCTION, Kind.WORKER, Kind.TASK), (Kind.STORE,)):
            wanted = [child for child in self._children.values() if child.service.kind in wave]
            killed = await processes.stop([child.process for child in wanted if child.process], GRACE_SECONDS)
            for child in wanted:
                if child.process and child.process.pid in killed:
                    print(f"{child.service.name} did not end in {GRACE_SECONDS:.0f} s and was killed", file=sys.stderr)
        processes.kill_survivors(self._settings.directory)
        for name in _PRIVATE if failed else (*_PRIVATE, "state.json"):
            (self._settings.directory / name).unlink(missing_ok=True)
        shutil.rmtree(self._settings.directory / "accounts", ignore_errors=True)

    def _log(self, child: Child) -> Path:
        return log_path(self._settings.directory, child.service.name)

    def _save(self) -> None:
        write_state(self._settings.directory, self.state)


@contextmanager
def _lock(settings: Settings) -> Generator[None]:
    """Makes this the only supervisor of the directory; the kernel lifts the lock however we end."""
    settings.directory.mkdir(parents=True, exist_ok=True)
    with (settings.directory / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyUpError(f"a laptop cloud is already up in {settings.directory}") from error
        yield


def _clear(settings: Settings) -> None:
    """Removes what an earlier cloud in this directory wrote, but for the supervisor's log: ours already."""
    for name in (*_PRIVATE, "state.json"):
        (settings.directory / name).unlink(missing_ok=True)
    for name in ("data", "accounts"):
        shutil.rmtree(settings.directory / name, ignore_errors=True)
    for log in (settings.directory / "logs").glob("*.log"):
        if log.name != "supervisor.log":
            log.unlink()
