"""Writes what an evaluation found: a table for the terminal, JSON and plots in build/evaluate/<name>/."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.benchmarks.evaluate.running import Result

OUTPUT = Path("build") / "evaluate"
# Recall@20 / NDCG@20 on this very split, as the authors report them (shared/data/README.md, 2026-11-20).
REPORTED = {
    "gowalla-lightgcn": {"NGCF": (0.1570, 0.1327), "LightGCN": (0.1830, 0.1554), "UltraGCN": (0.1862, 0.1580)},
}
_COLUMNS = (
    ("NDCG@10", "ndcg_10", "{:.4f}"),
    ("NDCG@20", "ndcg_20", "{:.4f}"),
    ("Recall@20", "recall_20", "{:.4f}"),
    ("HR@10", "hit_rate_10", "{:.4f}"),
    ("coverage", "coverage", "{:.3f}"),
    ("novelty", "novelty", "{:.2f}"),
    ("train s", "seconds", "{:.1f}"),
    ("tuning s", "tuning_seconds", "{:.0f}"),
    ("peak MB", "peak_mb", "{:.0f}"),
    ("ms/person", "latency_ms", "{:.2f}"),
)


def render_table(result: Result) -> str:
    """The figures as a Markdown table, with what has to be known to read them."""
    target = (
        "items new to the person (what training knows is masked)" if result.masked else "any item, repeats included"
    )
    lines = [
        f"{result.data}: {result.people:,} people, {result.items:,} items, {result.train_events:,} training events; "
        f"split {result.split}; {result.test_people:,} people asked for {result.test_pairs:,} pairs; target: {target}; "
        f"at most {result.trials} trials per model on one validation split.",
        "",
        "| model | " + " | ".join(title for title, _, _ in _COLUMNS) + " |",
        "|---|" + "---:|" * len(_COLUMNS),
    ]
    for one in result.figures:
        cells = [form.format(getattr(one, field)) for _, field, form in _COLUMNS]
        lines.append(f"| {one.name} | " + " | ".join(cells) + " |")
    for name, (recall, ndcg) in REPORTED.get(result.data, {}).items():
        lines.append(f"| {name} (reported by its authors, not run here) | | {ndcg:.4f} | {recall:.4f} |" + " |" * 7)
    lines += ["", *(f"{name}: {reason}" for name, reason in result.missing.items())]
    lines.append(
        f"ARGO stages 1+2 reach {result.ratio:.3f} times the NDCG@20 of the best single peer ({result.best_peer})."
    )
    return "\n".join([*lines, *_render_cold(result)])


def _render_cold(result: Result) -> list[str]:
    if not result.cold:
        return []
    lines = ["", "| without history | model | people | NDCG@20 | Recall@20 |", "|---|---|---:|---:|---:|"]
    return lines + [
        f"| {one.question} | {one.model} | {one.people:,} | {one.ndcg_20:.4f} | {one.recall_20:.4f} |"
        for one in result.cold
    ]


def write_report(result: Result, folder: Path | None = None) -> Path:
    """Write report.md, report.json and the plots; the folder."""
    folder = folder or OUTPUT / result.data
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(render_table(result) + "\n", encoding="utf-8")
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    _draw(result, folder)
    return folder


def _draw(result: Result, folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    names = [one.name for one in result.figures]
    colours = ["#2a6f97" if name.startswith("ARGO") else "#b0b0b0" for name in names]
    figure, axes = pyplot.subplots(1, 3, figsize=(15, 0.5 * len(names) + 1.5), sharey=True)
    for axis, (title, field) in zip(
        axes, (("NDCG@20", "ndcg_20"), ("Recall@20", "recall_20"), ("coverage@20", "coverage")), strict=True
    ):
        values = [getattr(one, field) for one in result.figures]
        bars = axis.barh(names, values, color=colours)
        axis.bar_label(bars, fmt="%.4f", padding=2)
        axis.set_title(title)
        axis.margins(x=0.2)
        axis.invert_yaxis() if axis is axes[0] else None
    figure.suptitle(f"{result.data}, {result.test_people:,} people, split {result.split}")
    figure.tight_layout()
    figure.savefig(folder / "quality.png", dpi=110)
    pyplot.close(figure)
    _draw_costs(result, folder)


def _draw_costs(result: Result, folder: Path) -> None:
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(8, 5))
    for one in result.figures:
        axis.scatter(max(one.seconds, 0.01), one.ndcg_20, color="#2a6f97" if one.name.startswith("ARGO") else "#808080")
        axis.annotate(one.name, (max(one.seconds, 0.01), one.ndcg_20), xytext=(4, 4), textcoords="offset points")
    axis.set(xscale="log", xlabel="training, seconds (chosen settings)", ylabel="NDCG@20", title=result.data)
    figure.tight_layout()
    figure.savefig(folder / "costs.png", dpi=110)
    pyplot.close(figure)
