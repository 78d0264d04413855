"""Clouds for tests: `cloud` runs the suite's own topology, `stub_cloud` real stores with stub functions.

Import the fixture in the test module: `from tests.emulator.cloud import cloud`. However many modules import it, one test
run starts one cloud of each kind, when a test first asks for it. ARGO_TEST_GOOGLE=1 takes Google's emulators where found,
and holds them to the contract suite as well; it is not the default because it takes two minutes more.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emulators.cloud import LaptopCloud

STUB = Path(__file__).with_name("stub")
STUB_FLAGS = ("--topology", str(STUB / "topology.yaml"), "--root", str(STUB))
GOOGLE = os.environ.get("ARGO_TEST_GOOGLE") == "1"
_running: dict[str, LaptopCloud] = {}


@pytest.fixture(scope="session")
def cloud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LaptopCloud:
    """The laptop cloud of schemas/topology.yaml; no cron."""
    return _start("argo", request.config, tmp_path_factory, ())


@pytest.fixture(scope="session")
def stub_cloud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LaptopCloud:
    """Real stores, native subscriptions, and two stub functions."""
    return _start("stub", request.config, tmp_path_factory, STUB_FLAGS)


def _start(
    name: str, config: pytest.Config, tmp_path_factory: pytest.TempPathFactory, flags: tuple[str, ...]
) -> LaptopCloud:
    # A fixture that several modules import is several fixtures to pytest; the cloud is one all the same.
    if name not in _running:
        running = LaptopCloud(tmp_path_factory.mktemp(f"cloud-{name}"), google=GOOGLE, flags=flags)
        running.__enter__()
        config.add_cleanup(running.stop)
        _running[name] = running
    return _running[name]
