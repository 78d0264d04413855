"""Who may do what: derived from the topology and from nothing else. Pure values; `grants.py` makes them real.

Each grant names the narrowest thing that Google lets one grant on. The project is that thing only where Google knows no
smaller one, and the reason stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from schemas.topology import CandidatesBackend, Function, Job, Topology

ALL_USERS = "allUsers"
MODEL_CALLER = "aiplatformCaller"  # a role of our own: Google's smallest, aiplatform.user, may also train and deploy
MODEL_TRAINER = "candidateTrainer"  # likewise: dataEditor on the dataset could write every table


@dataclass(frozen=True, kw_only=True)
class OwnRole:
    """A role of our own, for what Google has no role as small as."""

    resource: str
    title: str
    description: str
    permissions: tuple[str, ...]


OWN_ROLES = {
    MODEL_CALLER: OwnRole(
        resource="role-model-caller",
        title="Calls models on Vertex AI",
        description="May ask a model; may not train, deploy, tune or read anything",
        permissions=("aiplatform.endpoints.predict",),
    ),
    MODEL_TRAINER: OwnRole(
        resource="role-candidate-trainer",
        title="Trains BigQuery ML models",
        description="May make and replace models in the dataset; may not write any table",
        # https://cloud.google.com/bigquery/docs/reference/standard-sql/bigqueryml-syntax-create (2026-11-20)
        permissions=(
            "bigquery.models.create",
            "bigquery.models.getData",
            "bigquery.models.getMetadata",
            "bigquery.models.updateData",
            "bigquery.models.updateMetadata",
        ),
    ),
}


class Scope(StrEnum):
    """The kind of thing that a grant is on."""

    TOPIC = "topic"
    SUBSCRIPTION = "subscription"
    BUCKET = "bucket"
    SECRET = "secret"  # noqa: S105 -- a kind, not a value
    DATASET = "dataset"
    TABLE = "table"
    SERVICE = "service"
    DATABASE = "database"
    PROJECT = "project"


@dataclass(frozen=True, kw_only=True, order=True)
class Grant:
    """`holder` is a function or job of the topology, or everybody; `target` a name of the topology."""

    holder: str
    role: str
    scope: Scope
    target: str = ""


def derive_grants(topology: Topology) -> list[Grant]:
    """Every right of every function and job, each once."""
    found = {
        grant for access in (*topology.functions, *topology.jobs) for grant in _derive_one(access, topology.dataset)
    }
    if topology.candidates_backend is CandidatesBackend.BIGQUERY_ML:
        trainers = [
            job.name for job in topology.jobs if "model_runs" in job.writes_tables
        ]  # who records runs makes them
        found |= {
            Grant(holder=name, role=MODEL_TRAINER, scope=Scope.DATASET, target=topology.dataset) for name in trainers
        }
    return sorted(found)


def _derive_one(access: Function | Job, dataset: str) -> Iterator[Grant]:
    for scope, role, targets in (
        (Scope.TOPIC, "roles/pubsub.publisher", access.publishes),
        (Scope.SUBSCRIPTION, "roles/pubsub.subscriber", access.pulls),
        (Scope.BUCKET, "roles/storage.objectViewer", access.reads_buckets),
        (Scope.BUCKET, "roles/storage.objectCreator", access.writes_buckets),
        (Scope.BUCKET, "roles/storage.objectUser", access.rewrites_buckets),
        (Scope.SECRET, "roles/secretmanager.secretAccessor", access.secrets),
        (Scope.TABLE, "roles/bigquery.dataEditor", access.writes_tables),
        (Scope.SERVICE, "roles/run.invoker", access.calls),
    ):
        yield from (Grant(holder=access.name, role=role, scope=scope, target=target) for target in targets)
    if "warehouse" in access.stores:
        yield Grant(holder=access.name, role="roles/bigquery.dataViewer", scope=Scope.DATASET, target=dataset)
        # A query is a job, and a job belongs to a project: there is nothing smaller to grant this on.
        yield Grant(holder=access.name, role="roles/bigquery.jobUser", scope=Scope.PROJECT)
        if access.writes_tables:  # a job that reads whole tables, by the Storage API
            yield Grant(holder=access.name, role="roles/bigquery.readSessionUser", scope=Scope.PROJECT)
    if "profiles" in access.stores:
        # Firestore knows grants on the project only; a condition narrows this one to the database.
        yield Grant(holder=access.name, role="roles/datastore.user", scope=Scope.DATABASE)
    if "models" in access.stores:
        # Google's own models are no resources of ours: only the project can carry the right to call them.
        yield Grant(holder=access.name, role=MODEL_CALLER, scope=Scope.PROJECT)
    # graph, blackboard and mail are not Google's IAM: a password from the vault, or the network, opens them.
    if isinstance(access, Function) and access.public:
        yield Grant(holder=ALL_USERS, role="roles/run.invoker", scope=Scope.SERVICE, target=access.name)


def find_pushed(topology: Topology) -> list[str]:
    """The functions that Pub/Sub calls, each once."""
    return sorted({entry.push.function for entry in topology.subscriptions if entry.push})


def order_by_calls(topology: Topology) -> list[Function]:
    """Functions, each after those that it calls, because it is told their addresses.

    Raises:
        graphlib.CycleError: functions call each other in a circle.
    """
    from graphlib import TopologicalSorter

    sorter = TopologicalSorter({function.name: function.calls for function in topology.functions})
    return [topology.function(name) for name in sorter.static_order()]
