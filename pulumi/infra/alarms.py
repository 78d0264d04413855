"""What is worth waking somebody for, as values: derived from the topology, so that a new subscription is watched at once.

`watch.py` makes alert policies and a dashboard of them. Metric names: https://cloud.google.com/monitoring/api/metrics_gcp
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from infra.measures import PREFIX
from schemas.topology import Topology

_BACKLOG_SECONDS = 300  # an intervention is to take less than five minutes (design.md)
_PUBLIC_LATENCY_MS = 1000
_ERROR_SHARE = 0.05
_ARRIVAL_SECONDS = 60  # docs/service-levels.md


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One condition: a metric above a threshold for some time, per value of `group_by`; `of` makes it a share."""

    name: str
    title: str
    metric: str
    threshold: float
    for_seconds: int
    aligner: str
    reducer: str
    group_by: str
    what_to_do: str
    of: str = ""


def derive_alarms(topology: Topology) -> list[Alarm]:
    """Every alarm of a stack."""
    held = [entry.name for entry in topology.subscriptions if entry.pull]
    flowing = [entry.name for entry in topology.subscriptions if not entry.pull]
    functions = [function.name for function in topology.functions]
    public = [function.name for function in topology.functions if function.public]
    return [
        _dead_letters(held),
        _backlog(flowing),
        _errors(functions),
        *([_latency(public)] if public else []),
        _jobs(),
        _spilled(),
        _unavailable(),
        _arrival(),
    ]


def _dead_letters(subscriptions: Iterable[str]) -> Alarm:
    return Alarm(
        name="dead-letters",
        title="A message could not be handled",
        metric=_subscription_metric("num_undelivered_messages", subscriptions),
        threshold=0,
        for_seconds=0,
        aligner="ALIGN_MAX",
        reducer="REDUCE_SUM",
        group_by="resource.label.subscription_id",
        what_to_do="Read why in the table dead_letters (attributes.CloudPubSubDeadLetterSourceDeliveryErrorMessage), "
        "repair the cause, then replay: docs/operating.md, 'Dead letters'.",
    )


def _backlog(subscriptions: Iterable[str]) -> Alarm:
    return Alarm(
        name="backlog",
        title="Messages wait longer than an intervention may take",
        metric=_subscription_metric("oldest_unacked_message_age", subscriptions),
        threshold=_BACKLOG_SECONDS,
        for_seconds=120,
        aligner="ALIGN_MAX",
        reducer="REDUCE_MAX",
        group_by="resource.label.subscription_id",
        what_to_do="The subscription's function fails or is too slow: look at its errors and its instance count. "
        "docs/operating.md, 'Incidents'.",
    )


def _errors(functions: Iterable[str]) -> Alarm:
    every = f'metric.type="run.googleapis.com/request_count" resource.type="cloud_run_revision" {_services(functions)}'
    return Alarm(
        name="errors",
        title="A function answers with 5xx",
        metric=f'{every} metric.label.response_code_class="5xx"',
        of=every,
        threshold=_ERROR_SHARE,
        for_seconds=300,
        aligner="ALIGN_RATE",
        reducer="REDUCE_SUM",
        group_by="resource.label.service_name",
        what_to_do="Read the function's log of these minutes; a release just before is rolled back first. "
        "docs/operating.md, 'Incidents'.",
    )


def _latency(functions: Iterable[str]) -> Alarm:
    return Alarm(
        name="latency",
        title="A public function is slow (95th percentile)",
        metric='metric.type="run.googleapis.com/request_latencies" resource.type="cloud_run_revision" '
        + _services(functions),
        threshold=_PUBLIC_LATENCY_MS,
        for_seconds=300,
        aligner="ALIGN_PERCENTILE_95",
        reducer="REDUCE_MAX",
        group_by="resource.label.service_name",
        what_to_do="collect waits for Pub/Sub only: look at Pub/Sub's status, then at the function's instance limit.",
    )


def _jobs() -> Alarm:
    return Alarm(
        name="jobs",
        title="A job failed",
        metric='metric.type="run.googleapis.com/job/completed_execution_count" resource.type="cloud_run_job" '
        'metric.label.result="failed"',
        threshold=0,
        for_seconds=0,
        aligner="ALIGN_DELTA",
        reducer="REDUCE_SUM",
        group_by="resource.label.job_name",
        what_to_do="Jobs are safe to repeat: read the log, repair, run it again. docs/operating.md, 'Incidents'.",
    )


def _spilled() -> Alarm:
    return Alarm(
        name="spilled",
        title="Pub/Sub does not take events",
        metric=_own_metric("events_spilled", "cloud_run_revision"),
        threshold=0,
        for_seconds=300,
        aligner="ALIGN_PERCENTILE_99",
        reducer="REDUCE_MAX",
        group_by="resource.label.service_name",
        what_to_do="Nothing is lost: the events wait in the landing bucket and ingest publishes them by itself. Look at "
        "Pub/Sub's status and quota. docs/operating.md, 'Incidents'.",
    )


def _unavailable() -> Alarm:
    return Alarm(
        name="unavailable",
        title="Nothing can be promised to clients",
        metric=_own_metric("requests_unavailable", "cloud_run_revision"),
        threshold=0,
        for_seconds=60,
        aligner="ALIGN_PERCENTILE_99",
        reducer="REDUCE_MAX",
        group_by="resource.label.service_name",
        what_to_do="Clients are answered 503 and keep their events: neither Pub/Sub nor Cloud Storage takes them. "
        "docs/operating.md, 'Incidents'.",
    )


def _arrival() -> Alarm:
    return Alarm(
        name="arrival",
        title="Events reach BigQuery late",
        metric=_own_metric("arrival_p95_seconds", "cloud_run_job"),
        threshold=_ARRIVAL_SECONDS,
        for_seconds=600,
        aligner="ALIGN_PERCENTILE_99",
        reducer="REDUCE_MAX",
        group_by="resource.label.job_name",
        what_to_do="Look at the oldest unacknowledged message of user-interactions-warehouse, then at BigQuery's status. "
        "docs/operating.md, 'Incidents'.",
    )


def _own_metric(name: str, resource: str) -> str:
    return f'metric.type="logging.googleapis.com/user/{PREFIX}{name}" resource.type="{resource}"'


def _subscription_metric(metric: str, subscriptions: Iterable[str]) -> str:
    return (
        f'metric.type="pubsub.googleapis.com/subscription/{metric}" resource.type="pubsub_subscription" '
        f"resource.label.subscription_id={_one_of(subscriptions)}"
    )


def _services(functions: Iterable[str]) -> str:
    return f"resource.label.service_name={_one_of(functions)}"


def _one_of(names: Iterable[str]) -> str:
    return "one_of(" + ", ".join(f'"{name}"' for name in names) + ")"
