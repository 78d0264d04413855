"""SecurityGuardianAgent: the last word on everything that leaves. Rules first, a model second, closed on any doubt.

Owns the order and the verdict; the rules themselves are in `agents.guard`. Whatever is among its inputs and is no evidence
is taken for something that will leave, and is looked at. When the model cannot be asked, the step fails and the playbook's
node policy says when it is tried again; nothing goes out meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import msgspec

from agents.errors import StepFailed
from agents.guard.evidence import Evidence, collect_evidence
from agents.guard.links import Hosts, read_hosts
from agents.guard.rules import find_violations, find_violations_in_data
from agents.prompts import Review
from agents.swarm.agent import Action, ModelAgent, Ports, Task, to_json
from agents.swarm.outputs import Approval, ChosenProduct, ContextSummary, Email
from agents.tools.models import ModelGateway, ModelRefused, ModelRequest
from schemas.messages import Json

PROMPT = "review_message@2"
WRITE_EMAIL, CHOOSE, SUMMARISE = "write_email", "choose", "summarise"
EVIDENCE = frozenset({CHOOSE, SUMMARISE, "find_signals", "analyse"})  # actions whose outputs are known, not said


class SecurityGuardianAgent(ModelAgent):
    """Approves or refuses."""

    name: ClassVar[str] = "SecurityGuardianAgent"

    def __init__(self, ports: Ports, gateway: ModelGateway, hosts: Hosts) -> None:
        super().__init__(ports, gateway)
        self._hosts = hosts

    @classmethod
    def build(cls, ports: Ports) -> Self:
        """The agent on the model gateway, with the shop's hosts from the contact policy."""
        from agents.acting.policy import load_policy
        from agents.tools.models import http_gateway

        shop = load_policy().shop
        return cls(ports, http_gateway(), read_hosts(shop.home, shop.product))

    def actions(self) -> Mapping[str, Action]:
        """What it can do."""
        return {"review": self.review}

    def review(self, task: Task) -> Json:
        """An approval of everything among the inputs that is no evidence.

        Raises:
            StepFailed: refused, with every reason.
            ModelUnavailable: the model cannot be asked now.
        """
        leaving = {action: output for action, output in task.inputs.items() if action not in EVIDENCE}
        if not leaving:
            raise StepFailed("refused: there is nothing to review among the inputs")
        evidence = _collect(task)
        violations = [text for action in leaving for text in self._find_violations(task, action, evidence)]
        if violations:
            raise StepFailed("refused by rules: " + "; ".join(violations))
        models = {self._ask_model(task, output, evidence) for output in leaving.values()}
        return to_json(Approval(approved=True, reviewed_by=", ".join(["rules", *sorted(models)])))

    def _find_violations(self, task: Task, action: str, evidence: Evidence) -> list[str]:
        if action == WRITE_EMAIL:
            product = task.read_input(CHOOSE, ChosenProduct)
            return find_violations(task.read_input(action, Email), product, evidence, self._hosts)
        return find_violations_in_data(task.inputs[action], evidence, self._hosts)

    def _ask_model(self, task: Task, message: Json, evidence: Evidence) -> str:
        """The model that approves a message."""
        known = {
            "product": task.inputs.get(CHOOSE, {}),
            "products": list(evidence.names),
            "moment": {"kind": task.moment.kind, **task.moment.data},
        }
        request = ModelRequest(
            task_id=task.whole_id or None,
            prompt=PROMPT,
            data={"message": message, "evidence": known},
        )
        try:
            answer = self.gateway.generate(request)
            verdict = msgspec.convert(answer.output, Review)
        except (ModelRefused, msgspec.ValidationError) as error:
            raise StepFailed(f"refused because the model's review is not to be had: {error}") from error
        if not verdict.approved or verdict.reasons:
            raise StepFailed("refused by the model: " + ("; ".join(verdict.reasons) or "no reason given"))
        return answer.model


def _collect(task: Task) -> Evidence:
    product = ChosenProduct(product_id="", name="", reason="")
    if CHOOSE in task.inputs:
        product = task.read_input(CHOOSE, ChosenProduct)
    context = task.read_input(SUMMARISE, ContextSummary) if SUMMARISE in task.inputs else None
    return collect_evidence(task.user_id, product, task.moment.data, context)
