"""Types GoogleSQL with Google's own analyser against the tables of schemas/bigquery. No store, no network.

Owns the catalogue, and the columns of a view with their descriptions; a view becomes a table of it, so that what reads
the view is typed by what the view returns. The first use on a machine compiles zetasql's WebAssembly (20 s of CPU), later
ones take it from wasmtime's cache (a second): nothing on a request's path uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from wasmtime import Config, WasmtimeError
from zetasql.api import Analyzer, CatalogBuilder, TableBuilder
from zetasql.api.type_factory import TypeFactory
from zetasql.core import wasm_client
from zetasql.types import (
    AnalyzerOptions,
    FunctionArgumentType,
    FunctionArgumentTypeOptions,
    FunctionEnums,
    FunctionSignature,
    LanguageOptions,
    ProductMode,
    ResolvedNodeKind,
    SignatureArgumentKind,
    SimpleColumn,
    SimpleModel,
    TableValuedFunction,
    TVFRelation,
    TVFRelationColumn,
    TypeKind,
    ZetaSQLBuiltinFunctionOptions,
)

from schemas import warehouse


class _CachingConfig(Config):
    """zetasql 0.1.5 compiles its module anew in every process; wasmtime keeps the result if it is told to."""

    def __init__(self) -> None:
        super().__init__()
        with suppress(WasmtimeError):  # a home that cannot be written costs the time, nothing else
            self.cache = True


wasm_client.Config = _CachingConfig

_SCALARS = {
    "STRING": TypeKind.TYPE_STRING,
    "INTEGER": TypeKind.TYPE_INT64,
    "FLOAT": TypeKind.TYPE_DOUBLE,
    "BOOLEAN": TypeKind.TYPE_BOOL,
    "BYTES": TypeKind.TYPE_BYTES,
    "NUMERIC": TypeKind.TYPE_NUMERIC,
    "DATE": TypeKind.TYPE_DATE,
    "TIMESTAMP": TypeKind.TYPE_TIMESTAMP,
    "JSON": TypeKind.TYPE_JSON,
}
_NAMES = {kind.value: name for name, kind in _SCALARS.items()}
MODEL = "stage_1_model"
RECOMMENDED = (
    ("user_id", TypeKind.TYPE_STRING),
    ("product_id", TypeKind.TYPE_STRING),
    ("predicted_weight_confidence", TypeKind.TYPE_DOUBLE),
)
"""The one model of ours, and what ML.RECOMMEND returns for it: its user, item and rating columns are named in
models/bigquery_ml_fit.sql (https://cloud.google.com/bigquery/docs/reference/standard-sql/bigqueryml-syntax-recommend)."""
Field = dict[str, Any]  # a column as BigQuery's REST API has it


class Undescribed(ValueError):
    """A column of a view that nothing describes, or that its sources describe differently; says what to write where."""


class Analyser:
    """Knows the dataset `argo`: its tables, and its views in the order in which they read each other."""

    def __init__(
        self, tables: Mapping[str, Sequence[Field]] | None = None, views: Sequence[warehouse.Query] | None = None
    ) -> None:
        """`tables`: the columns of every table by its name; `views`: in their order. As they are on file when not given."""
        tables = tables or {table.name: table.fields for table in warehouse.tables()}
        language = LanguageOptions.maximum_features()
        language.product_mode = ProductMode.PRODUCT_EXTERNAL  # BigQuery's types, not Google's internal ones
        language.reserved_keywords = ["QUALIFY"]  # as in BigQuery, where QUALIFY needs no WHERE beside it
        language.supported_statement_kinds = [
            ResolvedNodeKind.RESOLVED_QUERY_STMT,
            ResolvedNodeKind.RESOLVED_CREATE_MODEL_STMT,
        ]
        self._functions = ZetaSQLBuiltinFunctionOptions(language_options=language)
        self._dataset = CatalogBuilder("argo").build()
        self._catalog = _make_catalog("project", self._functions)
        self._catalog.catalog += [self._dataset, _make_ml_catalog()]
        columns = [SimpleColumn(name=name, type=TypeFactory.create_simple_type(kind)) for name, kind in RECOMMENDED]
        self._dataset.model.append(SimpleModel(name=MODEL, input=columns[:2], output=columns))
        self._options = AnalyzerOptions(language_options=language, allow_undeclared_parameters=True)
        for name, fields in tables.items():
            self._add(name, [(field["name"], _make_type(field)) for field in fields])
        for view in warehouse.view_queries() if views is None else views:
            self._add(view.name, self._analyse(view.query))

    def columns(self, sql: str) -> dict[str, str]:
        """The columns that a statement returns, with their types ("" for those that are not scalar).

        Raises:
            zetasql.core.exceptions.ZetaSQLError: the statement is not GoogleSQL over our tables; says where and why.
        """
        return {column: _NAMES.get(kind.type_kind, "") for column, kind in self._analyse(sql)}

    def fields(self, sql: str) -> list[Field]:
        """The same as `columns`, as BigQuery's API has them: nested, with modes, without descriptions."""
        return [_make_field(column, kind) for column, kind in self._analyse(sql)]

    def make_resolver(self, relations: Mapping[str, str]) -> Callable[[str], Any]:
        """What resolves statements over relations by their bare names, each typed by its SQL, and over nothing else.

        The resolver returns the analyser's own tree; it raises ZetaSQLError as `columns` does.
        """
        catalog = _make_catalog("relations", self._functions)
        for name, sql in relations.items():
            catalog.table.append(_make_table(name, self._analyse(sql)))
        return lambda sql: Analyzer(self._options, catalog).analyze_statement(sql)

    def _analyse(self, sql: str) -> list[tuple[str, Any]]:
        statement: Any = Analyzer(self._options, self._catalog).analyze_statement(sql)
        return [(column.name, column.column.type) for column in statement.output_column_list]

    def _add(self, name: str, columns: list[tuple[str, Any]]) -> None:
        self._dataset.table.append(_make_table(name, columns))


def describe_views(tables: Mapping[str, Sequence[Field]]) -> dict[str, list[Field]]:
    """The columns of every view, described: by the view's own file, else as in what the view reads.

    `tables`: the described columns of every table by its name.

    Raises:
        Undescribed: naming every column that is without a description, and every line that describes none.
    """
    analyser, known, problems = Analyser(tables), dict(tables), list[str]()
    for view in warehouse.view_queries():
        sources = [_list_descriptions(known[name]) for name in sorted(view.references)]
        fields = analyser.fields(view.query)
        paths = _fill(fields, view.declared, sources, "", problems_of := list[str]())
        problems_of += [f"@column {path}: it returns no such column" for path in view.declared if path not in paths]
        problems += [f"schemas/bigquery/views/{view.name}.sql: {problem}" for problem in problems_of]
        known[view.name] = fields
    if problems:
        raise Undescribed("\n".join(problems))
    return {view.name: list(known[view.name]) for view in warehouse.view_queries()}


def _fill(
    fields: list[Field], declared: Mapping[str, str], sources: list[dict[str, str]], above: str, problems: list[str]
) -> set[str]:
    """Put a description on every field; the paths of all."""
    paths: set[str] = set()
    for field in fields:
        path = f"{above}{field['name']}"
        paths.add(path)
        inherited = {source[path] for source in sources if path in source}
        if path in declared:
            field["description"] = declared[path]
        elif len(inherited) == 1:
            (field["description"],) = inherited
        else:
            why = "what it reads describes it in several ways" if inherited else "nothing describes it"
            problems.append(f"column {path}: {why}; add a line -- @column {path}: what it is")
        paths |= _fill(field.get("fields", []), declared, sources, f"{path}.", problems)
    return paths


def _list_descriptions(fields: Iterable[Field], above: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for field in fields:
        path = f"{above}{field['name']}"
        found[path] = field.get("description", "")
        found |= _list_descriptions(field.get("fields", []), f"{path}.")
    return found


def _make_catalog(name: str, functions: ZetaSQLBuiltinFunctionOptions) -> Any:
    return CatalogBuilder(name).with_builtin_functions(functions).build()


def _make_ml_catalog() -> Any:
    """`ML.RECOMMEND(MODEL ..., [(query of the people or products)])`; a type checker needs no more of BigQuery ML."""
    catalog = CatalogBuilder("ML").build()
    columns = [TVFRelationColumn(name=name, type=TypeFactory.create_simple_type(kind)) for name, kind in RECOMMENDED]
    returned = FunctionArgumentType(
        kind=SignatureArgumentKind.ARG_TYPE_RELATION,
        options=FunctionArgumentTypeOptions(relation_input_schema=TVFRelation(column=columns, is_value_table=False)),
    )
    optional = FunctionArgumentTypeOptions(cardinality=FunctionEnums.ArgumentCardinality.OPTIONAL)
    any_number = -1  # of occurrences: the signature is not that of one call
    model = FunctionArgumentType(kind=SignatureArgumentKind.ARG_TYPE_MODEL, num_occurrences=any_number)
    asked = FunctionArgumentType(
        kind=SignatureArgumentKind.ARG_TYPE_RELATION, options=optional, num_occurrences=any_number
    )
    catalog.custom_tvf.append(
        TableValuedFunction(
            name_path=["RECOMMEND"],
            signature=FunctionSignature(argument=[model, asked], return_type=returned),
            type=FunctionEnums.TableValuedFunctionType.FIXED_OUTPUT_SCHEMA_TVF,
        )
    )
    return catalog


def _make_table(name: str, columns: list[tuple[str, Any]]) -> Any:
    builder = TableBuilder(name)
    for column, kind in columns:
        builder.add_column(column, kind)
    return builder.build()


def _make_type(field: Field) -> Any:
    if field["type"] == "RECORD":
        kind = TypeFactory.create_struct_type([(inner["name"], _make_type(inner)) for inner in field["fields"]])
    else:
        kind = TypeFactory.create_simple_type(_SCALARS[field["type"]])
    return TypeFactory.create_array_type(kind) if field["mode"] == "REPEATED" else kind


def _make_field(name: str, kind: Any) -> Field:
    repeated = kind.array_type is not None
    inner = kind.array_type.element_type if repeated else kind
    # A view's columns are never REQUIRED to BigQuery, whatever its tables' are.
    field: Field = {"name": name, "mode": "REPEATED" if repeated else "NULLABLE"}
    if inner.struct_type is None:
        return field | {"type": _NAMES[inner.type_kind]}
    return field | {
        "type": "RECORD",
        "fields": [_make_field(part.field_name, part.field_type) for part in inner.struct_type.field],
    }
