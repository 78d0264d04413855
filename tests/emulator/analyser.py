"""Types GoogleSQL with Google's own analyser against the tables of schemas/bigquery. No store, no network.

Owns the catalogue; a view becomes a table of it, so that what reads the view is typed by what the view returns.
"""

from __future__ import annotations

from typing import Any

from zetasql.api import Analyzer, CatalogBuilder, TableBuilder
from zetasql.api.type_factory import TypeFactory
from zetasql.types import AnalyzerOptions, LanguageOptions, ProductMode, TypeKind, ZetaSQLBuiltinFunctionOptions

from schemas import warehouse

_SCALARS = {
    "STRING": TypeKind.TYPE_STRING,
    "INTEGER": TypeKind.TYPE_INT64,
    "FLOAT": TypeKind.TYPE_DOUBLE,
    "BOOLEAN": TypeKind.TYPE_BOOL,
    "BYTES": TypeKind.TYPE_BYTES,
    "NUMERIC": TypeKind.TYPE_NUMERIC,
    "TIMESTAMP": TypeKind.TYPE_TIMESTAMP,
    "JSON": TypeKind.TYPE_JSON,
}
_NAMES = {kind.value: name for name, kind in _SCALARS.items()}


class Analyser:
    """Knows the dataset `argo`."""

    def __init__(self) -> None:
        language = LanguageOptions.maximum_features()
        language.product_mode = ProductMode.PRODUCT_EXTERNAL  # BigQuery's types, not Google's internal ones
        language.reserved_keywords = ["QUALIFY"]  # as in BigQuery, where QUALIFY needs no WHERE beside it
        functions = ZetaSQLBuiltinFunctionOptions(language_options=language)
        self._dataset = CatalogBuilder("argo").build()
        self._catalog = CatalogBuilder("project").with_builtin_functions(functions).build()
        self._catalog.catalog.append(self._dataset)
        self._options = AnalyzerOptions(language_options=language, allow_undeclared_parameters=True)
        self._queries = {query.name: query for query in warehouse.views()}
        for table in warehouse.tables():
            fields = table.resource["schema"]["fields"]
            self._add(table.name, [(field["name"], _make_type(field)) for field in fields])
        for view in warehouse.views():
            self._add(view.name, self._analyse(view.query))
        self._queries |= {query.name: query for query in warehouse.moments() + warehouse.read_queries("models")}

    def columns(self, name: str) -> dict[str, str]:
        """The columns that a file's statement returns, with their types ("" for those that are not scalar).

        Raises:
            zetasql.core.exceptions.ZetaSQLError: the statement is not GoogleSQL over our tables; says where and why.
        """
        return self.columns_of(self._queries[name].query)

    def columns_of(self, sql: str) -> dict[str, str]:
        """The columns that a statement of the code's own returns; see `columns`."""
        return {column: _NAMES.get(kind.type_kind, "") for column, kind in self._analyse(sql)}

    def _analyse(self, sql: str) -> list[tuple[str, Any]]:
        statement: Any = Analyzer(self._options, self._catalog).analyze_statement(sql)
        return [(column.name, column.column.type) for column in statement.output_column_list]

    def _add(self, name: str, columns: list[tuple[str, Any]]) -> None:
        builder = TableBuilder(name)
        for column, kind in columns:
            builder.add_column(column, kind)
        self._dataset.table.append(builder.build())


def _make_type(field: dict[str, Any]) -> Any:
    if field["type"] == "RECORD":
        kind = TypeFactory.create_struct_type([(inner["name"], _make_type(inner)) for inner in field["fields"]])
    else:
        kind = TypeFactory.create_simple_type(_SCALARS[field["type"]])
    return TypeFactory.create_array_type(kind) if field["mode"] == "REPEATED" else kind
