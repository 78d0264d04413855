"""Response schemas: the smallest value that satisfies one, and what is wrong with a value that does not.

Reads both dialects: Gemini's `responseSchema` (types in upper case, `nullable`) and JSON Schema
(`responseJsonSchema`, types in lower case, `$ref` into `$defs`). Deliberately not here: patterns, formats other than
dates, `oneOf` as exclusive, and every other keyword that the real model does not promise to keep.
"""

from __future__ import annotations

import math
from types import NoneType
from typing import Any, cast

Schema = dict[str, Any]
_MAX_DEPTH = 32
_FORMATS = {"date-time": "2000-01-01T00:00:00Z", "date": "2000-01-01", "time": "00:00:00Z"}


class SchemaError(ValueError):
    """A schema that cannot be served."""


def make_value(schema: Schema) -> Any:
    """Returns the smallest value that satisfies the schema; the same schema always yields the same value."""
    return _make(schema, schema, 0)


def find_mismatch(value: Any, schema: Schema, path: str = "$") -> str | None:
    """Returns where and how a value breaks the schema, or None when it satisfies it."""
    return _check(value, schema, schema, path)


def drop_unknown(value: Any, schema: Schema) -> Any:
    """Returns the value without the properties that the schema does not name, as a constrained model would answer."""
    return _prune(value, schema, schema)


def _make(schema: Schema, root: Schema, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise SchemaError(f"the schema nests deeper than {_MAX_DEPTH}")
    schema = _resolve(schema, root)
    fixed = _fixed_values(schema)
    if fixed:
        return fixed[0]
    options = _options(schema)
    if options:
        # An option without a value of its own, such as null, is the last choice.
        chosen = next((option for option in options if _types_of(_resolve(option, root)) != ["null"]), options[0])
        return _make(chosen, root, depth + 1)
    kind = next(iter(_types_of(schema)), "null")
    if kind == "object":
        return _make_object(schema, root, depth)
    if kind == "array":
        item: Schema = schema.get("items") or {}
        return [_make(item, root, depth + 1) for _ in range(int(schema.get("minItems", 0)))]
    return _make_scalar(kind, schema)


def _make_scalar(kind: str, schema: Schema) -> str | float | bool | None:
    match kind:
        case "string":
            return _make_string(schema)
        case "integer":
            return math.ceil(_lowest(schema))
        case "number":
            return _lowest(schema)
        case "boolean":
            return False
        case _:
            return None


def _make_object(schema: Schema, root: Schema, depth: int) -> dict[str, Any]:
    properties: dict[str, Schema] = schema.get("properties") or {}
    # Gemini's dialect has no "required" in many hand-written schemas, and then the model fills what it is offered.
    names = schema["required"] if "required" in schema else list(properties)
    return {name: _make(properties.get(name, {}), root, depth + 1) for name in names}


def _make_string(schema: Schema) -> str:
    text = _FORMATS.get(str(schema.get("format")), "scripted")
    text = text.ljust(int(schema.get("minLength", 0)), ".")
    return text[: int(schema["maxLength"])] if "maxLength" in schema else text


def _lowest(schema: Schema) -> float:
    if "minimum" in schema:
        return schema["minimum"]
    if "exclusiveMinimum" in schema:
        return schema["exclusiveMinimum"] + 1
    return min(0, schema["maximum"]) if "maximum" in schema else 0


def _check(value: Any, schema: Schema, root: Schema, path: str) -> str | None:
    schema = _resolve(schema, root)
    if value is None and schema.get("nullable"):
        return None
    fixed = _fixed_values(schema)
    if fixed and value not in fixed:
        return f"{path} is {value!r}, not one of {fixed}"
    options = _options(schema)
    if options:
        problems = [_check(value, option, root, path) for option in options]
        return None if None in problems else problems[0]
    expected = _types_of(schema)
    if expected and not any(_is_of_type(value, name) for name in expected):
        return f"{path} is {type(value).__name__}, not {' or '.join(expected)}"
    return _check_inside(value, schema, root, path)


def _check_inside(value: Any, schema: Schema, root: Schema, path: str) -> str | None:
    if isinstance(value, dict):
        return _check_object(cast("dict[str, Any]", value), schema, root, path)
    if isinstance(value, list):
        return _check_list(cast("list[Any]", value), schema, root, path)
    return _check_limits(value, schema, path) if isinstance(value, str | int | float) else None


def _check_object(value: dict[str, Any], schema: Schema, root: Schema, path: str) -> str | None:
    missing = [name for name in schema.get("required", []) if name not in value]
    if missing:
        return f"{path} lacks {missing}"
    properties: dict[str, Schema] = schema.get("properties") or {}
    problems = (_check(value[name], properties[name], root, f"{path}.{name}") for name in value if name in properties)
    return next((problem for problem in problems if problem), None)


def _check_list(value: list[Any], schema: Schema, root: Schema, path: str) -> str | None:
    least, most = int(schema.get("minItems", 0)), int(schema.get("maxItems", len(value)))
    if not least <= len(value) <= most:
        return f"{path} has {len(value)} items, not {least} to {most}"
    item: Schema = schema.get("items") or {}
    problems = (_check(entry, item, root, f"{path}[{index}]") for index, entry in enumerate(value))
    return next((problem for problem in problems if problem), None)


def _check_limits(value: str | float, schema: Schema, path: str) -> str | None:
    size = len(value) if isinstance(value, str) else value
    low, high = ("minLength", "maxLength") if isinstance(value, str) else ("minimum", "maximum")
    if low in schema and size < float(schema[low]):
        return f"{path} is below its {low} {schema[low]}"
    if high in schema and size > float(schema[high]):
        return f"{path} is above its {high} {schema[high]}"
    return None


def _prune(value: Any, schema: Schema, root: Schema) -> Any:
    schema = _resolve(schema, root)
    properties: dict[str, Schema] | None = schema.get("properties")
    if isinstance(value, dict) and properties:
        kept: dict[str, Any] = value
        return {name: _prune(kept[name], properties[name], root) for name in kept if name in properties}
    if isinstance(value, list) and schema.get("items"):
        entries: list[Any] = value
        return [_prune(entry, schema["items"], root) for entry in entries]
    return value


def _resolve(schema: Schema, root: Schema) -> Schema:
    for _ in range(_MAX_DEPTH):
        reference = schema.get("$ref")
        if reference is None:
            return schema
        name = str(reference).rpartition("/")[2]
        found = (root.get("$defs") or root.get("defs") or root.get("definitions") or {}).get(name)
        if not isinstance(found, dict):
            raise SchemaError(f"the schema refers to {reference!r}, which it does not define")
        schema = found
    raise SchemaError("the schema's references go in circles")


def _fixed_values(schema: Schema) -> list[Any]:
    return [schema["const"]] if "const" in schema else schema.get("enum") or []


def _options(schema: Schema) -> list[Schema]:
    return schema.get("anyOf") or schema.get("oneOf") or []


def _types_of(schema: Schema) -> list[str]:
    """Returns the allowed types in lower case, null last; none when the schema leaves them open."""
    declared = schema.get("type")
    if declared is None or declared == "TYPE_UNSPECIFIED":
        return ["object"] if "properties" in schema else ["array"] if "items" in schema else []
    names: list[Any] = declared if isinstance(declared, list) else [declared]
    return sorted((str(name).lower() for name in names), key=lambda name: name == "null")


def _is_of_type(value: Any, name: str) -> bool:
    if isinstance(value, bool):  # to Python a bool is an int
        return name == "boolean"
    if name == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    kinds = {"object": dict, "array": list, "string": str, "number": int | float, "null": NoneType}
    return name in kinds and isinstance(value, kinds[name])
