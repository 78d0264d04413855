"""A release through a canary: `python -m delivery.canary pin`, then `pulumi up`, then `python -m delivery.canary release`.

`pin` holds every function's traffic on the revision that serves now, so that `pulumi up` brings new revisions up without
a request. `release` gives them a tenth, watches their errors and the stack's alerts, and either promotes all or rolls all
back: functions speak to each other, so half a release is none. Jobs have no traffic; they run the new image from
`pulumi up` on.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from infra.alarms import derive_alarms

from delivery import alerts
from delivery.alerts import find_firing
from schemas import topology

PINS = Path(__file__).resolve().parents[2] / "build" / "canary.json"
CANARY_PERCENT = 10
WATCH_SECONDS = 900
STEP_SECONDS = 60
ERROR_SHARE = 0.05  # the same as the alert's (infra/alarms.py)
ENOUGH_REQUESTS = 20
log = logging.getLogger("canary")

Run = Callable[..., str]
CountRequests = Callable[[str, datetime], "Requests"]
FindFiring = Callable[[datetime], set[str]]  # the alerts whose condition holds since a moment


class RolledBack(Exception):
    """The new revisions failed; the old ones serve everything again."""


class Verdict(StrEnum):
    """What a revision's requests say."""

    HEALTHY = "healthy"
    UNKNOWN = "too few requests to tell"
    SICK = "too many errors"


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Answers of one revision since some time."""

    total: int
    failed: int

    @property
    def verdict(self) -> Verdict:
        """Errors beyond the limit are sick at once; a few good answers prove nothing."""
        if self.failed >= max(2, self.total * ERROR_SHARE):
            return Verdict.SICK
        return Verdict.HEALTHY if self.total >= ENOUGH_REQUESTS else Verdict.UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What a canary needs from outside."""

    gcloud: Run
    count_requests: CountRequests
    find_firing: FindFiring = lambda _: set[str]()
    sleep: Callable[[float], None] = time.sleep


def pin(functions: list[str], ports: Ports) -> dict[str, str]:
    """Hold each function's traffic on the revision that serves; the pins. A function that is new has none."""
    existing = json.loads(ports.gcloud("run", "services", "list", "--format=json"))
    serving = {entry["metadata"]["name"]: _find_serving(entry) for entry in existing}
    pins = {name: serving[name] for name in functions if serving.get(name)}
    for name, revision in pins.items():
        _set_traffic(name, f"--to-revisions={revision}=100", ports)
    return pins


def release(pins: dict[str, str], ports: Ports) -> None:
    """Shift a tenth, watch, promote.

    Raises:
        RolledBack: naming each revision that failed.
    """
    latest = {name: _find_latest(name, ports) for name in pins}
    changed = {name: revision for name, revision in latest.items() if revision != pins[name]}
    try:
        for name in changed:
            old = 100 - CANARY_PERCENT
            _set_traffic(name, f"--to-revisions=LATEST={CANARY_PERCENT},{pins[name]}={old}", ports)
        _watch(changed, ports)
    except BaseException:
        # Whatever went wrong, and also when the build is cancelled: nobody stays on an unproven revision.
        for name in changed:
            _set_traffic(name, f"--to-revisions={pins[name]}=100", ports)
        raise
    for name in pins:
        _set_traffic(name, "--to-latest", ports)


def _watch(changed: dict[str, str], ports: Ports) -> None:
    since = datetime.now(UTC)
    before = ports.find_firing(since - timedelta(seconds=5 * STEP_SECONDS))  # not this release's doing
    for _ in range(WATCH_SECONDS // STEP_SECONDS):
        ports.sleep(STEP_SECONDS)
        counted = {revision: ports.count_requests(revision, since) for revision in changed.values()}
        sick = {name: found for name, found in counted.items() if found.verdict is Verdict.SICK}
        if sick:
            told = ", ".join(f"{name}: {found.failed} of {found.total} answers are 5xx" for name, found in sick.items())
            raise RolledBack(f"rolled back; {told}")
        firing = ports.find_firing(since) - before
        if firing:
            raise RolledBack(f"rolled back; alerts: {'; '.join(sorted(firing))}")
    for revision in changed.values():
        log.info("%s: %s", revision, ports.count_requests(revision, since).verdict)


def _find_serving(entry: dict[str, Any]) -> str:
    """The revision with the most traffic, whatever a release before left behind."""
    traffic: list[dict[str, Any]] = entry.get("status", {}).get("traffic") or []
    best = max(traffic, key=lambda part: int(part.get("percent") or 0), default={})
    return str(best.get("revisionName") or "")


def _find_latest(name: str, ports: Ports) -> str:
    return ports.gcloud("run", "services", "describe", name, "--format=value(status.latestReadyRevisionName)").strip()


def _set_traffic(name: str, where: str, ports: Ports) -> None:
    log.info("%s %s", name, where)
    ports.gcloud("run", "services", "update-traffic", name, where)


def run_gcloud(*arguments: str, regional: bool = True) -> str:
    """Run gcloud, in the region where the command knows one; its output. A failure raises with gcloud's own words."""
    place = [f"--region={topology.load().region}"] if regional else []
    command = ["gcloud", *arguments, *place, "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- fixed program
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def count_requests(revision: str, since: datetime) -> Requests:
    """Answers of a revision, from Cloud Monitoring
    (https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.timeSeries/list)."""
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/monitoring.read"])  # pyright: ignore[reportUnknownMemberType] -- google-auth ships no full types
    parameters = {
        "filter": f'metric.type="run.googleapis.com/request_count" resource.label.revision_name="{revision}"',
        "interval.startTime": since.isoformat(),
        "interval.endTime": (datetime.now(UTC) + timedelta(seconds=1)).isoformat(),
        "aggregation.alignmentPeriod": "60s",
        "aggregation.perSeriesAligner": "ALIGN_SUM",
        "aggregation.crossSeriesReducer": "REDUCE_SUM",
        "aggregation.groupByFields": "metric.label.response_code_class",
    }
    url = f"https://monitoring.googleapis.com/v3/projects/{project}/timeSeries"
    answer = AuthorizedSession(credentials).get(url, params=parameters, timeout=30)
    answer.raise_for_status()
    return read_series(answer.json())


def _find_firing(since: datetime) -> set[str]:
    return find_firing(derive_alarms(topology.load()), since, alerts.read_series)


def read_series(answer: dict[str, Any]) -> Requests:
    """The sums behind Monitoring's answer; no series means no requests."""
    total = failed = 0
    for series in answer.get("timeSeries", []):
        count = sum(int(point["value"]["int64Value"]) for point in series["points"])
        total += count
        if series["metric"]["labels"]["response_code_class"] == "5xx":
            failed += count
    return Requests(total=total, failed=failed)


def main(arguments: list[str]) -> int:
    """`pin` or `release`."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s: %(message)s")
    ports = Ports(gcloud=run_gcloud, count_requests=count_requests, find_firing=_find_firing)
    if arguments == ["pin"]:
        PINS.parent.mkdir(exist_ok=True)
        PINS.write_text(json.dumps(pin([entry.name for entry in topology.load().functions], ports)), encoding="utf-8")
        return 0
    if arguments != ["release"]:
        log.error("usage: python -m delivery.canary pin|release")
        return 2
    try:
        release(json.loads(PINS.read_text(encoding="utf-8")), ports)
    except RolledBack as reason:
        log.error("%s", reason)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
