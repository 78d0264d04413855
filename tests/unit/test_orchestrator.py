"""Whatever the bus does, a moment ends in one outcome: one action, or one reason why not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agents.errors import Poison, StepFailed
from agents.swarm.agent import Task
from agents.swarm.playbooks import Playbook
from agents.swarm.playbooks import load as load_playbooks
from agents.tools.bus import Outgoing
from functions import orchestrate as entry
from functions.push import Delivery
from schemas import rows, topology
from schemas.messages import (
    AgentMessage,
    Json,
    Kind,
    Status,
    StepResult,
    derive_id,
    result_key,
    status_key,
)
from tests.unit.swarm import OUTPUTS, START, Crash, World, make_moment, seal

TASK = derive_id("m1", "win_back")


def _encode(message: AgentMessage) -> bytes:
    return msgspec.json.encode(message)


def _with_policy(step: str, **changes: Any) -> dict[str, Playbook]:
    playbook = load_playbooks()["win_back"]
    steps = {**playbook.steps, step: msgspec.structs.replace(playbook.steps[step], **changes)}
    return {"win_back": msgspec.structs.replace(playbook, steps=steps)}


def test_a_moment_becomes_one_approved_action() -> None:
    """Prevents: a broken loop: steps out of order, inputs lost, an action that is not what was approved."""
    world = World()
    world.run()
    [action] = world.actions()
    assert world.status() == "COMPLETED"
    assert action.action_id == derive_id(TASK, "action")
    assert (action.task_id, action.moment_id, action.user_id) == (TASK, "m1", "u1")
    assert (action.product_id, action.approved_by) == ("p1", "SecurityGuardianAgent")
    assert msgspec.json.decode(action.content) == OUTPUTS["write_email"]
    assert [message.action for message in world.sent("agent-tasks")] == list(OUTPUTS)
    [request] = world.requests("write_email")
    assert request.payload["inputs"] == {"summarise": OUTPUTS["summarise"], "choose": OUTPUTS["choose"]}
    assert request.payload["moment"]["kind"] == "lapsed_buyer"
    assert request.parent_task_id == TASK
    [outcome] = world.outcomes()
    assert (outcome.action, outcome.kind, outcome.correlation_id) == ("task_completed", Kind.EVENT, "m1")


@pytest.mark.parametrize("seed", range(60))
def test_doubled_reordered_and_lost_messages_give_one_action(seed: int) -> None:
    """Prevents: two emails for one moment, or none, when messages come twice, in any order, or processes die."""

    def choose(_task: Task) -> Json:
        # A model answers differently each time: what is approved must still be what goes out.
        return {"productId": f"p{world.chance.random()}", "name": "Lamp", "reason": "r"}

    world = World(outputs={**OUTPUTS, "choose": choose}, seed=seed, trouble=0.3)
    world.run(doubled=0.3)
    assert world.status() == "COMPLETED"
    assert {action.action_id for action in world.actions()} == {derive_id(TASK, "action")}
    assert len({action.product_id for action in world.actions()}) == 1
    assert len({message.action for message in world.outcomes()}) == 1
    answers = [m for m in world.sent("agent-results") if m.kind is Kind.RESPONSE]
    assert len({(m.task_id, str(m.payload)) for m in answers}) == len(OUTPUTS)
    assert not world.poison


@pytest.mark.parametrize("seed", range(20))
def test_failures_end_once_too_under_trouble(seed: int) -> None:
    """Prevents: a refused message that goes out because a redelivery took another path."""
    world = World(outputs={**OUTPUTS, "review": StepFailed("a claim")}, seed=seed, trouble=0.3)
    world.run(doubled=0.3)
    assert world.status() == "FAILED"
    assert not world.actions()
    assert {message.payload["reason"] for message in world.outcomes()} == {"step review: a claim"}


def test_a_lost_answer_is_asked_for_again() -> None:
    """Prevents: a task that waits until its deadline for a message that was lost."""
    world = World()
    world.orchestrator.take_moment(make_moment())
    [(_, request)] = world.new_messages()
    world.agents["UserContextAgent"].handle(request.data, request.attributes)
    world.new_messages()  # the answer is lost
    world.clock.pass_seconds(61)
    world.orchestrator.look_at(TASK)
    [(_, told)] = world.new_messages()
    assert (told.attributes["kind"], told.attributes["action"]) == ("event", "step_failed")
    world.clock.pass_seconds(2)
    world.orchestrator.look_at(TASK)
    world.run()
    assert world.status() == "COMPLETED"
    assert len(world.requests("summarise")) == 2


def test_a_step_is_marked_as_asked_only_after_its_publish() -> None:
    """Prevents: a request that was never sent but is never sent again."""
    world = World()
    world.bus.share = 2.0  # every publish dies before Pub/Sub has it
    with pytest.raises(Crash):
        world.orchestrator.take_moment(make_moment())
    world.bus.share = 0.0
    world.orchestrator.take_moment(make_moment())
    assert len(world.requests("summarise")) == 1


def test_the_action_is_on_the_bus_before_the_task_is_completed() -> None:
    """Prevents: a task that says COMPLETED although its action was lost in a crash."""
    world = World()
    world.orchestrator.take_moment(make_moment())
    for name in ("UserContextAgent", "RecommendationAgent", "CreativeContentAgent", "SecurityGuardianAgent"):
        [(_, request)] = world.new_messages()
        world.agents[name].handle(request.data, request.attributes)
        [(_, answer)] = world.new_messages()
        if name == "SecurityGuardianAgent":
            world.bus.share = 2.0
            with pytest.raises(Crash):
                world.orchestrator.take_result(answer.data, answer.attributes)
            assert world.status() == "IN_PROGRESS"
            world.bus.share = 0.0
        world.orchestrator.take_result(answer.data, answer.attributes)
    assert (len(world.actions()), world.status()) == (1, "COMPLETED")


def test_a_finished_task_stays_finished() -> None:
    """Prevents: a late duplicate that starts a task again."""
    world = World()
    world.run()
    before = len(world.bus.sent)
    for message in [*world.sent("agent-results")]:
        world.orchestrator.take_result(*seal(message))
    world.orchestrator.take_moment(make_moment())
    world.clock.pass_seconds(1000)
    world.orchestrator.take_moment(make_moment())
    assert len(world.bus.sent) == before


def test_fail_open_goes_on_without_the_output() -> None:
    """Prevents: an email that is not sent because a nicety was missing."""
    world = World(outputs={**OUTPUTS, "summarise": StepFailed("no profile")})
    world.run()
    assert world.requests("choose")[0].payload["inputs"] == {}
    assert world.requests("write_email")[0].payload["inputs"] == {"choose": OUTPUTS["choose"]}
    assert world.status() == "COMPLETED"


def test_fail_closed_stops_the_task_with_its_reason() -> None:
    """Prevents: asking further agents about a task that is already lost."""
    world = World(outputs={**OUTPUTS, "choose": StepFailed("no candidates")})
    world.run()
    [outcome] = world.outcomes()
    assert (outcome.action, outcome.payload["reason"]) == ("task_failed", "step recommend: no candidates")
    assert not world.requests("write_email")
    assert not world.actions()


@pytest.mark.parametrize("output", [{}, {"approved": False}, {"approved": "true"}, {"approved": 1}])
def test_only_a_plain_approval_lets_an_action_out(output: Json) -> None:
    """Prevents: an answer of the guardian that is no yes but counts as one."""
    world = World(outputs={**OUTPUTS, "review": output})
    world.run()
    assert not world.actions()
    assert world.outcomes()[0].payload["reason"] == "step review: no approval in its output"


def _given_up(request: Outgoing) -> dict[str, str]:
    return {**request.attributes, "CloudPubSubDeadLetterSourceDeliveryCount": "5"}


def test_a_request_that_no_agent_could_handle_fails_its_step() -> None:
    """Prevents: a task that hangs for ever behind a dead agent."""
    world = World(known=_with_policy("context", retries=0))
    world.orchestrator.take_moment(make_moment())
    [(_, context)] = world.new_messages()
    world.orchestrator.take_failed(context.data, _given_up(context))
    world.orchestrator.take_failed(context.data, _given_up(context))
    assert [message.payload["inputs"] for message in world.requests("choose")] == [{}], "context fails open"


def test_an_answer_that_came_before_the_dead_letter_counts() -> None:
    """Prevents: a step that was answered but whose acknowledgement was lost five times counting as failed."""
    world = World()
    world.orchestrator.take_moment(make_moment())
    [(_, request)] = world.new_messages()
    world.agents["UserContextAgent"].handle(request.data, request.attributes)
    [(_, answer)] = world.new_messages()
    world.orchestrator.take_result(answer.data, answer.attributes)
    world.orchestrator.take_failed(request.data, _given_up(request))
    assert [message.payload["inputs"] for message in world.requests("choose")] == [{"summarise": OUTPUTS["summarise"]}]


def test_past_the_deadline_a_task_fails_and_says_who_was_missing() -> None:
    """Prevents: an email that comes hours after the moment that it is about."""
    world = World()
    world.orchestrator.take_moment(make_moment())
    [(_, request)] = world.new_messages()
    world.agents["UserContextAgent"].handle(request.data, request.attributes)
    world.clock.pass_seconds(301)
    [(_, answer)] = world.new_messages()
    world.orchestrator.take_result(answer.data, answer.attributes)
    [outcome] = world.outcomes()
    assert outcome.payload["reason"] == "past the deadline of 300 s; no answer from recommend, message, review"
    assert world.status() == "FAILED"


def test_a_redelivered_moment_does_not_move_the_deadline() -> None:
    """Prevents: a task that lives as long as its moment is redelivered."""
    world = World()
    world.orchestrator.take_moment(make_moment())
    world.clock.pass_seconds(200)
    world.orchestrator.take_moment(make_moment())
    world.clock.pass_seconds(101)
    world.orchestrator.take_moment(make_moment())
    assert world.status() == "FAILED"


def test_every_key_has_a_ttl_of_a_day() -> None:
    """Prevents: a Redis that fills up."""
    world = World()
    world.run()
    assert set(world.board.ttls_seconds) == set(world.board.values)
    assert set(world.board.ttls_seconds.values()) <= {20, 86_400}
    assert status_key(TASK) in world.board.values
    assert result_key(TASK, "MasterOrchestratorAgent") in world.board.values


@pytest.mark.parametrize(("orders", "tasks"), [(1, 0), (2, 1)])
def test_a_moment_starts_only_the_playbooks_whose_conditions_hold(orders: int, tasks: int) -> None:
    """Prevents: writing to people whom the playbook leaves out."""
    world = World()
    world.orchestrator.take_moment(make_moment(orders=orders))
    assert len(world.requests("summarise")) == tasks


def _event(**changes: Any) -> bytes:
    row = {
        "event_id": "e1",
        "event_type": "order_cancelled",
        "event_timestamp": START,
        "user_id": "u1",
        "revenue": "120.50",
        "order_id": "o1",
        "traits": '{"email":"ann@example.com"}',
        "properties": '{"note":"ann@example.com"}',
        **changes,
    }
    return msgspec.json.encode({key: value for key, value in row.items() if value is not None})


def test_an_event_that_is_a_moment_becomes_one_without_personal_data() -> None:
    """Prevents: an address on the bus between agents, every word of which is kept in the warehouse."""
    world = World()
    world.orchestrator.take_event(_event())
    world.orchestrator.take_event(_event())
    moments = [msgspec.json.decode(message.data, type=rows.Moment) for message in world.bus.on("moments")]
    assert {moment.moment_id for moment in moments} == {derive_id("order_cancelled", "e1")}
    assert world.requests("summarise") == [], "the task begins on the one path that every moment takes"
    for message in world.bus.on("moments"):
        world.orchestrator.take_moment(message.data)
    [request] = world.requests("summarise")
    assert request.correlation_id == moments[0].moment_id
    assert request.payload["moment"]["data"]["revenue"] == "120.50"
    assert b"ann@example.com" not in _encode(request) + world.bus.on("moments")[0].data


@pytest.mark.parametrize("changes", [{"revenue": "99.99"}, {"revenue": None}, {"user_id": None}])
def test_events_that_are_no_moment_do_nothing(changes: Json) -> None:
    """Prevents: tasks about nobody, or about what the playbook leaves out."""
    world = World()
    world.orchestrator.take_event(_event(**changes))
    assert not world.bus.sent


def _forged(**changes: Any) -> tuple[bytes, dict[str, str]]:
    values: dict[str, Any] = {
        "task_id": derive_id(TASK, "review"),
        "parent_task_id": TASK,
        "correlation_id": "m1",
        "source_agent": "SecurityGuardianAgent",
        "target_agent": "MasterOrchestratorAgent",
        "action": "review",
        "kind": Kind.RESPONSE,
        "payload": msgspec.to_builtins(StepResult(status=Status.COMPLETED, output={"approved": True})),
        "timestamp": START,
        **changes,
    }
    return seal(AgentMessage(**values))


@pytest.mark.parametrize(
    "changes",
    [
        {"source_agent": "CreativeContentAgent"},  # approves its own work
        {"task_id": "step-of-nobody"},
        {"parent_task_id": "task-of-nobody"},
        {"parent_task_id": None},
        {"payload": {"output": {}}},
        {"payload": {"status": "DONE"}},
        {"kind": Kind.REQUEST},
        {"target_agent": "UserContextAgent"},
    ],
)
def test_answers_that_fit_no_step_are_poison(changes: Json) -> None:
    """Prevents: an agent that answers for another one, and messages that are tried again for ever."""
    world = World()
    world.orchestrator.take_moment(make_moment())
    with pytest.raises(Poison):
        world.orchestrator.take_result(*_forged(**changes))
    assert not world.actions()


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff"])
def test_unreadable_messages_are_poison(data: bytes) -> None:
    """Prevents: redelivering for days what nobody can read."""
    orchestrator = World().orchestrator
    for take in (orchestrator.take_event, orchestrator.take_moment):
        with pytest.raises(Poison):
            take(data)
    for take in (orchestrator.take_result, orchestrator.take_failed):
        with pytest.raises(Poison):
            take(data, {})
    with pytest.raises(Poison):
        World().ticking.take_tick(data[:1])


def test_the_orchestrators_own_events_are_ignored() -> None:
    """Prevents: the orchestrator answering itself in a circle."""
    world = World()
    world.run()
    before = len(world.bus.sent)
    world.orchestrator.take_result(*seal(world.outcomes()[0]))
    assert len(world.bus.sent) == before


def test_every_path_of_the_topology_reaches_its_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a subscription whose messages are all poison because function and topology name other paths."""
    paths = {one.push.path for one in topology.load().subscriptions if one.push and one.push.function == "orchestrate"}
    world = World()
    monkeypatch.setattr(entry, "_clock", lambda: world.ticking)
    for path in paths:
        with pytest.raises(Poison, match=r"^(?!orchestrate knows)"):
            entry.handle_delivery(_delivery(path, b"[]"))
    with pytest.raises(Poison, match="orchestrate knows"):
        entry.handle_delivery(_delivery("/", b"{}"))
    entry.handle_delivery(_delivery("/moment", make_moment()))
    assert len(world.requests("summarise")) == 1


def _delivery(path: str, data: bytes) -> Delivery:
    return Delivery(message_id="1", data=data, attributes={}, subscription="s", attempt=1, path=path)
