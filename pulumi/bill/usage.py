"""What a stack costs by being used: the load's messages, requests and rows, led along the recorded subscriptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from policy.graph import Graph, Resource

from bill.standing import Use, read_size
from bill.tables import Load, pick

_MILLION = 1e6
_KIB, _GIB, _TIB = 1024.0, 1024.0**3, 1024.0**4
_NEARLINE_AFTER_DAYS = 30
_MONTH_DAYS = 30.4


def _tail(value: Any) -> str:
    return str(value).rpartition("/")[2]


def price_usage(graph: Graph, load: Load) -> Iterator[Use]:
    """Everything that costs by use."""
    for use in (
        *_price_messages(graph, load),
        *_price_functions(graph, load),
        *_price_way_in(graph, load),
        *_price_stores(graph, load),
        *_price_models(graph, load),
    ):
        if use.amount:
            yield use


def _use(price: str, amount: float, what: str) -> Use:
    return Use(price=price, amount=amount, what=what, standing=False)


def count_deliveries(entry: Resource, load: Load) -> tuple[float, float]:
    """Messages and bytes that a subscription delivers in a month."""
    messages = pick(load.messages, _tail(entry.get("topic")))
    share = pick(load.filtered, str(entry.get("name"))) if entry.get("filter") else 1.0
    return messages.count * share, messages.count * share * messages.bytes


def _price_messages(graph: Graph, load: Load) -> Iterator[Use]:
    for topic in graph.of("pubsub/Topic"):
        messages = pick(load.messages, str(topic.get("name")))
        yield _use("pubsub_data", messages.count * messages.bytes / _TIB, f"published to {topic.get('name')}")
    for entry in graph.of("pubsub/Subscription"):
        _, size = count_deliveries(entry, load)
        native = entry.get("bigqueryConfig") or entry.get("cloudStorageConfig")
        yield _use("pubsub_sinks" if native else "pubsub_data", size / _TIB, f"delivered by {entry.get('name')}")


def _price_functions(graph: Graph, load: Load) -> Iterator[Use]:
    """Requests from outside as the load says, and one for each message that is pushed."""
    pushed: dict[str, float] = {}
    for entry in graph.of("pubsub/Subscription"):
        account = str(entry.get("pushConfig.oidcToken.serviceAccountEmail") or "").partition("@")[0]
        if account:
            pushed[account] = pushed.get(account, 0.0) + count_deliveries(entry, load)[0]
    for entry in graph.of("cloudrunv2/Service"):
        name = str(entry.get("name"))
        account = str(entry.get("template.serviceAccount")).partition("@")[0].replace("fn-", "push-", 1)
        count = pick(load.requests, name) + pushed.get(account, 0.0)
        together = min(load.requests_at_once, float(entry.get("template.maxInstanceRequestConcurrency")))
        seconds = count * pick(load.request_seconds, name) / together
        cpus, gib = read_size(entry.get("template.containers.0.resources.limits"))
        yield _use("run_requests", count / _MILLION, f"requests to {name}")
        yield _use("run_cpu", seconds * cpus, f"{name} at work")
        yield _use("run_memory", seconds * gib, f"{name} at work")


def _price_way_in(graph: Graph, load: Load) -> Iterator[Use]:
    for entry in graph.of("compute/RegionNetworkEndpointGroup"):
        name = str(entry.get("cloudRun.service"))
        count = pick(load.requests, name)
        yield _use("armor_requests", count / _MILLION, f"Cloud Armor before {name}")
        out = count * load.response_kib * _KIB / _GIB
        yield _use("balanced_data", 2 * out, f"load balancer to {name} and back")
        yield _use("internet", out, f"answers of {name}")
    for entry in graph.of("apigateway/Gateway"):
        name = str(entry.get("gatewayId")).removeprefix("argo-")
        yield _use("api_gateway_calls", pick(load.requests, name) / _MILLION, f"API Gateway before {name}")
    yield _use("logs", load.log_gib, "logs")
    if list(graph.of("identityplatform/Config")):
        yield _use("sign_ins", load.sign_ins, "people who sign in")


def _price_stores(graph: Graph, load: Load) -> Iterator[Use]:
    for entry in graph.of("pubsub/Subscription"):
        count, size = count_deliveries(entry, load)
        if entry.get("bigqueryConfig"):
            kept = size * load.warehouse_months_kept / _GIB
            yield _use(
                "bigquery_storage", kept, f"rows of {_tail(entry.get('bigqueryConfig.table')).rpartition('.')[2]}"
            )
        bucket = entry.get("cloudStorageConfig.bucket")
        if bucket:
            yield from _price_archive(graph, str(bucket), size, count)
    yield _use("bigquery_queries", load.query_tib, "questions to the warehouse")
    for entry in graph.of("firestore/Database"):
        updates = pick(load.messages, "user-profile-updates").count
        gib = load.profiles * load.profile_kib * _KIB / _GIB
        yield _use("firestore_writes", updates / _MILLION, "profiles written")
        yield _use("firestore_reads", 2 * updates / _MILLION, "profiles read")
        yield _use("firestore_storage", gib, "profiles kept")
        if entry.get("pointInTimeRecoveryEnablement") == "POINT_IN_TIME_RECOVERY_ENABLED":
            yield _use("firestore_recovery", gib, "profiles as they were")
    for entry in graph.of("firestore/BackupSchedule"):
        days = int(str(entry.get("retention")).removesuffix("s")) / 86_400
        gib = load.profiles * load.profile_kib * _KIB / _GIB
        yield _use("firestore_backups", gib * days, f"{days:.0f} backups of the profiles")


def _price_archive(graph: Graph, bucket: str, size: float, count: float) -> Iterator[Use]:
    """As old as the bucket's lifecycle lets it become; what is older than a month is in a cheaper class."""
    (entry,) = (found for found in graph.of("storage/Bucket") if found.get("name") == bucket)
    rules: list[dict[str, Any]] = entry.get("lifecycleRules")
    days = max(int(rule["condition"].get("age") or 0) for rule in rules if rule["action"]["type"] == "Delete")
    cheap = any(rule["action"].get("storageClass") == "NEARLINE" for rule in rules)
    new = min(days, _NEARLINE_AFTER_DAYS) if cheap else days
    daily = size / _MONTH_DAYS / _GIB
    yield _use("storage_standard", daily * new, f"{bucket}: {new} days")
    if cheap:
        yield _use("storage_nearline", daily * (days - new), f"{bucket}: {days - new} days more")
    # An object a minute, if anything came.
    yield _use("storage_writes", 60 * 730 / _MILLION if count else 0.0, f"{bucket}: objects written")


def _price_models(graph: Graph, load: Load) -> Iterator[Use]:
    if any(str(entry.get("role")).endswith("/aiplatformCaller") for entry in graph.of("projects/IAMMember")):
        calls = load.model_calls
        yield _use("model_input", calls.count * calls.input_tokens / _MILLION, "tokens to the model")
        yield _use("model_output", calls.count * calls.output_tokens / _MILLION, "tokens of the model")
