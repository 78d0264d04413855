"""Tables, views, indexes and rules in the graph are the files of `schemas/`, word for word."""

from __future__ import annotations

import json
import re
from typing import Any

from infra.profiles import FOLDER
from infra.topics import SCHEMAS
from policy.graph import Graph

from schemas import protobuf, topology, warehouse


def test_tables_are_their_files(graph: Graph) -> None:
    built = {entry.get("tableId"): entry for entry in graph.of("bigquery/Table") if not entry.get("view")}
    files = {path.stem: json.loads(path.read_text("utf-8")) for path in (warehouse.FOLDER / "tables").glob("*.json")}
    assert built.keys() == files.keys()
    for name, wanted in files.items():
        resource: dict[str, Any] = {
            "description": built[name].get("description"),
            "schema": {"fields": json.loads(built[name].get("schema"))},
            "timePartitioning": built[name].get("timePartitioning"),
        }
        if built[name].get("clusterings"):
            resource["clustering"] = {"fields": built[name].get("clusterings")}
        assert resource == wanted, name


def test_topic_schemas_are_their_files(graph: Graph) -> None:
    built = {entry.get("name"): entry for entry in graph.of("pubsub/Schema")}
    files = {path.stem: path.read_text("utf-8") for path in SCHEMAS.glob("*.proto")}
    assert {name: entry.get("definition") for name, entry in built.items()} == files
    assert {entry.get("type") for entry in built.values()} == {"PROTOCOL_BUFFER"}
    assert built.keys() == protobuf.find_row_topics(topology.load()).keys()


def test_views_are_their_files(graph: Graph) -> None:
    built = {entry.get("tableId"): entry for entry in graph.of("bigquery/Table") if entry.get("view")}
    (dataset,) = graph.of("bigquery/Dataset")
    place = (dataset.get("project"), dataset.get("datasetId"))
    views = {view.name: view for view in warehouse.views()}
    assert views.keys() == {path.stem for path in (warehouse.FOLDER / "views").glob("*.sql")} == built.keys()
    for name, view in views.items():
        assert built[name].get("view.query") == view.bind(*place)
        assert built[name].get("description") == view.description
        assert json.loads(built[name].get("schema")) == view.fields
    assert {entry.get("view.useLegacySql") for entry in built.values()} == {False}


def test_a_view_can_be_asked_from_another_project(graph: Graph) -> None:
    """Prevents: 'references to tables/views require explicit project IDs', for every analyst with a billing project."""
    (dataset,) = graph.of("bigquery/Dataset")
    place = f"`{dataset.get('project')}.{dataset.get('datasetId')}."
    for entry in graph.of("bigquery/Table"):
        if entry.get("view"):
            code = re.sub(r"--[^\n]*", "", entry.get("view.query"))
            assert re.findall(r"(?:FROM|JOIN)\s+(`.*?\.)\w+`", code), entry.get("tableId")
            assert set(re.findall(r"(?:FROM|JOIN)\s+(`.*?\.)\w+`", code)) == {place}
            assert not re.search(r"(?<![`.\w-])argo\.\w", code)


def test_a_view_waits_for_what_it_reads(graph: Graph) -> None:
    """BigQuery refuses a view of a table that is not there yet."""
    names = {entry.get("tableId"): entry.name for entry in graph.of("bigquery/Table")}
    built = {entry.get("tableId"): entry for entry in graph.of("bigquery/Table")}
    for view in warehouse.views():
        assert {names[name] for name in view.references} <= set(built[view.name].waits_for)


def test_indexes_are_their_file(graph: Graph) -> None:
    wanted = json.loads((FOLDER / "indexes.json").read_text("utf-8"))
    composite = {(entry.get("collection"), len(entry.get("fields"))) for entry in graph.of("firestore/Index")}
    assert composite == {(entry["collectionGroup"], len(entry["fields"])) for entry in wanted["indexes"]}
    fields = {
        (entry.get("collection"), entry.get("field")): entry.get("indexConfig.indexes") or []
        for entry in graph.of("firestore/Field")
    }
    assert fields == {
        (entry["collectionGroup"], entry["fieldPath"]): entry["indexes"] for entry in wanted["fieldOverrides"]
    }


def test_rules_are_their_file(graph: Graph) -> None:
    content = (FOLDER / "firestore.rules").read_text("utf-8")
    assert [entry.get("source.files.0.content") for entry in graph.of("firebaserules/Ruleset")] == [content]
    (release,) = graph.of("firebaserules/Release")
    assert release.get("name") == "cloud.firestore"


def test_every_sink_has_a_table_whose_columns_fit(graph: Graph) -> None:
    """With metadata Pub/Sub writes five columns of its own, and refuses the subscription when one is missing."""
    columns = {
        entry.get("tableId"): {field["name"] for field in json.loads(entry.get("schema"))}
        for entry in graph.of("bigquery/Table")
        if entry.get("schema")
    }
    for entry in graph.of("pubsub/Subscription"):
        if entry.get("bigqueryConfig.writeMetadata"):
            table = str(entry.get("bigqueryConfig.table")).rpartition(".")[2]
            assert {"subscription_name", "message_id", "publish_time", "data", "attributes"} <= columns[table]
