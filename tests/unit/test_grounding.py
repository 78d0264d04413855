"""Every claim of a reason is in its evidence, or the reason is not used."""

from __future__ import annotations

import re

import pytest

from agents.prompts import ChosenProduct
from agents.recommender import wording
from agents.recommender.grounding import find_problem, gather_evidence
from agents.recommender.items import Item, Link, ProductName, Relation, Touch
from agents.recommender.selection import select_by_template

BAG = Item(
    product_id="bag",
    name="JUMBO BAG RED",
    score=1.0,
    links=[
        Link(relation=Relation.BOUGHT, count=14, from_id="bunting", from_name="PARTY BUNTING"),
        Link(relation=Relation.VIEWED, count=3, from_id="teapot", from_name="Teapot No. 2"),
        Link(relation=Relation.THEN, count=6, from_id="candle", from_name="TEA CANDLE"),
    ],
)
LAMP = Item(product_id="lamp", name="DESK LAMP", score=0.5)
CUP = Item(product_id="cup", name="컵 세트", score=0.4, links=[Link(relation=Relation.POPULAR, count=21)])
RECENT = [
    ProductName(product_id="bunting", name="PARTY BUNTING", touch=Touch.ORDERED),
    ProductName(product_id="teapot", name="Teapot No. 2", touch=Touch.VIEWED),
]
ITEMS = [BAG, LAMP, CUP]


def check(reason: str, *evidence: str, product: str = "bag", language: str = "en") -> str:
    chosen = ChosenProduct(
        product_id=product, reason=reason, evidence=list(evidence or ("c1", "c1.1", "c1.2", "c1.3", "r1", "r2"))
    )
    return find_problem(chosen, ITEMS, gather_evidence(ITEMS, RECENT), wording.load()[language])


@pytest.mark.parametrize(
    "reason",
    [
        "JUMBO BAG RED goes well with PARTY BUNTING.",
        "You bought PARTY BUNTING, and others ordered it together with JUMBO BAG RED in 14 orders.",
        "Others looked at JUMBO BAG RED with Teapot No. 2 in 3 visits.",
        "Others chose JUMBO BAG RED after TEA CANDLE, 6 times.",
        "Because you viewed Teapot No. 2 recently. We think the jumbo bag red is a good match!",
    ],
)
def test_what_the_evidence_says_may_be_said(reason: str) -> None:
    """Prevents: a check that nothing passes, so that no model is ever heard."""
    assert check(reason) == ""


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        ("JUMBO BAG RED was bought together with PARTY BUNTING in 15 orders.", "15"),
        ("Others ordered JUMBO BAG RED with PARTY BUNTING in fifteen orders.", "fifteen"),
        ("Others ordered it with PARTY BUNTING in a dozen orders.", "dozen"),
        ("Others looked at JUMBO BAG RED with Teapot No. 2 in 14 orders of 3.", "3"),
        ("JUMBO BAG RED goes well with the garden gnome that you love.", "garden"),
        ("JUMBO BAG RED goes well with DESK LAMP.", "desk"),
        ("JUMBO BAG RED is only for you.", "only"),
        ("JUMBO BAG RED for £ 14.", "£"),
        ("Save 14% on JUMBO BAG RED.", "%"),
        ("JUMBO BAG RED is waterproof.", "waterproof"),
        ("You bought Teapot No. 2, and JUMBO BAG RED goes with it.", "ordered"),
        ("You bought JUMBO BAG RED.", "Teapot|JUMBO|ordered"),
        ("Others chose JUMBO BAG RED after Teapot No. 2.", "Teapot"),
        ("Others bought JUMBO BAG RED after TEA CANDLE.", "TEA CANDLE"),
        ("Others bought JUMBO BAG RED together with Teapot No. 2.", "Teapot"),
        ("JUMBO BAG RED is popular.", "popular"),
        ("People of your taste chose JUMBO BAG RED.", "taste"),
        ("JUMBO BAG RED goes with “RED DRESS”.", "RED DRESS"),
        ("JUMBO BAG RED PARTY BUNTING is best for you.", "side by side"),
        ("Buy today, tomorrow is too late.", "today"),
    ],
)
def test_a_claim_without_evidence_is_found(reason: str, named: str) -> None:
    """Prevents: an invented number, product, price, promise, deed or relation in a message to a customer."""
    problem = check(reason)
    assert problem
    assert re.search(named, problem), problem


@pytest.mark.parametrize(
    ("evidence", "product", "named"),
    [
        (["c9"], "bag", "c9"),
        (["c2"], "bag", "another product"),
        (["r1"], "bag", "nothing about"),
        (["c1"], "gold", "gold"),
    ],
)
def test_what_is_cited_must_be_there_and_about_the_product(evidence: list[str], product: str, named: str) -> None:
    """Prevents: true words about the wrong product, or evidence that was never handed over."""
    assert named in check("It goes well with you.", *evidence, product=product)


def test_only_what_is_cited_counts() -> None:
    """Prevents: a citation that is a decoration."""
    reason = "Others ordered JUMBO BAG RED with PARTY BUNTING in 14 orders."
    assert check(reason, "c1", "c1.1") == ""
    assert "party" in check(reason, "c1", "c1.2").casefold()


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        ("구매하신 PARTY BUNTING와 잘 어울리는 JUMBO BAG RED 상품입니다.", ""),
        ("다른 고객님들이 PARTY BUNTING과 함께 14번 주문한 JUMBO BAG RED 상품을 추천합니다.", ""),
        ("다른 고객님들이 PARTY BUNTING과 함께 15번 주문한 JUMBO BAG RED 상품을 추천합니다.", "15"),
        ("다른 고객님들이 TEA CANDLE 다음으로 6번 선택한 JUMBO BAG RED 상품입니다.", ""),
        ("다른 고객님들이 PARTY BUNTING 다음으로 선택한 JUMBO BAG RED 상품입니다.", "PARTY"),
        ("오늘만 할인하는 JUMBO BAG RED 상품입니다.", "오늘만"),
        ("구매하신 Teapot No. 2와 잘 어울리는 상품입니다.", "ordered"),
        ("JUMBO BAG RED 상품은 인기 상품입니다.", "인기"),
        ("JUMBO BAG RED 상품은 14,000원입니다.", "원|14"),
        ("빨간 드레스와 어울리는 상품입니다.", "빨간"),
    ],
)
def test_korean_is_read_as_strictly(reason: str, named: str) -> None:
    """Prevents: a check that only English has to pass."""
    problem = check(reason, language="ko")
    assert re.search(named, problem) if named else problem == "", problem


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.product_id)
def test_the_template_passes_its_own_check(item: Item, language: str) -> None:
    """Prevents: a stand-in that says what a model may not."""
    links = item.links or [Link(relation=Relation.TASTE, count=0)]
    for link in links:
        one = Item(product_id=item.product_id, name=item.name, score=1.0, links=[link])
        selection = select_by_template([one], language)
        chosen = ChosenProduct(product_id=one.product_id, reason=selection.reason, evidence=["c1.1"])
        assert find_problem(chosen, [one], gather_evidence([one], []), wording.load()[language]) == "", selection.reason


def test_a_language_without_wording_gets_english() -> None:
    """Prevents: a reason that nobody has checked because nobody could read it."""
    assert wording.find_language("fr") == "en"
    assert wording.find_language("ko") == "ko"
