"""Adds up on a laptop what the functions and jobs wrote of their metrics: Cloud Logging's part, from the log files."""

from __future__ import annotations

import json
from pathlib import Path

from schemas import metrics


def read_measures(logs: Path) -> dict[str, float]:
    """Each total since the cloud was started, each reading's latest; named `metric` or `metric{label}`."""
    listed = metrics.load()
    found: dict[str, float] = {}
    for log in sorted(logs.glob("*.log")):
        with log.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if '"metric":' not in line:
                    continue
                try:
                    entry = json.loads(line)
                    metric, value = listed[entry["metric"]], float(entry["value"])
                except (ValueError, KeyError, TypeError):  # a line that only quotes one
                    continue
                name = f"{metric.name}{{{entry['label']}}}" if metric.label else metric.name
                found[name] = found.get(name, 0) + value if metric.total else value
    return found
