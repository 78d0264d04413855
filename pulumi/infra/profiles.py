"""Firestore: the database of live profiles, its rules and indexes (from `schemas/firestore`), its backups."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pulumi
import pulumi_gcp as gcp

import schemas
from infra.settings import Place

FOLDER = Path(schemas.__file__).with_name("firestore")
DATABASE = "(default)"  # clients and the emulators know it by this name


class IndexField(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One field of a composite index."""

    field_path: str
    order: str | None = None
    array_config: str | None = None


class Index(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A composite index."""

    collection_group: str
    query_scope: str
    fields: list[IndexField]


class FieldOverride(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A field whose automatic indexes are replaced by these; none means that it is not indexed. `ttl`: deletes its document."""

    collection_group: str
    field_path: str
    indexes: list[dict[str, str]]
    ttl: bool = False


class Indexes(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`indexes.json`, in the form that Firebase's own tools read."""

    indexes: list[Index]
    field_overrides: list[FieldOverride]


def read_indexes() -> Indexes:
    """The indexes that the contracts ask for."""
    document: Any = json.loads((FOLDER / "indexes.json").read_text(encoding="utf-8"))
    return msgspec.convert(document, Indexes)


@dataclass(frozen=True, kw_only=True)
class ProfilesArgs:
    """`backups` adds a daily backup and a week of point-in-time recovery."""

    place: Place
    key: pulumi.Output[str] | None
    protect: bool
    backups: bool


class Profiles(pulumi.ComponentResource):
    """The database, closed to everybody but a person reading their own profile."""

    def __init__(self, name: str, args: ProfilesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:profiles:Profiles", name, None, opts)
        self._args = args
        sealed = gcp.firestore.DatabaseCmekConfigArgs(kms_key_name=args.key) if args.key else None
        self.database = gcp.firestore.Database(
            "profiles",
            name=DATABASE,
            project=args.place.project,
            location_id=args.place.region,
            type="FIRESTORE_NATIVE",
            concurrency_mode="PESSIMISTIC",
            app_engine_integration_mode="DISABLED",
            cmek_config=sealed,
            delete_protection_state=f"DELETE_PROTECTION_{'ENABLED' if args.protect else 'DISABLED'}",
            point_in_time_recovery_enablement=f"POINT_IN_TIME_RECOVERY_{'ENABLED' if args.backups else 'DISABLED'}",
            deletion_policy="PREVENT" if args.protect else "DELETE",
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        self._release_rules()
        self._make_indexes(read_indexes())
        if args.backups:
            gcp.firestore.BackupSchedule(
                "profiles-backup",
                project=args.place.project,
                database=self.database.name,
                daily_recurrence=gcp.firestore.BackupScheduleDailyRecurrenceArgs(),
                retention=f"{14 * 86_400}s",
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({})

    def _release_rules(self) -> None:
        content = (FOLDER / "firestore.rules").read_text(encoding="utf-8")
        ruleset = gcp.firebaserules.Ruleset(
            "profiles-rules",
            project=self._args.place.project,
            source=gcp.firebaserules.RulesetSourceArgs(
                files=[gcp.firebaserules.RulesetSourceFileArgs(name="firestore.rules", content=content)]
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.database]),
        )
        gcp.firebaserules.Release(
            "profiles-rules-release",
            name="cloud.firestore",  # the name by which Firestore finds its rules
            project=self._args.place.project,
            ruleset_name=ruleset.name.apply(lambda name: f"projects/{self._args.place.project}/rulesets/{name}"),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _make_indexes(self, indexes: Indexes) -> None:
        for index in indexes.indexes:
            paths = "-".join(field.field_path for field in index.fields)
            gcp.firestore.Index(
                f"index-{index.collection_group}-{paths}",
                project=self._args.place.project,
                database=self.database.name,
                collection=index.collection_group,
                query_scope=index.query_scope,
                fields=[
                    gcp.firestore.IndexFieldArgs(
                        field_path=field.field_path, order=field.order, array_config=field.array_config
                    )
                    for field in index.fields
                ],
                opts=pulumi.ResourceOptions(parent=self),
            )
        for override in indexes.field_overrides:
            wanted = [
                gcp.firestore.FieldIndexConfigIndexArgs(
                    order=entry.get("order"),
                    array_config=entry.get("arrayConfig"),
                    query_scope=entry.get("queryScope"),
                )
                for entry in override.indexes
            ]
            gcp.firestore.Field(
                f"field-{override.collection_group}-{override.field_path}",
                project=self._args.place.project,
                database=self.database.name,
                collection=override.collection_group,
                field=override.field_path,
                index_config=gcp.firestore.FieldIndexConfigArgs(indexes=wanted),
                ttl_config=gcp.firestore.FieldTtlConfigArgs() if override.ttl else None,
                opts=pulumi.ResourceOptions(parent=self),
            )
