"""CreativeContentAgent: the words of a message, in the person's language.

Owns what a model is asked and what happens when there is none: a plain template, so that the loop goes on. Whether the
words may go out is the guardian's to say.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from agents.prompts import WrittenEmail
from agents.swarm.agent import Action, ModelAgent, Task, to_json
from agents.swarm.email_template import write_template
from agents.swarm.outputs import PRODUCT_LINK, UNSUBSCRIBE, ChosenProduct, ContextSummary, Email, MarketSignals
from agents.tools.models import ModelRefused, ModelRequest, ModelUnavailable
from schemas.messages import Json

PROMPT = "write_email@1"
log = logging.getLogger(__name__)


class CreativeContentAgent(ModelAgent):
    """Writes."""

    name: ClassVar[str] = "CreativeContentAgent"

    def actions(self) -> Mapping[str, Action]:
        """What it can do."""
        return {"write_email": self.write_email}

    def write_email(self, task: Task) -> Json:
        """An email about the chosen product. Without a context summary it is in English."""
        product = task.read_input("choose", ChosenProduct)
        context = ContextSummary(user_id=task.user_id)
        if "summarise" in task.inputs:
            context = task.read_input("summarise", ContextSummary)
        try:
            email = self._ask_model(task, context, product)
        except (ModelUnavailable, ModelRefused) as error:
            log.warning("step %s: template instead of a model: %s", task.task_id, error)
            email = write_template(context.language, task.moment.kind, product)
        return to_json(email)

    def _ask_model(self, task: Task, context: ContextSummary, product: ChosenProduct) -> Email:
        answer = self.gateway.generate(
            ModelRequest(
                task_id=task.whole_id or None,
                prompt=PROMPT,
                data={
                    "context": to_json(context),
                    "recommendation": {
                        "productId": product.product_id,
                        "name": product.name,
                        "price": None if product.price is None else str(product.price),
                        "reason": product.reason,
                    },
                    "moment": {"kind": task.moment.kind, **task.moment.data, **_read_outside(task)},
                },
            )
        )
        try:
            written = msgspec.convert(answer.output, WrittenEmail)
        except msgspec.ValidationError as error:
            raise ModelRefused(f"the gateway's output is no email: {error}") from error
        return Email(
            subject=" ".join(written.subject.split()),
            text=_add_places(written.text, "\n\n{}"),
            html=_add_places(written.html, "\n<p>{}</p>"),
            language=context.language,
            product_id=product.product_id,
            image_prompt=written.image_prompt,
            written_by=answer.model,
        )


def _read_outside(task: Task) -> Json:
    """What is going on outside, where a step found it. What others charge is nothing to write about."""
    if "find_signals" not in task.inputs:
        return {}
    found = task.read_input("find_signals", MarketSignals)
    signals = [signal for signal in found.signals if not signal.kind.startswith("competitor")]
    return {"outside": to_json(msgspec.structs.replace(found, signals=signals))}


def _add_places(text: str, form: str) -> str:
    """The text with the places that act fills, where the model left them out."""
    for place in (PRODUCT_LINK, UNSUBSCRIBE):
        if place not in text:
            text = text.rstrip() + form.replace("{}", place)
    return text
