"""Each step's own policy holds: timeouts, retries with backoff, circuits, substitutes, and the clock that looks after them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from agents.errors import StepFailed
from agents.swarm.clock import Tick
from agents.swarm.playbooks import Breaker, Budget, OnFailure, Playbook, Substitute
from agents.swarm.playbooks import load as load_playbooks
from agents.swarm.progress import attempt_id_of
from agents.tools.models import ModelUnavailable
from schemas.messages import Json, Spent, Status, StepResult, derive_id, facts_key
from tests.unit.swarm import OUTPUTS, World, as_json, make_moment

TASK = derive_id("m1", "win_back")
WORDS = {"productId": "bestseller", "name": "Lamp", "reason": "liked by many"}


def _with_policy(
    step: str, substitutes: Mapping[str, Substitute] | None = None, budget: Budget | None = None, **changes: Any
) -> dict[str, Playbook]:
    playbook = load_playbooks()["win_back"]
    steps = {**playbook.steps, step: msgspec.structs.replace(playbook.steps[step], **changes)}
    changed = msgspec.structs.replace(playbook, steps=steps, substitutes=dict(substitutes or {}), budget=budget)
    return {"win_back": changed}


def _pass_time(world: World, seconds: int) -> None:
    """Second by second: the clock ticks, and whatever is on the bus is delivered."""
    for _ in range(seconds):
        world.clock.pass_seconds(1)
        world.look_at_due()
        world.deliver()


def _reasons(world: World) -> list[str]:
    return [message.payload["reason"] for message in world.outcomes()]


def _failing(times: int, error: Exception) -> Any:
    count = iter(range(100))

    def work(_task: object) -> Json:
        if next(count) < times:
            raise error
        return as_json(OUTPUTS["choose"])

    return work


def test_trouble_is_tried_again_after_a_growing_pause() -> None:
    """Prevents: a task that fails because a model was busy for a second, and a retry that hammers it."""
    known = _with_policy("recommend", retries=2, backoff_seconds=4)
    world = World(outputs={**OUTPUTS, "choose": _failing(2, ModelUnavailable("busy"))}, known=known)
    world.run()
    times: list[int] = []
    for second in range(1, 20):
        _pass_time(world, 1)
        times += [second] * (len(world.requests("choose")) - 1 - len(times))
    assert times == [4, 12]  # 4 s, then 8 s
    assert world.status() == "COMPLETED"
    asked = [message.task_id for message in world.requests("choose")]
    assert asked == [attempt_id_of(TASK, "recommend", number) for number in range(3)]


def test_an_honest_no_is_not_tried_again() -> None:
    """Prevents: asking three times, and paying three times, for what cannot be."""
    world = World(outputs={**OUTPUTS, "choose": StepFailed("no candidates")})
    world.run()
    assert len(world.requests("choose")) == 1
    assert _reasons(world) == ["step recommend: no candidates"]


def test_a_silent_agent_fails_its_step_in_time() -> None:
    """Prevents: a dead agent that holds a task until its deadline, or beyond."""
    world = World(known=_with_policy("recommend", timeout_seconds=5, retries=1, backoff_seconds=1))
    world.silent = {"RecommendationAgent"}
    world.run()
    _pass_time(world, 12)
    assert _reasons(world) == ["step recommend: RecommendationAgent did not answer within 5 s (asked 2 times)"]


def test_a_late_answer_of_an_earlier_try_counts() -> None:
    """Prevents: work that is done but thrown away because the next try was asked already."""
    world = World(known=_with_policy("recommend", timeout_seconds=5, retries=1, backoff_seconds=0))
    world.silent = {"RecommendationAgent"}
    world.run()
    request = world.bus.on("agent-tasks")[-1]
    world.agents["RecommendationAgent"].handle(request.data, request.attributes)
    [(_, late)] = world.new_messages()
    _pass_time(world, 6)
    assert len(world.requests("choose")) == 2
    world.orchestrator.take_result(late.data, late.attributes)
    world.deliver()
    assert world.status() == "COMPLETED"


def test_the_deadline_ends_a_task_without_any_message() -> None:
    """Prevents: a task that is IN_PROGRESS for ever because nobody spoke again. The end is inside the deadline."""
    world = World(known=_with_policy("recommend", timeout_seconds=300, retries=0))
    world.silent = {"RecommendationAgent"}
    world.run()
    _pass_time(world, 299)
    assert _reasons(world) == ["past the deadline of 300 s; no answer from recommend, message, review"]


def test_the_named_substitute_stands_in() -> None:
    """Prevents: FALLBACK that behaves as FAIL_OPEN."""
    substitutes = {"bestseller": Substitute(output=WORDS)}
    known = _with_policy("recommend", substitutes, on_failure=OnFailure.FALLBACK, fallback="bestseller")
    world = World(outputs={**OUTPUTS, "choose": StepFailed("no candidates")}, known=known)
    world.run()
    [action] = world.actions()
    assert action.product_id == "bestseller"
    assert world.requests("write_email")[0].payload["inputs"]["choose"] == WORDS


def test_another_agent_stands_in_and_may_fail_too() -> None:
    """Prevents: a substitute that is asked with other inputs, or whose own failure is taken for an output."""
    substitutes = {"other": Substitute(agent="UserContextAgent", action="summarise")}
    known = _with_policy("message", substitutes, on_failure=OnFailure.FALLBACK, fallback="other")
    outputs = {**OUTPUTS, "write_email": StepFailed("no words")}
    world = World(outputs=outputs, known=known)
    world.run()
    inputs = world.requests("write_email")[0].payload["inputs"]
    assert world.requests("summarise")[-1].payload["inputs"] == inputs
    assert world.status() == "COMPLETED"
    [action] = world.actions()
    assert msgspec.json.decode(action.content) == OUTPUTS["summarise"]


def test_an_open_circuit_asks_nobody_and_closes_again() -> None:
    """Prevents: hundreds of tasks that queue up behind an agent that is down, and a circuit that stays open for ever."""
    known = _with_policy("recommend", retries=0, breaker=Breaker(failures=3, window_seconds=60))
    world = World(outputs={**OUTPUTS, "choose": _failing(4, ModelUnavailable("down"))}, known=known)
    for number in range(6):
        world.run(make_moment(moment_id=f"m{number}"))
    assert len(world.requests("choose")) == 3
    assert "the circuit of RecommendationAgent.choose is open after 3 failures" in _reasons(world)[-1]
    world.clock.pass_seconds(61)
    world.run(make_moment(moment_id="probe"))
    world.run(make_moment(moment_id="refused"))
    assert len(world.requests("choose")) == 4, "one tries; it fails, and the circuit is open again"
    world.clock.pass_seconds(61)
    world.run(make_moment(moment_id="good"))
    world.run(make_moment(moment_id="after"))
    assert world.status(moment_id="good") == world.status(moment_id="after") == "COMPLETED"


@pytest.mark.parametrize("seed", range(30))
def test_an_emptied_redis_changes_nothing_that_was_decided(seed: int) -> None:
    """Prevents: an approval of one email that lets another out, two actions, or none, when Redis is emptied in mid-task."""

    def choose(_task: object) -> Json:
        return {"productId": f"p{world.chance.random()}", "name": "Lamp", "reason": "r"}

    world = World(outputs={**OUTPUTS, "choose": choose}, seed=seed, trouble=0.1, emptied=0.1)
    world.run(doubled=0.3)
    for _ in range(40):  # the minute's sweep, with its own troubles
        world.clock.pass_seconds(2)
        world.sweep()
        world.deliver()
    assert world.store.kept[TASK].is_open is False
    actions = world.actions()
    assert {action.action_id for action in actions} == {derive_id(TASK, "action")}
    assert len({action.product_id for action in actions}) == 1


def test_redis_alone_lets_nothing_out() -> None:
    """Prevents: an agent that approves its own words by writing to Redis, which every agent can."""
    world = World()
    world.orchestrator.take_moment(make_moment())
    done = msgspec.json.encode(StepResult(status=Status.COMPLETED, output={"approved": True})).decode()
    forged = {f"done:{step}": done for step in load_playbooks()["win_back"].steps}
    world.board.learn(facts_key(TASK), {**forged, "outcome": '{"status":"COMPLETED","action":"{}"}'})
    world.orchestrator.look_at(TASK)
    assert world.actions() == []
    assert world.outcomes() == []
    world.run()
    assert world.status() == "COMPLETED", "the task goes on by the durable record"


def test_ticks_go_round_while_tasks_are_open_and_then_stop() -> None:
    """Prevents: a clock that nobody winds up, two clocks, and one that costs money when nothing is to be done."""
    world = World(known=_with_policy("recommend", timeout_seconds=5, retries=0))
    world.silent = {"RecommendationAgent"}
    world.heard.add("ticks")
    world.run(doubled=0.5)  # of a tick, too
    assert _reasons(world) == ["step recommend: RecommendationAgent did not answer within 5 s"]
    assert 4 <= len(world.bus.on("ticks")) <= 20
    numbers = [msgspec.json.decode(message.data, type=Tick).number for message in world.bus.on("ticks")]
    assert len(numbers) == len(set(numbers))


def test_a_sweep_finishes_what_was_orphaned() -> None:
    """Prevents: a task that is lost when its process died, its message was lost and Redis is empty."""
    world = World()
    world.orchestrator.take_moment(make_moment())
    world.new_messages()
    world.board.empty()
    world.heard.add("ticks")
    world.ticking.take_tick(msgspec.json.encode(Tick(sweep=True)))
    assert world.bus.on("ticks"), "the clock goes again"
    world.deliver()
    assert world.status() == "COMPLETED"


def test_a_budget_ends_a_task_that_costs_more() -> None:
    """Prevents: a task whose model calls cost whatever they cost."""
    known = _with_policy("review", budget=Budget(tokens=1000, usd=1.0))
    world = World(known=known)
    world.spend(Spent(tokens=600))
    world.run()
    shares = [message.payload["allowance"]["tokens"] for message in world.sent("agent-tasks")]
    assert shares == [250, 133]
    assert _reasons(world) == ["the budget of 1000 tokens and 1 USD is used up: 1200 tokens, 0.0000 USD"]
