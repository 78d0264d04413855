"""A person's recommendations as one HTML page: the paths drawn as inline SVG, no script, nothing from outside, all escaped."""

from __future__ import annotations

import unicodedata
from html import escape

from agents.recommender.items import Choice, Item, Link, Relation

ROW, LEFT, RIGHT, WIDTH, BOX = 64, 20, 580, 900, 300
WIDE, UPPER, LOWER = 13, 9, 7  # pixels of a Korean or Chinese letter, a capital, any other, at 13 pixels
TASTE = Link(relation=Relation.TASTE, count=0)
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.3rem} .facts{color:#57606a} .reason{font-size:1.1rem;border-left:4px solid #0969da;padding-left:.8rem}
svg{width:100%;height:auto} rect{fill:#f6f8fa;stroke:#d0d7de} rect.chosen{stroke:#0969da;stroke-width:2}
path{fill:none;stroke:#8c959f} path.bought{stroke:#1a7f37} path.then{stroke:#9a6700}
path.taste,path.popular,path.alike{stroke-dasharray:4 4} text{font:13px system-ui,sans-serif;fill:#1b1f24}
text.how{fill:#57606a;font-size:11px;text-anchor:end;paint-order:stroke;stroke:#fff;stroke-width:4px}
table{border-collapse:collapse} td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3} rect{fill:#161b22}
text{fill:#e6edf3} text.how{fill:#9198a1;stroke:#0d1117}}
"""


def render_choice(choice: Choice, limit: int) -> str:
    """The page."""
    items = choice.items[:limit]
    drawn = f" · {escape(choice.experiment)}: {escape(choice.variant or '')}" if choice.experiment else ""
    missing = f" · without {escape(', '.join(choice.degraded))}" if choice.degraded else ""
    served = choice.served_at.isoformat(timespec="seconds")
    rows = "".join(
        f"<tr><td>{place}</td><td>{escape(item.name)}</td><td>{'' if item.price is None else item.price}</td>"
        f"<td>{item.score}</td><td>{'<br>'.join(escape(path) for path in item.paths)}</td></tr>"
        for place, item in enumerate(items, start=1)
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Recommendations</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(choice.item.name)}</h1>"
        f'<p class="reason">{escape(choice.reason)}</p>'
        f'<p class="facts">for {escape(choice.user_id)} · by {escape(choice.chosen_by)} · {served}{drawn}{missing}</p>'
        f"{_draw_paths(items, choice.item.product_id)}"
        f"<table><tr><th></th><th>product</th><th>price</th><th>score</th><th>why</th></tr>{rows}</table></body></html>"
    )


def _draw_paths(items: list[Item], chosen: str) -> str:
    """The person's products on the left, the recommended ones on the right, and what leads from one to the other."""
    links = [
        (link, _find_end(place, item, turn)) for place, item in enumerate(items) for turn, link in _list_links(item)
    ]
    starts = list(dict.fromkeys(_name_start(link) for link, _ in links))
    height = ROW * max(len(items), len(starts), 1) + 20
    drawn = [_draw_link(link, starts.index(_name_start(link)), y) for link, y in links]
    boxes = "".join(_draw_box(LEFT, place, name, "") for place, name in enumerate(starts))
    boxes += "".join(
        _draw_box(RIGHT, place, item.name, "chosen" if item.product_id == chosen else "")
        for place, item in enumerate(items)
    )
    lines = "".join(line for line, _ in drawn) + boxes + "".join(label for _, label in drawn)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="paths to each product">{lines}</svg>'


def _name_start(link: Link) -> str:
    nameless = {Relation.POPULAR: "what is popular", Relation.ALIKE: "what the person chose"}
    return link.from_name or nameless.get(link.relation, "people of a like taste")


def _draw_box(x: int, place: int, name: str, kind: str) -> str:
    y = 10 + ROW * place
    return (
        f'<g><title>{escape(name)}</title><rect class="{kind}" x="{x}" y="{y}" width="{BOX}" height="44" rx="6"/>'
        f'<text x="{x + 10}" y="{y + 27}">{escape(_shorten(name))}</text></g>'
    )


def _shorten(name: str) -> str:
    width = 0
    for place, letter in enumerate(name):
        is_wide = unicodedata.east_asian_width(letter) in "WF"
        width += WIDE if is_wide else UPPER if letter.isupper() else LOWER
        if width > BOX - 30:
            return f"{name[:place]}…"
    return name


def _list_links(item: Item) -> list[tuple[int, Link]]:
    return list(enumerate(item.links or [TASTE]))


def _find_end(place: int, item: Item, turn: int) -> int:
    """Where a link ends: an item's links side by side, or two from one product would be one."""
    return 32 + ROW * place + 14 * turn - 7 * (len(_list_links(item)) - 1)


def _draw_link(link: Link, start: int, y2: int) -> tuple[str, str]:
    """The line and its label."""
    x1, y1, x2 = LEFT + BOX, 32 + ROW * start, RIGHT
    middle = (x1 + x2) // 2
    units = {Relation.BOUGHT: "orders", Relation.VIEWED: "visits", Relation.THEN: "times after it"}
    how = f"{link.count} {units[link.relation]}" if link.relation in units else ""
    line = (
        f'<path class="{link.relation.value}" d="M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}" '
        f'stroke-width="{min(1 + link.count // 3, 6)}"/>'
    )
    return line, f'<text class="how" x="{x2 - 6}" y="{y2 + 4}">{how}</text>' if how else ""
