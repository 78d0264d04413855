"""The committed graphs are the program's: what a reviewer reads is what would be built."""

from __future__ import annotations

from policy.golden import golden_path, render_graph
from policy.graph import Graph


def test_the_committed_graph_is_current(graph: Graph) -> None:
    committed = golden_path(graph.stack).read_text(encoding="utf-8")
    assert render_graph(graph) == committed, "run: cd pulumi && ../.venv/bin/python -m policy.golden"


def test_a_graph_shows_no_secret_and_every_resource(graph: Graph) -> None:
    text = golden_path(graph.stack).read_text(encoding="utf-8")
    built = [entry for entry in graph.resources if not entry.kind.startswith("argo:")]
    assert all(f"\n{entry.kind} {entry.name}" in text for entry in built)
    assert "BEGIN PRIVATE KEY" not in text
