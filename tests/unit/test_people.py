"""Nobody is forgotten by halves: every table and collection is searched, and an id is found where it is one."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from agents.privacy import nodes, tables
from agents.privacy.files import write_others
from agents.privacy.person import Person
from agents.privacy.tables import write_statements
from agents.tools import documents
from schemas import people
from schemas.analyser import Analyser
from schemas.render import table_resource
from schemas.tables import TABLES

ROOT = Path(__file__).resolve().parents[2]
ADA = Person(ids=("ada", "d.1", 'q"\\', "가나"), work=("t1",))


def test_every_table_is_searched_or_said_to_name_nobody() -> None:
    """Prevents: a new table with people in it that no deletion ever reaches."""
    searched = {table.name for table in people.tables()}
    assert searched.isdisjoint(people.NAMES_NOBODY)
    assert searched | people.NAMES_NOBODY.keys() == TABLES.keys(), "say in schemas/people.py whom the new table names"


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_column_that_sounds_like_a_person_counts_as_one(name: str) -> None:
    """Prevents: a `customer_id` beside the known names, and a message that is kept whole and not searched."""
    known = next((table for table in people.tables() if table.name == name), None)
    columns = {field["name"]: field["type"] for field in table_resource(TABLES[name])["schema"]["fields"]}
    personal = {one for one in columns if re.search(r"(user|person|anonymous|previous|customer|member)_?id$", one)}
    assert personal == set(known.columns if known else ())
    whole = {one for one in columns if one in ("data", "payload", "message", "body")} if known else set[str]()
    typed = {"moments"}  # their data is the row of a question about user_id
    assert name in typed or whole == set(known.messages if known else ())


def test_every_collection_of_firestore_is_known() -> None:
    """Prevents: documents of a new tool that no deletion ever reaches."""
    used: set[str] = set()
    for path in sorted((ROOT / "agents" / "tools").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        names = set(re.findall(r"\.collection\(([A-Z_]+|\"[^\"]+\")\)", text))
        constants = dict(re.findall(r"^([A-Z_]+) = \"([a-z_-]+)\"$", text, re.MULTILINE))
        used |= {constants.get(one, one.strip('"')) for one in names}
    inside = {name for names in documents.INSIDE.values() for name in names}
    assert used == documents.COLLECTIONS.keys() | documents.NAMES_NOBODY.keys() | inside


@pytest.mark.parametrize(
    "text",
    [
        '{"userId": "ada"}',
        '{"a":{"USER_ID":"ada"}}',
        r'{"data":"{\"anonymousId\":\"ada\"}"}',
        '{"userid":"d.1"}',
        json.dumps({"userId": 'q"\\'}),
        '{"previous_id":"가나"}',
    ],
)
def test_an_id_is_found_where_a_key_says_that_it_is_one(text: str) -> None:
    """Prevents: an id in JSON inside of JSON, or with signs of its own, that is looked over."""
    assert ADA.is_in_text(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"userId":"adam"}',
        '{"name":"ada"}',
        '{"userId":"dx1"}',
        '{"text":"userId: ada"}',
        "{}",
        "ada",
        '{"userId":null}',
    ],
)
def test_a_word_is_not_an_id(text: str) -> None:
    """Prevents: somebody else's data that goes because a word in it is somebody's id."""
    assert not ADA.is_in_text(text)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"user_id": "ada"}, True),
        ({"interaction": {"anonymous_id": "d.1"}}, True),
        ({"data": {"userId": "ada"}}, True),
        ({"payload": '{"userId":"ada"}'}, True),
        ({"user_id": "bob", "properties": '{"userId":"ada"}'}, False),
        ({"user_id": "bob", "context": {"userId": "ada"}}, False),
        ({"payload": "{"}, False),
        ([], False),
        ("ada", False),
    ],
)
def test_a_record_is_about_who_it_is_of(record: Any, expected: bool) -> None:
    """Prevents: an event of somebody else that goes because it mentions the person."""
    assert ADA.is_subject(record) is expected


CSV = b'id,user,note\r\n1,ada,x\r\n2,bob,"two\r\nlines, ada"\r\n3,"ada","two\r\nlines"\r\n4,bob,\xff\r\n'


@pytest.mark.parametrize(
    ("name", "content", "rest", "count"),
    [
        (
            "a.ndjson",
            b'{"userId":"bob"}\n{"userId":"ada"}\nbroken\n{"userId":"bob",  "n":1.50}',
            b'{"userId":"bob"}\n\nbroken\n{"userId":"bob",  "n":1.50}',
            1,
        ),
        ("a.csv", CSV, b'id,user,note\r\n\n2,bob,"two\r\nlines, ada"\r\n\n\n4,bob,\xff\r\n', 2),
        ("a.jsonl", b"", b"", 0),
    ],
)
def test_other_lines_stay_byte_for_byte_where_they_were(name: str, content: bytes, rest: bytes, count: int) -> None:
    """Prevents: a rewriting that changes other people's lines, or the numbers from which `ingest` derives ids."""
    target = io.BytesIO()
    assert write_others(ADA, name, io.BytesIO(content), target) == count
    assert target.getvalue() == rest
    assert content.count(b"\n") == rest.count(b"\n")


def test_statements_are_bounded() -> None:
    """Prevents: a person with thousands of devices whose statement BigQuery refuses for its length."""
    many = Person(ids=tuple(f"d{number}" for number in range(1200)), work=tuple(f"t{number}" for number in range(600)))
    tables = {table.name: table for table in people.tables()}
    assert len(list(write_statements(tables["user_interactions"], many))) == 3
    assert len(list(write_statements(tables["agent_bus"], many))) == 5


def test_bigquery_would_take_every_statement() -> None:
    """Prevents: a statement that is refused only when somebody has to be forgotten."""
    analyser = Analyser()
    asked = [tables.OTHER_IDS, tables.WORK, tables.MESSAGES, nodes.EVENTS]
    deletes = [sql for table in people.tables() for sql, _ in write_statements(table, ADA)]
    assert len(deletes) > len(people.tables())
    for sql in [*asked, *(one.replace("DELETE FROM", "SELECT 1 AS one FROM") for one in deletes)]:
        assert analyser.columns(sql)
