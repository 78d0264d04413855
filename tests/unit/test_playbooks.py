"""A playbook is either right or refused with the file, the path and the fix; nothing wrong reaches the swarm."""

from __future__ import annotations

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
    assert set(playbooks.load()) == {"win_back", "service_recovery"}


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
        (("steps", "context", "fallback"), {}, "steps.context.fallback: give it exactly when"),
        (("steps", "context", "on_failure"), "IGNORE", "$.steps[...].on_failure"),
        (("steps", "context", "retries"), 3, "unknown field `retries`"),
        (("action", "content"), "mesage", "action.content: no step 'mesage'"),
        (("action", "approved_by"), "message", "CreativeContentAgent cannot approve"),
        (("action", "kind"), "fax", "$.action.kind"),
        (("deadline_seconds",), 1, "$.deadline_seconds"),
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
    assert refusal.startswith("win_back.yaml:")
    assert expected in refusal


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
    with pytest.raises(PlaybookError, match=r"(?s)win_back\.yaml: .*line 1"):
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
