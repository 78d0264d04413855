"""A suite of one's own for the swarm's benchmarks: this repository's, with one more agent, playbooks and an empty function.

The tree is a copy, so that a benchmark's agent is added exactly as anybody would add one: its file, its entry in the
topology, its playbooks. The cloud then runs the copy (`--root`, `--topology`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS = {"a1": [], "a2": [], "a3": [], "b1": ["a1"], "b2": ["a1", "a2"], "b3": ["a2", "a3"], "b4": ["a3"]}
AGENT = '''"""An agent that answers at once, and notes when it was asked."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import ClassVar, Self

from agents.swarm.agent import Action, ConversableAgent, Ports, Task
from schemas.messages import Json

STARTED = os.open({folder!r} + "/handler.seen", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
ACTED = os.open({folder!r} + "/action.seen", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


class InstantAgent(ConversableAgent):
    """Answers at once."""

    name: ClassVar[str] = "InstantAgent"

    @classmethod
    def build(cls, ports: Ports) -> Self:
        """The agent; it needs no tool."""
        return cls(ports)

    def actions(self) -> Mapping[str, Action]:
        """What it can do."""
        return {{"answer": self.answer, "note": self.note}}

    def handle(self, data: bytes, attributes: Mapping[str, str]) -> None:
        """Note when the handler began, then do as every agent does."""
        started = time.time()
        if attributes.get("action") == "note":
            os.write(STARTED, f"{{attributes['taskId']}} {{started}}\\n".encode())
        super().handle(data, attributes)

    def note(self, task: Task) -> Json:
        """Note when the action began: sealed, allowed, and not answered before."""
        os.write(ACTED, f"{{task.task_id}} {{time.time()}}\\n".encode())
        return {{}}

    def answer(self, task: Task) -> Json:
        """What it was asked, at once."""
        return {{"productId": "p1", "name": "Lamp", "reason": "It goes with everything.", "step": task.task_id}}
'''
EMPTY = '''"""A push function that does nothing but note when it was called."""

from __future__ import annotations

import json
import os
import time

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import Response

SEEN = os.open({seen!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


@functions_framework.aio.http
async def empty(request: Request) -> Response:
    """Note and acknowledge."""
    now = time.time()
    attributes = json.loads(await request.body())["message"].get("attributes", {{}})
    os.write(SEEN, f"{{attributes.get('taskId', '')}} {{now}}\\n".encode())
    return Response(status_code=204)
'''


def make_suite(folder: Path) -> Path:
    """Writes the tree into a folder; its root."""
    root = folder / "suite"
    for name in ("functions", "agents", "schemas"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "agents" / "swarm" / "instant.py").write_text(AGENT.format(folder=str(folder)), "utf-8")
    (root / "functions" / "empty.py").write_text(EMPTY.format(seen=str(folder / "empty.seen")), "utf-8")
    main = root / "functions" / "main.py"
    main.write_text(main.read_text("utf-8") + "\nfrom functions.empty import empty as empty\n", "utf-8")
    _write_topology(root / "schemas" / "topology.yaml")
    for name, playbook in (("levels", _write_levels()), ("letter", _write_letter())):
        path = root / "agents" / "playbooks" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(playbook, sort_keys=False), "utf-8")
    return root


def read_seen(path: Path) -> dict[str, float]:
    """When each task was first seen, by its id (seconds since 1970)."""
    seen: dict[str, float] = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        task_id, at = line.split(" ")
        seen.setdefault(task_id, float(at))
    return seen


def _write_topology(path: Path) -> None:
    content = yaml.safe_load(path.read_text("utf-8"))
    content["functions"].append({"name": "empty", "target": "empty", "description": "Does nothing"})
    content["topics"].append({"name": "nothing", "description": "For the empty function"})
    content["subscriptions"].append(
        {
            "name": "nothing-empty",
            "topic": "nothing",
            "push": {"function": "empty"},
            "dead_letter": {"topic": "dead-letters"},
        }
    )
    entry = {"name": "InstantAgent", "actions": ["answer", "note"], "asked_by": ["MasterOrchestratorAgent"]}
    content["agents"].append(entry)
    path.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")


def _write_levels() -> dict[str, object]:
    """Three levels, eight steps: three, then four, then one that needs them all."""
    steps: dict[str, object] = {
        name: {
            "agent": "InstantAgent",
            "action": "answer",
            "inputs": {need: f"${need}" for need in needs},
        }
        for name, needs in STEPS.items()
    }
    last = {name: f"${name}" for name in STEPS if name.startswith("b")}
    steps["c1"] = {"agent": "InstantAgent", "action": "answer", "inputs": last}
    return {"playbook": "levels", "moment": "levels", "deadline_seconds": 120, "steps": steps, "result": "c1"}


def _write_letter() -> dict[str, object]:
    """An email that two agents and two model calls lead to, and no query of a warehouse."""
    policy = {"timeout_seconds": 20, "retries": 5, "breaker": {"failures": 1000}}
    product = {"choose": "$product"}
    steps = {
        "product": {"agent": "InstantAgent", "action": "answer", **policy},
        "message": {"agent": "CreativeContentAgent", "action": "write_email", "inputs": product, **policy},
        "review": {
            "agent": "SecurityGuardianAgent",
            "action": "review",
            "needs": ["message"],
            "inputs": product,
            **policy,
        },
    }
    action = {"kind": "email", "content": "message", "product": "product", "approved_by": "review"}
    return {"playbook": "letter", "moment": "letter", "deadline_seconds": 600, "steps": steps, "action": action}
