"""The timeline as one HTML page without scripts or anything from outside. Every word on it is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from html import escape
from typing import Any

import msgspec

from agents.audit.timeline import Node, Task

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.3rem;margin-bottom:.2rem} .facts{color:#57606a}
ol{list-style:none;padding-left:1.1rem;border-left:2px solid #d0d7de}
li{margin:.5rem 0;position:relative} li:before{content:"";position:absolute;left:-1.45rem;top:.45rem;width:.6rem;height:.6rem;
border-radius:50%;background:#0969da} li.bad:before{background:#cf222e} li.outcome:before,li.action:before{background:#1a7f37}
time{color:#57606a;font-variant-numeric:tabular-nums;margin-right:.6rem} .note{color:#57606a;display:block}
.tag{font-size:.8rem;border:1px solid #d0d7de;border-radius:1rem;padding:0 .5rem;margin-left:.4rem} .bad>.tag{color:#cf222e}
summary{cursor:pointer;color:#0969da;font-size:.85rem} pre{background:#f6f8fa;padding:.6rem;overflow:auto;white-space:pre-wrap}
table{border-collapse:collapse} td,th{padding:.2rem .8rem .2rem 0;text-align:left}
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3} pre{background:#161b22}}
"""


def render_task(task: Task, nodes: Iterable[Node]) -> str:
    """A task's page."""
    seconds = "still running" if task.seconds is None else f"{task.seconds:.1f} s"
    head = (
        f"<h1>{escape(task.moment or 'task')} → {escape(task.playbook or 'no playbook')}: {escape(task.status)}</h1>"
        f'<p class="facts">person {escape(task.user_id or "?")} · task {escape(task.task_id)} · moment'
        f" {escape(task.moment_id or '?')} · began {_time(task.started)} · {seconds}</p>"
    )
    return _wrap(f"Task {task.task_id}", head + _render_nodes(nodes, task.started))


def render_list(tasks: Iterable[Task]) -> str:
    """The page of the latest tasks; each links to its own."""
    rows = "".join(
        f'<tr><td><a href="tasks/{escape(task.task_id, quote=True)}">{escape(task.task_id)}</a></td>'
        f"<td>{escape(task.moment or '')}</td><td>{escape(task.user_id or '')}</td><td>{escape(task.status)}</td>"
        f"<td>{'' if task.seconds is None else f'{task.seconds:.1f} s'}</td><td>{_time(task.started)}</td></tr>"
        for task in tasks
    )
    head = "<tr><th>task</th><th>moment</th><th>person</th><th>status</th><th>took</th><th>began</th></tr>"
    return _wrap("Tasks", f"<h1>Latest tasks</h1><table>{head}{rows}</table>")


def _render_nodes(nodes: Iterable[Node], start: datetime | None) -> str:
    return f"<ol>{''.join(_render_node(node, start) for node in nodes)}</ol>"


def _render_node(node: Node, start: datetime | None) -> str:
    bad = " bad" if node.outcome == "FAILED" or node.outcome.startswith("error") else ""
    since = f"{(node.at - start).total_seconds():+.2f} s" if start else _time(node.at)
    tag = f'<span class="tag">{escape(node.outcome)}</span>' if node.outcome else ""
    note = f'<span class="note">{escape(node.note)}</span>' if node.note else ""
    children = _render_nodes(node.children, start) if node.children else ""
    return (
        f'<li class="{escape(node.fact)}{bad}"><time title="{_time(node.at)}">{since}</time>{escape(node.title)}{tag}'
        f"{note}{_render_details(node.details)}{children}</li>"
    )


def _render_details(details: Any) -> str:
    if not details:
        return ""
    text = msgspec.json.format(msgspec.json.encode(details), indent=2).decode()
    return f"<details><summary>all of it</summary><pre>{escape(text)}</pre></details>"


def _time(moment: datetime | None) -> str:
    return moment.isoformat(timespec="milliseconds") if moment else "?"


def _wrap(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>"
    )
