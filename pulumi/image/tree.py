"""The image's files without Docker: the copied folders, and exactly the listed packages, as links in a folder.

What is missing there is missing in the image. It is started with `python -S`, so that nothing of the virtual
environment beside the list can be found.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

from image.lock import LOCK, ROOT

DOCKERFILE = LOCK.with_name("Dockerfile")


def copied_folders() -> set[str]:
    """The folders of the repository that the image holds."""
    return set(re.findall(r"^COPY (\w+) \w+$", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE))


def make_tree(folder: Path) -> dict[str, str]:
    """Lays the image out under `folder`; the variables with which a process sees it."""
    app, packages = folder / "app", folder / "packages"
    for name in copied_folders():
        shutil.copytree(ROOT / name, app / name, ignore=shutil.ignore_patterns("__pycache__"))
    made: set[Path] = set()
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if "==" in line:
            _link_package(line.partition("==")[0], packages, made)
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"}


def command(*arguments: str) -> list[str]:
    """The image's Python with arguments; run it in the folder `app`."""
    return [sys.executable, "-S", *arguments]


def _link_package(name: str, packages: Path, made: set[Path]) -> None:
    for entry in distribution(name).files or []:
        if entry.parts[0] == "..":  # scripts in bin
            continue
        target = packages / entry
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        source = Path(str(entry.locate()))
        if source.exists() and not target.exists():
            os.symlink(source, target)
