"""Stage 3: one product and the reason for it, from a model that is believed only as far as it can be checked.

Owns the question, the one repair try and the template that stands in; what is true is `agents.recommender.grounding`'s. A
model may choose among the products that it was handed, and rest its reason on what it was handed; anything else is as good
as no answer. However slow the model, the answer comes within MODEL_SECONDS.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from google.api_core.exceptions import GoogleAPICallError

from agents.prompts import ChosenProduct
from agents.recommender import wording
from agents.recommender.bounds import Bound, Unavailable
from agents.recommender.grounding import Evidence, find_problem, gather_evidence
from agents.recommender.items import Context, Item
from agents.tools.models import ModelAnswer, ModelGateway, ModelRefused, ModelRequest, ModelUnavailable
from agents.tools.settings import SettingsError

PROMPT = "choose_product@2"
TEMPLATE = "template"
MODEL_SECONDS = 8.0  # a chat model takes 1 to 4 s for so short an answer; a repair doubles it
TRIES = 2  # the answer, and one repair
FAILURES = (ModelUnavailable, ModelRefused, SettingsError, GoogleAPICallError)

log = logging.getLogger(__name__)


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The item, why, who chose it, and what the reason rests on (product ids and paths).

    `is_degraded`: the model was asked and did not answer.
    """

    item: Item
    reason: str
    chosen_by: str
    evidence: list[str]
    is_degraded: bool = False


def select_item(items: Sequence[Item], context: Context, models: ModelGateway, bound: Bound) -> Selection:
    """The model's choice among the items, or the first item with a template's reason."""
    if not context.use_model:
        return select_by_template(items, context.language)
    try:
        found = bound.ask(lambda: _ask_model(items, context, models), FAILURES)
    except Unavailable as error:
        log.warning("no model for %s, the template chooses: %s", context.task_id or context.channel, error)
        return msgspec.structs.replace(select_by_template(items, context.language), is_degraded=True)
    return found or select_by_template(items, context.language)


def _ask_model(items: Sequence[Item], context: Context, models: ModelGateway) -> Selection | None:
    """The model's choice when it is founded, at the latest after one repair."""
    language = wording.find_language(context.language)
    evidence = gather_evidence(items, context.recent_products)
    rejected: dict[str, Any] | None = None
    for _ in range(TRIES):
        answer = models.generate(_make_request(items, evidence, context, rejected))
        chosen, problem = _read_answer(answer)
        problem = problem or (chosen and find_problem(chosen, items, evidence, wording.load()[language])) or ""
        if chosen and not problem:
            return _accept(chosen, items, evidence, answer.model)
        log.warning("%s chose unfoundedly: %s", answer.model, problem)
        rejected = {"answer": answer.output, "problem": problem}
    return None


def _read_answer(answer: ModelAnswer) -> tuple[ChosenProduct | None, str]:
    try:
        return msgspec.convert(answer.output, ChosenProduct), ""
    except msgspec.ValidationError as error:
        return None, f"the answer has the wrong shape: {error}"


def _accept(chosen: ChosenProduct, items: Sequence[Item], evidence: Sequence[Evidence], model: str) -> Selection:
    item = next(item for item in items if item.product_id == chosen.product_id)
    known = {fact.id: fact for fact in evidence}
    cited = [known[name] for name in chosen.evidence]
    texts = [fact.product_id if fact.kind in ("product", "touch") else fact.text for fact in cited]
    return Selection(item=item, reason=chosen.reason, chosen_by=model, evidence=list(dict.fromkeys(texts)))


def select_by_template(items: Sequence[Item], language: str) -> Selection:
    """The first item, with its strongest path as the reason."""
    item = items[0]
    link = item.links[0] if item.links else None
    reason = wording.load()[wording.find_language(language)].write(link)
    evidence = [link.describe(item.name)] if link else [item.product_id]
    return Selection(item=item, reason=reason, chosen_by=TEMPLATE, evidence=evidence)


def _make_request(
    items: Sequence[Item], evidence: Sequence[Evidence], context: Context, rejected: dict[str, Any] | None
) -> ModelRequest:
    candidates = [
        {
            "productId": item.product_id,
            "name": item.name,
            "category": item.category,
            "price": None if item.price is None else float(item.price),
            "score": item.score,
            "evidence": _list_facts(fact for fact in evidence if _is_about(fact, item)),
        }
        for item in items
    ]
    told: dict[str, Any] = {
        "language": wording.find_language(context.language),
        "recent": _list_facts(fact for fact in evidence if fact.kind == "touch"),
    }
    if rejected:
        told["rejected"] = rejected
    return ModelRequest(prompt=PROMPT, task_id=context.task_id, data={"candidates": candidates, "context": told})


def _is_about(fact: Evidence, item: Item) -> bool:
    return fact.kind != "touch" and fact.product_id == item.product_id


def _list_facts(facts: Iterable[Evidence]) -> list[dict[str, Any]]:
    return [{name: value for name, value in msgspec.to_builtins(fact).items() if name != "productId"} for fact in facts]
