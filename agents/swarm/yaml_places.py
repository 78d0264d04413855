"""Where in a YAML text a value stands, so that an error can name the line. Knows nothing of playbooks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast

import msgspec
import yaml

Path = tuple[str, ...]
_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong at a path of keys, and what to do about it."""

    path: Path
    text: str


@dataclass(frozen=True, kw_only=True)
class Places:
    """The values of a text and the line of every key; `doubles` are keys that stand twice in one mapping."""

    value: Any
    lines: Mapping[Path, int]
    doubles: tuple[Path, ...]

    def find_line(self, path: Path) -> int:
        """The line of a path, or of the nearest thing around it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def describe(self, file: str, problem: Problem) -> str:
        """`file:line: path: text`."""
        where = ".".join(problem.path)
        return f"{file}:{self.find_line(problem.path)}: {f'{where}: ' if where else ''}{problem.text}"


def read_places(text: str) -> Places:
    """Read a text.

    Raises:
        yaml.MarkedYAMLError: it is no YAML.
    """
    lines: dict[Path, int] = {}
    doubles: list[Path] = []
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None:
        _walk(root, (), lines, doubles)
    return Places(value=yaml.safe_load(text), lines=lines, doubles=tuple(doubles))


def _walk(node: yaml.Node, path: Path, lines: dict[Path, int], doubles: list[Path]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            inner = (*path, str(key.value))
            if inner[-1] in seen:
                doubles.append(inner)
            seen.add(inner[-1])
            lines[inner] = key.start_mark.line + 1
            _walk(value, inner, lines, doubles)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(cast("list[yaml.Node]", node.value)):
            _walk(value, (*path, str(number)), lines, doubles)


def read_validation(error: msgspec.ValidationError, around: Path = (), fields: Iterable[str] = ()) -> Problem:
    """What msgspec says, with its path as keys below `around`; an unknown field is a place of its own.

    `fields` are the names that might have been meant.
    """
    text = str(error)
    found = _PATH.search(text)
    path = around
    if found:
        text = text[: found.start()]
        path += tuple(part for part in re.split(r"[.\[\]]+", found["path"]) if part and part != "...")
    unknown = _UNKNOWN.search(text)
    if not unknown:
        return Problem(path=path, text=text)
    return Problem(path=(*path, unknown["name"]), text=f"{text}; {suggest(unknown['name'], fields)}")


def suggest(name: str, known: Iterable[str]) -> str:
    """The nearest known name, or all of them."""
    names = list(known)
    close = get_close_matches(name, names, 1)
    return f"did you mean {close[0]!r}?" if close else f"there is {', '.join(names) or 'none'}"
