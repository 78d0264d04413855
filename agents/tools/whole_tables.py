"""Whole tables in and out of the warehouse: reads by BigQuery's Storage API (Arrow), writes by one load job. For jobs.

A load job is complete or absent. Statements are agents.tools.warehouse's.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from agents.tools import warehouse
from agents.tools.once import once
from agents.tools.settings import settings
from schemas import topology
from schemas.rows import Row
from schemas.tables import TABLES
from schemas.warehouse import tables

if TYPE_CHECKING:
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient

Columns = Any  # a pyarrow.Table; pyarrow ships no types, its reader turns the columns into arrays at once
LOAD_SECONDS = 1800.0
READ_SECONDS = 60.0  # until the first answer of a stream


class WholeTables(Protocol):
    """Where whole tables are read and written."""

    def read_table(self, table: str, restriction: str) -> Columns:
        """The rows of a table for which `restriction` (a WHERE clause of literals) holds."""
        ...

    def load_rows(self, table: str, rows: Sequence[Row]) -> int:
        """Add all rows, or none; how many."""
        ...


class BigQueryTables:
    """Google BigQuery's Storage API and load jobs."""

    def read_table(self, table: str, restriction: str) -> Columns:
        """The rows of a table for which `restriction` (a WHERE clause of literals) holds.

        Raises:
            PermissionError: the topology does not grant the warehouse to this service.
            google.api_core.exceptions.GoogleAPICallError: BigQuery refuses, or does not answer.
        """
        from google.cloud.bigquery_storage_v1 import types

        client = _reader()
        project = settings().project
        session = client.create_read_session(
            parent=f"projects/{project}",
            read_session=types.ReadSession(
                table=f"projects/{project}/datasets/{topology.load().dataset}/tables/{table}",
                data_format=types.DataFormat.ARROW,
                read_options=types.ReadSession.TableReadOptions(row_restriction=restriction),
            ),
            max_stream_count=1,
            timeout=READ_SECONDS,
        )
        if not session.streams:  # no row
            import pyarrow as pa

            return pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema)).empty_table()
        return client.read_rows(session.streams[0].name).to_arrow(session)

    def load_rows(self, table: str, rows: Sequence[Row]) -> int:
        """Add all rows, or none; how many. Raises as `read_table` does."""
        from google.cloud.bigquery import LoadJobConfig, SchemaField, SourceFormat

        named = topology.load()
        if table not in named.access(settings().service).writes_tables:
            raise PermissionError(f"{settings().service} may not write the table {table}; topology.yaml grants it")
        (found,) = (one for one in tables() if one.name == table)
        lines = b"\n".join(msgspec.json.encode(row) for row in rows)
        job = warehouse.client().load_table_from_file(
            io.BytesIO(lines),
            f"{settings().project}.{named.dataset}.{table}",
            job_config=LoadJobConfig(
                schema=[SchemaField.from_api_repr(field) for field in found.resource["schema"]["fields"]],
                source_format=SourceFormat.NEWLINE_DELIMITED_JSON,
                write_disposition="WRITE_APPEND",
            ),
        )
        job.result(timeout=LOAD_SECONDS)
        return len(rows)


class FakeTables:
    """Tables in memory; `loads` keeps what was written, by table."""

    def __init__(self, found: dict[str, Columns] | None = None) -> None:
        self.found = dict(found or {})
        self.loads: dict[str, list[Row]] = {name: [] for name in TABLES}

    def read_table(self, table: str, restriction: str) -> Columns:  # noqa: ARG002 -- the port's signature
        """The prepared table."""
        return self.found[table]

    def load_rows(self, table: str, rows: Sequence[Row]) -> int:
        """Keep the rows."""
        self.loads[table] += rows
        return len(rows)


@once
def whole_tables() -> BigQueryTables:
    """The process's one."""
    return BigQueryTables()


@once
def _reader() -> BigQueryReadClient:
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient

    if "warehouse" not in topology.load().access(settings().service).stores:
        raise PermissionError(f"{settings().service} may not use the warehouse; topology.yaml grants it")
    endpoint = settings().bigquery_storage_endpoint
    if not endpoint:
        return BigQueryReadClient()
    # The Storage API has no official emulator variable: an endpoint of our own is reached in plain text.
    import grpc
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

    unbounded = ("grpc.max_receive_message_length", -1)  # as Google's own channel has it; gRPC's default is 4 MiB
    channel = grpc.insecure_channel(endpoint, options=[unbounded])
    return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
