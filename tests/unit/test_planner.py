"""A question becomes a checked plan, its steps are taken within bounds, and the answer names what it rests on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agents.swarm.kit import ask, check_promises, make_ports, read_answers, write_request
from agents.swarm.planner import CONCLUDE, PLAN, PlannerAgent
from agents.swarm.planning import MAX_PLANNED_STEPS, find_plan_problems, read_plan
from agents.swarm.playbooks import load as load_playbooks
from agents.tools.models import FakeGateway, ModelAnswer, ModelRequest, ModelUsage
from schemas import topology
from schemas.messages import Json, Spent, StepResult, derive_id
from tests.unit.swarm import OUTPUTS, World, make_moment

GOAL = {"goal": "Why did this customer's engagement fall?"}
TASK = derive_id("m1", "pursue_goal")


def _step(name: str, agent: str = "UserContextAgent", action: str = "summarise", needs: Any = ()) -> Json:
    return {"name": name, "agent": agent, "action": action, "needs": list(needs), "why": "to know"}


GOOD: Json = {"steps": [_step("history"), _step("offer", "RecommendationAgent", "choose", ["history"])]}


class _Model(FakeGateway):
    """Answers one after another."""

    def __init__(self, *answers: Json, tokens: int = 10) -> None:
        super().__init__()
        self.queue = list(answers)
        self.tokens = tokens

    def generate(self, request: ModelRequest) -> ModelAnswer:
        self.asked.append(request)
        usage = ModelUsage(input_tokens=self.tokens)
        return ModelAnswer(output=self.queue.pop(0), model="fake", usage=usage)


def _planner(*answers: Json) -> tuple[PlannerAgent, _Model]:
    model = _Model(*answers)
    return PlannerAgent(make_ports("PlannerAgent"), model), model


def test_a_question_becomes_steps_in_a_playbooks_own_schema() -> None:
    """Prevents: a plan in a language of its own, that is checked by nobody."""
    agent, model = _planner(GOOD)
    answer = check_promises(agent, "plan", data=GOAL)
    steps = read_plan(answer.output)
    assert [(step.agent, step.action, step.needs) for step in steps.values()] == [
        ("UserContextAgent", "summarise", []),
        ("RecommendationAgent", "choose", ["history"]),
    ]
    assert model.asked[0].prompt == PLAN
    offered = {entry["agent"] for entry in model.asked[0].data["agents"]}
    assert "UserContextAgent" in offered
    assert not offered & {"PlannerAgent", "MasterOrchestratorAgent"}


BAD_PLANS = [
    ([_step("x", "NobodyAgent")], "no agent 'NobodyAgent'"),
    ([_step("x", action="delete")], "has no 'delete'"),
    ([_step("x", needs=["y"])], "no step 'y'"),
    ([_step("x", needs=["y"]), _step("y", needs=["x"])], "wait for each other"),
    ([_step("x", "PlannerAgent", "plan")], "plans no planning"),
    ([_step("x", "MasterOrchestratorAgent", "act")], "may not ask MasterOrchestratorAgent"),
    ([_step(f"x{number}") for number in range(MAX_PLANNED_STEPS + 1)], "1 to 8 steps"),
    ([], "no answer of use"),
    ([{**_step("x"), "name": "X y"}], "no answer of use"),
]


@pytest.mark.parametrize(("steps", "problem"), BAD_PLANS)
def test_a_plan_that_may_not_be_is_repaired_once_or_fails(steps: list[Json], problem: str) -> None:
    """Prevents: a model that invents agents, asks in circles, plans without end, or goes round the allow-list."""
    agent, model = _planner({"steps": steps}, {"steps": steps})
    assert problem in ask(agent, "plan", data=GOAL).reason
    if len(model.asked) == 2:
        agent, model = _planner({"steps": steps}, GOOD)
        assert read_plan(ask(agent, "plan", data=GOAL).output)
        assert problem in str(model.asked[1].data["limits"]["problemsOfTheLastPlan"])


@pytest.mark.parametrize("data", [{}, {"goal": ""}, {"goal": 5}, {"goal": "x" * 2001}])
def test_no_goal_no_plan(data: Json) -> None:
    """Prevents: paying a model for nothing."""
    agent, model = _planner(GOOD)
    assert "need a goal" in ask(agent, "plan", data=data).reason
    assert not model.asked


@pytest.mark.parametrize(
    ("evidence", "reason"), [(["history"], ""), (["other"], "other, which found nothing"), ([], "nothing")]
)
def test_an_answer_rests_on_what_was_found(evidence: list[str], reason: str) -> None:
    """Prevents: an explanation that is made up, with a source that does not exist."""
    agent, model = _planner({"answer": "Fewer orders.", "evidence": evidence})
    answer = ask(agent, "conclude", data=GOAL, history={"orders": 1}, plan={"steps": {}})
    assert answer.reason == (reason and f"the answer rests on {reason}")
    assert model.asked[0].prompt == CONCLUDE
    assert model.asked[0].data["findings"] == {"history": {"orders": 1}}


def _world(plan: Json, conclusion: Json | None = None) -> World:
    planned = {name: step for step in plan["steps"] if (name := step.pop("name", "")) and step.pop("why", "")}
    outputs = {
        **OUTPUTS,
        "plan": {"steps": planned},
        "conclude": conclusion or {"answer": "a", "evidence": ["history"]},
    }
    return World(outputs=outputs, known={"pursue_goal": load_playbooks()["pursue_goal"]})


def _copy(plan: Json) -> Json:
    return msgspec.json.decode(msgspec.json.encode(plan))


def test_what_was_planned_is_done_and_concluded() -> None:
    """Prevents: a plan that is made and not followed, or a conclusion that does not wait for it."""
    world = _world(_copy(GOOD))
    world.run(make_moment("goal", **GOAL))
    assert [message.action for message in world.sent("agent-tasks")] == ["plan", "summarise", "choose", "conclude"]
    [conclude] = world.requests("conclude")
    assert conclude.payload["inputs"].keys() == {"plan", "history", "offer"}
    assert world.outcomes()[0].payload["result"] == {"answer": "a", "evidence": ["history"]}
    assert world.actions() == []


def test_a_plan_that_nobody_checked_is_not_followed() -> None:
    """Prevents: an orchestrator that takes a planner's word for what may be asked of whom."""
    world = _world({"steps": [_step("x", action="delete_everything")]})
    world.run(make_moment("goal", **GOAL))
    assert [message.action for message in world.sent("agent-tasks")] == ["plan"]
    assert "the plan is not usable" in world.outcomes()[0].payload["reason"]


def test_a_goal_that_costs_too_much_is_ended() -> None:
    """Prevents: a question whose answer costs whatever it costs."""
    world = _world(_copy(GOOD))
    world.spend(Spent(tokens=30_000))
    world.run(make_moment("goal", **GOAL))
    assert "the budget of 60000 tokens and 0.5 USD is used up" in world.outcomes()[0].payload["reason"]
    assert len(world.sent("agent-tasks")) == 2


def test_a_step_stops_at_its_allowance() -> None:
    """Prevents: one step that spends what was meant for all."""
    bad: Json = {"steps": [_step("x", "NobodyAgent")]}
    model = _Model(bad, GOOD, tokens=500)
    agent = PlannerAgent(make_ports("PlannerAgent"), model)
    payload = {
        "userId": "u1",
        "moment": {"momentId": "m", "kind": "goal", "data": GOAL},
        "allowance": {"tokens": 400, "usd": 1},
    }
    agent.handle(*write_request("PlannerAgent", "plan", {}, payload=payload))
    answer = msgspec.convert(read_answers(agent)[-1].payload, StepResult)
    assert "allowance of 400 tokens" in answer.reason
    assert (answer.spent.tokens, len(model.asked)) == (500, 1)


def test_names_of_the_playbook_itself_are_taken() -> None:
    """Prevents: a planned step that replaces the conclusion or the plan."""
    playbook = load_playbooks()["pursue_goal"]
    steps = msgspec.structs.replace(playbook.steps["plan"], agent="UserContextAgent", action="summarise")
    assert "is a name of the playbook itself" in str(find_plan_problems({"plan": steps}, topology.load(), playbook))
