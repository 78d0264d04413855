"""A commit reaches customers only checked, through a canary that rolls back by itself, and by builds that can run."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from delivery import canary, smoke
from delivery.alerts import find_firing, group_points
from delivery.canary import Ports, Requests, RolledBack, Verdict
from delivery.content import name_content
from delivery.promote import NotProven, make_plan
from image.tree import copied_folders
from infra.alarms import Alarm, derive_alarms
from infra.delivery import LINES, Delivery, DeliveryArgs
from infra.settings import Place
from policy.record import PROGRAM, STACKS, record_program

from schemas import topology
from tests.system.conftest import read_exports

ROOT = PROGRAM.parent
FOLDER = PROGRAM / "delivery"
BUILDS = sorted(FOLDER.glob("*.yaml"))
STEP_KEYS = {"id", "name", "args", "env", "script", "waitFor"}
BUILD_KEYS = {"steps", "images", "options", "substitutions", "timeout"}
REPOSITORY = "projects/p/locations/asia-northeast3/connections/github/repositories/argo"


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text("utf-8"))


@pytest.mark.parametrize("path", BUILDS, ids=lambda path: path.name)
def test_a_build_has_the_shape_that_cloud_build_reads(path: Path) -> None:
    """https://cloud.google.com/build/docs/build-config-file-schema: an unknown key is refused at the first commit."""
    build = read(path)
    assert build.keys() <= BUILD_KEYS
    ids = [step["id"] for step in build["steps"]]
    assert len(set(ids)) == len(ids)
    for index, step in enumerate(build["steps"]):
        assert step.keys() <= STEP_KEYS
        assert ("script" in step) != ("args" in step)
        assert set(step.get("waitFor", [])) <= {*ids[:index], "-"}, "a step may wait only for an earlier one"


@pytest.mark.parametrize("path", BUILDS, ids=lambda path: path.name)
def test_a_builds_commands_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert all(f"\n{target}:" in makefile for target in re.findall(r"^ +make (\w+)$", text, re.MULTILINE))
    assert (ROOT / ".ci" / "run").is_file()
    for module in re.findall(r"python3? -m (delivery\.\w+)", text):
        assert (PROGRAM / f"{module.replace('.', '/')}.py").is_file()
    for file in re.findall(r"--file=(\S+)", text):
        assert (ROOT / file).is_file()
    declared = read(path).get("substitutions", {}).keys()
    assert set(re.findall(r"\$\{(_\w+)\}", text)) <= declared


@pytest.mark.parametrize("path", BUILDS, ids=lambda path: path.name)
def test_a_script_uses_only_variables_that_it_is_given(path: Path) -> None:
    """Cloud Build does not substitute inside a script: what is not in `env` is empty there."""
    for step in read(path)["steps"]:
        given = {entry.partition("=")[0] for entry in step.get("env", [])}
        used = set(re.findall(r"\$\{?([A-Z_]+)\b", step.get("script", "")))
        assert used <= given, step["id"]


@pytest.mark.parametrize("name", ["deploy.yaml", "prod.yaml"])
def test_nothing_is_pushed_or_deployed_unchecked(name: str) -> None:
    steps = {step["id"]: step for step in read(FOLDER / name)["steps"]}

    def ancestors(step: str) -> set[str]:
        parents = {parent for parent in steps[step].get("waitFor", []) if parent != "-"}
        return parents.union(*(ancestors(parent) for parent in parents))

    assert {"check", "plan"} <= ancestors("copy")
    assert {"check", "copy", "digest"} <= ancestors("deploy")
    assert "deploy" in ancestors("smoke")
    assert 'argo:image "$(cat /workspace/image/digest)"' in steps["deploy"]["script"]
    script = steps["deploy"]["script"]
    assert script.index("pulumi preview") < script.index("pulumi up")


def test_prod_pins_before_it_deploys_and_releases_after() -> None:
    order = [step["id"] for step in read(FOLDER / "prod.yaml")["steps"]]
    assert order.index("pin") < order.index("deploy") < order.index("canary") < order.index("smoke")


@pytest.mark.parametrize("stack", STACKS)
def test_each_branch_of_git_flow_runs_its_build(stack: str) -> None:
    place = Place(project=f"argo-{stack}", region="asia-northeast3", stack=stack)
    graph = record_program(lambda: Delivery("delivery", DeliveryArgs(place=place, repository=REPOSITORY)), stack=stack)
    built = {entry.get("repositoryEventConfig.push.branch"): entry for entry in graph.of("cloudbuild/Trigger")}
    assert built.keys() == {line.branch for line in LINES[stack]}
    for entry in built.values():
        assert (ROOT / entry.get("filename")).is_file()
        assert entry.get("approvalConfig.approvalRequired") == (stack == "prod")
        assert str(entry.get("serviceAccount")).endswith(f"deployer@argo-{stack}.iam.gserviceaccount.com")
        if entry.get("filename").endswith("deploy.yaml"):
            assert entry.get("substitutions") == {"_STACK": stack}


@pytest.mark.parametrize(
    ("branch", "stack"),
    [
        ("feature/x", "dev"),
        ("develop", "dev"),
        ("release/1.0", "staging"),
        ("hotfix/1.0.1", "staging"),
        ("main", "prod"),
    ],
)
def test_a_branch_leads_to_exactly_one_stack(branch: str, stack: str) -> None:
    found = [name for name, lines in LINES.items() for line in lines if re.match(line.branch, branch)]
    assert found == [stack]


@pytest.mark.parametrize(
    ("total", "failed", "verdict"),
    [
        (0, 0, Verdict.UNKNOWN),
        (19, 0, Verdict.UNKNOWN),
        (20, 0, Verdict.HEALTHY),
        (20, 1, Verdict.HEALTHY),
        (5, 2, Verdict.SICK),
        (100, 5, Verdict.SICK),
        (100, 4, Verdict.HEALTHY),
    ],
)
def test_a_revision_is_judged_by_its_answers(total: int, failed: int, verdict: Verdict) -> None:
    assert Requests(total=total, failed=failed).verdict is verdict


class FakeCloud:
    """Two functions whose new revisions are `<name>-new`; keeps every change of traffic."""

    def __init__(self, counts: Callable[[str], Requests]) -> None:
        self.traffic: dict[str, list[str]] = {"collect": [], "llm": []}
        self.ports = Ports(gcloud=self.gcloud, count_requests=self.count, sleep=lambda _: None)
        self.counts = counts

    def gcloud(self, *arguments: str) -> str:
        if arguments[:3] == ("run", "services", "list"):
            parts = [{"revisionName": "collect-broken", "percent": 10}, {"revisionName": "collect-old", "percent": 90}]
            return json.dumps(
                [
                    {"metadata": {"name": "collect"}, "status": {"traffic": parts}},
                    {"metadata": {"name": "llm"}, "status": {"traffic": [{"revisionName": "llm-old", "percent": 100}]}},
                ]
            )
        if arguments[2] == "describe":
            return f"{arguments[3]}-new\n"
        self.traffic[arguments[3]].append(arguments[4])
        return ""

    def count(self, revision: str, since: datetime) -> Requests:
        assert since.tzinfo
        return self.counts(revision)


PINS = {"collect": "collect-old", "llm": "llm-old"}


def test_pinning_holds_what_serves_most_and_skips_what_is_new() -> None:
    cloud = FakeCloud(lambda _: Requests(total=0, failed=0))
    assert canary.pin(["collect", "llm", "brand-new"], cloud.ports) == PINS
    assert cloud.traffic == {"collect": ["--to-revisions=collect-old=100"], "llm": ["--to-revisions=llm-old=100"]}


def test_a_healthy_release_gets_a_tenth_and_then_everything() -> None:
    cloud = FakeCloud(lambda _: Requests(total=100, failed=0))
    canary.release(PINS, cloud.ports)
    assert cloud.traffic["collect"] == ["--to-revisions=LATEST=10,collect-old=90", "--to-latest"]


def test_one_sick_function_rolls_all_of_them_back() -> None:
    """Functions speak to each other: half a release was never tested."""
    cloud = FakeCloud(lambda revision: Requests(total=50, failed=50 if revision == "llm-new" else 0))
    with pytest.raises(RolledBack, match="llm-new: 50 of 50 answers are 5xx"):
        canary.release(PINS, cloud.ports)
    assert cloud.traffic["collect"][-1] == "--to-revisions=collect-old=100"
    assert cloud.traffic["llm"][-1] == "--to-revisions=llm-old=100"


def test_a_cancelled_release_leaves_nobody_on_the_new_revision() -> None:
    def interrupt(_: str) -> Requests:
        raise KeyboardInterrupt

    cloud = FakeCloud(interrupt)
    with pytest.raises(KeyboardInterrupt):
        canary.release(PINS, cloud.ports)
    assert cloud.traffic["collect"][-1] == "--to-revisions=collect-old=100"


def test_an_unchanged_function_is_not_watched_but_unpinned() -> None:
    cloud = FakeCloud(lambda _: Requests(total=0, failed=0))
    canary.release({"collect": "collect-new"}, cloud.ports)
    assert cloud.traffic["collect"] == ["--to-latest"]


def test_monitorings_answer_is_summed_by_class() -> None:
    def series(code: str, *values: int) -> dict[str, Any]:
        points = [{"value": {"int64Value": str(value)}} for value in values]
        return {"metric": {"labels": {"response_code_class": code}}, "points": points}

    answer = {"timeSeries": [series("2xx", 10, 20), series("5xx", 3)]}
    assert canary.read_series(answer) == Requests(total=33, failed=3)
    assert canary.read_series({}) == Requests(total=0, failed=0)


def test_the_smoke_test_waits_for_the_row() -> None:
    sent: list[bytes] = []
    rows = iter([0, 0, 1])

    def post(url: str, body: bytes) -> int:
        assert url == "https://collect.example/v1/track"
        sent.append(body)
        return 200

    ports = smoke.Ports(post=post, count_rows=lambda _: next(rows), sleep=lambda _: None)
    event_id = smoke.send_event("https://collect.example", "key", ports)
    assert json.loads(sent[0])["messageId"] == event_id


@pytest.mark.parametrize(("status", "complaint"), [(401, "answers 401"), (200, "not in the warehouse")])
def test_the_smoke_test_fails_when_the_event_does_not_arrive(status: int, complaint: str) -> None:
    ports = smoke.Ports(post=lambda _url, _body: status, count_rows=lambda _: 0, sleep=lambda _: None)
    with pytest.raises(RuntimeError, match=complaint):
        smoke.send_event("https://collect.example", "key", ports)


def answer_with(*answers: set[str]) -> Callable[[datetime], set[str]]:
    """Each answer once, the last one for ever."""
    waiting = list(answers)

    def find(_: datetime) -> set[str]:
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return find


def read_backlog(*ages: float) -> Callable[[Alarm, str, datetime], dict[str, list[float]]]:
    def read(_alarm: Alarm, _metric: str, _since: datetime) -> dict[str, list[float]]:
        return {"actions-act": list(ages), "empty": []}

    return read


def test_an_alert_that_begins_rolls_back_and_one_that_was_there_does_not() -> None:
    """Dead letters of yesterday must not stop a release; those that it makes must."""
    for later, healthy in (({"backlog: a"}, True), ({"backlog: a", "errors: llm"}, False)):
        cloud = FakeCloud(lambda _: Requests(total=100, failed=0))
        ports = replace(cloud.ports, find_firing=answer_with({"backlog: a"}, later))
        if healthy:
            canary.release(PINS, ports)
            assert cloud.traffic["collect"][-1] == "--to-latest"
        else:
            with pytest.raises(RolledBack, match="alerts: errors: llm"):
                canary.release(PINS, ports)
            assert cloud.traffic["collect"][-1] == "--to-revisions=collect-old=100"


@pytest.mark.parametrize(
    ("failed", "total", "firing"), [([5.0], [100.0], False), ([6.0], [100.0], True), ([9.0], [10.0], False)]
)
def test_a_share_is_judged_as_its_alert_does(failed: list[float], total: list[float], firing: bool) -> None:
    (errors,) = [alarm for alarm in derive_alarms(topology.load()) if alarm.name == "errors"]

    def read(alarm: Alarm, metric: str, _: datetime) -> dict[str, list[float]]:
        return {"collect": failed if metric == alarm.metric else total}

    found = find_firing([errors], datetime.now(UTC), read)
    assert found == ({f"{errors.title}: collect"} if firing else set())


def test_a_limit_is_judged_by_the_worst_minute() -> None:
    (backlog,) = [alarm for alarm in derive_alarms(topology.load()) if alarm.name == "backlog"]
    since = datetime.now(UTC)
    assert find_firing([backlog], since, read_backlog(10.0, backlog.threshold)) == set()
    found = find_firing([backlog], since, read_backlog(10.0, backlog.threshold + 1))
    assert found == {f"{backlog.title}: actions-act"}


def test_monitorings_points_are_grouped_by_their_label() -> None:
    series = {
        "resource": {"labels": {"subscription_id": "actions-act", "project_id": "p"}},
        "points": [{"value": {"int64Value": "3"}}, {"value": {"doubleValue": 0.5}}],
    }
    assert group_points({"timeSeries": [series]}) == {"actions-act": [3.0, 0.5]}


def test_the_same_content_has_the_same_name(tmp_path: Path) -> None:
    """A merge commit must not make a new image; a changed line must."""
    for folder in (*copied_folders(), "pulumi/image"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    assert name_content(tmp_path) == name_content()
    (tmp_path / "functions" / "main.py").write_text("changed", encoding="utf-8")
    assert name_content(tmp_path) != name_content()
    assert re.fullmatch(r"[a-z0-9-]{3,128}", name_content())


DIGEST = "sha256:" + "1" * 64


@pytest.mark.parametrize(
    ("stack", "there", "copied", "built"),
    [
        ("dev", {}, "", True),
        ("dev", {"dev": True}, "", False),
        ("staging", {"dev": True}, "dev", False),
        ("staging", {}, "", True),
        ("prod", {"staging": True}, "staging", False),
    ],
)
def test_an_image_is_built_once_and_then_copied(stack: str, there: dict[str, bool], copied: str, built: bool) -> None:
    def describe(image: str, provenance: bool) -> str:
        name = next(known for known in STACKS if f"/argo-{known}/" in image)
        return ("builder" if provenance else DIGEST) if there.get(name) else ""

    plan = make_plan(stack, "content-1", describe)
    assert plan.target.endswith(f"/argo-{stack}/argo/argo:content-1")
    assert plan.build == built
    assert plan.copy_from == (f"asia-northeast3-docker.pkg.dev/argo-{copied}/argo/argo@{DIGEST}" if copied else "")


def test_prod_takes_nothing_that_staging_has_not_run() -> None:
    with pytest.raises(NotProven, match="staging has never run content-1"):
        make_plan("prod", "content-1", lambda _image, _provenance: "")


def test_an_image_of_unknown_origin_is_not_copied() -> None:
    def describe(image: str, provenance: bool) -> str:
        return DIGEST if "/argo-staging/" in image and not provenance else ""

    with pytest.raises(NotProven, match="no provenance"):
        make_plan("prod", "content-1", describe)


def test_the_system_tests_can_aim_at_what_was_deployed(tmp_path: Path) -> None:
    smoke.write_environment(tmp_path, "https://collect.argo.example", "a key'")
    path = tmp_path / "local.env"
    assert path.stat().st_mode & 0o077 == 0
    assert read_exports(path) == {
        "ARGO_COLLECT_URL": "https://collect.argo.example",
        "ARGO_WRITE_KEY": "a key'",
        "ARGO_DATASET": topology.load().dataset,
    }
