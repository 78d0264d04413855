"""What the agents knew when a message was written, as far as a message may state it: names, amounts, percentages, dates.

Owns which fields count. Only numbers and dates count, and only under names that say what they are: a text in an event, a
ticket or a product's name proves nothing, whatever it claims. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from agents.swarm.outputs import ChosenProduct, ContextSummary

_AMOUNT = re.compile(r"price|amount|revenue|total|subtotal", re.IGNORECASE)
_PERCENT = re.compile(r"percent|discount_rate", re.IGNORECASE)
_END = re.compile(r"^(?:ends?_(?:at|on)|valid_until|until|deadline|expires_(?:at|on))$", re.IGNORECASE)
_OLD = re.compile(r"^(?:old|previous|former|list|regular|before)_?price$|^price_?before$", re.IGNORECASE)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What may be stated. `names` are products'; `told` is what was told about them, in which another product may
    be named; `dates` are ends of an offer as (month, day)."""

    user_id: str = ""
    names: tuple[str, ...] = ()
    told: str = ""
    amounts: frozenset[Decimal] = frozenset()
    percents: frozenset[Decimal] = frozenset()
    dates: frozenset[tuple[int, int]] = frozenset()
    discount: bool = False

    @property
    def deadline(self) -> bool:
        """Whether an offer has an end."""
        return bool(self.dates)


def collect_evidence(
    user_id: str, product: ChosenProduct, moment: Mapping[str, Any], context: ContextSummary | None = None
) -> Evidence:
    """The evidence of one task: the chosen product, the moment's own numbers, the products that the person knows."""
    numbers = {name: number for name, value in moment.items() if (number := _read_number(value)) is not None}
    amounts = {number for name, number in numbers.items() if _AMOUNT.search(name) and not _PERCENT.search(name)}
    percents = {number for name, number in numbers.items() if _PERCENT.search(name)}
    if product.price is not None:
        amounts.add(product.price)
    old = max((number for name, number in numbers.items() if _OLD.search(name)), default=None)
    fallen = old is not None and product.price is not None and product.price < old
    if old is not None and product.price is not None and product.price < old:
        amounts.add(old - product.price)
        percents.add(Decimal(round((1 - product.price / old) * 100)))
    recent = [recent.name for recent in context.recent_products] if context else []
    names = sorted({product.name, *recent}, key=len, reverse=True)
    return Evidence(
        user_id=user_id,
        told="\n".join([*names, product.reason, *product.evidence, *filter(_is_text, moment.values())]),
        names=tuple(names),
        amounts=frozenset(amounts),
        percents=frozenset(percents),
        dates=frozenset(_find_ends(moment)),
        discount=fallen or any(number > 0 for number in percents),
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _read_number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _find_ends(moment: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    for name, value in moment.items():
        if not _END.search(name):
            continue
        try:
            day = value if isinstance(value, date) else datetime.fromisoformat(str(value)).date()
        except ValueError:
            continue
        yield day.month, day.day
