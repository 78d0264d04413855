"""Which client SDKs this machine can run: PyPI's are imported, npm's need node, npm and a registry that answers."""

import importlib.util
import shutil
import subprocess
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
PYTHON = {"segment": "segment.analytics", "rudder": "rudderstack.analytics", "cloudevents": "cloudevents.http"}


@cache
def find_python_sdks() -> list[str]:
    """The Python SDKs that can be imported."""
    return [name for name, module in PYTHON.items() if importlib.util.find_spec(module.partition(".")[0])]


@cache
def find_why_no_node() -> str:
    """Why the npm SDKs cannot be run here; empty when they can."""
    npm = shutil.which("npm")
    if not npm or not shutil.which("node"):
        return "node or npm is not on PATH"
    command = [npm, "view", "cloudevents", "version", "--fetch-retries=0", "--fetch-timeout=5000"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else "the npm registry does not answer"


def describe() -> str:
    """One line for pytest's header."""
    return f"client SDKs: {', '.join(find_python_sdks())} (Python); npm: {find_why_no_node() or 'yes'}"


def install_node_sdks(directory: Path) -> None:
    """The locked npm packages and our scripts, in a directory of their own; no package's script runs."""
    for path in FOLDER.iterdir():
        if path.suffix in (".cjs", ".json"):
            shutil.copy(path, directory)
    command = [shutil.which("npm") or "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
