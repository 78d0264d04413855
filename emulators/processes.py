"""Starts child processes that cannot outlive their parent, and finds what a laptop cloud left behind.

On Linux the kernel kills a child when the thread that started it ends (PR_SET_PDEATHSIG), however the parent died; so
processes are only started from the main thread. macOS has nothing like it: after a SIGKILL of the supervisor its
children stay until the next `up` or `down` of the same directory, which finds them by the mark in their environment.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "ARGO_CLOUD_DIR"
"""Every process of a cloud carries this variable: the cloud's directory."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What to start, where, and the log that takes both outputs."""

    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    log: Path


def spawn(launch: Launch) -> subprocess.Popen[bytes]:
    """Starts a process in its own session, which ends with this one."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("processes are started from the main thread: they end with the thread that started them")
    with launch.log.open("ab") as log:
        return subprocess.Popen(
            list(launch.command),
            cwd=launch.directory,
            env=dict(launch.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C in the terminal reaches the supervisor only, which stops in order
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - the supervisor has one thread, see its docstring
        )


def die_with_parent() -> Callable[[], None] | None:
    """What a child runs before its program so that the kernel kills it with us; None where the system cannot."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None, use_errno=True), os.getpid()

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the kernel was asked
            os._exit(1)

    return ask_kernel


async def stop(processes: Iterable[subprocess.Popen[bytes]], grace_seconds: float) -> list[int]:
    """Ends processes and their groups: asks, waits, then kills; returns the ids of those that it had to kill."""
    running = [process for process in processes if process.poll() is None]
    for process in running:
        signal_group(process.pid, signal.SIGTERM)
    deadline = asyncio.get_running_loop().time() + grace_seconds
    while any(process.poll() is None for process in running):
        if asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(0.02)
    stubborn = [process for process in running if process.poll() is None]
    for process in stubborn:
        signal_group(process.pid, signal.SIGKILL)
        process.wait()
    return [process.pid for process in stubborn]


def signal_group(pid: int, number: signal.Signals) -> None:
    """Sends a signal to a process group; a group that has ended is fine."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def created_at(pid: int) -> float:
    """When a process was started (seconds since 1970): tells a process from a later one with the same id; 0 if gone."""
    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return 0.0


def is_same(pid: int, created: float) -> bool:
    """Says whether the process with this id is still the one that was started then."""
    return created > 0 and abs(created_at(pid) - created) < 0.1


def find_survivors(directory: Path) -> list[psutil.Process]:
    """Every process that carries the mark of the cloud in this directory, without this one and its ancestors."""
    own = psutil.Process()
    excluded = {own.pid, *(process.pid for process in own.parents())}
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.pid not in excluded and process.environ().get(MARK) == str(directory):
                found.append(process)
        except (psutil.Error, OSError):  # ended meanwhile, or somebody else's
            continue
    return found


def kill_survivors(directory: Path) -> list[int]:
    """Kills what is left of the cloud in this directory; returns the ids."""
    survivors = find_survivors(directory)
    for process in survivors:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(survivors, timeout=5)
    return [process.pid for process in survivors]
