"""Checks playbooks: `python -m agents.swarm.check [FILE...]`; without files all of agents/playbooks. `make check` runs it.

Prints every problem as `file:line: path: what is wrong and what to do`, and exits with 1 when there is one. `--schema`
prints the JSON Schema of a playbook instead, for editors.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from agents.swarm.playbooks import FOLDER, Playbook, PlaybookError, parse
from schemas import topology


def main(arguments: list[str]) -> int:
    """Check files; the exit code."""
    if arguments == ["--schema"]:
        schema = msgspec.json.format(msgspec.json.encode(msgspec.json.schema(Playbook)), indent=2)
        print(schema.decode())  # noqa: T201 -- a command's output
        return 0
    paths = [Path(argument) for argument in arguments] or sorted(FOLDER.glob("*.yaml"))
    problems = [problem for path in paths for problem in find_problems(path)]
    for problem in problems:
        print(problem, file=sys.stderr)  # noqa: T201 -- a command's output
    print(f"{len(paths)} playbooks checked, {len(problems)} problems")  # noqa: T201 -- a command's output
    return 1 if problems else 0


def find_problems(path: Path) -> list[str]:
    """A file's problems, one a line."""
    try:
        parse(path.read_text(encoding="utf-8"), str(path), topology.load())
    except PlaybookError as error:
        return str(error).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return [f"{path}:1: cannot be read: {error}"]
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
