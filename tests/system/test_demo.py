"""`make demo`'s program from an empty cloud to its report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.conftest import ROOT

KEYS = {
    "events_sent", "events_in_bigquery", "duplicates_in_view", "graph_users", "graph_events", "candidates", "moments",
    "agent_messages", "recommendation", "emails", "profile_updates", "seconds",
}  # fmt: skip


@pytest.mark.timeout(300)
def test_the_demo_runs_the_whole_loop(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "emulators.demo", "--dir", str(tmp_path)]
    environment = {**os.environ, "COLUMNS": "120"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "demo.json").read_text())
    assert set(report) >= KEYS
    assert report["events_sent"] == report["events_in_bigquery"] == 2924
    assert report["duplicates_in_view"] == 0
    assert report["graph_events"] >= report["events_sent"]
    assert min(report[key] for key in ("graph_users", "candidates", "moments", "agent_messages", "emails")) > 0
    assert report["tasks"]["failed"] == 0
    assert report["recommendation"]["product"] in report["email"]["text"]
    assert report["recommendation"]["reason"]
    assert "<svg" in (tmp_path / "demo.html").read_text()
