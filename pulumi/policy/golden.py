"""The committed graphs, for reviewers: `cd pulumi && ../.venv/bin/python -m policy.golden` rewrites them.

One text per stack, one block per resource, sorted, so that a pull request shows what a change does to the cloud. Texts
of more than a line (schemas, SQL, rules, the dashboard) are shown by length and hash: their files have diffs of their own.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from policy.graph import Graph, Resource
from policy.record import PROGRAM, STACKS, record_stack

FOLDER = PROGRAM / "golden"
_LONG = 300
_WIDE = 140


def render_graph(graph: Graph) -> str:
    """The whole text of one stack."""
    blocks = [_render_resource(entry) for entry in graph.resources if not entry.kind.startswith("argo:")]
    outputs = "".join(_render_value(name, value) + "\n" for name, value in sorted(graph.outputs.items()))
    return f"# {graph.stack}: {len(blocks)} resources. Rewritten by `python -m policy.golden`.\n\n" + "\n".join(
        [*blocks, f"outputs\n{outputs}"]
    )


def _render_resource(entry: Resource) -> str:
    protected = "  [protected]" if entry.protected else ""
    lines = [f"{entry.kind} {entry.name}{protected}"]
    lines += [_render_value(name, value) for name, value in sorted(entry.inputs.items()) if name != "project"]
    waits = [name for name in entry.waits_for if not name.startswith("api-")]
    if waits:
        lines.append(f"  (after {', '.join(waits)})")
    return "\n".join(lines) + "\n"


def _render_value(name: str, value: Any) -> str:
    """One line, or an indented block where a line would be too long to review."""
    shown = _shorten_texts(value)
    line = f"  {name}: {json.dumps(shown, ensure_ascii=False, sort_keys=True)}"
    if len(line) <= _WIDE or not isinstance(shown, dict | list):
        return line
    block = yaml.safe_dump(shown, sort_keys=True, allow_unicode=True, width=1000).rstrip("\n")
    return f"  {name}:\n" + "\n".join(f"    {text}" for text in block.split("\n"))


def _shorten_texts(value: Any) -> Any:
    if isinstance(value, str) and (len(value) > _LONG or "\n" in value):
        return f"<{len(value)} characters, sha256 {hashlib.sha256(value.encode()).hexdigest()[:12]}>"
    if isinstance(value, dict):
        given: dict[str, Any] = value
        return {name: _shorten_texts(item) for name, item in given.items()}
    if isinstance(value, list):
        items: list[Any] = value
        return [_shorten_texts(item) for item in items]
    return value


def golden_path(stack: str) -> Path:
    """Where a stack's graph is committed."""
    return FOLDER / f"{stack}.txt"


def main() -> None:
    """Rewrite every stack's graph."""
    FOLDER.mkdir(exist_ok=True)
    for stack in STACKS:
        golden_path(stack).write_text(render_graph(record_stack(stack)), encoding="utf-8")


if __name__ == "__main__":
    main()
