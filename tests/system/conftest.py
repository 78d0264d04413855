"""A running ARGO seen from outside. With ARGO_SYSTEM_ENV=path/to/local.env the tests aim at one that is already up."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.sdks import available

ROOT = Path(__file__).parents[2]


def read_exports(path: Path) -> dict[str, str]:
    """The variables of a local.env, read as a shell would."""
    words = shlex.split(path.read_text(encoding="utf-8"), comments=True)
    return dict(word.split("=", 1) for word in words if "=" in word)


@pytest.fixture(scope="session")
def cloud_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a cloud that was started with the command that people use."""
    given = os.environ.get("ARGO_SYSTEM_ENV")
    if given:
        yield Path(given).parent
        return
    directory = tmp_path_factory.mktemp("cloud")
    command = [sys.executable, "-m", "emulators"]
    started = subprocess.run(
        [*command, "up", "--no-schedule", "--dir", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.returncode == 0, started.stdout + started.stderr
    yield directory
    stopped = subprocess.run([*command, "down", "--dir", str(directory)], cwd=ROOT, capture_output=True, check=False)
    assert stopped.returncode == 0, stopped.stdout


@pytest.fixture(scope="session")
def env(cloud_directory: Path) -> Iterator[dict[str, str]]:
    """local.env, and the same in this process's environment, as if it had been sourced."""
    exports = read_exports(cloud_directory / "local.env")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in exports.items():
            patch.setenv(name, value)
        yield exports


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says, also in a quiet run, which client SDKs the run has covered."""
    terminalreporter.write_line(available.describe())
