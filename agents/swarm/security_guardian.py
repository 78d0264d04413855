"""SecurityGuardianAgent: the last word on everything that leaves. Rules first, a model second, closed on any doubt.

Owns the order and the verdict; the rules themselves are in `agents.swarm.guard_rules`. When the model cannot be asked,
the request is tried again by the bus until its deadline, and nothing goes out meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from agents.errors import StepFailed
from agents.prompts import Review
from agents.swarm.agent import Action, ModelAgent, Task, to_json
from agents.swarm.guard_rules import find_violations
from agents.swarm.outputs import Approval, ChosenProduct, Email
from agents.tools.models import ModelRefused, ModelRequest
from schemas.messages import Json

PROMPT = "review_message@1"


class SecurityGuardianAgent(ModelAgent):
    """Approves or refuses."""

    name: ClassVar[str] = "SecurityGuardianAgent"

    def actions(self) -> Mapping[str, Action]:
        """What it can do."""
        return {"review": self.review}

    def review(self, task: Task) -> Json:
        """An approval.

        Raises:
            StepFailed: refused, with every reason.
            ModelUnavailable: the model cannot be asked now; the bus tries again.
        """
        email = task.read_input("write_email", Email)
        product = task.read_input("choose", ChosenProduct)
        if violations := find_violations(email, product):
            raise StepFailed("refused by rules: " + "; ".join(violations))
        try:
            answer = self.gateway.generate(
                ModelRequest(
                    agent=self.name,
                    task_id=task.whole_id or None,
                    prompt=PROMPT,
                    data={
                        "message": {
                            "subject": email.subject,
                            "text": email.text,
                            "html": email.html,
                            "productId": product.product_id,
                            "name": product.name,
                            "price": None if product.price is None else str(product.price),
                        }
                    },
                )
            )
            verdict = msgspec.convert(answer.output, Review)
        except (ModelRefused, msgspec.ValidationError) as error:
            raise StepFailed(f"refused because the model's review is not to be had: {error}") from error
        if not verdict.approved or verdict.reasons:
            raise StepFailed("refused by the model: " + ("; ".join(verdict.reasons) or "no reason given"))
        return to_json(Approval(approved=True, reviewed_by=f"rules, {answer.model}"))
