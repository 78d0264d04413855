"""Creates in the stores what the topology names: `python -m emulators.setup`. Safe to repeat.

Owns topics, subscriptions, buckets with notifications, the dataset with tables and views, the graph's constraints, and
the secrets' values. Each store is set up in its own thread as soon as it answers. Declared differences from the cloud:
- the least backoff of a push subscription is at most LEAST_BACKOFF_SECONDS, so that a killed function's messages come
  back in seconds;
- a BigQuery or Cloud Storage subscription is a pull subscription of the same name, which emulators.native serves. It
  has no dead-letter policy of its own: only native knows why a message was refused, so native forwards it with the
  reason. Its deadline is the shortest there is: what native held when it was killed is delivered again soon.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString, cast
from urllib.parse import urlsplit

from emulators.environment import url_variable
from schemas.topology import Subscription, Topology, bucket_id, parse

if TYPE_CHECKING:
    from google.cloud import pubsub_v1

LEAST_BACKOFF_SECONDS = 1
NATIVE_DEADLINE_SECONDS = 10
_CALL_SECONDS = 20
_STORE_SECONDS = 80.0


def main() -> int:
    """Sets everything up; 1 when a store could not be, each with its reason."""
    parser = argparse.ArgumentParser(prog="python -m emulators.setup", description=__doc__)
    parser.add_argument("--topology", type=Path, required=True)
    parser.add_argument("--secrets", type=Path, required=True, help="JSON: secret name -> value")
    arguments = parser.parse_args()
    topology = parse(arguments.topology.read_text(encoding="utf-8"))
    project = os.environ["GOOGLE_CLOUD_PROJECT"]
    values: dict[str, str] = json.loads(arguments.secrets.read_text(encoding="utf-8"))
    pubsub = os.environ["PUBSUB_EMULATOR_HOST"]
    parts: dict[str, tuple[list[str], Callable[[], None]]] = {
        "pubsub": ([pubsub], lambda: create_pubsub(topology, project)),
        "storage": ([os.environ["STORAGE_EMULATOR_HOST"], pubsub], lambda: create_buckets(topology, project)),
        "bigquery": ([os.environ["BIGQUERY_EMULATOR_HOST"]], lambda: create_warehouse(topology, project)),
        "graph": ([os.environ["NEO4J_URI"]], create_constraints),
        "secretmanager": ([os.environ["SECRET_MANAGER_ENDPOINT"]], lambda: create_secrets(topology, project, values)),
    }
    import_clients()
    with ThreadPoolExecutor(len(parts)) as pool:
        outcomes = {name: pool.submit(_run_part, name, *part) for name, part in parts.items()}
    problems = {name: outcome.exception() for name, outcome in outcomes.items() if outcome.exception()}
    for name, problem in problems.items():
        print(f"setup: {name} failed: {type(problem).__name__}: {problem}", file=sys.stderr)
    return 1 if problems else 0


def import_clients() -> None:
    """Import what the parts use, in one thread: imports of Google's packages in several at once can deadlock."""
    names = ("pubsub_v1", "storage", "bigquery", "secretmanager_v1")
    for module in ("neo4j", *(f"google.cloud.{name}" for name in names)):
        importlib.import_module(module)


def _run_part(name: str, addresses: list[str], create: Callable[[], None]) -> None:
    for address in addresses:
        wait_for(address)
    started = time.monotonic()
    create()
    print(f"setup: {name} done in {time.monotonic() - started:.2f} s", file=sys.stderr, flush=True)


def wait_for(address: str) -> None:
    """Waits until an address takes connections; TimeoutError when it does not in time."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    deadline = time.monotonic() + _STORE_SECONDS
    while True:
        try:
            socket.create_connection((parts.hostname or "", parts.port or 7687), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing answers at {parts.hostname}:{parts.port}") from None
            time.sleep(0.05)
        else:
            return


def create_pubsub(topology: Topology, project: str) -> None:
    """Topics, then subscriptions; one that exists is brought to the topology's shape."""
    from google.api_core.exceptions import AlreadyExists
    from google.cloud import pubsub_v1

    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    for topic in topology.topics:
        try:
            publisher.create_topic(name=f"projects/{project}/topics/{topic.name}", timeout=_CALL_SECONDS)
        except AlreadyExists:
            continue
    for subscription in topology.subscriptions:
        wanted = describe_subscription(subscription, project, os.environ)
        try:
            subscriber.create_subscription(request=wanted, timeout=_CALL_SECONDS)
        except AlreadyExists:
            _align_subscription(subscriber, wanted)
    subscriber.close()


def describe_subscription(subscription: Subscription, project: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The body of a subscription in Pub/Sub's API, as the laptop has it."""
    native = bool(subscription.bigquery or subscription.storage)
    body: dict[str, Any] = {
        "name": f"projects/{project}/subscriptions/{subscription.name}",
        "topic": f"projects/{project}/topics/{subscription.topic}",
        "ack_deadline_seconds": NATIVE_DEADLINE_SECONDS if native else subscription.ack_deadline_seconds,
        "message_retention_duration": timedelta(seconds=subscription.retention_seconds),
        "enable_message_ordering": subscription.ordered,
        "filter": subscription.filter,
        "retry_policy": {
            "minimum_backoff": timedelta(
                seconds=min(subscription.retry.minimum_backoff_seconds, LEAST_BACKOFF_SECONDS)
            ),
            "maximum_backoff": timedelta(seconds=subscription.retry.maximum_backoff_seconds),
        },
    }
    if subscription.push:
        url = environ[url_variable(subscription.push.function)]
        body["push_config"] = {"push_endpoint": f"{url}{subscription.push.path}"}
    if subscription.dead_letter and not native:
        body["dead_letter_policy"] = {
            "dead_letter_topic": f"projects/{project}/topics/{subscription.dead_letter.topic}",
            "max_delivery_attempts": subscription.dead_letter.max_delivery_attempts,
        }
    return body


def _align_subscription(subscriber: pubsub_v1.SubscriberClient, wanted: dict[str, Any]) -> None:
    """Brings an existing subscription to shape. Topic, filter and ordering cannot change: those make it a new one."""
    from google.pubsub_v1.types import Subscription as Proto

    existing, proto = subscriber.get_subscription(subscription=wanted["name"], timeout=_CALL_SECONDS), Proto(wanted)
    if any(getattr(existing, name) != getattr(proto, name) for name in ("topic", "filter", "enable_message_ordering")):
        subscriber.delete_subscription(subscription=wanted["name"], timeout=_CALL_SECONDS)
        subscriber.create_subscription(request=wanted, timeout=_CALL_SECONDS)
        return
    changeable = ("ack_deadline_seconds", "push_config", "retry_policy", "dead_letter_policy")
    paths = [name for name in changeable if getattr(existing, name) != getattr(proto, name)]
    if paths:
        request = {"subscription": proto, "update_mask": {"paths": paths}}
        subscriber.update_subscription(request=request, timeout=_CALL_SECONDS)


def create_buckets(topology: Topology, project: str) -> None:
    """Buckets and their notifications."""
    from google.api_core.exceptions import Conflict
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    client = storage.Client(project=project, credentials=AnonymousCredentials())
    for bucket in topology.buckets:
        found = client.bucket(bucket_id(project, bucket.name))
        with suppress(Conflict):
            client.create_bucket(found, timeout=_CALL_SECONDS)
        existing = {(entry.topic_name, entry.blob_name_prefix) for entry in found.list_notifications()}
        for wanted in bucket.notifications:
            if (wanted.topic, wanted.prefix or None) in existing:
                continue
            found.notification(
                topic_name=wanted.topic,
                topic_project=project,
                event_types=list(wanted.events),
                blob_name_prefix=wanted.prefix or None,
                payload_format="JSON_API_V1",
            ).create(client=client)


def create_warehouse(topology: Topology, project: str) -> None:
    """The dataset, its tables, and its views in the order in which they read each other.

    As in the cloud a view takes the descriptions of its columns only once it is there.
    """
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    from schemas import warehouse

    client = bigquery.Client(project=project, credentials=AnonymousCredentials())
    dataset = bigquery.Dataset(f"{project}.{topology.dataset}")
    dataset.location = topology.region
    client.create_dataset(dataset, exists_ok=True, timeout=_CALL_SECONDS)
    for table in warehouse.tables():
        reference = {"projectId": project, "datasetId": topology.dataset, "tableId": table.name}
        resource = {"tableReference": reference, **table.resource}
        client.create_table(bigquery.Table.from_api_repr(resource), exists_ok=True, timeout=_CALL_SECONDS)
    for view in warehouse.views():
        described = bigquery.Table(f"{project}.{topology.dataset}.{view.name}")
        described.view_query, described.description = view.bind(project, topology.dataset), view.description
        made = client.create_table(described, exists_ok=True, timeout=_CALL_SECONDS)
        made.schema = [bigquery.SchemaField.from_api_repr(field) for field in view.fields]
        client.update_table(made, ["schema"], timeout=_CALL_SECONDS)


def create_constraints() -> None:
    """The graph's constraints; its driver's notices about those that exist already are not news."""
    import neo4j

    from schemas import graph

    database = os.environ["NEO4J_DATABASE"]
    account = (os.environ["NEO4J_USERNAME"], os.environ["NEO4J_PASSWORD"])
    with neo4j.GraphDatabase.driver(os.environ["NEO4J_URI"], auth=account) as driver:
        errors = (neo4j.exceptions.Neo4jError, neo4j.exceptions.DriverError)
        _until_available(lambda: driver.execute_query("RETURN 1", database_=database), errors)
        for constraint in graph.constraints():
            driver.execute_query(neo4j.Query(cast(LiteralString, constraint)), database_=database)  # from our own files


def _until_available(ask: Callable[[], object], errors: tuple[type[Exception], ...]) -> None:
    """A graph may take connections before it has its database."""
    deadline = time.monotonic() + _CALL_SECONDS
    while True:
        try:
            ask()
        except errors:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def create_secrets(topology: Topology, project: str, values: dict[str, str]) -> None:
    """Each secret of the topology with a value as its latest version; KeyError names one that nobody gave a value."""
    import grpc
    from google.api_core.exceptions import AlreadyExists
    from google.cloud import secretmanager_v1
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
        SecretManagerServiceGrpcTransport,
    )

    channel = grpc.insecure_channel(os.environ["SECRET_MANAGER_ENDPOINT"])
    transport = SecretManagerServiceGrpcTransport(channel=channel)
    client = secretmanager_v1.SecretManagerServiceClient(transport=transport)
    check_values(values, (secret.name for secret in topology.secrets))
    for secret in topology.secrets:
        parent = f"projects/{project}"
        body = {"replication": {"automatic": {}}}
        request = {"parent": parent, "secret_id": secret.name, "secret": body}
        try:
            client.create_secret(request=request, timeout=_CALL_SECONDS)
        except AlreadyExists:
            latest = f"{parent}/secrets/{secret.name}/versions/latest"
            if client.access_secret_version(name=latest).payload.data == values[secret.name].encode():
                continue
        payload = secretmanager_v1.SecretPayload(data=values[secret.name].encode())
        client.add_secret_version(parent=f"{parent}/secrets/{secret.name}", payload=payload, timeout=_CALL_SECONDS)
    transport.close()


def check_values(values: dict[str, str], names: Iterable[str]) -> None:
    """KeyError naming every secret of the topology that has no value on the laptop."""
    missing = sorted(set(names) - values.keys())
    if missing:
        raise KeyError(f"no value for {', '.join(missing)}: add one in emulators.environment.Credentials.secret_values")


if __name__ == "__main__":
    sys.exit(main())
