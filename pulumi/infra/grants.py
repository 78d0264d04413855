"""Makes the derived grants real, each on its own resource, each additive: nobody else's rights are touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from infra.access import ALL_USERS, OWN_ROLES, Grant, Scope
from infra.settings import Place


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What grants can be on, by the names of the topology. Subscriptions are made after the others' grants."""

    topics: Mapping[str, gcp.pubsub.Topic]
    buckets: Mapping[str, gcp.storage.Bucket]
    secrets: Mapping[str, gcp.secretmanager.Secret]
    dataset: gcp.bigquery.Dataset
    tables: Mapping[str, gcp.bigquery.Table]
    services: Mapping[str, gcp.cloudrunv2.Service]
    database: gcp.firestore.Database
    subscriptions: Mapping[str, gcp.pubsub.Subscription] = field(default_factory=dict[str, gcp.pubsub.Subscription])


@dataclass(frozen=True, kw_only=True)
class GrantsArgs:
    """`accounts`: a function's or job's account by its name."""

    place: Place
    grants: Sequence[Grant]
    accounts: Mapping[str, gcp.serviceaccount.Account]
    targets: Targets


class Grants(pulumi.ComponentResource):
    """One IAM member per grant."""

    def __init__(self, name: str, args: GrantsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:grants:Grants", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        self._own_roles = {role: self._make_own_role(role) for role in _list_own_roles(args.grants)}
        makers = {
            Scope.TOPIC: self._grant_topic,
            Scope.SUBSCRIPTION: self._grant_subscription,
            Scope.BUCKET: self._grant_bucket,
            Scope.SECRET: self._grant_secret,
            Scope.DATASET: self._grant_dataset,
            Scope.TABLE: self._grant_table,
            Scope.SERVICE: self._grant_service,
            Scope.DATABASE: self._grant_database,
            Scope.PROJECT: self._grant_project,
        }
        for grant in args.grants:
            makers[grant.scope](_name(grant), grant, self._member(grant))
        self.register_outputs({})

    def _member(self, grant: Grant) -> pulumi.Input[str]:
        return ALL_USERS if grant.holder == ALL_USERS else self._args.accounts[grant.holder].member

    def _make_own_role(self, role: str) -> gcp.projects.IAMCustomRole:
        own = OWN_ROLES[role]
        return gcp.projects.IAMCustomRole(
            own.resource,
            role_id=role,
            project=self._args.place.project,
            title=own.title,
            description=own.description,
            permissions=list(own.permissions),
            opts=self._child,
        )

    def _find_role(self, grant: Grant) -> pulumi.Input[str]:
        return self._own_roles[grant.role].id if grant.role in self._own_roles else grant.role

    def _grant_topic(self, name: str, grant: Grant, member: pulumi.Input[str]) -> None:
        gcp.pubsub.TopicIAMMember(
            name,
            project=self._args.place.project,
            topic=self._args.targets.topics[grant.target].name,
            role=grant.role,
            member=member,
            opts=self._child,
        )

    def _grant_subscription(self, name: str, grant: Grant, member: pulumi.Input[str]) -> None:
        gcp.pubsub.SubscriptionIAMMember(
            name,
            project=self._args.place.project,
            subscription=self._args.targets.subscriptions[grant.target].name,
            role=grant.role,
            member=member,
            opts=self._child,
        )

    def _grant_bucket(self, name: str, grant: Grant, member: pulumi.Input[str]) -> None:
        bucket = self._args.targets.buckets[grant.target].name
        gcp.storage.BucketIAMMember(name, bucket=bucket, role=grant.role, member=member, opts=self._child)

    def _grant_secret(self, name: str, grant: Grant, member: pulumi.Input[str]) -> None:
        gcp.secretmanager.SecretIamMember(
            name,
            project=self._args.place.project,
            secret_id=self._args.targets.secrets[grant.target].secret_id,
            role=grant.role,
            member=member,
            opts=self._child,
        )

    def _grant_dataset(self, name: str, grant: Grant, member: pulumi.Input[str]) -> None:
        gcp.bigquery.DatasetIamMember(
            name,
            project=self._args.place.project,
            dataset_id=self._args.targets.dataset.dataset_id,
            role=self._find_role(grant),
            member=member,
            opts=self._child,
        )

    def _grant_table(self, name: str, grant: Grant, member: pulumi.Input[str]) -> None:
        gcp.bigquery.IamMember(
            name,
            project=self._args.place.project,
            dataset_id=self._args.targets.dataset.dataset_id,
            table_id=self._args.targets.tables[grant.target].table_id,
            role=grant.role,
            member=member,
            opts=self._child,
        )

    def _grant_service(self, name: str, grant: Grant, member: pulumi.Input[str]) -> None:
        gcp.cloudrunv2.ServiceIamMember(
            name,
            project=self._args.place.project,
            location=self._args.place.region,
            name=self._args.targets.services[grant.target].name,
            role=grant.role,
            member=member,
            opts=self._child,
        )

    def _grant_database(self, name: str, grant: Grant, member: pulumi.Input[str]) -> None:
        project = self._args.place.project
        expression = self._args.targets.database.name.apply(
            lambda database: f'resource.name == "projects/{project}/databases/{database}"'
        )
        gcp.projects.IAMMember(
            name,
            project=project,
            role=grant.role,
            member=member,
            condition=gcp.projects.IAMMemberConditionArgs(title="profiles only", expression=expression),
            opts=self._child,
        )

    def _grant_project(self, name: str, grant: Grant, member: pulumi.Input[str]) -> None:
        gcp.projects.IAMMember(
            name, project=self._args.place.project, role=self._find_role(grant), member=member, opts=self._child
        )


def _list_own_roles(grants: Sequence[Grant]) -> list[str]:
    return sorted({grant.role for grant in grants if grant.role in OWN_ROLES})


def _name(grant: Grant) -> str:
    """A name that says who may do what on what."""
    verb = grant.role.rpartition("/")[2].replace(".", "-")
    return "-".join(filter(None, ["grant", grant.holder, verb, grant.target]))
