"""The two tools that a model may call about one person: query_warehouse and query_graph, behind their guards.

Owns the running, the bounds and what was returned, so that a quotation can be checked against it. A refusal and an error
are results too: the model reads them and may try again. Deliberately asks no model.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from agents.prompts import Evidence
from agents.tools.graph import Graph, GraphUnavailable
from agents.tools.guards import Refused, cypher_guard, sql_guard
from agents.tools.models import ToolCall
from agents.tools.warehouse import Bounds, Warehouse

BOUNDS = Bounds(max_rows=50, max_bytes_billed=10 * 1024**3, seconds=20.0)
MAX_RESULT_BYTES = 20_000  # what a model reads of one result
Row = dict[str, Any]


class Toolbox:
    """What may be asked about one person, and every row that was returned, by the name of its result (r1, r2, ...)."""

    def __init__(self, user_id: str, warehouse: Warehouse, graph: Graph) -> None:
        self._user_id = user_id
        self._warehouse = warehouse
        self._graph = graph
        self.results: dict[str, list[Row]] = {}

    def run(self, call: ToolCall) -> dict[str, Any]:
        """What a call returns: {result, rows, truncated}, or {error} that says what to write instead."""
        try:
            if call.name == "query_warehouse":
                rows = self._query_warehouse(str(call.arguments.get("sql", "")))
            elif call.name == "query_graph":
                rows = self._query_graph(str(call.arguments.get("cypher", "")))
            else:
                return {"error": f"there is no tool {call.name}"}
        except Refused as refusal:
            return {"error": str(refusal)}
        shown = _fit(rows[: BOUNDS.max_rows])
        name = f"r{len(self.results) + 1}"
        self.results[name] = shown
        return {"result": name, "rows": shown, "truncated": len(shown) < len(rows) or len(rows) >= BOUNDS.max_rows}

    def find_row(self, evidence: Evidence) -> Row:
        """The row that a piece of evidence quotes.

        Raises:
            LookupError: there is no such result, row or column, or it says something else.
        """
        rows = self.results.get(evidence.result)
        if rows is None:
            raise LookupError(f"no result {evidence.result!r}; there are {', '.join(self.results) or 'none'}")
        if not 0 <= evidence.row < len(rows):
            raise LookupError(f"{evidence.result} has the rows 0 to {len(rows) - 1}, not {evidence.row}")
        row = rows[evidence.row]
        for quote in evidence.quotes:
            if quote.column not in row:
                raise LookupError(f"{evidence.result} has no column {quote.column!r}; it has {', '.join(row)}")
            if quote.value != write_value(row[quote.column]):
                found = write_value(row[quote.column])[:100]
                raise LookupError(
                    f"{quote.column} of row {evidence.row} of {evidence.result} is {found!r}, not as quoted"
                )
        return row

    def _query_warehouse(self, sql: str) -> list[Row]:
        from google.api_core.exceptions import BadRequest, Forbidden, NotFound

        checked = sql_guard.check(sql)
        try:
            rows = self._warehouse.query_within(checked.sql, {"user_id": self._user_id}, BOUNDS)
        except (BadRequest, Forbidden, NotFound, TimeoutError) as error:
            # Its own words may quote the statement around the model's, which it does not need to know.
            raise Refused(f"BigQuery refuses the statement ({type(error).__name__}); write a simpler one") from error
        return [_plain(row) for row in rows]

    def _query_graph(self, cypher: str) -> list[Row]:
        checked = cypher_guard.check(cypher)
        try:
            return [_plain(row) for row in self._graph.read(checked, {"userId": self._user_id})]
        except GraphUnavailable:
            raise Refused("the graph does not answer this; go on without it, or write a simpler statement") from None


def write_value(value: Any) -> str:
    """A value as it is quoted: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _plain(row: Row) -> Row:
    """A row as JSON: times as ISO 8601, money as text, so that what is shown is what is compared."""
    return {name: msgspec.to_builtins(_flatten(value)) for name, value in row.items()}


def _flatten(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _flatten(inner) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [_flatten(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    if value is None or isinstance(value, str | int | float | bool | Decimal | datetime | date):
        return value
    return str(value)  # Neo4j's own times


def _fit(rows: list[Row]) -> list[Row]:
    size, kept = 0, list[Row]()
    for row in rows:
        size += len(msgspec.json.encode(row))
        if size > MAX_RESULT_BYTES:
            break
        kept.append(row)
    return kept
