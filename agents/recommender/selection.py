"""Stage 3: one product and the reason for it, from a model that is believed only as far as it can be checked.

Owns the question, the check of the answer and the template that stands in. A model may choose among the products that
it was handed, and rest its reason on what it was handed; anything else is as good as no answer.
"""

from __future__ import annotations

import logging

import msgspec
from google.api_core.exceptions import GoogleAPICallError

from agents.prompts import ChosenProduct
from agents.recommender.items import Context, Item
from agents.recommender.paths import ARROW
from agents.tools.models import ModelGateway, ModelRefused, ModelRequest, ModelUnavailable
from agents.tools.settings import SettingsError

PROMPT = "choose_product@1"
AGENT = "RecommendationAgent"
TEMPLATE = "template"
TEMPLATES = {
    "en": (
        "Others chose it together with {name}.",
        "Chosen by people whose taste is like yours.",
        "Popular right now: {fact}.",
    ),
    "ko": (
        "{name}와(과) 함께 선택된 상품입니다.",
        "취향이 비슷한 분들이 선택한 상품입니다.",
        "지금 인기 있는 상품입니다.",
    ),
}

log = logging.getLogger(__name__)


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The item, why, who chose it, and what the reason rests on (product ids and paths)."""

    item: Item
    reason: str
    chosen_by: str
    evidence: list[str]


def select_item(items: list[Item], user_id: str, context: Context, models: ModelGateway) -> Selection:
    """The model's choice among the items, or the first item with a template's reason."""
    try:
        answer = models.generate(_make_request(items, user_id, context))
        chosen = msgspec.convert(answer.output, ChosenProduct)
    except (ModelUnavailable, ModelRefused, SettingsError, GoogleAPICallError) as error:
        log.warning("no model for %s, the template chooses: %s", context.task_id or "http", error)
        return select_by_template(items, context.language)
    except msgspec.ValidationError as error:
        log.warning("the model's answer has the wrong shape, the template chooses: %s", error)
        return select_by_template(items, context.language)
    problem = find_problem(chosen, items, context)
    if problem:
        log.warning("%s chose unfoundedly, the template chooses: %s", answer.model, problem)
        return select_by_template(items, context.language)
    (item,) = (item for item in items if item.product_id == chosen.product_id)
    return Selection(item=item, reason=chosen.reason, chosen_by=answer.model, evidence=chosen.evidence)


def find_problem(chosen: ChosenProduct, items: list[Item], context: Context) -> str:
    """What is wrong with a model's choice, or nothing."""
    products = {item.product_id for item in items}
    known = products | {product.product_id for product in context.recent_products}
    known |= {path for item in items for path in item.paths}
    if chosen.product_id not in products:
        return f"product {chosen.product_id!r} is not among the candidates"
    if not chosen.evidence:
        return "the reason rests on nothing"
    strange = [evidence for evidence in chosen.evidence if evidence not in known]
    return f"evidence {strange[0]!r} was not handed over" if strange else ""


def select_by_template(items: list[Item], language: str) -> Selection:
    """The first item, with its strongest path as the reason."""
    item = items[0]
    with_path, without_path, popular = TEMPLATES.get(language, TEMPLATES["en"])
    if not item.paths:
        return Selection(item=item, reason=without_path, chosen_by=TEMPLATE, evidence=[item.product_id])
    path = item.paths[0]
    start, arrow, _ = path.partition(ARROW)
    reason = with_path.format(name=start) if arrow else popular.format(fact=path)
    return Selection(item=item, reason=reason, chosen_by=TEMPLATE, evidence=[path])


def _make_request(items: list[Item], user_id: str, context: Context) -> ModelRequest:
    candidates = [
        {**msgspec.to_builtins(item), "price": None if item.price is None else float(item.price)} for item in items
    ]
    return ModelRequest(
        agent=AGENT,
        prompt=PROMPT,
        task_id=context.task_id,
        data={
            "candidates": candidates,
            "context": {
                "userId": user_id,
                "language": context.language,
                "recentProducts": msgspec.to_builtins(context.recent_products),
            },
        },
    )
