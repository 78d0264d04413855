"""The warehouse: parameterised GoogleSQL over BigQuery, only for services to which the topology grants it.

Owns the client, its location and its bounded timeouts. The statements themselves are files in `schemas/bigquery`, or
short ones beside the code that needs them; they name tables as `argo.<name>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from agents.tools.once import once
from agents.tools.settings import settings
from schemas import topology

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, QueryJobConfig
    from google.cloud.bigquery.table import RowIterator


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a statement that we did not write may cost: rows returned, bytes billed, seconds."""

    max_rows: int
    max_bytes_billed: int
    seconds: float


Parameter = str | int | float | datetime | list[str]
Record = dict[str, Any]  # one row at the JSON border; its reader turns it into a type at once

REQUEST_SECONDS = 30.0  # one HTTP request to BigQuery
QUERY_SECONDS = 60.0  # a question that somebody waits for
STATEMENT_SECONDS = 1800.0  # a job's statement; every job's own timeout is at least this in topology.yaml or shorter
RETRY_SECONDS = 30.0  # the client's default is 600, longer than any of our requests may take
_NO_PARAMETERS: Mapping[str, Parameter] = {}


class Warehouse(Protocol):
    """Where facts are asked for."""

    def query(self, sql: str, parameters: Mapping[str, Parameter] = _NO_PARAMETERS) -> list[Record]:
        """The rows of a SELECT, each a dict by column name."""
        ...

    def query_within(self, sql: str, parameters: Mapping[str, Parameter], bounds: Bounds) -> list[Record]:
        """The first rows of a SELECT that stops at its bounds."""
        ...

    def execute(self, sql: str, parameters: Mapping[str, Parameter] = _NO_PARAMETERS) -> int:
        """Run one statement that changes data; the number of rows changed. All of it happens, or none."""
        ...


class BigQuery:
    """Google BigQuery."""

    def query(self, sql: str, parameters: Mapping[str, Parameter] = _NO_PARAMETERS) -> list[Record]:
        """The rows of a SELECT, each a dict by column name.

        Raises:
            PermissionError: the topology does not grant the warehouse to this service.
            google.api_core.exceptions.GoogleAPICallError: BigQuery refuses the statement, or does not answer.
        """
        return [dict(row.items()) for row in _run(sql, parameters, QUERY_SECONDS)[0]]

    def query_within(self, sql: str, parameters: Mapping[str, Parameter], bounds: Bounds) -> list[Record]:
        """The first rows of a SELECT that stops at its bounds. Raises as `query` does, and TimeoutError."""
        from google.cloud.bigquery.retry import DEFAULT_RETRY

        config = _job_config(parameters)
        config.maximum_bytes_billed = bounds.max_bytes_billed
        config.job_timeout_ms = int(bounds.seconds * 1000)
        retry = DEFAULT_RETRY.with_timeout(RETRY_SECONDS)
        job = client().query(sql, job_config=config, timeout=REQUEST_SECONDS, retry=retry)
        rows = job.result(timeout=bounds.seconds, retry=retry, max_results=bounds.max_rows)
        return [dict(row.items()) for row in rows]

    def execute(self, sql: str, parameters: Mapping[str, Parameter] = _NO_PARAMETERS) -> int:
        """Run one statement that changes data; the number of rows changed. Raises as `query` does."""
        return _run(sql, parameters, STATEMENT_SECONDS)[1]


class FakeWarehouse:
    """Answers by the first key that occurs in the statement, and keeps what was asked; `error` fails everything."""

    def __init__(self, answers: Mapping[str, list[Record]] | None = None, error: Exception | None = None) -> None:
        self.answers = dict(answers or {})
        self.error = error
        self.asked: list[tuple[str, dict[str, Parameter]]] = []

    def query(self, sql: str, parameters: Mapping[str, Parameter] = _NO_PARAMETERS) -> list[Record]:
        """The prepared rows; none when nothing was prepared for the statement."""
        self.asked.append((sql, dict(parameters)))
        if self.error:
            raise self.error
        return next((rows for key, rows in self.answers.items() if key in sql), [])

    def query_within(self, sql: str, parameters: Mapping[str, Parameter], bounds: Bounds) -> list[Record]:
        """The first prepared rows."""
        return self.query(sql, parameters)[: bounds.max_rows]

    def execute(self, sql: str, parameters: Mapping[str, Parameter] = _NO_PARAMETERS) -> int:
        """The number of rows prepared for the statement."""
        return len(self.query(sql, parameters))


@once
def bigquery() -> BigQuery:
    """The process's one warehouse."""
    return BigQuery()


def _run(sql: str, parameters: Mapping[str, Parameter], wait_seconds: float) -> tuple[RowIterator, int]:
    """Run one statement: its rows and the number of rows that it changed."""
    from google.cloud.bigquery.retry import DEFAULT_RETRY

    retry = DEFAULT_RETRY.with_timeout(RETRY_SECONDS)
    # Not query_and_wait: bqemulator reports a refused statement inside a 200, which that takes for an empty answer.
    job = client().query(sql, job_config=_job_config(parameters), timeout=REQUEST_SECONDS, retry=retry)
    rows = job.result(timeout=wait_seconds, retry=retry)
    return rows, job.num_dml_affected_rows or 0  # pyright: ignore[reportReturnType] -- only a script's child has no rows


def _job_config(parameters: Mapping[str, Parameter]) -> QueryJobConfig:
    from google.cloud.bigquery import ArrayQueryParameter, QueryJobConfig, ScalarQueryParameter

    kinds = {str: "STRING", int: "INT64", float: "FLOAT64", datetime: "TIMESTAMP"}
    return QueryJobConfig(
        query_parameters=[
            ArrayQueryParameter(name, "STRING", value)
            if isinstance(value, list)
            else ScalarQueryParameter(name, kinds[type(value)], value)
            for name, value in parameters.items()
        ]
    )


@once
def client() -> Client:
    """The process's one client, for agents.tools.whole_tables too."""
    from google.cloud.bigquery import Client

    named = topology.load()
    if "warehouse" not in named.access(settings().service).stores:
        raise PermissionError(f"{settings().service} may not use the warehouse; topology.yaml grants it")
    return Client(project=settings().project, location=named.region)
