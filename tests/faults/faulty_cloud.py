"""A laptop cloud whose Pub/Sub is behind the fault proxy, and the faults that can be put upon it, each for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from emulators.cloud import LaptopCloud
from emulators.processes import die_with_parent
from tests.faults.pubsub_proxy import Mode
from tests.ports import await_port, find_free_port

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]
_START_SECONDS = 20.0


class FaultyCloud:
    """The cloud, its Pub/Sub server's process, and the proxy between them."""

    def __init__(self, cloud: LaptopCloud, pubsub: subprocess.Popen[str], proxy: subprocess.Popen[str]) -> None:
        self.cloud = cloud
        self.env = cloud.env
        self._pubsub, self._proxy = pubsub, proxy

    @contextmanager
    def failing_pubsub(self, mode: Mode) -> Generator[None]:
        """Pub/Sub fails for every client in this way."""
        self._switch(mode)
        try:
            yield
        finally:
            self._switch(Mode.PASS)

    @contextmanager
    def stopped(self, *names: str) -> Generator[None]:
        """These services' processes get no processor (SIGSTOP), then go on: connections hang and nothing is lost."""
        # A service that is being brought back has no process; 0 would stop ourselves.
        pids = [pid for pid in map(self._find_pid, names) if pid]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def keep_down(self, *names: str, seconds: float) -> None:
        """Kill these services as often as the supervisor brings them back, for so long; return once they are up again."""
        end = time.monotonic() + seconds
        killed = dict.fromkeys(names, 0)
        while time.monotonic() < end:
            for name in names:
                pid = self.cloud.health(name).pid
                if pid and pid != killed[name]:
                    killed[name] = self.cloud.kill(name)
            time.sleep(0.05)
        for name, pid in killed.items():
            self.cloud.wait_until_back(name, pid, 60)

    def kill(self, name: str) -> int:
        """SIGKILL; the supervisor brings it back."""
        return self.cloud.kill(name)

    def _find_pid(self, name: str) -> int:
        return self._pubsub.pid if name == "pubsub" else self.cloud.health(name).pid

    def _switch(self, mode: Mode) -> None:
        assert self._proxy.stdin is not None
        assert self._proxy.stdout is not None
        self._proxy.stdin.write(f"{mode}\n")
        self._proxy.stdin.flush()
        assert self._proxy.stdout.readline().strip() == mode


@contextmanager
def start_faulty_cloud(directory: Path, flags: tuple[str, ...] = ()) -> Generator[FaultyCloud]:
    """A cloud whose clients of Pub/Sub all go through the proxy, by PUBSUB_EMULATOR_HOST; the environment is set for ours too."""
    before = dict(os.environ)
    port = find_free_port()
    pubsub = start_module("emulators.pubsub", "--host", HOST, "--port", str(port))
    proxy = start_module("tests.faults.pubsub_proxy", "--target", f"{HOST}:{port}")
    try:
        await_port(port)
        assert proxy.stdout is not None
        os.environ["PUBSUB_EMULATOR_HOST"] = f"{HOST}:{int(proxy.stdout.readline())}"
        with LaptopCloud(directory, flags=flags) as cloud:
            os.environ.update(cloud.env)
            yield FaultyCloud(cloud, pubsub, proxy)
    finally:
        os.environ.clear()
        os.environ.update(before)
        for process in (proxy, pubsub):
            process.kill()
            process.communicate()  # waits, and closes its pipes


def start_module(name: str, *arguments: str) -> subprocess.Popen[str]:
    """`python -m NAME ...` with pipes for its words; it ends with this process."""
    return subprocess.Popen(
        [sys.executable, "-m", name, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent(),  # noqa: PLW1509 - started before this process has threads of its own
    )
