"""A YAML file that people write: read into a type, with every problem as `file:line: path: what is wrong and what to do`.

Owns where in a text a value stands, and how msgspec's words become a place and a fix. Every such file of the suite is read
by it; what a file's values must be to each other is the reader's. Knows nothing of any of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar, cast

import msgspec
import yaml

Path = tuple[str, ...]
Shape = TypeVar("Shape")
_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong at a path of keys, and what to do about it."""

    path: Path
    text: str


@dataclass(frozen=True, kw_only=True)
class Places:
    """The values of a file and the line of every key; `doubles` are keys that stand twice in one mapping.

    `refusal` is what a reader of this file raises.
    """

    file: str
    value: Any
    lines: Mapping[Path, int]
    doubles: tuple[Path, ...]
    refusal: type[ValueError]

    def convert(self, shape: type[Shape]) -> Shape:
        """The whole value as a type; nothing stands for an empty mapping. Raises the refusal."""
        try:
            value = msgspec.convert({} if self.value is None else self.value, shape)
        except msgspec.ValidationError as error:
            self.refuse([read_validation(error, fields=getattr(shape, "__struct_fields__", ()))])
            raise AssertionError("a problem was given") from error
        self.refuse([])
        return value

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Raise the refusal with every problem, and every key that stands twice; nothing when there is none."""
        twice = [Problem(path=path, text="stands there twice; remove one") for path in self.doubles]
        if found := [self.describe(problem) for problem in [*twice, *problems]]:
            raise self.refusal("\n".join(found))

    def find_line(self, path: Path) -> int:
        """The line of a path, or of the nearest thing around it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def find_dotted_line(self, path: str) -> int:
        """The line of a path written with dots; keys may have dots themselves, so the longest that fits is taken."""
        joined = {".".join(parts): line for parts, line in self.lines.items()}
        fits = [known for known in joined if path == known or path.startswith(f"{known}.")]
        return joined[max(fits, key=len)] if fits else 1

    def describe(self, problem: Problem) -> str:
        """`file:line: path: text`."""
        where = ".".join(problem.path)
        return f"{self.file}:{self.find_line(problem.path)}: {f'{where}: ' if where else ''}{problem.text}"


def read_places(text: str | bytes, file: str, refusal: type[ValueError]) -> Places:
    """Read a file's text; `file` is its name in the messages. Raises the refusal when it is no YAML."""
    lines: dict[Path, int] = {}
    doubles: list[Path] = []
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            _walk(root, (), lines, doubles)
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise refusal(f"{file}:{line}: not YAML: {error.problem or error.context}; mend its syntax") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise refusal(f"{file}:1: not YAML: {error}; mend its characters") from error
    return Places(file=file, value=value, lines=lines, doubles=tuple(doubles), refusal=refusal)


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
