"""Writes batches of messages where a native subscription sends them: a BigQuery table or a Cloud Storage bucket.

A write has two outcomes besides success: refusals (these messages can never be written, with the reason) and
UnavailableError (nothing is known: try the same batch again). Pulling, acknowledging and dead letters are native.py's.
"""

from __future__ import annotations

import base64
import io
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
import requests
from google.api_core import exceptions
from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage
from google.pubsub_v1.types import PubsubMessage, ReceivedMessage

from emulators.columns import Table, find_problem, read_table, unwrap_json
from schemas.topology import BigQuerySink, StorageSink, bucket_id

_CALL_SECONDS = 5
_NO_RETRY = Retry(predicate=lambda _: False)  # native's loop is the one retry policy
_LOAD_ROWS = 300  # from here on a load job is quicker (measured with bqemulator 1.4.0: 0.1 s each)
_LOAD_SECONDS = 8  # below the lease, with the time of one more try
_SINGLE_TRIES, _SINGLE_PAUSE_SECONDS = 5, 0.2
_SCHEMA_SECONDS = 5.0
_STORAGE_PAUSE_SECONDS = 5
_DOWN = (
    requests.ConnectionError,
    requests.Timeout,
    exceptions.ServiceUnavailable,
    exceptions.GatewayTimeout,
    exceptions.BadGateway,
    exceptions.TooManyRequests,
    exceptions.NotFound,  # the table or bucket may still come
    exceptions.RetryError,
)


class UnavailableError(Exception):
    """The store did not take the batch, and said nothing about its messages."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A message that can never be written, and why."""

    message: ReceivedMessage
    reason: str


class Writer(Protocol):
    """One native subscription's store; waits `pause_seconds` for a batch to gather, takes `batch_messages` at once."""

    pause_seconds: float
    batch_messages: int

    def write(self, messages: Sequence[ReceivedMessage]) -> list[Refusal]:
        """Writes a batch; returns what was refused. UnavailableError: nothing is known, write the same batch again."""
        ...


class BigQueryWriter:
    """Rows of a table, through insertAll; the message id lets BigQuery drop what it was sent twice."""

    pause_seconds = 0.2
    batch_messages = 1000

    def __init__(self, project: str, dataset: str, sink: BigQuerySink, subscription: str) -> None:
        self._client = bigquery.Client(project=project, credentials=AnonymousCredentials())
        self._table = f"{project}.{dataset}.{sink.table}"
        self._subscription, self._with_metadata = subscription, sink.write_metadata
        self._schema: Sequence[bigquery.SchemaField] = ()
        self._columns = read_table(())
        self._schema_read = float("-inf")

    def write(self, messages: Sequence[ReceivedMessage]) -> list[Refusal]:
        """Writes the rows that the table takes."""
        rows: list[tuple[ReceivedMessage, dict[str, Any]]] = []
        refusals: list[Refusal] = []
        for message in messages:
            row, problem = self._read_row(message)
            if problem is None:
                rows.append((message, row))
            else:
                refusals.append(Refusal(message=message, reason=problem))
        if len(rows) >= _LOAD_ROWS and self._load([row for _, row in rows]):
            return refusals
        return refusals + (self._insert(rows) if rows else [])

    def _read_row(self, message: ReceivedMessage) -> tuple[dict[str, Any], str | None]:
        body: Any = None
        table = self._read_schema(_SCHEMA_SECONDS * 12)
        if self._with_metadata:
            as_bytes = table.fields["data"].field_type == "BYTES" if "data" in table.fields else False
            body = describe_delivery(message, self._subscription, as_bytes=as_bytes)
        else:
            try:
                body = msgspec.json.decode(message.message.data)
            except (ValueError, RecursionError) as error:
                return {}, f"the message is not JSON: {type(error).__name__}"
        problem = find_problem(body, table)
        if problem:  # the table may have got the column since
            problem = find_problem(body, self._read_schema(_SCHEMA_SECONDS))
        return body, problem

    def _read_schema(self, age_seconds: float) -> Table:
        if time.monotonic() - self._schema_read > age_seconds:
            try:
                self._schema = self._client.get_table(self._table, retry=_NO_RETRY, timeout=_CALL_SECONDS).schema
            except (*_DOWN, exceptions.ServerError) as error:
                raise UnavailableError(f"{self._table}: {_describe(error)}") from error
            self._columns = read_table(self._schema)
            self._schema_read = time.monotonic()
        return self._columns

    def _load(self, rows: list[dict[str, Any]]) -> bool:
        """Appends all rows with a load job; False when that did not work: insertAll then says which row it was."""
        lines = msgspec.json.Encoder().encode_lines([unwrap_json(row, self._columns) for row in rows])
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.NEWLINE_DELIMITED_JSON,
            schema=self._schema,
            write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
        )
        try:
            job = self._client.load_table_from_file(
                io.BytesIO(lines), self._table, job_config=config, num_retries=0, timeout=_LOAD_SECONDS
            )
            job.result(retry=_NO_RETRY, timeout=_LOAD_SECONDS)
        except _DOWN as error:
            raise UnavailableError(f"{self._table}: {_describe(error)}") from error
        except exceptions.GoogleAPICallError:
            return False
        return True

    def _insert(self, rows: list[tuple[ReceivedMessage, dict[str, Any]]]) -> list[Refusal]:
        """Inserts rows; on an answer that blames nobody, halves them until the culprit is alone."""
        for attempt in range(_SINGLE_TRIES):
            try:
                return self._insert_once(rows)
            except _DOWN as error:
                raise UnavailableError(f"{self._table}: {_describe(error)}") from error
            except exceptions.GoogleAPICallError as error:
                if len(rows) > 1:
                    middle = len(rows) // 2
                    return self._insert(rows[:middle]) + self._insert(rows[middle:])
                reason = _describe(error)
                if isinstance(error, exceptions.ClientError) or attempt == _SINGLE_TRIES - 1:
                    return [Refusal(message=rows[0][0], reason=reason)]
                time.sleep(_SINGLE_PAUSE_SECONDS)
        raise AssertionError("unreachable: the last try returns")

    def _insert_once(self, rows: list[tuple[ReceivedMessage, dict[str, Any]]]) -> list[Refusal]:
        answers = self._client.insert_rows_json(
            self._table,
            [row for _, row in rows],
            row_ids=[message.message.message_id for message, _ in rows],
            skip_invalid_rows=True,
            retry=_NO_RETRY,
            timeout=_CALL_SECONDS,
        )
        return [
            Refusal(message=rows[answer["index"]][0], reason="; ".join(e["message"] for e in answer["errors"]))
            for answer in answers
        ]


def describe_delivery(message: ReceivedMessage, subscription: str, *, as_bytes: bool) -> dict[str, Any]:
    """The columns of `write_metadata`; a BYTES column travels as base64."""
    body = message.message.data
    return {
        "subscription_name": subscription,
        "message_id": message.message.message_id,
        "publish_time": format_time(message.message),
        "data": base64.b64encode(body).decode() if as_bytes else body.decode("utf-8", "replace"),
        "attributes": json.dumps(dict(message.message.attributes)),
    }


def format_time(message: PubsubMessage) -> str:
    """The publish time as RFC 3339."""
    published: Any = message.publish_time  # protobuf's own Timestamp
    return published.ToDatetime(UTC).isoformat()


class StorageWriter:
    """One object per batch: the bodies, a line each."""

    batch_messages = 5000

    def __init__(self, project: str, sink: StorageSink) -> None:
        client = storage.Client(project=project, credentials=AnonymousCredentials())
        self._bucket = client.bucket(bucket_id(project, sink.bucket))
        self._sink = sink
        # A laptop does not wait a minute to see its archive.
        self.pause_seconds = float(min(sink.max_duration_seconds, _STORAGE_PAUSE_SECONDS))

    def write(self, messages: Sequence[ReceivedMessage]) -> list[Refusal]:
        """Writes as many objects as `max_bytes` asks for. A repeat makes further objects: at least once."""
        for lines in split_lines([message.message.data for message in messages], self._sink.max_bytes):
            name = f"{self._sink.prefix}{datetime.now(UTC):%Y-%m-%dT%H:%M:%S+00:00}_{uuid.uuid4().hex[:6]}"
            blob = self._bucket.blob(f"{name}{self._sink.suffix}")
            try:
                blob.upload_from_string(lines, retry=_NO_RETRY, timeout=_CALL_SECONDS)
            except (*_DOWN, exceptions.GoogleAPICallError) as error:
                raise UnavailableError(f"{self._bucket.name}: {_describe(error)}") from error
        return []


def split_lines(bodies: Sequence[bytes], max_bytes: int) -> list[bytes]:
    """Joins bodies to texts of lines, each of at most `max_bytes` unless one body alone is longer."""
    texts: list[bytes] = []
    lines: list[bytes] = []
    size = 0
    for body in bodies:
        if lines and size + len(body) + 1 > max_bytes:
            texts.append(b"".join(lines))
            lines, size = [], 0
        lines += [body, b"\n"]
        size += len(body) + 1
    return [*texts, b"".join(lines)] if lines else texts


def _describe(error: Exception) -> str:
    text = getattr(error, "message", "") or str(error)
    return f"{type(error).__name__}: {text}"[:500]
