"""Alerts with what to do about each, a dashboard of the same, and a budget that says when money runs away."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_gcp as gcp

from infra.alarms import Alarm
from infra.measures import Measures
from infra.settings import Place


@dataclass(frozen=True, kw_only=True)
class WatchArgs:
    """`monthly_budget` is in the billing account's own currency."""

    place: Place
    project_number: pulumi.Output[str]
    alarms: Sequence[Alarm]
    measures: Measures
    alert_email: str
    billing_account: str
    monthly_budget: int


class Watch(pulumi.ComponentResource):
    """Who is told, and when."""

    def __init__(self, name: str, args: WatchArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:watch:Watch", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        self._operators = gcp.monitoring.NotificationChannel(
            "operators",
            project=args.place.project,
            display_name="ARGO's operators",
            type="email",
            labels={"email_address": args.alert_email},
            user_labels=args.place.labels,
            opts=self._child,
        )
        for alarm in args.alarms:
            self._make_alert(alarm)
        gcp.monitoring.Dashboard(
            "dashboard", project=args.place.project, dashboard_json=write_dashboard(args), opts=self._child
        )
        self._make_budget()
        self.register_outputs({})

    def _make_alert(self, alarm: Alarm) -> None:
        gcp.monitoring.AlertPolicy(
            f"alert-{alarm.name}",
            project=self._args.place.project,
            display_name=f"ARGO {self._args.place.stack}: {alarm.title}",
            combiner="OR",
            conditions=[
                gcp.monitoring.AlertPolicyConditionArgs(
                    display_name=alarm.title, condition_threshold=_describe_threshold(alarm)
                )
            ],
            documentation=gcp.monitoring.AlertPolicyDocumentationArgs(
                content=alarm.what_to_do, mime_type="text/markdown"
            ),
            notification_channels=[self._operators.name],
            alert_strategy=gcp.monitoring.AlertPolicyAlertStrategyArgs(auto_close="86400s"),
            user_labels=self._args.place.labels,
            # An alert on a metric that is not there yet is refused.
            opts=pulumi.ResourceOptions(parent=self, depends_on=self._args.measures.metrics),
        )

    def _make_budget(self) -> None:
        thresholds = [
            gcp.billing.BudgetThresholdRuleArgs(threshold_percent=share, spend_basis=basis)
            for share, basis in ((0.5, "CURRENT_SPEND"), (0.9, "CURRENT_SPEND"), (1.0, "FORECASTED_SPEND"))
        ]
        gcp.billing.Budget(
            "budget",
            billing_account=self._args.billing_account,
            display_name=f"ARGO {self._args.place.stack}",
            amount=gcp.billing.BudgetAmountArgs(
                specified_amount=gcp.billing.BudgetAmountSpecifiedAmountArgs(units=str(self._args.monthly_budget))
            ),
            # A budget knows projects by number only.
            budget_filter=gcp.billing.BudgetBudgetFilterArgs(
                projects=[pulumi.Output.concat("projects/", self._args.project_number)]
            ),
            threshold_rules=thresholds,
            all_updates_rule=gcp.billing.BudgetAllUpdatesRuleArgs(
                monitoring_notification_channels=[self._operators.id]
            ),
            opts=self._child,
        )


def _describe_threshold(alarm: Alarm) -> gcp.monitoring.AlertPolicyConditionConditionThresholdArgs:
    above = gcp.monitoring.AlertPolicyConditionConditionThresholdAggregationArgs(
        alignment_period="60s",
        per_series_aligner=alarm.aligner,
        cross_series_reducer=alarm.reducer,
        group_by_fields=[alarm.group_by],
    )
    below = gcp.monitoring.AlertPolicyConditionConditionThresholdDenominatorAggregationArgs(
        alignment_period="60s",
        per_series_aligner=alarm.aligner,
        cross_series_reducer=alarm.reducer,
        group_by_fields=[alarm.group_by],
    )
    return gcp.monitoring.AlertPolicyConditionConditionThresholdArgs(
        filter=alarm.metric,
        comparison="COMPARISON_GT",
        threshold_value=alarm.threshold,
        duration=f"{alarm.for_seconds}s",
        aggregations=[above],
        denominator_filter=alarm.of or None,
        denominator_aggregations=[below] if alarm.of else None,
    )


def write_dashboard(args: WatchArgs) -> str:
    """A chart per alarm, two in a row, with the threshold as a line
    (https://cloud.google.com/monitoring/api/ref_v3/rest/v1/projects.dashboards)."""
    width, height = 24, 16
    tiles = [
        {
            "xPos": index % 2 * width,
            "yPos": index // 2 * height,
            "width": width,
            "height": height,
            "widget": {"title": alarm.title, "xyChart": _describe_chart(alarm)},
        }
        for index, alarm in enumerate(args.alarms)
    ]
    board = {"displayName": f"ARGO {args.place.stack}", "mosaicLayout": {"columns": 2 * width, "tiles": tiles}}
    return json.dumps(board, sort_keys=True)


def _describe_chart(alarm: Alarm) -> dict[str, Any]:
    aggregation = {
        "alignmentPeriod": "60s",
        "perSeriesAligner": alarm.aligner,
        "crossSeriesReducer": alarm.reducer,
        "groupByFields": [alarm.group_by],
    }
    series = {"filter": alarm.metric, "aggregation": aggregation}
    query: dict[str, Any] = {"timeSeriesFilter": series}
    if alarm.of:
        below = {"filter": alarm.of, "aggregation": aggregation}
        query = {"timeSeriesFilterRatio": {"numerator": series, "denominator": below}}
    return {
        "dataSets": [{"plotType": "LINE", "timeSeriesQuery": query}],
        "thresholds": [{"value": alarm.threshold}],
    }
