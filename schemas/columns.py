"""How a field of a row type is read: without Optional and Annotated. Shared by what is rendered from the row types."""

from __future__ import annotations

from msgspec import inspect


def unwrap(kind: inspect.Type) -> tuple[inspect.Type, str, bool]:
    """Strip Optional and Annotated: (type, description, whether it is JSON text)."""
    description, json_text = "", False
    while True:
        if isinstance(kind, inspect.UnionType):
            (kind,) = (option for option in kind.types if not isinstance(option, inspect.NoneType))
        elif isinstance(kind, inspect.Metadata):
            description = description or str((kind.extra_json_schema or {}).get("description", ""))
            json_text = json_text or (kind.extra or {}).get("bigquery") == "JSON"
            kind = kind.type
        else:
            return kind, description, json_text
