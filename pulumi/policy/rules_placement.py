"""Where things are, what they are called, which key seals them, what they may cost, and who is told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from policy.graph import Graph

_LABELLED = {
    "artifactregistry/Repository": "labels",
    "apigateway/Api": "labels",
    "apigateway/ApiConfig": "labels",
    "apigateway/Gateway": "labels",
    "bigquery/Dataset": "labels",
    "bigquery/Table": "labels",
    "cloudrunv2/Job": "labels",
    "cloudrunv2/Service": "labels",
    "compute/Address": "labels",
    "compute/Disk": "labels",
    "compute/GlobalAddress": "labels",
    "compute/GlobalForwardingRule": "labels",
    "compute/Instance": "labels",
    "dns/ManagedZone": "labels",
    "kms/CryptoKey": "labels",
    "memorystore/Instance": "labels",
    "monitoring/AlertPolicy": "userLabels",
    "monitoring/NotificationChannel": "userLabels",
    "networkconnectivity/ServiceConnectionPolicy": "labels",
    "pubsub/Subscription": "labels",
    "pubsub/Topic": "labels",
    "secretmanager/Secret": "labels",
    "storage/Bucket": "labels",
}
_SEALED = {
    "compute/Disk": "diskEncryptionKey.kmsKeySelfLink",
    "bigquery/Dataset": "defaultEncryptionConfiguration.kmsKeyName",
    "firestore/Database": "cmekConfig.kmsKeyName",
    "memorystore/Instance": "kmsKey",
    "pubsub/Topic": "kmsKeyName",
    "secretmanager/Secret": "replication.userManaged.replicas.0.customerManagedEncryption.kmsKeyName",
    "storage/Bucket": "encryption.defaultKmsKeyName",
}
# Kinds whose name of ours is a name in the cloud: two of one name would be one thing with two owners.
_NAMED = {
    "bigquery/Table": "tableId",
    "cloudrunv2/Job": "name",
    "cloudrunv2/Service": "name",
    "cloudscheduler/Job": "name",
    "compute/Firewall": "name",
    "compute/Subnetwork": "name",
    "kms/CryptoKey": "name",
    "pubsub/Subscription": "name",
    "pubsub/Topic": "name",
    "secretmanager/Secret": "secretId",
    "serviceaccount/Account": "accountId",
    "storage/Bucket": "name",
}
_MUST_BE_PLACED = {
    "artifactregistry/Repository",
    "bigquery/Dataset",
    "cloudrunv2/Job",
    "cloudrunv2/Service",
    "cloudscheduler/Job",
    "compute/Subnetwork",
    "firestore/Database",
    "kms/KeyRing",
    "memorystore/Instance",
    "storage/Bucket",
}
# API Gateway has no Seoul; requests pass through it and are not kept (docs/decisions/2026-11-20-api-gateway.md).
_PASSED_THROUGH = {"apigateway/Gateway"}
_MEMORY_MIB = 8192
_INSTANCES = 100


def everything_is_in_the_region(graph: Graph) -> Iterator[str]:
    """Customers' data stays in the country."""
    for entry in graph.resources:
        found = entry.get("location") or entry.get("region") or entry.get("locationId")
        if found is None and entry.kind in _MUST_BE_PLACED:
            yield f"{entry.name} says no place"
        if entry.kind in _PASSED_THROUGH:
            continue
        if found is not None and str(found).lower() != graph.region:
            yield f"{entry.name} is in {found}"


def messages_stay_in_the_region(graph: Graph) -> Iterator[str]:
    """Pub/Sub is global unless told otherwise."""
    for entry in graph.of("pubsub/Topic"):
        if entry.get("messageStoragePolicy.allowedPersistenceRegions") != [graph.region]:
            yield f"{entry.name} may be stored anywhere"


def secrets_stay_in_the_region(graph: Graph) -> Iterator[str]:
    """Automatic replication is worldwide."""
    for entry in graph.of("secretmanager/Secret"):
        replicas = entry.get("replication.userManaged.replicas") or []
        if [replica.get("location") for replica in replicas] != [graph.region]:
            yield f"{entry.name} is kept elsewhere as well"


def everything_is_labelled(graph: Graph) -> Iterator[str]:
    """A bill and a search can tell what belongs together."""
    for entry in graph.of(*_LABELLED):
        labels = entry.get(_LABELLED[entry.kind]) or {}
        if (labels.get("app"), labels.get("stack"), labels.get("managed-by")) != ("argo", graph.stack, "pulumi"):
            yield f"{entry.name} is labelled {labels}"


def names_are_unique(graph: Graph) -> Iterator[str]:
    """Mocks take two resources of one name; Pulumi and Google do not."""
    doubles = Counter((entry.kind, entry.name) for entry in graph.resources)
    yield from (f"{kind} {name} is there {count} times" for (kind, name), count in doubles.items() if count > 1)
    given = Counter((entry.kind, entry.get(_NAMED[entry.kind])) for entry in graph.of(*_NAMED))
    yield from (f"{kind} is called {name!r} {count} times" for (kind, name), count in given.items() if count > 1)


def stores_are_sealed(graph: Graph) -> Iterator[str]:
    """With keys of our own, every store of customers' data uses its own; prod has them."""
    keys = {entry.name for entry in graph.of("kms/CryptoKey")}
    if graph.stack == "prod" and not keys:
        yield "prod has no keys of its own"
    if not keys:
        return
    used: dict[str, set[str]] = {}
    for entry in graph.of(*_SEALED):
        key = entry.get(_SEALED[entry.kind])
        if not key:
            yield f"{entry.name} is not sealed"
        used.setdefault(str(key), set()).add(entry.kind)
    yield from (f"{key} seals {sorted(kinds)}" for key, kinds in used.items() if len(kinds) > 1)


def keys_rotate(graph: Graph) -> Iterator[str]:
    """At least every 90 days, and a destroyed key can be brought back for a month."""
    for entry in graph.of("kms/CryptoKey"):
        rotation = int(str(entry.get("rotationPeriod") or "0s").removesuffix("s"))
        kept = int(str(entry.get("destroyScheduledDuration") or "0s").removesuffix("s"))
        if not 0 < rotation <= 90 * 86_400 or kept < 30 * 86_400:
            yield f"{entry.name} rotates every {rotation} s and is gone after {kept} s"


def keys_serve_their_store_only(graph: Graph) -> Iterator[str]:
    """Only Google's agent of the store may use a key, and only to encrypt and decrypt."""
    for entry in graph.of("kms/CryptoKeyIAMMember"):
        if entry.get("role") != "roles/cloudkms.cryptoKeyEncrypterDecrypter" or "@" not in str(entry.get("member")):
            yield f"{entry.name} grants {entry.get('role')} to {entry.get('member')}"


def one_image_that_cannot_move(graph: Graph) -> Iterator[str]:
    """What was tested is what runs: one image, from this stack's registry, by digest or by a tag that never moves."""
    images = {
        entry.get("template.containers.0.image") or entry.get("template.template.containers.0.image")
        for entry in graph.of("cloudrunv2/Service", "cloudrunv2/Job")
    }
    if len(images) > 1:
        yield f"several images run: {sorted(map(str, images))}"
    fixed = any(entry.get("dockerConfig.immutableTags") for entry in graph.of("artifactregistry/Repository"))
    for image in map(str, images):
        tag = image.rpartition("/")[2].partition(":")[2]
        if "@sha256:" not in image and (not fixed or tag in {"", "latest"}):
            yield f"{image} can change under our feet"
        if not image.startswith(f"{graph.region}-docker.pkg.dev/{graph.project}/"):
            yield f"{image} is not from this stack's registry"


def costs_are_bounded(graph: Graph) -> Iterator[str]:
    """A loop between functions must hit a wall before it hits the budget."""
    for entry in graph.of("cloudrunv2/Service"):
        most = entry.get("template.scaling.maxInstanceCount")
        if not most or most > _INSTANCES:
            yield f"{entry.name} may grow to {most} instances"
        if not entry.get("template.timeout"):
            yield f"{entry.name} may run for ever"
    for entry in graph.of("cloudrunv2/Service", "cloudrunv2/Job"):
        limits = entry.get("template.containers.0.resources.limits") or entry.get(
            "template.template.containers.0.resources.limits"
        )
        memory = str((limits or {}).get("memory"))
        if not memory.endswith("Mi") or int(memory.removesuffix("Mi")) > _MEMORY_MIB:
            yield f"{entry.name} has {memory} of memory"


def a_budget_is_watched(graph: Graph) -> Iterator[str]:
    """Money that runs away is noticed by a person, before the month is over."""
    budgets = list(graph.of("billing/Budget"))
    if not budgets:
        yield "there is no budget"
    for entry in budgets:
        if not entry.get("allUpdatesRule.monitoringNotificationChannels") or not entry.get("thresholdRules"):
            yield f"{entry.name} tells nobody"


def alerts_reach_somebody(graph: Graph) -> Iterator[str]:
    """Each alert has a receiver and says what to do."""
    for entry in graph.of("monitoring/AlertPolicy"):
        if not entry.get("notificationChannels") or len(str(entry.get("documentation.content") or "")) < 40:
            yield f"{entry.name} tells nobody, or not what to do"


def the_main_dangers_are_watched(graph: Graph) -> Iterator[str]:
    """Dead letters, waiting messages, errors, latency, failed jobs."""
    filters = " ".join(
        str(entry.get("conditions.0.conditionThreshold.filter")) for entry in graph.of("monitoring/AlertPolicy")
    )
    for metric in (
        "subscription/num_undelivered_messages",
        "subscription/oldest_unacked_message_age",
        'request_count" resource.type="cloud_run_revision"',
        "run.googleapis.com/request_latencies",
        "job/completed_execution_count",
    ):
        if metric not in filters:
            yield f"nothing watches {metric}"
    for entry in graph.of("pubsub/Subscription"):
        if f'"{entry.get("name")}"' not in filters:
            yield f"nothing watches {entry.name}"


def schedules_are_in_utc(graph: Graph) -> Iterator[str]:
    """One clock for the cloud and the laptop; five fields of cron."""
    for entry in graph.of("cloudscheduler/Job"):
        if entry.get("timeZone") != "Etc/UTC" or not re.fullmatch(r"\S+( \S+){4}", str(entry.get("schedule"))):
            yield f"{entry.name} runs {entry.get('schedule')!r} in {entry.get('timeZone')}"


def components_own_resources(graph: Graph) -> Iterator[str]:
    """Every resource is a child of a component, so that `pulumi up --target` and a reader find it."""
    components = {entry.name for entry in graph.resources if entry.kind.startswith("argo:")}
    for entry in graph.resources:
        if not entry.kind.startswith("argo:") and entry.parent not in components:
            yield f"{entry.kind} {entry.name} has no component"


RULES = (
    everything_is_in_the_region,
    messages_stay_in_the_region,
    secrets_stay_in_the_region,
    everything_is_labelled,
    names_are_unique,
    stores_are_sealed,
    keys_rotate,
    keys_serve_their_store_only,
    one_image_that_cannot_move,
    costs_are_bounded,
    a_budget_is_watched,
    alerts_reach_somebody,
    the_main_dangers_are_watched,
    schedules_are_in_utc,
    components_own_resources,
)
