"""The demo's report: a readable text, `demo.json`, and `demo.html` with the loop drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table

Report = Mapping[str, Any]
LOOP = (
    ("client events", "events_sent"),
    ("live profiles", "profile_updates"),
    ("BigQuery", "events_in_bigquery"),
    ("graph events", "graph_events"),
    ("relations", "graph_relations"),
    ("candidates", "candidates"),
    ("moments", "moments"),
    ("agents' messages", "agent_messages"),
    ("emails", "emails"),
)
_SHARES = ("autonomous_success", "churn", "conversion", "engagement_rate", "offer_acceptance")


def write_json(report: Report, path: Path) -> None:
    """Everything that was seen, for machines."""
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def print_report(report: Report, console: Console) -> None:
    """Everything that was seen, for people."""
    counts = Table(title="What the events became", show_header=False)
    for title, key in LOOP:
        counts.add_row(title, f"{report[key]:,}")
    counts.add_row("emails held back (one a day each)", f"{report['emails_skipped']:,}")
    counts.add_row("duplicates in the view", f"{report['duplicates_in_view']:,}")
    counts.add_row("tasks completed / failed", f"{report['tasks']['completed']} / {report['tasks']['failed']}")
    timings = Table("stage", "seconds", title="How long each stage took")
    for stage, seconds in report["seconds"].items():
        timings.add_row(stage, f"{seconds:.1f}")
    kpis = Table("KPI", "latest value", "of", title="KPIs")
    for name, row in report["kpis"].items():
        kpis.add_row(name.replace("_", " "), *_describe_kpi(name, row))
    choice, email = report["recommendation"], report["email"]
    why = Group(
        f"[bold]{choice['product']}[/] ({choice['product_id']}) for customer {choice['user']}, because of the moment "
        f"{choice['moment']}:",
        f"“{choice['reason']}”",
        *(f"  {path}" for path in choice["paths"]),
        f"chosen by {choice['chosen_by']}",
    )
    console.print(counts, timings, kpis)
    console.print(Panel(why, title="One person's recommendation, and why"))
    console.print(
        Panel(f"Subject: {email['subject']}\nTo: {', '.join(email['to'])}\n\n{email['text']}", title="The email")
    )


def write_html(report: Report, path: Path) -> None:
    """The same with pictures: one self-contained page that loads nothing."""
    email, choice = report["email"], report["recommendation"]
    conversation = [
        (row["at"][11:23], row["source_agent"], "→", row["target_agent"], row["action"], row["status"] or row["kind"])
        for row in report["conversation"]
    ]
    parts = [
        "<!doctype html><meta charset=utf-8><meta name=viewport content=width=device-width><title>ARGO: the loop</title>",
        f"<style>{_STYLE}</style><h1>ARGO: from a client's event to a personal email</h1>",
        f"<p>{escape(report['sample'])}.</p>",
        "<ol class=loop>",
        *(f"<li><b>{report[key]:,}</b>{escape(title)}</li>" for title, key in LOOP),
        "</ol>",
        "<h2>Events per day</h2>",
        draw_bars([(row["day"][5:], row["events"]) for row in report["events_by_day"]]),
        "<h2>Seconds per stage</h2>",
        draw_bars([(stage, round(seconds, 1)) for stage, seconds in report["seconds"].items()]),
        "<h2>Why this person got this product</h2>",
        f"<p>Customer {escape(choice['user'])}, moment <i>{escape(choice['moment'])}</i>: "
        f"<b>{escape(choice['product'])}</b></p><blockquote>{escape(choice['reason'])}</blockquote>",
        f"<ul>{''.join(f'<li>{escape(path)}</li>' for path in choice['paths'])}</ul>",
        f"<p>Chosen by {escape(choice['chosen_by'])}.</p>",
        "<h2>What the agents said</h2>",
        _make_table(("at", "from", "", "to", "action", "status"), conversation),
        f"<h2>The email: {escape(email['subject'])}</h2>",
        # The body was written by a model: it is shown in a frame that may run nothing.
        f'<iframe sandbox srcdoc="{escape(email["html"] or escape(email["text"]))}"></iframe>',
        "<h2>KPIs</h2>",
        _make_table(
            ("KPI", "latest value", "of"),
            [(name.replace("_", " "), *_describe_kpi(name, row)) for name, row in report["kpis"].items()],
        ),
    ]
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def draw_bars(bars: Sequence[tuple[str, float]]) -> str:
    """A bar chart as SVG: (label, value) each, the value written on top."""
    width, height, most = 46, 140, max((value for _, value in bars), default=1) or 1
    shapes: list[str] = []
    for index, (label, value) in enumerate(bars):
        x, size = index * width, value / most * height
        shapes.append(
            f'<rect x="{x + 4}" y="{height - size + 16:.1f}" width="{width - 8}" height="{size:.1f}"/>'
            f'<text x="{x + width / 2}" y="{height - size + 12:.1f}">{value:g}</text>'
            f'<text x="{x + width / 2}" y="{height + 32}">{escape(label[:10])}</text>'
        )
    return f'<svg viewBox="0 0 {len(bars) * width} {height + 40}" role="img">{"".join(shapes)}</svg>'


def _describe_kpi(name: str, row: Mapping[str, Any] | None) -> tuple[str, str]:
    if row is None or row["value"] is None:
        return "no data yet", ""
    value = float(row["value"])
    unit = " s" if name == "intervention_time" else f" {row.get('currency') or ''}".rstrip()
    shown = f"{value:.1%}" if name in _SHARES else f"{value:.3g}{unit}"
    return shown, f"{float(row['numerator']):,.6g} / {row['denominator']} on {row['day']}"


def _make_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>{cells}</table>"


_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:66rem;margin:2rem auto;padding:0 1rem;color:#1d2733}
.loop{display:flex;flex-wrap:wrap;gap:.5rem;padding:0;list-style:none}
.loop li{background:#eef4fb;border-radius:.6rem;padding:.6rem .9rem;text-align:center}
.loop li{position:relative;margin-right:1rem}.loop b{display:block;font-size:1.4rem}
.loop li+li::before{content:"→";color:#6b7c93;position:absolute;left:-1.25rem;top:1.2rem}
svg{width:100%;max-height:15rem}rect{fill:#3b7dd8}text{font:10px sans-serif;text-anchor:middle}
table{border-collapse:collapse}td,th{padding:.2rem .8rem;border-bottom:1px solid #dde5ee;text-align:left}
iframe{width:100%;height:20rem;border:1px solid #dde5ee;border-radius:.6rem}
blockquote{border-left:4px solid #3b7dd8;margin:0;padding:.3rem 1rem;background:#f6f9fd}
"""
