"""The graph's port on a neo4j driver of one's own: for tests and benchmarks that are no service of the topology."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from neo4j import Driver, Query


class DriverGraph:
    """Reads and writes what agents.tools.graph would."""

    def __init__(self, driver: Driver, database: str) -> None:
        self._driver, self._database = driver, database

    def read(self, statement: str, parameters: Mapping[str, Any] = MappingProxyType({})) -> list[dict[str, Any]]:
        """The rows."""
        query = Query(statement)  # pyright: ignore[reportArgumentType]  # ours are files
        return [
            row.data() for row in self._driver.execute_query(query, dict(parameters), database_=self._database).records
        ]

    write = read
