"""Playbooks as somebody else would write them: what is wrong is named with its line, and what is odd but right runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from agents.acting import links, waiting
from agents.acting.service import digest_of
from agents.errors import StepFailed
from agents.swarm.playbooks import Playbook, PlaybookError, parse
from agents.tools.bus import FakeBus
from agents.tools.outbox import Approval, State
from schemas import topology
from schemas.messages import Json
from tests.unit import test_acting
from tests.unit.swarm import OUTPUTS, World, make_moment

KNOWN = topology.load()

WRONG = """\
playbook: odd
moment: odd_moment
deadline_seconds: 30
steps:
  first:
    agent: UserContextAgent
    action: summarise
    needs: [third]
    timeout_seconds: 10
  second:
    agent: UserContextAgnt
    action: summarise
    needs: [first]
    timeout_seconds: 10
  third:
    agent: RecommendationAgent
    action: choose
    needs: [second]
    timeout_seconds: 45
    on_failure: FALLBACK
    fallback: nothing
    inputs: {x: $forth.name, y: $, summarise: $first}
  message: {agent: CreativeContentAgent, action: write_email, needs: [third], timeout_seconds: 5}
  review:
    agent: SecurityGuardianAgent
    action: review
    needs: [message]
    timeout_seconds: 5
    inputs: {write_email: {subject: harmless}}
action: {kind: email, content: message, approved_by: review, risk: 11}
"""

FAN_OUT = """\
playbook: fan
moment: odd_moment
deadline_seconds: 60
steps:
  answer:  # written first, needs everything
    agent: PlannerAgent
    action: conclude
    inputs: {a: $one, b: $two, c: $three, d: $four.product_id, e: $five, f: $six, g: $moment.orders, h: plain}
    timeout_seconds: 5
  one: {agent: UserContextAgent, action: summarise, timeout_seconds: 5}
  two: {agent: MarketTrendAgent, action: find_signals, timeout_seconds: 5, on_failure: FAIL_OPEN, retries: 0}
  three: {agent: PlannerAgent, action: plan, timeout_seconds: 5}
  four: {agent: RecommendationAgent, action: choose, timeout_seconds: 5, on_failure: FALLBACK, fallback: lamp, retries: 0}
  five: {agent: EngagementAnalystAgent, action: analyse, timeout_seconds: 5, on_failure: FALLBACK, fallback: other, retries: 0}
  six: {agent: CreativeContentAgent, action: write_email, timeout_seconds: 5}
substitutes:
  lamp: {output: {product_id: lamp}}
  other: {agent: UserContextAgent, action: summarise}
result: answer
"""

RISKY = """\
playbook: risky
moment: odd_moment
deadline_seconds: 300
steps:
  choose: {agent: RecommendationAgent, action: choose}
  message: {agent: CreativeContentAgent, action: write_email, needs: [choose]}
  review: {agent: SecurityGuardianAgent, action: review, needs: [message, choose]}
action: {kind: email, content: message, product: choose, approved_by: review, risk: 7}
"""


def test_every_mistake_is_named_with_its_line_and_what_to_do() -> None:
    """Prevents: a judge's playbook that fails with a traceback, or is taken and never ends."""
    with pytest.raises(PlaybookError) as refused:
        parse(WRONG.replace("risk: 11", "risk: 9"), "odd.yaml", KNOWN)
    lines = str(refused.value).splitlines()
    expected = {
        11: "steps.second.agent: no agent 'UserContextAgnt'; did you mean 'UserContextAgent'?",
        19: "steps.third.timeout_seconds: 45 s is more than the deadline of 30 s; make it less",
        21: "steps.third.fallback: no substitute 'nothing'; there is none",
        22: "steps.third.inputs.x: no step 'forth'; did you mean 'first'?",
        29: "steps.review.inputs.write_email: hides the output of 'message'; drop that need, or give this another name",
    }
    for number, words in expected.items():
        assert f"odd.yaml:{number}: {words}" in lines
    assert "steps.third.inputs.y: '$' is no reference; write $step.field or $moment.field" in "\n".join(lines)
    assert any("wait for each other; remove one of these needs" in line for line in lines)
    assert "steps.third.inputs.summarise: hides the output of 'second'" in "\n".join(lines)
    with pytest.raises(PlaybookError, match=r"odd\.yaml:30: action\.risk: Expected `int` <= 10"):
        parse(WRONG, "odd.yaml", KNOWN)


def _play(text: str, name: str, **outputs: Any) -> World:
    playbook = parse(text, f"{name}.yaml", KNOWN)
    known: dict[str, Playbook] = {name: playbook}
    answers = {**OUTPUTS, "find_signals": {"signals": []}, "plan": {"steps": []}, "analyse": {"cause": "unknown"}}
    world = World(outputs={**answers, "conclude": {"answer": "so"}, **outputs}, known=known)
    world.run(make_moment("odd_moment"))
    return world


def test_six_steps_at_once_come_together_without_those_that_failed() -> None:
    """Prevents: a fan-in that waits for a step that failed open, or that runs before a substitute has answered."""
    failing = {"find_signals": StepFailed("closed"), "choose": StepFailed("none"), "analyse": StepFailed("unknown")}
    world = _play(FAN_OUT, "fan", **failing)
    [request] = world.requests("conclude")
    assert request.payload["inputs"] == {
        "a": OUTPUTS["summarise"],
        "c": {"steps": []},
        "d": "lamp",
        "e": OUTPUTS["summarise"],
        "f": OUTPUTS["write_email"],
        "g": 5,
        "h": "plain",
    }
    [outcome] = world.outcomes()
    assert (outcome.action, outcome.payload["result"]) == ("task_completed", {"answer": "so"})


def test_a_substitute_that_fails_as_well_stops_the_task() -> None:
    """Prevents: FALLBACK that goes on without anything, which is FAIL_OPEN by another name."""
    failing = {"analyse": StepFailed("unknown"), "summarise": StepFailed("nobody of that id")}
    world = _play(
        FAN_OUT.replace("$one", "1").replace("one: {agent: UserContextAgent, action: summarise", _ONE), "fan", **failing
    )
    [outcome] = world.outcomes()
    assert (outcome.action, outcome.payload["reason"]) == (
        "task_failed",
        "step five: nobody of that id (asked 2 times)",
    )
    assert not world.requests("conclude")


_ONE = "one: {agent: PlannerAgent, action: plan"


def test_a_step_that_must_have_what_failed_open_says_so() -> None:
    """Prevents: a task that hangs, or an invented output, where a needed step was allowed to fail."""

    def write(task: Any) -> Json:
        return task.read_input("choose", dict)

    text = RISKY.replace("action: choose}", "action: choose, on_failure: FAIL_OPEN}", 1)
    world = _play(text, "risky", choose=StepFailed("none"), write_email=write)
    [outcome] = world.outcomes()
    assert outcome.payload["reason"] == "step message: needs the output of choose, which is not among its inputs"


@pytest.mark.parametrize("word", ["approve", "refuse", "expire"])
def test_a_playbooks_risk_waits_for_a_person(word: str) -> None:
    """Prevents: `risk` in a playbook that nothing reads on the way from the playbook to the mail server."""
    [message] = _play(RISKY, "risky").bus.on("actions")
    world, bus = test_acting.World(), FakeBus()
    world.act(message.data)
    assert not world.mailer.sent
    [waits] = waiting.list_requests(world.outbox, world.clock.now)
    digest = digest_of(message.data)
    if word == "expire":
        world.clock.now += timedelta(hours=world.policy.approval.expires_hours, seconds=1)
        assert waiting.release_due(world.outbox, bus, world.clock.now) == 1
    else:
        decision = Approval(
            digest=digest,
            expires_at=world.clock.now,
            approved=word == "approve",
            decided_by="kim",
            decided_at=world.clock.now,
        )
        waiting.decide_action(links.Request(action_id=waits.action_id, digest=digest), decision, world.outbox, bus)
    world.act(bus.on("actions")[-1].data)
    assert world.state(waits.action_id) is (State.SENT if word == "approve" else State.SKIPPED)
    assert len(world.mailer.sent) == (word == "approve")
    reasons = {"approve": "", "refuse": "refused by kim", "expire": "its approval expired"}
    assert world.outbox.entries[waits.action_id].reason == reasons[word]
    assert msgspec.json.decode(message.data)["risk"] == 7
