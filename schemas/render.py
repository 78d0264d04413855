"""Writes what other tools read of the contracts: BigQuery tables, views' columns, Pub/Sub schemas, JSON Schemas, the
topology's meta-schema.

`python -m schemas.render` rewrites the committed files; a test fails when they are not what the types say.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from schemas import analyser, evolution, guide, messages, protobuf, rows, topology
from schemas.columns import unwrap
from schemas.tables import TABLES, Table

ROOT = Path(__file__).parent
_SCALARS: dict[type[inspect.Type], str] = {
    inspect.StrType: "STRING",
    inspect.BytesType: "BYTES",
    inspect.IntType: "INTEGER",
    inspect.FloatType: "FLOAT",
    inspect.BoolType: "BOOLEAN",
    inspect.DecimalType: "NUMERIC",
    inspect.DateTimeType: "TIMESTAMP",
    inspect.EnumType: "STRING",
}
_DOCUMENTS: dict[str, Any] = {
    "interaction": rows.Interaction,
    "invalid_event": rows.InvalidEvent,
    "moment": rows.Moment,
    "action": rows.Action,
    "recommendation": rows.Recommendation,
    "agent_message": messages.AgentMessage,
    "profile_update": messages.ProfileUpdate,
}


def table_resource(table: Table) -> dict[str, Any]:
    """The table as BigQuery's REST API takes it (https://cloud.google.com/bigquery/docs/reference/rest/v2/tables)."""
    struct = inspect.type_info(table.row)
    if not isinstance(struct, inspect.StructType):
        raise TypeError(f"{table.row} is not a struct")
    resource: dict[str, Any] = {
        "description": table.description,
        "schema": {"fields": [_render_field(field) for field in struct.fields]},
        "timePartitioning": {"type": "DAY", "field": table.partition},
    }
    if table.cluster:
        resource["clustering"] = {"fields": list(table.cluster)}
    return resource


def _render_field(field: inspect.Field) -> dict[str, Any]:
    kind, description, json_text = unwrap(field.type)
    mode = "REQUIRED" if field.required else "NULLABLE"
    if isinstance(kind, inspect.ListType):
        mode = "REPEATED"
        kind, _, _ = unwrap(kind.item_type)
    column: dict[str, Any] = {"name": field.encode_name, "mode": mode}
    if isinstance(kind, inspect.StructType):
        column["type"] = "RECORD"
        column["fields"] = [_render_field(inner) for inner in kind.fields]
        description = description or (kind.cls.__doc__ or "")
    else:
        column["type"] = "JSON" if json_text else _SCALARS[type(kind)]
    if description:
        column["description"] = description
    return column


def render_all() -> dict[Path, str]:
    """Every rendered file with its text.

    Raises:
        schemas.evolution.Breaking: a row type no longer fits the rows that exist.
        schemas.analyser.Undescribed: a view's column that nothing describes.
    """
    files: dict[Path, Any] = {ROOT / "topology.schema.json": topology.json_schema()}
    tables = {name: table_resource(table) for name, table in TABLES.items()}
    fields = {name: resource["schema"]["fields"] for name, resource in tables.items()}
    views = analyser.describe_views(fields)
    files |= {ROOT / "bigquery" / "tables" / f"{name}.json": resource for name, resource in tables.items()}
    files |= {ROOT / "bigquery" / "columns" / f"{name}.json": columns for name, columns in views.items()}
    for name in tables:
        files[evolution.FOLDER / f"{name}.json"] = evolution.check(name, evolution.summarise(fields[name]))
    for name, kind in _DOCUMENTS.items():
        files[ROOT / "json" / f"{name}.schema.json"] = msgspec.json.schema(kind)
    texts = {path: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for path, content in files.items()}
    for topic, table in protobuf.find_row_topics(topology.load()).items():
        texts[ROOT / "proto" / f"{topic}.proto"] = protobuf.write_proto(TABLES[table].row)
    return texts | {ROOT.parent / "docs" / "warehouse.md": guide.write_guide(fields, views)}


if __name__ == "__main__":
    for path, text in render_all().items():
        path.write_text(text, encoding="utf-8")
