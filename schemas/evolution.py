"""What may change in a contract once somebody keeps rows or sends messages of it: columns may come, nothing may go.

Owns the short form of a contract ("column": "TYPE MODE") and the comparison of two. The forms on file are in
`schemas/promised/`; `make render` adds to them what is new and refuses what would break. A break that is really meant
deletes the contract's file there, in the same change that says how existing rows are moved.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("promised")
Promise = dict[str, str]  # path of a column -> its type and mode


class Breaking(ValueError):
    """A contract was changed so that existing rows, messages or queries no longer fit; names each and the way out."""


def summarise(fields: Iterable[Mapping[str, Any]], above: str = "") -> Promise:
    """The columns of a table, nested ones by their path, in the order of their names."""
    found: Promise = {}
    for field in fields:
        path = f"{above}{field['name']}"
        found[path] = f"{field['type']} {field['mode']}"
        found |= summarise(field.get("fields", []), f"{path}.")
    return dict(sorted(found.items()))


def find_breaks(promised: Mapping[str, str], current: Mapping[str, str]) -> list[str]:
    """What would break, each with what to do instead; empty when the change is safe.

    Safe is what BigQuery lets a table do and old messages survive: a new column that is not REQUIRED, and a REQUIRED
    one that becomes NULLABLE.
    """
    problems: list[str] = []
    for path, was in promised.items():
        now = current.get(path)
        if now is None:
            problems.append(f"{path} was {was} and is gone: keep it (mark it deprecated in its description)")
        elif now != was and (was.split()[0] != now.split()[0] or not was.endswith("REQUIRED") or "NULLABLE" not in now):
            problems.append(f"{path} was {was} and is {now}: keep it, and add another column for the new meaning")
    for path in current.keys() - promised.keys():
        if current[path].endswith("REQUIRED") and path.rpartition(".")[0] in {"", *promised}:
            problems.append(
                f"{path} is new and {current[path]}: rows that exist have no value; give it a default of None"
            )
    return sorted(problems)


def read_promise(name: str) -> Promise:
    """The promised columns of a table; none when it is new."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def check(name: str, current: Promise) -> Promise:
    """The promise as it will be: the current columns, when nothing breaks.

    Raises:
        Breaking: naming the table and each column.
    """
    promised = read_promise(name)
    problems = find_breaks(promised, current) if promised else []
    if problems:
        raise Breaking(f"{name}: " + "; ".join(problems))
    return current
