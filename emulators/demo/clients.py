"""The stores as an outsider sees them: Google's clients, the neo4j driver and HTTP, told only by local.env."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar, cast

import httpx

from emulators.cloud import LaptopCloud

if TYPE_CHECKING:
    from google.cloud import bigquery, firestore
    from neo4j import Driver

POLL_SECONDS = 0.3
Value = TypeVar("Value")


class StageError(Exception):
    """A stage did not reach its goal; `reason` says what was seen, `fix` what to do."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


@dataclass(kw_only=True)
class Outside:
    """Everything that a client of the running cloud can reach, and a place for progress words."""

    cloud: LaptopCloud
    tell: Callable[[str], None] = field(default=lambda _: None)

    def __post_init__(self) -> None:
        # Google's clients find the emulators by these variables and nothing else.
        os.environ.update(self.cloud.env)

    @cached_property
    def http(self) -> httpx.Client:
        """HTTP to the functions and the mailbox."""
        return httpx.Client(timeout=60, trust_env=False)

    @cached_property
    def warehouse(self) -> bigquery.Client:
        """BigQuery."""
        from google.cloud import bigquery

        return bigquery.Client()

    @cached_property
    def profiles(self) -> firestore.Client:
        """Firestore."""
        from google.cloud import firestore

        return firestore.Client()

    @cached_property
    def graph(self) -> Driver:
        """Neo4j."""
        from neo4j import GraphDatabase

        env = self.cloud.env
        return GraphDatabase.driver(env["NEO4J_URI"], auth=(env["NEO4J_USERNAME"], env["NEO4J_PASSWORD"]))

    def query(self, sql: str, **parameters: str) -> list[dict[str, Any]]:
        """Rows of a query; parameters are texts."""
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(
            query_parameters=[bigquery.ScalarQueryParameter(k, "STRING", v) for k, v in parameters.items()]
        )
        return [dict(row.items()) for row in self.warehouse.query(sql, job_config=config).result(timeout=60)]

    def count(self, sql: str) -> int:
        """The one number that a query gives."""
        (row,) = self.query(sql)
        return int(next(iter(row.values())) or 0)

    def cypher(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a Cypher statement."""
        from neo4j import Query

        query = Query(cast("LiteralString", statement))
        records, _, _ = self.graph.execute_query(query, parameters, database_=self.cloud.env["NEO4J_DATABASE"])
        return [record.data() for record in records]

    def mailbox(self) -> list[dict[str, Any]]:
        """Every message in the mailbox."""
        answer = self.http.get(f"{self.cloud.env['ARGO_MAILBOX_URL']}/messages").raise_for_status()
        return answer.json()

    def run_job(self, name: str) -> str:
        """Run a job of the topology; its last line. StageError with the end of its output when it fails."""
        done = self.cloud.run_job(name)
        output = (done.stdout + done.stderr).strip()
        if done.returncode != 0:
            tail = "\n".join(output.splitlines()[-15:])
            raise StageError(f"job {name} ended with {done.returncode}:\n{tail}", f"run: make job NAME={name}")
        return (output.splitlines() or [""])[-1]

    def wait_for(self, what: str, read: Callable[[], Value], until: Callable[[Value], bool], seconds: float) -> Value:
        """Poll until a value is as it should be.

        Raises:
            StageError: it was not in time; names the last value seen.
        """
        deadline = time.monotonic() + seconds
        while not until(value := read()):
            self.tell(f"{what}: {_shorten(value)}")
            if time.monotonic() > deadline:
                raise StageError(
                    f"{what} did not get there in {seconds:.0f} s; last seen: {_shorten(value)}",
                    f"look into {self.cloud.directory}/logs, first native.log and the function's own",
                )
            time.sleep(POLL_SECONDS)
        return value

    def close(self) -> None:
        """Close what was opened."""
        for name in ("http", "warehouse", "profiles", "graph"):
            if name in self.__dict__:
                self.__dict__[name].close()


def _shorten(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return str(value)[:120]
