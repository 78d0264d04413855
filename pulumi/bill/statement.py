"""The bill itself: uses grouped by price, allowances taken off once, totals, and the table that a person reads."""

from __future__ import annotations

from dataclasses import dataclass

from policy.graph import Graph

from bill.standing import Use, price_standing
from bill.tables import Load, Price
from bill.usage import price_usage

USUAL_LOADS = {"dev": "idle", "staging": "idle", "prod": "busy"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One price with everything that uses it. `usd` is after the allowance; `standing_usd` what of it nobody's use caused."""

    price: str
    amount: float
    usd: float
    standing_usd: float
    uses: tuple[Use, ...]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A month of one stack under one load."""

    stack: str
    load: str
    description: str
    prices: dict[str, Price]
    lines: tuple[Line, ...]

    @property
    def usd(self) -> float:
        """The whole."""
        return sum(line.usd for line in self.lines)

    @property
    def standing_usd(self) -> float:
        """What would be paid without any use."""
        return sum(line.standing_usd for line in self.lines)


def make_statement(graph: Graph, load_name: str, load: Load, prices: dict[str, Price]) -> Statement:
    """The bill.

    Raises:
        KeyError: something costs by a price that is not in prices.yaml.
    """
    uses = [*price_standing(graph, load), *price_usage(graph, load)]
    grouped: dict[str, list[Use]] = {}
    for use in uses:
        grouped.setdefault(use.price, []).append(use)
    lines = [_make_line(name, prices[name], tuple(found)) for name, found in grouped.items()]
    lines.sort(key=lambda line: (-line.usd, line.price))
    return Statement(stack=graph.stack, load=load_name, description=load.description, prices=prices, lines=tuple(lines))


def _make_line(name: str, price: Price, uses: tuple[Use, ...]) -> Line:
    amount = sum(use.amount for use in uses)
    standing = sum(use.amount for use in uses if use.standing)
    return Line(
        price=name,
        amount=amount,
        usd=max(0.0, amount - price.free) * price.usd,
        standing_usd=max(0.0, standing - price.free) * price.usd,
        uses=uses,
    )


def render(statement: Statement) -> str:
    """The table: what, how much, at which price, US dollars a month; then the biggest users of each line."""
    head = (
        f"# {statement.stack}, {statement.load}: {statement.description}. US dollars a month, list prices, no taxes.\n"
    )
    rows = [f"{'what':24} {'amount':>16}  {'unit':34} {'each':>11} {'USD':>10}", "-" * 99]
    for line in statement.lines:
        price = statement.prices[line.price]
        name = line.price + ("" if price.seen else " *")
        unit = price.unit if len(price.unit) <= 34 else price.unit[:33] + "…"
        rows.append(f"{name:24} {line.amount:16,.2f}  {unit:34} {price.usd:11.8g} {line.usd:10,.2f}")
        rows += [f"    {use.amount:20,.2f}  {use.what}" for use in _find_biggest(line)]
    rows += [
        "-" * 99,
        f"{'standing still':86} {statement.standing_usd:12,.2f}",
        f"{'by use':86} {statement.usd - statement.standing_usd:12,.2f}",
        f"{'a month':86} {statement.usd:12,.2f}",
        "",
        "* a price from memory: its page could not be opened where the table was written (pulumi/bill/prices.yaml).",
        "Free allowances are taken off once. Not in here: Neo4j (unless self-run), the mail server, the domain, support.",
    ]
    return head + "\n".join(rows)


def _find_biggest(line: Line) -> list[Use]:
    """The three biggest uses, where a line has several."""
    biggest = sorted(line.uses, key=lambda use: -use.amount)[:3]
    return [use for use in biggest if use.amount] if len(line.uses) > 1 else list(line.uses)
