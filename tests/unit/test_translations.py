"""What the laptop's BigQuery may remember of a translation. The catalogue is bqemulator's own, in memory."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from bqemulator.catalog.memory_repository import MemoryCatalogRepository
from bqemulator.catalog.models import DatasetMeta, TableMeta

from emulators.translations import Translations

NOW = datetime(2026, 11, 20, tzinfo=UTC)


class Laptop:
    """Counts how often a statement is translated."""

    def __init__(self) -> None:
        engine: Any = SimpleNamespace(execute=list)  # takes a statement, and does nothing
        self.catalog = MemoryCatalogRepository(engine)
        when: Any = {"creation_time": NOW, "last_modified_time": NOW, "etag": "1"}
        self.catalog.create_dataset(DatasetMeta(project_id="p", dataset_id="argo", **when))
        self.table = self.catalog.create_table(
            TableMeta(project_id="p", dataset_id="argo", table_id="events", view_query=None, **when)
        )
        self.translated: list[str] = []
        self._translations = Translations(self._translate)

    async def _translate(self, statement: str, **_named: object) -> str:
        self.translated.append(statement)
        return f"{statement} {len(self.translated)}"

    def ask(self, statement: str = "SELECT 1", caller: str = "a") -> str:
        context = SimpleNamespace(catalog=self.catalog)
        return asyncio.run(self._translations(statement, project_id="p", ctx=context, caller=caller, translator=None))


def test_a_known_statement_is_not_translated_again() -> None:
    laptop = Laptop()
    assert laptop.ask() == laptop.ask() == "SELECT 1 1"
    assert laptop.ask("SELECT 2") == "SELECT 2 2"


def test_rows_that_come_change_nothing() -> None:
    """Prevents: every insert, which notes the table's row count, makes each statement slow again."""
    laptop = Laptop()
    laptop.ask()
    later = {"num_rows": 5, "etag": "2", "last_modified_time": datetime.now(UTC)}
    laptop.catalog.update_table(laptop.table.model_copy(update=later))
    assert laptop.ask() == "SELECT 1 1"


@pytest.mark.parametrize("change", ["view", "delete", "create"])
def test_a_changed_catalogue_forgets_all(change: str) -> None:
    """Prevents: a view that is set up anew, and answers as it did before."""
    laptop = Laptop()
    laptop.ask()
    match change:
        case "view":
            laptop.catalog.update_table(laptop.table.model_copy(update={"view_query": "SELECT 2"}))
        case "delete":
            laptop.catalog.delete_table("p", "argo", "events")
        case _:
            laptop.catalog.create_table(laptop.table.model_copy(update={"table_id": "other"}))
    assert laptop.ask() == "SELECT 1 2"


@pytest.mark.parametrize(
    "statement", ["SELECT * FROM t FOR SYSTEM_TIME AS OF NOW", "SELECT * FROM argo.INFORMATION_SCHEMA.TABLES"]
)
def test_what_depends_on_more_is_translated_each_time(statement: str) -> None:
    laptop = Laptop()
    assert laptop.ask(statement) != laptop.ask(statement)


def test_a_caller_does_not_get_what_another_may_see() -> None:
    """Prevents: a row access policy that is read once for all."""
    laptop = Laptop()
    assert laptop.ask(caller="a") != laptop.ask(caller="b")
