"""PlannerAgent: from a goal in a person's words to the steps of a playbook, and from their findings to an answer.

Owns what a model is asked, and that a plan is usable before anybody hears of it: only agents that the orchestrator may ask,
names that fit together, no more steps than allowed; one repair. The steps themselves are the orchestrator's to run, within
the playbook's budget and deadline. A plan finds out; it sends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from agents.errors import StepFailed
from agents.prompts import Conclusion, PlannedSteps
from agents.swarm.agent import Action, ModelAgent, Task, to_json
from agents.swarm.planning import MAX_PLANNED_STEPS, find_plan_problems, write_steps
from agents.swarm.playbooks import ORCHESTRATOR
from agents.tools.models import ModelRefused, ModelRequest
from schemas import topology
from schemas.messages import Json

PLAN, CONCLUDE = "plan_steps@1", "conclude_goal@1"
MAX_GOAL = 2000  # characters


class PlannerAgent(ModelAgent):
    """Plans, and draws conclusions."""

    name: ClassVar[str] = "PlannerAgent"

    def actions(self) -> Mapping[str, Action]:
        """What it can do."""
        return {"plan": self.plan, "conclude": self.conclude}

    def plan(self, task: Task) -> Json:
        """`{steps: {name: step}}` in a playbook's own schema.

        Raises:
            StepFailed: no goal, or no usable plan in two tries.
            ModelUnavailable: the model cannot be asked now.
        """
        data: dict[str, Any] = {
            "goal": read_goal(task),
            "agents": describe_agents(),
            "limits": {"maxSteps": MAX_PLANNED_STEPS, "problemsOfTheLastPlan": []},
        }
        problems: list[str] = []
        for _ in range(2):
            planned = self._ask(task, PLAN, data, PlannedSteps)
            steps = write_steps(planned)
            problems = find_plan_problems(steps, topology.load())
            if not problems:
                return {"steps": msgspec.to_builtins(steps), "why": {step.name: step.why for step in planned.steps}}
            data["limits"] = {**data["limits"], "problemsOfTheLastPlan": problems}
        raise StepFailed("no usable plan in two tries: " + "; ".join(problems))

    def conclude(self, task: Task) -> Json:
        """`{answer, evidence}`, where the evidence are names of steps that found something.

        Raises:
            StepFailed: nothing was found, or the answer rests on what is not there.
            ModelUnavailable: the model cannot be asked now.
        """
        findings = {name: found for name, found in task.inputs.items() if name != "plan"}
        if not findings:
            raise StepFailed("no step of the plan has found anything")
        conclusion = self._ask(task, CONCLUDE, {"goal": read_goal(task), "findings": findings}, Conclusion)
        unknown = [name for name in conclusion.evidence if name not in findings]
        if unknown or not conclusion.evidence:
            what = f"{', '.join(unknown)}, which found nothing" if unknown else "nothing"
            raise StepFailed(f"the answer rests on {what}")
        return to_json(conclusion)

    def _ask(self, task: Task, prompt: str, data: dict[str, Any], shape: type[Any]) -> Any:
        request = ModelRequest(task_id=task.whole_id or None, prompt=prompt, data=data)
        try:
            return msgspec.convert(self.gateway.generate(request).output, shape)
        except (ModelRefused, msgspec.ValidationError) as error:
            raise StepFailed(f"no answer of use from the model: {error}") from error


def read_goal(task: Task) -> str:
    """The goal of a moment of kind `goal`; StepFailed when it has none, or one beyond MAX_GOAL characters."""
    goal = task.moment.data.get("goal")
    if not isinstance(goal, str) or not goal.strip() or len(goal) > MAX_GOAL:
        raise StepFailed(f"the moment's data need a goal: a text of 1 to {MAX_GOAL} characters")
    return goal.strip()


def describe_agents() -> list[Json]:
    """Whom a plan may ask for what."""
    return [
        {"agent": agent.name, "actions": agent.actions, "description": agent.description}
        for agent in topology.load().agents
        if ORCHESTRATOR in agent.asked_by and agent.name != PlannerAgent.name
    ]
