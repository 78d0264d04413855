"""`make trace`: asks the function `trace` for a task's timeline, prints it as a tree and keeps its page.

Owns the terminal. The same command asks a deployed function when ARGO_TRACE_URL (and ARGO_TRACE_TOKEN) say so.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from emulators.environment import url_variable
from emulators.state import read_state

WAIT_SECONDS = 60.0
NOT_UP = 3
_COLOURS = {"COMPLETED": "green", "FAILED": "red", "IN_PROGRESS": "yellow"}


class TraceError(Exception):
    """The function cannot be asked, or refuses; the message says why."""


def show_task(directory: Path, task_id: str) -> int:
    """Print a task's tree and keep its page in `<directory>/trace/`; without an id, list the latest tasks."""
    address = find_address(directory)
    if not address:
        print(f"not up in {directory}: run `make up` first, or set ARGO_TRACE_URL", file=sys.stderr)
        return NOT_UP
    try:
        if not task_id:
            _print_tasks(_fetch_json(f"{address}/v1/tasks")["tasks"])
            return 0
        where = f"{address}/v1/tasks/{quote(task_id, safe='')}"
        found = _fetch_json(where)
        page = directory / "trace" / f"{quote(task_id, safe='')}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_bytes(_fetch(where, "text/html"))
    except TraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    Console(highlight=False).print(build_tree(found["task"], found["timeline"]))
    print(f"\nthe same as a page, with everything on record: {page}")
    return 0


def find_address(directory: Path) -> str:
    """Where `trace` answers: what the shell says, else the cloud in `directory`; empty when there is none."""
    if given := os.environ.get(url_variable("trace")):
        return given.rstrip("/")
    state = read_state(directory)
    return state.environment.get(url_variable("trace"), "") if state and state.is_alive else ""


def build_tree(task: dict[str, Any], nodes: list[dict[str, Any]]) -> Tree:
    """The timeline as a tree for a terminal."""
    status = str(task.get("status") or "")
    seconds = task.get("seconds")
    took = "still running" if seconds is None else f"{seconds:.1f} s"
    tree = Tree(Text(f"{task.get('moment')} → {task.get('playbook')}: {status}, {took}", _COLOURS.get(status, "")))
    tree.add(Text(f"person {task.get('user_id')}, task {task['task_id']}, began {task.get('started')}", "dim"))
    _add_nodes(tree, nodes)
    return tree


def _add_nodes(tree: Tree, nodes: list[dict[str, Any]]) -> None:
    for node in nodes:
        line = Text(f"{node['at'][11:23]}  ", "dim")
        line.append(node["title"], "default")
        if node["outcome"]:
            line.append(f"  [{node['outcome']}]", _COLOURS.get(node["outcome"], "cyan"))
        if node["note"]:
            line.append(f"\n{' ' * 14}{node['note']}", "dim")
        _add_nodes(tree.add(line), node["children"])


def _print_tasks(tasks: list[dict[str, Any]]) -> None:
    table = Table("task", "moment", "person", "status", "took", "began", box=None)
    for task in tasks:
        took = "" if task["seconds"] is None else f"{task['seconds']:.1f} s"
        cells = (task["task_id"], task["moment"], task["user_id"], task["status"], took, task["started"])
        table.add_row(*(Text(str(cell or "")) for cell in cells))
    console = Console(highlight=False)
    console.print(table if tasks else "no task yet")
    console.print("\nwhy one of them did what it did:  make trace TASK=<task>", style="dim")


def _fetch_json(address: str) -> dict[str, Any]:
    return msgspec.json.decode(_fetch(address, "application/json"), type=dict[str, Any])


def _fetch(address: str, accept: str) -> bytes:
    headers = {"Accept": accept}
    if token := os.environ.get("ARGO_TRACE_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=WAIT_SECONDS) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        body = error.read(1000).decode(errors="replace")
        raise TraceError(f"{address} answers {error.code}: {body}") from None
    except (urllib.error.URLError, OSError) as error:
        raise TraceError(f"{address} does not answer: {error}") from None
