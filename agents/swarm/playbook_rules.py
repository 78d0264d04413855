"""What a playbook's shape cannot say: that its names exist, fit together, and that nothing goes out unapproved. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from agents.swarm.playbooks import ORCHESTRATOR, OnFailure, Playbook, Step, read_path
from schemas.places import Path, Problem, suggest
from schemas.topology import Topology

GUARDIAN = "SecurityGuardianAgent"


def find_problems(playbook: Playbook, known: Topology, name: str) -> Iterator[Problem]:
    """Every broken rule with its place and its fix; `name` is the file's, which the playbook must have as well."""
    if playbook.playbook != name:
        yield Problem(path=("playbook",), text=f"is {playbook.playbook!r}; give it the file's name, {name!r}")
    for step_name, step in playbook.steps.items():
        at = ("steps", step_name)
        yield from _find_wrong_agent(at, step.agent, step.action, known)
        yield from _find_wrong_needs(playbook, at, step)
        yield from _find_wrong_failure(playbook, at, step)
    yield from _find_wrong_substitutes(playbook, known)
    try:
        TopologicalSorter({name: step.waits_for for name, step in playbook.steps.items()}).prepare()
    except CycleError as error:
        text = f"{' -> '.join(error.args[1])} wait for each other; remove one of these needs"
        yield Problem(path=("steps", error.args[1][0]), text=text)
    yield from _find_wrong_end(playbook)
    yield from _find_wrong_plan(playbook)


def _find_wrong_agent(at: Path, agent: str, action: str, known: Topology) -> Iterator[Problem]:
    actions = {entry.name: entry.actions for entry in known.agents}
    if agent not in actions:
        yield Problem(path=(*at, "agent"), text=f"no agent {agent!r}; {suggest(agent, actions)}")
    elif ORCHESTRATOR not in known.agent(agent).asked_by:
        text = f"{ORCHESTRATOR} may not ask {agent}; add {ORCHESTRATOR} to its asked_by in topology.yaml"
        yield Problem(path=(*at, "agent"), text=text)
    elif action not in actions[agent]:
        yield Problem(path=(*at, "action"), text=f"{agent} has no {action!r}; {suggest(action, actions[agent])}")


def _find_wrong_needs(playbook: Playbook, at: Path, step: Step) -> Iterator[Problem]:
    makers: dict[str, str] = {}
    for need in step.needs:
        if need not in playbook.steps:
            yield Problem(path=(*at, "needs"), text=f"no step {need!r}; {suggest(need, playbook.steps)}")
            continue
        action = playbook.steps[need].action
        if action in makers:
            text = (
                f"{makers[action]!r} and {need!r} are both {action!r}; need one of them, and name the other in inputs"
            )
            yield Problem(path=(*at, "needs"), text=text)
        makers[action] = need
    for key, value in step.inputs.items():
        path = read_path(value)
        if key in makers:
            text = f"hides the output of {makers[key]!r}; drop that need, or give this another name"
            yield Problem(path=(*at, "inputs", key), text=text)
        if path is None and isinstance(value, str) and value.startswith("$"):
            text = f"{value!r} is no reference; write $step.field or $moment.field"
            yield Problem(path=(*at, "inputs", key), text=text)
        elif path and path[0] not in {*playbook.steps, "moment"}:
            text = f"no step {path[0]!r}; {suggest(path[0], [*playbook.steps, 'moment'])}"
            yield Problem(path=(*at, "inputs", key), text=text)


def _find_wrong_failure(playbook: Playbook, at: Path, step: Step) -> Iterator[Problem]:
    if (step.on_failure is OnFailure.FALLBACK) != (step.fallback is not None):
        text = "give it exactly when on_failure is FALLBACK: the name of one of the substitutes"
        yield Problem(path=(*at, "fallback"), text=text)
    elif step.fallback is not None and step.fallback not in playbook.substitutes:
        text = f"no substitute {step.fallback!r}; {suggest(step.fallback, playbook.substitutes)}"
        yield Problem(path=(*at, "fallback"), text=text)
    if step.timeout_seconds > playbook.deadline_seconds:
        text = f"{step.timeout_seconds:g} s is more than the deadline of {playbook.deadline_seconds} s; make it less"
        yield Problem(path=(*at, "timeout_seconds"), text=text)


def _find_wrong_substitutes(playbook: Playbook, known: Topology) -> Iterator[Problem]:
    used = {step.fallback for step in playbook.steps.values()}
    for name, substitute in playbook.substitutes.items():
        at = ("substitutes", name)
        if (substitute.output is None) == (substitute.agent is None):
            yield Problem(path=at, text="give it either output, or agent and action")
        elif (substitute.agent is None) != (substitute.action is None):
            yield Problem(path=at, text="give agent and action together")
        elif substitute.agent and substitute.action:
            yield from _find_wrong_agent(at, substitute.agent, substitute.action, known)
        if name not in used:
            yield Problem(path=at, text="no step names it as its fallback; remove it")


def _find_wrong_end(playbook: Playbook) -> Iterator[Problem]:
    if (playbook.action is None) == (playbook.result is None):
        yield Problem(path=("action",), text="a playbook ends with exactly one of action and result; give one")
    if playbook.result is not None and playbook.result not in playbook.steps:
        yield Problem(path=("result",), text=f"no step {playbook.result!r}; {suggest(playbook.result, playbook.steps)}")
    if playbook.action is None:
        return
    for field in ("content", "approved_by", "product"):
        step = getattr(playbook.action, field)
        if step is not None and step not in playbook.steps:
            yield Problem(path=("action", field), text=f"no step {step!r}; {suggest(step, playbook.steps)}")
    yield from _find_wrong_approval(playbook, playbook.action.approved_by, playbook.action.content)


def _find_wrong_plan(playbook: Playbook) -> Iterator[Problem]:
    if playbook.plan is None:
        return
    if playbook.plan.step not in playbook.steps:
        text = f"no step {playbook.plan.step!r}; {suggest(playbook.plan.step, playbook.steps)}"
        yield Problem(path=("plan", "step"), text=text)
    if playbook.result is None or playbook.budget is None:
        yield Problem(path=("plan",), text="what a model plans needs a budget, and ends with a result; give both")
    elif playbook.result in playbook.steps and playbook.plan.step not in playbook.steps[playbook.result].waits_for:
        text = f"add {playbook.plan.step!r}, whose steps it waits for"
        yield Problem(path=("steps", playbook.result, "needs"), text=text)


def _find_wrong_approval(playbook: Playbook, name: str, content: str) -> Iterator[Problem]:
    approval = playbook.steps.get(name)
    if approval is None:
        return
    at = ("steps", name)
    if approval.on_failure is not OnFailure.FAIL_CLOSED:
        yield Problem(path=(*at, "on_failure"), text="an approval must be FAIL_CLOSED")
    if approval.agent != GUARDIAN:
        text = f"{approval.agent} cannot approve; name a step of {GUARDIAN}"
        yield Problem(path=("action", "approved_by"), text=text)
    if content not in approval.needs:
        text = f"add {content!r}, so that what goes out is what was approved"
        yield Problem(path=(*at, "needs"), text=text)
