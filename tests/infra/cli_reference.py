"""The gcloud and bq commands that the guide and the outputs name, with their flags: `commands.json` beside this.

Written from an installed Google Cloud SDK (its own completion tree), so that the tests need none:
`.venv/bin/python -m tests.infra.cli_reference /usr/lib/google-cloud-sdk`. Version and date are in the file.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).with_name("commands.json")
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "operating.md"


def read_guide() -> list[str]:
    """Every line that is typed."""
    return [line.strip()[2:] for line in GUIDE.read_text("utf-8").splitlines() if line.strip().startswith("$ ")]


def find_calls(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """(command path, flags) of each gcloud or bq call in shell lines, inside `$(...)` and loops too.

    The path ends at the first word that is no plain lower-case word; names behind it are cut off by whoever knows the tree.
    """
    for line in lines:
        for part in re.split(r"[;|]|\$\(|\bdo\b|&&", line):
            words = shlex.split(part.strip().rstrip(')"'), posix=True) if _is_closed(part) else part.split()
            if words and words[0] in {"gcloud", "bq"}:
                flags = [word.partition("=")[0] for word in words if word.startswith("--")]
                yield " ".join(_take_path(words)), flags


def _is_closed(text: str) -> bool:
    try:
        shlex.split(text.strip().rstrip(')"'))
    except ValueError:
        return False
    return True


def _take_path(words: list[str]) -> list[str]:
    path: list[str] = []
    for word in words:
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", word):
            if word.startswith("--") and not path[1:]:
                continue  # bq takes flags before its command
            break
        path.append(word)
    return path


def write_reference(sdk: Path) -> None:
    """Rewrite `commands.json` from an SDK, for the commands that the guide and the stacks' outputs name now."""
    from tests.infra.test_guide import find_output_lines

    sys.path.insert(0, str(sdk / "data" / "cli"))
    tree: dict[str, Any] = vars(__import__("gcloud_completions"))["STATIC_COMPLETION_CLI_TREE"]
    bq: dict[str, Any] = json.loads((sdk / "data" / "cli" / "bq.json").read_text("utf-8"))
    found: dict[str, list[str]] = {"gcloud": sorted(tree["flags"]), "bq": sorted(bq["flags"])}
    for path, _ in find_calls([*read_guide(), *find_output_lines()]):
        program, *words = path.split()
        node, known = (tree if program == "gcloud" else bq), [program]
        for word in words:
            if word not in node["commands"]:
                break
            node, known = node["commands"][word], [*known, word]
        if not node["commands"]:
            found[" ".join(known)] = _ask_bq(sdk, words[0]) if program == "bq" else sorted(node["flags"])
    version = (sdk / "VERSION").read_text("utf-8").strip()
    content = {"source": f"Google Cloud SDK {version}", "commands": dict(sorted(found.items()))}
    REFERENCE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _ask_bq(sdk: Path, command: str) -> list[str]:
    """The flags of a bq command, from its own help: the tree leaves them out."""
    done = subprocess.run([str(sdk / "bin" / "bq"), "help", command], capture_output=True, text=True, check=False)
    return sorted({f"--{name}" for name in re.findall(r"--(?:\[no\])?(\w+):", done.stdout)})


if __name__ == "__main__":
    write_reference(Path(sys.argv[1]))
