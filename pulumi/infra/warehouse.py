"""The warehouse: the dataset, and a table or view for every file of `schemas/bigquery`.

Moments and models are statements that jobs run, not resources. Rows come through Pub/Sub's subscriptions
(`subscriptions.py`), rights through `grants.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_gcp as gcp

from infra.settings import Place
from schemas.warehouse import Table, View

_KNOWN = {"description", "schema", "timePartitioning", "clustering"}
_KNOWN_PARTITIONING = {"type", "field"}


@dataclass(frozen=True, kw_only=True)
class WarehouseArgs:
    """`views` come after the views that they read."""

    place: Place
    dataset: str
    tables: Sequence[Table]
    views: Sequence[View]
    key: pulumi.Output[str] | None
    protect: bool


class Warehouse(pulumi.ComponentResource):
    """A dataset with its tables and views by name."""

    def __init__(self, name: str, args: WarehouseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:warehouse:Warehouse", name, None, opts)
        self._args = args
        sealed = gcp.bigquery.DatasetDefaultEncryptionConfigurationArgs(kms_key_name=args.key) if args.key else None
        self.dataset = gcp.bigquery.Dataset(
            "dataset",
            dataset_id=args.dataset,
            project=args.place.project,
            location=args.place.region,
            description="What customers did, what was understood, what was done about it",
            max_time_travel_hours="168",  # a wrong statement can be undone for a week
            default_encryption_configuration=sealed,
            delete_contents_on_destroy=not args.protect,
            labels=args.place.labels,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        self.tables = {table.name: self._make_table(table) for table in args.tables}
        self.views: dict[str, gcp.bigquery.Table] = {}
        for view in args.views:
            self.views[view.name] = self._make_view(view)
        self.register_outputs({})

    def _make_table(self, table: Table) -> gcp.bigquery.Table:
        resource = table.resource
        _refuse_unknown(f"table {table.name}", resource, _KNOWN)
        return gcp.bigquery.Table(
            f"table-{table.name}",
            table_id=table.name,
            dataset_id=self.dataset.dataset_id,
            project=self._args.place.project,
            description=resource.get("description"),
            schema=json.dumps(resource["schema"]["fields"], ensure_ascii=False),
            time_partitioning=_make_partitioning(table),
            clusterings=resource.get("clustering", {}).get("fields"),
            deletion_protection=self._args.protect,
            labels=self._args.place.labels,
            opts=pulumi.ResourceOptions(parent=self, protect=self._args.protect),
        )

    def _make_view(self, view: View) -> gcp.bigquery.Table:
        read = [{**self.tables, **self.views}[name] for name in sorted(view.references)]
        return gcp.bigquery.Table(
            f"view-{view.name}",
            table_id=view.name,
            dataset_id=self.dataset.dataset_id,
            project=self._args.place.project,
            description=view.description,
            # The provider makes the view first and gives it its columns' descriptions then, as the API wants it. Types and
            # modes must be those that BigQuery itself would report (schemas.analyser), or every preview shows a change.
            schema=json.dumps(view.fields, ensure_ascii=False),
            view=gcp.bigquery.TableViewArgs(
                query=view.bind(self._args.place.project, self._args.dataset), use_legacy_sql=False
            ),
            deletion_protection=False,  # holds no data, and a changed view may have to be replaced
            labels=self._args.place.labels,
            opts=pulumi.ResourceOptions(parent=self, depends_on=read),
        )


def _make_partitioning(table: Table) -> gcp.bigquery.TableTimePartitioningArgs | None:
    wanted: dict[str, Any] | None = table.resource.get("timePartitioning")
    if wanted is None:
        return None
    _refuse_unknown(f"timePartitioning of table {table.name}", wanted, _KNOWN_PARTITIONING)
    return gcp.bigquery.TableTimePartitioningArgs(type=wanted["type"], field=wanted.get("field"))


def _refuse_unknown(where: str, given: Mapping[str, Any], known: set[str]) -> None:
    """A key that this program does not know would silently be missing in the cloud."""
    unknown = sorted(given.keys() - known)
    if unknown:
        raise ValueError(f"{where} has {', '.join(unknown)}, which pulumi/infra/warehouse.py does not build yet")
