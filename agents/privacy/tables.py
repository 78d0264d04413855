"""The warehouse's part: who else a person was, what was done about them, and every row that names them.

The tables and columns come from `schemas.people`; a statement deletes all of a table's rows or none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agents.privacy.person import Person, join
from agents.privacy.stores import Erased
from agents.tools.warehouse import Parameter, Warehouse
from schemas import people
from schemas.people import PersonTable

CHUNK_IDS = 500  # in one statement: BigQuery's patterns and parameters are bounded
# BigQuery's words for rows that insertAll wrote a moment ago; what its subscriptions write can be deleted at once.
# https://cloud.google.com/bigquery/docs/data-manipulation-language#limitations
TOO_FRESH = "streaming buffer"
LATER = "rows that were streamed in the last 90 minutes cannot be deleted yet"
OTHER_IDS = "SELECT id, person_id FROM argo.identities WHERE person_id IN UNNEST(@ids)"
WORK = """
SELECT moment_id AS id FROM argo.moments WHERE user_id IN UNNEST(@ids)
UNION DISTINCT SELECT action_id FROM argo.actions WHERE user_id IN UNNEST(@ids)
UNION DISTINCT SELECT task_id FROM argo.actions WHERE user_id IN UNNEST(@ids)
UNION DISTINCT SELECT task_id FROM argo.recommendations WHERE user_id IN UNNEST(@ids) AND task_id IS NOT NULL
"""
MESSAGES = """
SELECT DISTINCT
  JSON_VALUE(data, '$.taskId') AS task_id,
  JSON_VALUE(data, '$.parentTaskId') AS parent_id,
  JSON_VALUE(data, '$.correlationId') AS moment_id
FROM argo.agent_bus
WHERE JSON_VALUE(data, '$.correlationId') IN UNNEST(@work) OR REGEXP_CONTAINS(TO_JSON_STRING(data), @pattern)
"""
_WORK_KEYS = "taskId|parentTaskId|correlationId|task_id|moment_id|action_id"


def find_others(subject_ids: list[str], warehouse: Warehouse) -> dict[str, str]:
    """What else people are known by: other id -> subject id; raises as the warehouse does."""
    rows = [row for ids in _chunk(tuple(subject_ids)) for row in warehouse.query(OTHER_IDS, {"ids": list(ids)})]
    return {str(row["id"]): str(row["person_id"]) for row in rows}


def find_work(ids: tuple[str, ...], warehouse: Warehouse) -> tuple[str, ...]:
    """The ids of what was done about people: moments, tasks, their steps, actions; raises as the warehouse does."""
    found: list[str | None] = []
    for chunk in _chunk(ids):
        work = [str(row["id"]) for row in warehouse.query(WORK, {"ids": list(chunk)})]
        asked: dict[str, Parameter] = {"work": work, "pattern": Person(ids=chunk).pattern}
        found += [*work, *(value for row in warehouse.query(MESSAGES, asked) for value in row.values())]
    return join(found)


def erase_rows(person: Person, warehouse: Warehouse) -> Erased:
    """Delete the person's rows from every table."""
    from google.api_core.exceptions import BadRequest

    erased = Erased()
    for table in people.tables():
        erased.deleted[table.name] = 0
        for sql, parameters in write_statements(table, person):
            try:
                erased.deleted[table.name] += warehouse.execute(sql, parameters)
            except BadRequest as error:
                if TOO_FRESH not in str(error):
                    raise
                erased.later[table.name] = LATER
    return erased


def write_statements(table: PersonTable, person: Person) -> Iterator[tuple[str, dict[str, Parameter]]]:
    """The statements that delete a person's rows of a table."""
    for ids in _chunk(person.ids):
        conditions = [f"{column} IN UNNEST(@ids)" for column in table.columns]
        parameters: dict[str, Parameter] = {"ids": list(ids)} if conditions else {}
        if table.messages:
            conditions += [f"REGEXP_CONTAINS({_write_text(table, column)}, @pattern)" for column in table.messages]
            parameters["pattern"] = Person(ids=ids).pattern
        yield _write_delete(table, conditions), parameters
    for work in _chunk(person.work) if table.messages else ():
        conditions = [f"REGEXP_CONTAINS({_write_text(table, column)}, @pattern)" for column in table.messages]
        names = "|".join(re.escape(one) for one in work)
        yield _write_delete(table, conditions), {"pattern": rf'\\*"(?:{_WORK_KEYS})\\*"\s*:\s*\\*"(?:{names})\\*"'}


def _write_delete(table: PersonTable, conditions: list[str]) -> str:
    return f"DELETE FROM argo.{table.name} WHERE {' OR '.join(conditions)}"  # noqa: S608 -- names of our own contracts


def _write_text(table: PersonTable, column: str) -> str:
    return f"SAFE_CONVERT_BYTES_TO_STRING({column})" if column in table.as_bytes else f"TO_JSON_STRING({column})"


def _chunk(ids: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(ids), CHUNK_IDS):
        yield ids[start : start + CHUNK_IDS]
