"""The business's rules: each keeps out what it says, and a wrong file is refused with its line and its fix."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from agents.recommender import experiments, rules
from agents.recommender.candidates import Candidate
from agents.recommender.items import Item

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = rules.parse(
    """
stock: {required: true, unknown: allow}
margin: {floor: 0.1, unknown: refuse}
bought: {days: 30, by_category: {Coffee: 7}}
category_caps: {default: 2, by_category: {Gifts: 1}}
exclude: {products: [x], categories: [tobacco], brands: [Acme]}
diversity: {first: 3, categories: 2}
""",
    "rules.yaml",
)


def make(**fields: Any) -> Candidate:
    made = Candidate(product_id="p", price=Decimal(10), cost=Decimal(5), in_stock=True)
    return msgspec.structs.replace(made, **fields)


@pytest.mark.parametrize(
    ("fields", "broken"),
    [
        ({}, ""),
        ({"in_stock": None}, ""),
        ({"in_stock": False}, "stock"),
        ({"cost": Decimal("9.5")}, "margin"),
        ({"cost": Decimal(9)}, ""),
        ({"cost": None}, "margin"),
        ({"price": Decimal(0)}, "margin"),
        ({"bought_at": NOW - timedelta(days=29)}, "bought"),
        ({"bought_at": NOW - timedelta(days=30)}, ""),
        ({"bought_at": NOW - timedelta(days=8), "category": "Coffee"}, ""),
        ({"product_id": "x"}, "exclude.products"),
        ({"category": "Tobacco"}, "exclude.categories"),
        ({"brand": "ACME"}, "exclude.brands"),
    ],
)
def test_each_rule_keeps_out_what_it_says(fields: dict[str, Any], broken: str) -> None:
    """Prevents: a product that cannot be sold, must not be sold, or was bought last week."""
    assert rules.find_refusal(make(**fields), RULES, NOW) == broken


def arrange(*categories: str | None) -> list[str]:
    items = [Item(product_id=f"{n}{name}", name="n", score=1.0, category=name) for n, name in enumerate(categories)]
    return [item.product_id for item in rules.arrange_items(items, RULES)]


def test_a_category_has_no_more_than_its_cap() -> None:
    """Prevents: an answer of nothing but gifts; a product without a category counts with none."""
    assert arrange("A", "A", "A", "Gifts", "Gifts", None, None, None) == [
        "0A",
        "1A",
        "3Gifts",
        "5None",
        "6None",
        "7None",
    ]


def test_the_first_are_of_several_categories_where_there_are_others() -> None:
    """Prevents: five of one kind above everything else; and an item that is lost or doubled on its way up."""
    loose = rules.parse("diversity: {first: 3, categories: 2}", "r.yaml")
    items = [Item(product_id=str(n), name="n", score=1.0, category=name) for n, name in enumerate("AAAAB")]
    assert [item.product_id for item in rules.arrange_items(items, loose)] == ["0", "1", "4", "2", "3"]
    only = [Item(product_id=str(n), name="n", score=1.0, category="A") for n in range(5)]
    assert rules.arrange_items(only, loose) == only


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("stok: {required: true}", r"rules.yaml:1: stok: .*did you mean 'stock'"),
        ("stock: {required: true}\nmargin: {floor: 2}", r"rules.yaml:2: margin\.floor: "),
        ("bought: {days: -1}", r"rules.yaml:1: bought\.days"),
        ("bought: {days: 1, dayz: 2}", r"dayz: .*did you mean 'days'"),
        ("stock: {unknown: perhaps}", "perhaps"),
        ("diversity: {first: 2, categories: 3}", "raise first"),
        ("stock: {}\nstock: {}", "twice"),
        ("- a", "no mapping"),
        ("stock: [", "not YAML"),
    ],
)
def test_a_wrong_file_names_line_key_and_fix(text: str, named: str) -> None:
    """Prevents: rules that are silently not those that somebody wrote."""
    with pytest.raises(rules.RulesError, match=named):
        rules.parse(text, "rules.yaml")


def test_every_problem_is_named_at_once() -> None:
    """Prevents: one more run for each mistake."""
    with pytest.raises(rules.RulesError) as refused:
        rules.parse("stok: {}\nmargin: {floor: 2}\nbought: {days: x}", "rules.yaml")
    assert len(str(refused.value).splitlines()) == 3


def test_the_suites_own_rules_and_experiments_are_good() -> None:
    """Prevents: a release whose recommender refuses to start."""
    assert rules.load().stock.required
    assert all("control" in one.variants for one in experiments.load().values())


TWO = experiments.parse(
    "try: {running: true, about: x, variants: {control: {share: 3}, other: {share: 1, path_weight: 1}}}", "e.yaml"
)


def test_a_person_stays_in_one_variant_and_the_shares_are_kept() -> None:
    """Prevents: a person who sees both variants, and a comparison of 50 with 950."""
    found = [experiments.assign(f"person{number}", TWO) for number in range(4000)]
    names = [one.name for one in found if one]
    assert names == [one.name for n in range(4000) if (one := experiments.assign(f"person{n}", TWO))]
    assert 2850 < names.count("control") < 3150
    assert experiments.assign("", TWO) is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a: {running: true, about: x, variants: {b: {share: 1}, c: {share: 1}}}", "control"),
        ("a: {running: true, about: x, variants: {control: {share: 1}}}", "length"),
        ("a: {running: true, about: x, variants: {control: {share: 0}, c: {share: 1}}}", "share"),
        (
            "a: &a {running: true, about: x, variants: {control: {share: 1}, c: {share: 1}}}\nb: *a",
            "at once",
        ),
    ],
)
def test_a_wrong_experiment_is_refused(text: str, named: str) -> None:
    """Prevents: an experiment without anything to compare with, or two that disturb each other."""
    with pytest.raises(experiments.ExperimentError, match=named):
        experiments.parse(text, "e.yaml")
