"""A task's timeline: every fact of the view `task_timeline`, arranged as a tree that tells why a person got what they got.

Owns the reading and the arranging. It knows no outputs of particular agents: a new agent's words appear by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from agents.tools.warehouse import Warehouse
from schemas.messages import Json

TASKS = """SELECT task_id, moment_id, moment, user_id, playbook, started, ended, status, seconds
FROM argo.tasks WHERE @user_id = '' OR user_id = @user_id ORDER BY started DESC LIMIT @count"""
TASK = """SELECT task_id, moment_id, moment, user_id, playbook, started, ended, status, seconds
FROM argo.tasks WHERE task_id = @task_id"""
FACTS = """SELECT happened_at, fact, fact_id, step_id, actor, target, what, outcome, details
FROM argo.task_timeline WHERE task_id = @task_id ORDER BY happened_at, fact_id"""
LATEST_TASKS = 20
NOTE_CHARACTERS = 160
# What follows from what, when the record gives two facts the same instant.
_ORDER = ("moment", "request", "command", "model_call", "recommendation", "response", "event", "action", "outcome")
_WORDS = {
    "moment": "noticed {what}",
    "request": "asks {target} to {what}",
    "command": "tells {target} to {what}",
    "response": "answers {what}",
    "event": "says {what}",
    "model_call": "asks the model {target} ({what})",
    "recommendation": "recommends {target}",
    "action": "lets out: {what} to {target}",
    "outcome": "{what}",
}


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One task as the view `tasks` has it; `seconds` is None while it runs."""

    task_id: str
    moment_id: str | None = None
    moment: str | None = None
    user_id: str | None = None
    playbook: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    status: str = ""
    seconds: float | None = None


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One fact on record; `details` is whatever its table keeps about it."""

    happened_at: datetime
    fact: str
    fact_id: str
    step_id: str | None = None
    actor: str | None = None
    target: str | None = None
    what: str | None = None
    outcome: str | None = None
    details: Any = None


@dataclass(kw_only=True)
class Node:
    """One line of the tree, with what belongs under it."""

    title: str
    at: datetime
    fact: str
    note: str = ""
    outcome: str = ""
    details: Any = None
    children: list[Node] = field(default_factory=list["Node"])


def list_tasks(warehouse: Warehouse, user_id: str = "", count: int = LATEST_TASKS) -> list[Task]:
    """The latest tasks, of everybody or of one person."""
    rows = warehouse.query(TASKS, {"user_id": user_id, "count": count})
    return [msgspec.convert(row, Task, strict=False) for row in rows]


def read_task(task_id: str, warehouse: Warehouse) -> tuple[Task, list[Node]] | None:
    """A task and its tree, or None when nothing is on record about it."""
    tasks = warehouse.query(TASK, {"task_id": task_id})
    if not tasks:
        return None
    facts = [read_fact(row) for row in warehouse.query(FACTS, {"task_id": task_id})]
    return msgspec.convert(tasks[0], Task, strict=False), arrange(facts)


def read_fact(row: Mapping[str, Any]) -> Fact:
    """A row of the view; its JSON is read when it is text, and kept as text when it is none."""
    fact = msgspec.convert(dict(row), Fact, strict=False)
    if isinstance(fact.details, str):
        try:
            return msgspec.structs.replace(fact, details=msgspec.json.decode(fact.details))
        except msgspec.DecodeError:
            return fact
    return fact


def arrange(facts: Iterable[Fact]) -> list[Node]:
    """The facts in order of time; what belongs to a request stands under it.

    A model call and a recommendation name their agent but no step: they go under the request that this agent was
    answering at that time.
    """
    ordered = sorted(facts, key=lambda fact: (fact.happened_at, _place(fact.fact), fact.fact_id))
    roots: list[Node] = []
    requests: dict[str, Node] = {}
    latest: dict[str, Node] = {}
    for fact in ordered:
        node = _make_node(fact)
        above = requests.get(fact.step_id or "")
        if fact.fact in ("model_call", "recommendation"):
            above = latest.get(fact.actor or "")
        if above is None or fact.fact == "request":
            roots.append(node)
        else:
            above.children.append(node)
        if fact.fact == "request" and fact.step_id:
            requests[fact.step_id] = latest[fact.target or ""] = node
        if fact.fact == "response" and above is not None:
            above.outcome = node.outcome
    return roots


def find_latest(nodes: Iterable[Node]) -> datetime | None:
    """When the last fact of a tree happened."""
    times = [time for node in nodes for time in (node.at, find_latest(node.children)) if time]
    return max(times, default=None)


def _place(fact: str) -> int:
    return _ORDER.index(fact) if fact in _ORDER else len(_ORDER)


def _make_node(fact: Fact) -> Node:
    words = _WORDS.get(fact.fact, "{what}").format(what=fact.what or "?", target=fact.target or "?")
    return Node(
        title=f"{fact.actor or 'somebody'} {words}",
        at=fact.happened_at,
        fact=fact.fact,
        note=summarise(_find_news(fact)),
        outcome=fact.outcome or "",
        details=fact.details,
    )


def _find_news(fact: Fact) -> Any:
    """What a fact adds: a response's output, or why it failed; a request only repeats what earlier steps said."""
    if not isinstance(fact.details, dict):
        return fact.details
    details: Json = fact.details
    if fact.fact == "response":
        return details.get("output") or {"reason": details.get("reason", "")}
    if fact.fact == "request":
        return {}
    return details


def summarise(value: Any) -> str:
    """The plain values of an object in one line, lists by their length."""
    if not isinstance(value, dict):
        return "" if value is None else _cut(str(value))
    pairs: Json = value
    parts: list[str] = []
    for name, item in pairs.items():
        if isinstance(item, list):
            parts += [f"{name}: {len(item)}"] if item else []
        elif isinstance(item, str | int | float | Decimal | bool) and item != "":
            parts.append(f"{name}: {item}")
    return _cut(", ".join(parts))


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= NOTE_CHARACTERS else f"{line[: NOTE_CHARACTERS - 1]}…"
