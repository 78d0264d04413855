"""The business's rules about what may be recommended (rules.yaml): stock, margin, already bought, caps, exclusions, diversity.

Owns the file's shape and its check, and the order of items after the rules. Pure but for reading the file. Rules never add
an item, and an answer that rules have emptied is empty: what a business forbids is not shown for want of something better.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agents.recommender.candidates import Candidate
from agents.recommender.items import Item
from schemas.places import Places, Problem, read_places, read_validation

PATH = Path(__file__).with_name("rules.yaml")
Days = Annotated[int, Meta(ge=0, le=3650)]
Count = Annotated[int, Meta(ge=0, le=1000)]
Unknown = Literal["allow", "refuse"]


class RulesError(ValueError):
    """The rules are not usable: every problem, one a line, as `file:line: path: what is wrong`."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Stock(_Part, frozen=True, kw_only=True):
    """`required`: only what can be bought."""

    required: bool = True
    unknown: Unknown = "allow"


class Margin(_Part, frozen=True, kw_only=True):
    """`floor`: the least share of the price that stays after the cost."""

    floor: Annotated[float, Meta(ge=-10, lt=1)]
    unknown: Unknown = "allow"


class Bought(_Part, frozen=True, kw_only=True):
    """Days for which what the person has bought is not recommended again."""

    days: Days
    by_category: dict[str, Days] = {}


class Caps(_Part, frozen=True, kw_only=True):
    """Items of one category in one answer; 0 is no cap."""

    default: Count = 0
    by_category: dict[str, Count] = {}


class Exclude(_Part, frozen=True, kw_only=True):
    """What is never recommended: ids, categories and brands, in any case of letters."""

    products: list[str] = []
    categories: list[str] = []
    brands: list[str] = []


class Diversity(_Part, frozen=True, kw_only=True):
    """At least `categories` categories among the `first` items."""

    first: Annotated[int, Meta(ge=1, le=50)] = 5
    categories: Annotated[int, Meta(ge=1, le=50)] = 1


class Rules(_Part, frozen=True, kw_only=True):
    """All of them."""

    stock: Stock = Stock()
    margin: Margin | None = None
    bought: Bought = Bought(days=0)
    category_caps: Caps = Caps()
    exclude: Exclude = Exclude()
    diversity: Diversity = Diversity()


def parse(text: str, file: str) -> Rules:
    """Read and check rules.

    Raises:
        RulesError: naming file, line, key and fix of every problem found.
    """
    places = read_places(text, file, RulesError)
    places.refuse(_find_misshapen(places))
    rules = places.convert(Rules)
    places.refuse(_find_contradictions(rules))
    return rules


def _find_misshapen(places: Places) -> Iterator[Problem]:
    """Each part by its own name: msgspec stops at the first problem."""
    if not isinstance(places.value, dict | None):
        yield Problem(path=(), text="is no mapping; begin with `stock: {required: true}`")
        return
    shapes = {field.name: field.type for field in msgspec.structs.fields(Rules)}
    parts: dict[str, object] = places.value or {}
    for name, part in parts.items():
        try:
            msgspec.convert({name: part}, Rules)
        except msgspec.ValidationError as error:
            known = getattr(shapes.get(str(name)), "__struct_fields__", tuple(shapes))
            yield read_validation(error, fields=known)


def _find_contradictions(rules: Rules) -> Iterator[Problem]:
    if rules.diversity.categories > rules.diversity.first:
        text = f"{rules.diversity.categories} categories do not fit into the first {rules.diversity.first}; raise first"
        yield Problem(path=("diversity", "categories"), text=text)


@cache
def load() -> Rules:
    """The suite's own rules."""
    return parse(PATH.read_text(encoding="utf-8"), PATH.name)


def find_refusal(candidate: Candidate, rules: Rules, now: datetime) -> str:
    """Which rule forbids a candidate, or nothing."""
    days = rules.bought.by_category.get(candidate.category or "", rules.bought.days)
    margin = rules.margin
    broken = {
        "exclude.products": candidate.product_id in rules.exclude.products,
        "exclude.categories": _is_among(candidate.category, rules.exclude.categories),
        "exclude.brands": _is_among(candidate.brand, rules.exclude.brands),
        "stock": rules.stock.required and not _allow(candidate.in_stock, rules.stock.unknown),
        "margin": margin is not None and not _allow(_clears_floor(candidate, margin.floor), margin.unknown),
        "bought": candidate.bought_at is not None and now - candidate.bought_at < timedelta(days=days),
    }
    return next((rule for rule, is_broken in broken.items() if is_broken), "")


def arrange_items(items: Sequence[Item], rules: Rules) -> list[Item]:
    """The items in their order, without those above a category's cap, with diversity among the first."""
    counts: Counter[str] = Counter()
    kept: list[Item] = []
    for item in items:
        cap = rules.category_caps.by_category.get(item.category or "", rules.category_caps.default)
        counts[item.category or ""] += 1
        if not item.category or not cap or counts[item.category] <= cap:
            kept.append(item)
    return _diversify(kept, rules.diversity)


def _diversify(items: list[Item], rule: Diversity) -> list[Item]:
    """Moves the best items of other categories up into the first, in place of the last that repeat a category."""
    first, rest = items[: rule.first], items[rule.first :]
    missing = rule.categories - len({item.category for item in first})
    for candidate in [item for item in rest if item.category]:
        if missing <= 0:
            break
        counts = Counter(item.category for item in first)
        repeated = next((item for item in reversed(first) if counts[item.category] > 1), None)
        if repeated is None or candidate.category in counts:
            continue
        first.remove(repeated)
        rest.remove(candidate)
        first.append(candidate)
        rest.insert(0, repeated)
        missing -= 1
    return [*first, *rest]


def _clears_floor(candidate: Candidate, floor: float) -> bool | None:
    if candidate.cost is None or not candidate.price or candidate.price <= 0:
        return None
    return float((candidate.price - candidate.cost) / candidate.price) >= floor


def _allow(known: bool | None, unknown: Unknown) -> bool:
    return known if known is not None else unknown == "allow"


def _is_among(value: str | None, values: Sequence[str]) -> bool:
    return value is not None and value.casefold() in {one.casefold() for one in values}


def main(arguments: Sequence[str]) -> int:
    """Check a rules file: `python -m agents.recommender.rules [FILE]`; the exit code."""
    path = Path(arguments[0]) if arguments else PATH
    try:
        parse(path.read_text(encoding="utf-8"), str(path))
    except (RulesError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 -- a command's answer
        return 1
    print(f"{path}: the rules are good")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
