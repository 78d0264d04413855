"""The image's package list: `cd pulumi && ../.venv/bin/python -m image.lock` rewrites `requirements.txt`.

It is the closure of pyproject.toml's own dependencies and of the extra `jobs`, at the versions that `.ci/constraints.txt`
pins and every test ran with. A test holds the committed list against it.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent.parent
LOCK = Path(__file__).with_name("requirements.txt")
# What the image runs on, whatever machine computes the list.
_TARGET = {
    "python_version": "3.11",
    "python_full_version": "3.11.14",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "os_name": "posix",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}


def normalise(name: str) -> str:
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins() -> dict[str, str]:
    """Package -> exact version of every package that the tests run with."""
    lines = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if "==" in line)
    return {normalise(name): version.strip() for name, version in pairs}


def find_packages() -> set[str]:
    """Every package that the suite's own dependencies need on the image's machine."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted_texts = project["dependencies"] + project["optional-dependencies"]["jobs"]
    waiting = [(Requirement(text), "") for text in wanted_texts]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({**_TARGET, "extra": extra}):
            continue
        for wanted in ("", *sorted(requirement.extras)):
            key = (normalise(requirement.name), wanted)
            if key not in seen:
                seen.add(key)
                waiting += [(Requirement(text), wanted) for text in requires(requirement.name) or []]
    return {name for name, _ in seen}


def render_lock() -> str:
    """The text of the list.

    Raises:
        KeyError: a package is not pinned; run `make lock` first.
    """
    pins = read_pins()
    lines = [f"{name}=={pins[name]}" for name in sorted(find_packages())]
    head = "# Rewritten by `python -m image.lock`: what a deployed function needs, and nothing more.\n"
    return head + "\n".join(lines) + "\n"


if __name__ == "__main__":
    LOCK.write_text(render_lock(), encoding="utf-8")
