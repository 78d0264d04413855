"""The graph: Cypher over Bolt, only for services to which the topology grants it.

Owns the driver, its bounded timeouts and its password. Statements are files in `schemas/cypher`; they use nothing that
only one server knows (no `gds.*`, no `apoc.*`, no `algo.*`).
"""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from agents.tools.once import once
from agents.tools.secrets import secret_manager
from agents.tools.settings import SettingsError, require, settings
from schemas import topology

if TYPE_CHECKING:
    from neo4j import Driver

Record = dict[str, Any]  # one row at the JSON border; its reader turns it into a type at once
Parameters = Mapping[str, Any]

CONNECT_SECONDS = 5.0
RETRY_SECONDS = 3.0  # the driver's default is 30; who asks can do without the graph, or is a job that goes on later
READ_SECONDS = 10.0
WRITE_SECONDS = 60.0
_NO_PARAMETERS: Parameters = {}


class GraphUnavailable(Exception):
    """No answer from the graph: not configured, not reachable, or the statement failed."""


class Graph(Protocol):
    """Where connections are asked for."""

    def read(self, statement: str, parameters: Parameters = _NO_PARAMETERS) -> list[Record]:
        """The rows of a reading statement."""
        ...

    def write(self, statement: str, parameters: Parameters = _NO_PARAMETERS) -> list[Record]:
        """Run a writing statement in one transaction; its rows."""
        ...


class Neo4j:
    """Neo4j, or any server that speaks Bolt and openCypher."""

    def read(self, statement: str, parameters: Parameters = _NO_PARAMETERS) -> list[Record]:
        """The rows of a reading statement.

        Raises:
            PermissionError: the topology does not grant the graph to this service.
            GraphUnavailable: no configuration, no connection, or the statement is refused.
        """
        return _run(statement, parameters, writes=False)

    def write(self, statement: str, parameters: Parameters = _NO_PARAMETERS) -> list[Record]:
        """Run a writing statement in one transaction; its rows. Raises as `read` does."""
        return _run(statement, parameters, writes=True)


class FakeGraph:
    """Answers by the first key that occurs in the statement, and keeps what was asked; `error` fails everything."""

    def __init__(self, answers: Mapping[str, list[Record]] | None = None, error: Exception | None = None) -> None:
        self.answers = dict(answers or {})
        self.error = error
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def read(self, statement: str, parameters: Parameters = _NO_PARAMETERS) -> list[Record]:
        """The prepared rows; none when nothing was prepared for the statement."""
        self.asked.append((statement, dict(parameters)))
        if self.error:
            raise self.error
        return next((rows for key, rows in self.answers.items() if key in statement), [])

    def write(self, statement: str, parameters: Parameters = _NO_PARAMETERS) -> list[Record]:
        """As `read`."""
        return self.read(statement, parameters)


@once
def neo4j() -> Neo4j:
    """The process's one graph."""
    return Neo4j()


def _run(statement: str, parameters: Parameters, *, writes: bool) -> list[Record]:
    from google.api_core.exceptions import GoogleAPICallError
    from neo4j import Query, RoutingControl
    from neo4j.exceptions import DriverError, Neo4jError

    try:
        records, _, _ = _driver().execute_query(
            # The driver asks for a literal so that nobody pastes values into Cypher; ours are files with parameters.
            Query(statement, timeout=WRITE_SECONDS if writes else READ_SECONDS),  # pyright: ignore[reportArgumentType]
            dict(parameters),
            routing_=RoutingControl.WRITE if writes else RoutingControl.READ,
            database_=settings().neo4j_database,
        )
    except (DriverError, Neo4jError, SettingsError, GoogleAPICallError) as error:
        reason = " ".join(str(error).split())  # the driver's messages have several lines; a log line has one
        raise GraphUnavailable(f"{type(error).__name__}: {reason}") from error
    return [record.data() for record in records]


@once
def _driver() -> Driver:
    from neo4j import GraphDatabase

    if "graph" not in topology.load().access(settings().service).stores:
        raise PermissionError(f"{settings().service} may not use the graph; topology.yaml grants it")
    driver = GraphDatabase.driver(
        require(settings().neo4j_uri, "NEO4J_URI"),
        auth=(settings().neo4j_username, secret_manager().read("neo4j-password")),
        connection_timeout=CONNECT_SECONDS,
        connection_acquisition_timeout=RETRY_SECONDS,
        max_transaction_retry_time=RETRY_SECONDS,
        liveness_check_timeout=30.0,  # an idle Cloud Run instance loses its connections silently
        notifications_min_severity="OFF",
    )
    atexit.register(driver.close)
    return driver
