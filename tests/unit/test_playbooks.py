"""A playbook is either right or refused with the file, the path and the fix; nothing wrong reaches the swarm."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.swarm import playbooks
from agents.swarm.playbooks import Condition, PlaybookError, parse
from schemas import topology

KNOWN = topology.load()


def _good() -> dict[str, Any]:
    return yaml.safe_load((playbooks.FOLDER / "win_back.yaml").read_text(encoding="utf-8"))


def _refusal(playbook: dict[str, Any], file: str = "win_back.yaml") -> str:
    with pytest.raises(PlaybookError) as refused:
        parse(yaml.safe_dump(playbook), file, KNOWN)
    return str(refused.value)


def test_every_playbook_of_the_suite_is_right() -> None:
    """Prevents: a playbook that is merged but refused when the orchestrator starts."""
    assert (
        set(playbooks.load()) == {path.stem for path in playbooks.FOLDER.glob("*.yaml")} >= {"win_back", "pursue_goal"}
    )


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("steps", "review", "agent"), "NobodyAgent", "steps.review.agent: no agent 'NobodyAgent'"),
        (("steps", "review", "agent"), "MasterOrchestratorAgent", "may not ask MasterOrchestratorAgent"),
        (("steps", "review", "action"), "approve", "steps.review.action: SecurityGuardianAgent has no 'approve'"),
        (("steps", "message", "needs"), ["contxt"], "steps.message.needs: no step 'contxt'"),
        (("steps", "context", "needs"), ["review"], "wait for each other"),
        (("steps", "review", "on_failure"), "FAIL_OPEN", "an approval must be FAIL_CLOSED"),
        (("steps", "review", "needs"), ["recommend"], "add 'message', so that what goes out is what was approved"),
        (("steps", "context", "on_failure"), "FALLBACK", "steps.context.fallback: give it exactly when"),
        (("steps", "context", "fallback"), "x", "steps.context.fallback: give it exactly when"),
        (("steps", "context", "fallback"), {}, "steps.context.fallback: Expected `str | null`"),
        (("steps", "context", "on_failure"), "IGNORE", "steps.context.on_failure: Invalid enum value 'IGNORE'"),
        (
            ("steps", "context", "retires"),
            3,
            "steps.context.retires: Object contains unknown field `retires`; did you mean",
        ),
        (("steps", "context", "timeout_seconds"), 301, "301 s is more than the deadline of 300 s"),
        (("steps", "context", "inputs"), {"a": "$contxt.b"}, "steps.context.inputs.a: no step 'contxt'"),
        (("steps", "context", "inputs"), {"a": "$$"}, "is no reference; write $step.field"),
        (("steps", "context", "inputs"), {"a": "$review.b"}, "wait for each other"),
        (("substitutes",), {"x": {}}, "substitutes.x: give it either output, or agent and action"),
        (("substitutes",), {"x": {"output": {}}}, "substitutes.x: no step names it as its fallback"),
        (("result",), "review", "ends with exactly one of action and result"),
        (("action", "content"), "mesage", "action.content: no step 'mesage'"),
        (("action", "approved_by"), "message", "CreativeContentAgent cannot approve"),
        (("action", "kind"), "fax", "action.kind: Invalid enum value"),
        (("deadline_seconds",), 1, "deadline_seconds: Expected `int` >= 10"),
        (("playbook",), "other", "give it the file's name, 'win_back'"),
        (("when",), {"orders": {"over": 2}}, "unknown field `over`"),
    ],
)
def test_a_wrong_playbook_is_refused_with_file_path_and_fix(path: tuple[str, ...], value: Any, expected: str) -> None:
    """Prevents: an analyst's slip that shows only as a task that never ends, or as an email nobody approved."""
    playbook = _good()
    target = playbook
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    refusal = _refusal(playbook)
    assert expected in refusal
    assert all(re.match(r"win_back\.yaml:[0-9]+: ", line) for line in refusal.splitlines())


def test_the_line_of_each_problem_is_named() -> None:
    """Prevents: an analyst who searches a file for what a path means."""
    text = (playbooks.FOLDER / "win_back.yaml").read_text(encoding="utf-8")
    text = text.replace("action: choose", "action: chose").replace("kind: email", "kind: fax")
    text = text.replace("orders: {gte: 2}", "orders: {gte: 2}\n  orders: {gte: 3}")
    with pytest.raises(PlaybookError) as refused:
        parse(text, "win_back.yaml", KNOWN)
    lines = text.splitlines()
    numbers = [int(line.split(":")[1]) for line in str(refused.value).splitlines()]
    assert [lines[number - 1].strip() for number in numbers] == ["orders: {gte: 3}"]
    text = text.replace("  orders: {gte: 3}\n", "").replace("kind: fax", "kind: email")
    with pytest.raises(PlaybookError, match="did you mean 'choose'") as refused:
        parse(text, "win_back.yaml", KNOWN)
    assert text.splitlines()[int(str(refused.value).split(":")[1]) - 1].strip() == "action: chose"


def test_a_wrong_playbook_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: one analyst's slip that silences every playbook."""
    (tmp_path / "bad.yaml").write_text("playbook: bad\n", encoding="utf-8")
    good = (playbooks.FOLDER / "win_back.yaml").read_text(encoding="utf-8")
    (tmp_path / "win_back.yaml").write_text(good, encoding="utf-8")
    monkeypatch.setattr(playbooks, "FOLDER", tmp_path)
    assert list(playbooks.load.__wrapped__()) == ["win_back"]


def test_every_problem_is_said_at_once() -> None:
    """Prevents: fixing a playbook one error a run."""
    playbook = _good()
    playbook["steps"]["review"]["action"] = "approve"
    playbook["action"]["product"] = "nothing"
    refusal = _refusal(playbook)
    assert "steps.review.action" in refusal
    assert "action.product" in refusal


def test_two_inputs_of_one_action_are_refused() -> None:
    """Prevents: one output silently hiding another, since inputs are keyed by the action that made them."""
    playbook = _good()
    playbook["steps"]["again"] = {**playbook["steps"]["recommend"]}
    playbook["steps"]["message"]["needs"] = ["context", "recommend", "again"]
    assert "'recommend' and 'again' are both 'choose'" in _refusal(playbook)


def test_text_that_is_no_yaml_names_the_line() -> None:
    """Prevents: a traceback instead of a place to look at."""
    with pytest.raises(PlaybookError, match=r"^win_back\.yaml:1: not YAML"):
        parse("playbook: [", "win_back.yaml", KNOWN)


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        (Condition(gte=100), "100.00", True),  # NUMERIC travels as text
        (Condition(gte=100), "99.99", False),
        (Condition(gte=100), 100, True),
        (Condition(gte=100), None, False),
        (Condition(gte=100), "much", False),
        (Condition(gte=100), "NaN", False),
        (Condition(gte=1, lte=5), 6, False),
        (Condition(equals="KR"), "KR", True),
        (Condition(equals="KR"), "DE", False),
        (Condition(gte=0.1), "0.1", True),  # binary fractions must not decide about money
    ],
)
def test_conditions_compare_as_people_read_them(condition: Condition, value: object, expected: bool) -> None:
    """Prevents: a threshold that money as text, a missing field or a word passes."""
    assert condition.holds(value) is expected
