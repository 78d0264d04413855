"""Every SQL file of schemas/bigquery: typed by Google's own analyser, and run on the emulator against rows with known answers.

A file `tests/emulator/sql/<name>.json` holds rows per table, parameters, and the expected rows (of the columns that it
names). `now-3d` stands for a time three days ago. Each runs in a dataset of its own, so that the cloud's is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from google.cloud import bigquery

from agents import moments
from agents.recommender import bigquery_ml, candidates, relations
from agents.swarm import user_context
from emulators.cloud import LaptopCloud
from functions.jobs import publish_serving, sync_graph, train_candidates
from schemas import warehouse
from schemas.analyser import Analyser
from schemas.tables import TABLES
from tests.emulator.cloud import cloud

__all__ = ["cloud"]

FIXTURES = Path(__file__).with_name("sql")
QUERIES = {
    query.name: query
    for query in (*warehouse.views(), *warehouse.read_queries("moments"), *warehouse.read_queries("models"))
}
# CREATE MODEL takes no parameters: the code writes its values into the file's text.
_FITTED = bigquery_ml.fit_statement(
    "v1", datetime(2026, 3, 1, tzinfo=UTC), {**bigquery_ml.GRID[0], "half_life_days": 10}
)
QUERIES["bigquery_ml_fit"] = replace(QUERIES["bigquery_ml_fit"], query=_FITTED)
_RECOMMENDED = re.compile(r"ML\.RECOMMEND\(MODEL argo\.stage_1_model(?:, \((SELECT[^()]*)\))?\)")
STATEMENTS = {
    "candidates": candidates.CANDIDATES,
    "whether there are candidates": candidates.HAS_CANDIDATES,
    "popular": candidates.POPULAR,
    "a named product": candidates.NAMED,
    "known moments": moments.KNOWN,
    "slots for the graph": sync_graph.SLOTS.format(seconds=sync_graph.SLOT_SECONDS),
    "events for the graph": sync_graph.EVENTS.format(limit=1),
    "state of the relations": relations.STATE,
    "relations for the graph": relations.PAGE.format(limit=1),
    "orders to learn from": train_candidates.ORDERS,
    "version to publish": publish_serving.VERSION,
    "people to publish": publish_serving.PEOPLE.format(limit=1),
    "history to publish": publish_serving.HISTORY,
    "products to publish": publish_serving.PRODUCTS,
    **{question.name: question.query for question in warehouse.questions()},
    "weights to publish": publish_serving.LEARNED,
    "what is popular where": publish_serving.COUNTRIES,
    "places to publish": publish_serving.PLACES,
    "catalogue to learn from": train_candidates.CATALOGUE.format(limit=1),
    "touches for BigQuery ML": bigquery_ml.SPAN,
    "the last good run": train_candidates.LAST_COUNT,
    **{name: value for name, value in vars(user_context).items() if name.endswith("_SQL")},
}
PREDICTED = (("user_id", "STRING"), ("product_id", "STRING"), ("predicted_weight_confidence", "FLOAT64"))
_AGO = re.compile(r"now-(\d+)d")


@pytest.fixture(scope="module")
def analyser() -> Analyser:
    return Analyser()


@pytest.fixture(scope="module")
def client(cloud: LaptopCloud) -> Generator[bigquery.Client]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GOOGLE_APPLICATION_CREDENTIALS", "BIGQUERY_EMULATOR_HOST"):
            patch.setenv(name, cloud.env[name])
        with bigquery.Client(project=cloud.env["GOOGLE_CLOUD_PROJECT"]) as made:
            yield made


@pytest.mark.parametrize("name", QUERIES)
def test_bigquery_would_take_it(analyser: Analyser, name: str) -> None:
    """Prevents: a statement that DuckDB forgives and BigQuery refuses, found only by a deployment."""
    assert analyser.columns(QUERIES[name].query), f"{name} returns nothing"


@pytest.mark.parametrize("name", STATEMENTS)
def test_bigquery_would_take_what_the_code_asks(analyser: Analyser, name: str) -> None:
    """Prevents: the same, in a statement that stands beside the code that needs it."""
    assert analyser.columns(STATEMENTS[name])


@pytest.mark.parametrize("name", [query.name for query in warehouse.moments()])
def test_a_moment_says_who_and_which_case(analyser: Analyser, name: str) -> None:
    """Prevents: a moment whose rows the job cannot turn into messages."""
    assert {"user_id": "STRING", "case_id": "STRING"}.items() <= analyser.columns(QUERIES[name].query).items()


@pytest.mark.parametrize("name", [name for name in QUERIES if name.startswith("kpi_")])
def test_a_kpi_says_what_it_divides(analyser: Analyser, name: str) -> None:
    """Prevents: a rate that nobody can add up over days, because its parts are gone."""
    assert {"day", "numerator", "denominator", "value"} <= analyser.columns(QUERIES[name].query).keys()


def test_interactions_lose_no_column(analyser: Analyser) -> None:
    """Prevents: a new column of the table that never reaches the view that everybody reads."""
    table = [field["name"] for field in _schema("user_interactions")]
    assert list(analyser.columns(QUERIES["interactions"].query)) == [*table, "person_id", "is_own"]


def test_touches_fill_their_table(analyser: Analyser) -> None:
    """Prevents: a query whose columns are not those that the job inserts."""
    assert list(analyser.columns(QUERIES["touches"].query)) == [field["name"] for field in _schema("touches")]


def test_relations_fill_their_table(analyser: Analyser) -> None:
    """Prevents: a query whose columns are not those that the job merges."""
    columns = list(analyser.columns(QUERIES["product_relations"].query))
    assert columns == [field["name"] for field in _schema("product_relations")] == list(relations.COLUMNS)


def test_every_file_has_an_answer_to_be_held_to() -> None:
    """Prevents: a view that was never run before somebody believes its numbers, and a fixture that nothing runs."""
    assert sorted(QUERIES) == sorted(path.stem for path in FIXTURES.glob("*.json"))


def test_the_laptop_tells_what_every_column_is(client: bigquery.Client) -> None:
    """Prevents: an analyst who browses the dataset and finds names without meanings."""
    wanted = {table.name: table.fields for table in warehouse.tables()}
    wanted |= {view.name: view.fields for view in warehouse.views()}
    for name, fields in wanted.items():
        found = client.get_table(f"{client.project}.argo.{name}")
        assert found.description, name
        assert [field.to_api_repr() for field in found.schema] == [_order(field) for field in fields], name


@pytest.mark.parametrize("question", warehouse.questions(), ids=lambda question: question.name)
def test_a_question_of_the_guide_can_be_asked(client: bigquery.Client, question: warehouse.Query) -> None:
    """Prevents: an example in docs/warehouse.md that fails for whoever tries it first."""
    found = client.query(question.bind(client.project, "argo")).result()
    assert found.schema, question.name


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_it_answers_as_worked_out_by_hand(client: bigquery.Client, name: str) -> None:
    """Prevents: SQL that runs and is wrong."""
    now = datetime.now(UTC)
    text = _AGO.sub(
        lambda match: (now - timedelta(days=int(match[1]))).isoformat(), (FIXTURES / f"{name}.json").read_text()
    )
    fixture = json.loads(text)
    dataset = f"sql_{name}"
    query = _make_runnable(QUERIES[name])
    _create(client, dataset, query, fixture["rows"])
    if predicted := fixture.get("predicted"):
        schema = [bigquery.SchemaField(*column) for column in PREDICTED]
        table = client.create_table(bigquery.Table(f"{client.project}.{dataset}.predicted", schema))
        assert client.insert_rows_json(table, predicted) == []
    answer = _run(client, dataset, query, fixture.get("parameters", {}))
    expected = [{name.lower(): value for name, value in row.items()} for row in fixture["expected"]]
    if not fixture.get("ordered"):
        answer, expected = _sort(answer, expected), _sort(expected, expected)
    assert len(answer) == len(expected), answer
    shown = zip(answer, expected, strict=True)
    assert [{key: _read_json(row[key], value) for key, value in wanted.items()} for row, wanted in shown] == expected


def test_too_few_candidates_of_bigquery_ml_are_none(client: bigquery.Client) -> None:
    """Prevents: a run that leaves people out and hides the last good one."""
    fixture = json.loads((FIXTURES / "bigquery_ml_candidates.json").read_text())
    for few in ({"fewest_people": 3}, {"fewest_candidates": 4}):
        query = _make_runnable(QUERIES["bigquery_ml_candidates"])
        assert _run(client, "sql_bigquery_ml_candidates", query, {**fixture["parameters"], **few}) == []


def _make_runnable(query: warehouse.Query) -> warehouse.Query:
    """What any SQL engine can run of BigQuery ML: a model's training data, and ML.RECOMMEND as a table of what it returns."""
    text = query.query.partition("\n) AS\n")[2] if "CREATE OR REPLACE MODEL" in query.query else query.query
    return replace(
        query,
        query=_RECOMMENDED.sub(
            lambda found: (
                f"(SELECT * FROM argo.predicted WHERE user_id IN ({found[1]}))" if found[1] else "argo.predicted"
            ),
            text,
        ),
    )


def _sort(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By the columns that are text in every expected row: they tell rows apart."""
    keys = [name for name in expected[0] if all(isinstance(row.get(name), str) for row in expected)]
    return sorted(found, key=lambda row: [str(row.get(key)) for key in keys])


def _create(client: bigquery.Client, dataset: str, query: warehouse.Query, rows: Mapping[str, Any]) -> None:
    """A dataset with the tables and views that a statement needs, and the rows in them."""
    views = {view.name: view for view in warehouse.views()}
    needed, waiting = {query.name}, [query]
    while waiting:
        for name in waiting.pop().references - needed:
            needed.add(name)
            waiting += [views[name]] if name in views else []
    client.create_dataset(dataset)
    for table in warehouse.tables():
        if table.name in needed:
            reference = {"projectId": client.project, "datasetId": dataset, "tableId": table.name}
            client.create_table(bigquery.Table.from_api_repr({**table.resource, "tableReference": reference}))
    for name, found in rows.items():
        assert client.insert_rows_json(f"{client.project}.{dataset}.{name}", found) == []
    for view in warehouse.views():
        if view.name in needed:
            made = bigquery.Table(f"{client.project}.{dataset}.{view.name}")
            made.view_query = view.bind(client.project, dataset)
            client.create_table(made)


def _run(
    client: bigquery.Client, dataset: str, query: warehouse.Query, parameters: Mapping[str, str | int]
) -> list[dict[str, Any]]:
    declared = [
        bigquery.ScalarQueryParameter(
            name, "INT64" if isinstance(value, int) else "TIMESTAMP" if name.endswith("_at") else "STRING", value
        )
        for name, value in parameters.items()
    ]
    config = bigquery.QueryJobConfig(query_parameters=declared)
    # Not query_and_wait: it takes a statement that the emulator refuses for an empty answer.
    found = client.query(query.bind(client.project, dataset), job_config=config).result()
    # Names have no case in BigQuery, and bqemulator loses it.
    return [{name.lower(): _to_plain(value) for name, value in row.items()} for row in found]


def _to_plain(value: object) -> Any:
    """A value as the fixture's JSON has it; fractions to four places."""
    if isinstance(value, float | Decimal):
        return round(float(value), 4)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list):
        return [_to_plain(part) for part in cast(list[object], value)]
    if isinstance(value, dict):
        return {name: _to_plain(part) for name, part in cast(dict[str, object], value).items()}
    return value


def _read_json(value: Any, wanted: object) -> Any:
    """A JSON column's value: an object from BigQuery, its text from bqemulator."""
    return json.loads(value) if isinstance(value, str) and isinstance(wanted, dict) else value


def _order(field: dict[str, Any]) -> dict[str, Any]:
    """A column as the client writes it."""
    return bigquery.SchemaField.from_api_repr(field).to_api_repr()


def _schema(table: str) -> list[dict[str, Any]]:
    assert table in TABLES
    return next(found.fields for found in warehouse.tables() if found.name == table)
