"""Logs-based metrics: a time series of each metric that the suite writes to its log (schemas/metrics.yaml).

A line's value may be any number, which Cloud Logging counts only as a distribution; PromQL's `_sum` adds a total up:
`sum(rate(logging_googleapis_com:user_argo_events_accepted_sum[5m]))`. What is worth an alert is alarms.py's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.settings import Place
from schemas.metrics import Metric

PREFIX = "argo_"


@dataclass(frozen=True, kw_only=True)
class MeasuresArgs:
    """Which metrics, and where."""

    place: Place
    metrics: Iterable[Metric]


class Measures(pulumi.ComponentResource):
    """One logs-based metric for each."""

    def __init__(self, name: str, args: MeasuresArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:measures:Measures", name, None, opts)
        self.metrics: list[gcp.logging.Metric] = []
        for metric in args.metrics:
            label = gcp.logging.MetricMetricDescriptorLabelArgs(key=metric.label, value_type="STRING")
            made = gcp.logging.Metric(
                f"metric-{metric.name}",
                project=args.place.project,
                name=f"{PREFIX}{metric.name}",
                description=metric.description,
                filter=f'resource.type=("cloud_run_revision" OR "cloud_run_job") jsonPayload.metric="{metric.name}"',
                value_extractor="EXTRACT(jsonPayload.value)",
                label_extractors={metric.label: "EXTRACT(jsonPayload.label)"} if metric.label else None,
                metric_descriptor=gcp.logging.MetricMetricDescriptorArgs(
                    metric_kind="DELTA",
                    value_type="DISTRIBUTION",
                    unit=metric.unit,
                    labels=[label] if metric.label else None,
                ),
                opts=pulumi.ResourceOptions(parent=self),
            )
            self.metrics.append(made)
        self.register_outputs({})
