"""Steps that a step has planned: how they join a playbook, and what they may not do. Pure.

A playbook with `plan: {step}` runs that step, then the steps in its output, then the step `result`, which waits for all of
them and gets what each found under its name.
"""

from __future__ import annotations

import msgspec

from agents.prompts import PlannedSteps
from agents.swarm.playbooks import OnFailure, Playbook, Step
from schemas.messages import Json, StepResult
from schemas.places import Problem
from schemas.topology import Topology

MAX_PLANNED_STEPS = 8
PLANNER = "PlannerAgent"


def write_steps(planned: PlannedSteps) -> dict[str, Step]:
    """A model's steps as a playbook's; each fails open, since an answer can rest on the others. A double name is lost."""
    return {
        step.name: Step(
            agent=step.agent, action=step.action, needs=step.needs, on_failure=OnFailure.FAIL_OPEN, retries=1
        )
        for step in planned.steps
    }


def find_plan_problems(steps: dict[str, Step], known: Topology, playbook: Playbook | None = None) -> list[str]:
    """Why steps may not join a playbook; empty when they may."""
    from agents.swarm.playbook_rules import find_problems

    if not 0 < len(steps) <= MAX_PLANNED_STEPS:
        return [f"a plan has 1 to {MAX_PLANNED_STEPS} steps with names of their own; this one has {len(steps)}"]
    problems = [
        Problem(path=("steps", name), text=f"{PLANNER} plans no planning")
        for name, step in steps.items()
        if step.agent == PLANNER
    ]
    taken = set(playbook.steps if playbook else ())
    problems += [
        Problem(path=("steps", name), text="is a name of the playbook itself") for name in steps if name in taken
    ]
    alone = Playbook(playbook="plan", moment="goal", deadline_seconds=86_400, steps=steps, result=next(iter(steps)))
    problems += find_problems(alone, known, "plan")
    return [f"{'.'.join(problem.path)}: {problem.text}" for problem in problems]


def read_plan(output: Json) -> dict[str, Step]:
    """The steps of a planning step's output; msgspec.ValidationError names what is not one."""
    return msgspec.convert(output.get("steps"), dict[str, Step])


def extend(playbook: Playbook, planned: StepResult | None) -> Playbook:
    """The playbook with what was planned, once it is."""
    if playbook.plan is None or playbook.result is None or planned is None or "steps" not in planned.output:
        return playbook
    try:
        steps = read_plan(planned.output)
    except msgspec.ValidationError:
        return playbook
    last = playbook.steps[playbook.result]
    inputs = {**last.inputs, **{name: f"${name}" for name in steps}}
    ending = msgspec.structs.replace(last, inputs=inputs)
    return msgspec.structs.replace(playbook, steps={**playbook.steps, **steps, playbook.result: ending})
