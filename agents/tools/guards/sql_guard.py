"""SQL that a model wrote: checked by Google's own analyser, and run only over one person's rows.

The model sees relations (`relations/*.sql`) under their bare names and nothing else: the analyser's catalogue holds no
other table, so that no other name resolves. What runs is its statement behind `WITH <relation> AS (<its file>)`, where each
file takes the person's rows alone (`@user_id`): a filter is not looked for, it is there by construction. The rows are
capped and the bytes too where the statement runs (`agents.tools.warehouse.Bounds`). Deliberately runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.tools.guards import Refused
from agents.tools.once import once

FOLDER = Path(__file__).with_name("relations")
SHARED = frozenset({"products"})  # the only ones that hold nobody's data
MAX_CHARACTERS = 4000
# They tell about the service, fail or wait on purpose, or reach outside; the rest of the built-in functions only compute.
FORBIDDEN = (
    "session_user",
    "error",
    "net.",
    "keys.",
    "aead.",
    "deterministic_",
    "ml.",
    "external_",
    "generate_array",
    "repeat",
)


@dataclass(frozen=True, kw_only=True)
class CheckedSql:
    """What may run, with the parameter `user_id`; the relations that it reads."""

    sql: str
    relations: tuple[str, ...]


def check(sql: str) -> CheckedSql:
    """The statement that may run in place of what the model wrote.

    Raises:
        Refused: it is not one SELECT over the relations; says where and why.
    """
    from zetasql.core.exceptions import ZetaSQLError

    if not sql.strip() or len(sql) > MAX_CHARACTERS:
        raise Refused(f"the statement has {len(sql)} characters; write 1 to {MAX_CHARACTERS}")
    try:
        statement: Any = _catalogue().analyse(sql)
    except ZetaSQLError as error:
        raise Refused(f"{error}; the tables are {', '.join(sorted(read_relations()))}") from None
    except (ValueError, RuntimeError, UnicodeError) as error:  # what the analyser's border makes of odd characters
        raise Refused(f"the statement cannot be read: {type(error).__name__}") from None
    if type(statement).__name__ != "ResolvedQueryStmt":
        raise Refused("only one SELECT may run")
    scanned = _check_nodes(statement)
    clauses = [f"{name} AS (\n{read_relations()[name]}\n)" for name in sorted(scanned)]
    behind = f"WITH {', '.join(clauses)}\n" if clauses else ""
    # A line break before the bracket: the statement may end in a comment.
    return CheckedSql(sql=f"{behind}(\n{sql.strip().rstrip(';')}\n)", relations=tuple(sorted(scanned)))


@once
def read_relations() -> dict[str, str]:
    """The SQL of every relation by its name, without its comment."""
    found: dict[str, str] = {}
    for path in sorted(FOLDER.glob("*.sql")):
        lines = path.read_text(encoding="utf-8").splitlines()
        found[path.stem] = "\n".join(line for line in lines if not line.startswith("--")).strip()
    return found


def describe_relations() -> dict[str, dict[str, str]]:
    """The columns of every relation with their types, for the model to read."""
    return {name: _catalogue().columns(name) for name in read_relations()}


def _check_nodes(statement: Any) -> set[str]:
    """The relations that a statement scans; refuses what must not be in it."""
    scanned: set[str] = set()
    for node in _walk(statement):
        kind = type(node).__name__
        if kind == "ResolvedTableScan":
            if getattr(node, "for_system_time_expr", None) is not None:
                raise Refused("FOR SYSTEM_TIME is not allowed")
            scanned.add(str(node.table.name))
        elif kind in {"ResolvedRecursiveScan", "ResolvedRecursiveRefScan"}:
            raise Refused("WITH RECURSIVE is not allowed")
        elif kind in {"ResolvedTVFScan", "ResolvedExecuteImmediateStmt"}:
            raise Refused("table functions are not allowed")
        elif kind == "ResolvedParameter" and node.name != "user_id":
            raise Refused(f"@{node.name} is no parameter; the person is bound already")
        elif getattr(node, "function", None) is not None:
            _check_function(str(node.function.name))
    if unknown := scanned - read_relations().keys():
        raise Refused(f"no table {', '.join(sorted(unknown))}")
    return scanned


def _check_function(name: str) -> None:
    function = name.rpartition(":")[2].lower()
    if function.startswith(FORBIDDEN):
        raise Refused(f"the function {function.upper()} is not allowed")


def _walk(node: Any) -> Iterator[Any]:
    if isinstance(node, list | tuple):
        for item in node:  # pyright: ignore[reportUnknownVariableType]  # the analyser's tree is untyped
            yield from _walk(item)
        return
    yield node
    # A class lists its own fields only, or its parents' as well: each name once.
    for name in dict.fromkeys(name for kind in type(node).__mro__ for name in vars(kind).get("_PROTO_FIELD_MAP", ())):
        value = getattr(node, name, None)
        if isinstance(value, list | tuple) or hasattr(value, "_PROTO_FIELD_MAP"):
            yield from _walk(value)


class _Catalogue:
    """The relations as tables, typed by their own SQL."""

    def __init__(self) -> None:
        from schemas import warehouse
        from schemas.analyser import Analyser

        sources = {source.name: source.fields for source in (*warehouse.tables(), *warehouse.views())}
        typed = Analyser(sources, views=[])
        self._resolve = typed.make_resolver(read_relations())
        self._columns = {name: typed.columns(sql) for name, sql in read_relations().items()}

    def analyse(self, sql: str) -> Any:
        """The resolved statement; raises ZetaSQLError."""
        return self._resolve(sql)

    def columns(self, name: str) -> dict[str, str]:
        """The columns of a relation with their types."""
        return self._columns[name]


@once
def _catalogue() -> _Catalogue:
    return _Catalogue()
