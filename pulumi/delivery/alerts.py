"""The alerts' own conditions, asked of Cloud Monitoring while a canary runs: what would wake somebody stops a release.

Asks for the same metrics, groups and limits as the alert policies (`infra/alarms.py`), without their patience: a release
that needs five minutes to be noticed has already been noticed by customers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.alarms import Alarm

# Of one metric (an alarm's `metric` or `of`) since a moment: the values per group, oldest last.
ReadSeries = Callable[[Alarm, str, datetime], dict[str, list[float]]]
ENOUGH = 20.0  # answers, below which a share says nothing


def find_firing(alarms: Iterable[Alarm], since: datetime, read: ReadSeries) -> set[str]:
    """The alarms whose limit is passed, each as `title: group`."""
    return {f"{alarm.title}: {group}" for alarm in alarms for group in _find_groups(alarm, since, read)}


def _find_groups(alarm: Alarm, since: datetime, read: ReadSeries) -> set[str]:
    above = read(alarm, alarm.metric, since)
    if not alarm.of:
        return {group for group, values in above.items() if values and max(values) > alarm.threshold}
    below = read(alarm, alarm.of, since)
    totals = {group: sum(values) for group, values in below.items()}
    return {
        group
        for group, values in above.items()
        if totals.get(group, 0.0) >= ENOUGH and sum(values) / totals[group] > alarm.threshold
    }


def read_series(alarm: Alarm, metric: str, since: datetime) -> dict[str, list[float]]:
    """A metric's points from Cloud Monitoring; a share's are counts, so that they can be added up
    (https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.timeSeries/list)."""
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/monitoring.read"])  # pyright: ignore[reportUnknownMemberType] -- google-auth ships no full types
    parameters = {
        "filter": metric,
        "interval.startTime": since.isoformat(),
        "interval.endTime": (datetime.now(UTC) + timedelta(seconds=1)).isoformat(),
        "aggregation.alignmentPeriod": "60s",
        "aggregation.perSeriesAligner": "ALIGN_SUM" if alarm.of else alarm.aligner,
        "aggregation.crossSeriesReducer": alarm.reducer,
        "aggregation.groupByFields": alarm.group_by,
    }
    url = f"https://monitoring.googleapis.com/v3/projects/{project}/timeSeries"
    answer = AuthorizedSession(credentials).get(url, params=parameters, timeout=30)
    answer.raise_for_status()
    return group_points(answer.json())


def group_points(answer: dict[str, Any]) -> dict[str, list[float]]:
    """The values behind Monitoring's answer, by the one label that series are grouped by."""
    found: dict[str, list[float]] = defaultdict(list)
    for series in answer.get("timeSeries", []):
        labels: dict[str, str] = series.get("resource", {}).get("labels", {}) | series.get("metric", {}).get(
            "labels", {}
        )
        names = [value for name, value in sorted(labels.items()) if name != "project_id"]
        for point in series["points"]:
            value = point["value"]
            found[names[0] if names else "all"].append(
                float(value.get("int64Value") or value.get("doubleValue") or 0.0)
            )
    return dict(found)
