"""RecommendationAgent: the recommender as an agent: its choice for a task, kept as a row and in the person's profile.

Owns the translation between a task and `agents.recommender`, which does the thinking.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import msgspec

from agents.errors import StepFailed
from agents.recommender import service
from agents.recommender.bounds import Bound
from agents.swarm.agent import Action, ConversableAgent, Ports, Task, to_json
from agents.swarm.outputs import ChosenProduct, ContextSummary
from agents.tools.bus import Outgoing, send_all
from schemas import rows
from schemas.messages import Json, ProfileUpdate

RECOMMENDATIONS_TOPIC = "recommendations"
PROFILES_TOPIC = "user-profile-updates"
CHANNEL = "swarm"
# Nobody waits at a screen; the gateway gives a model 20 s.
MODEL_SECONDS = 40.0
WAREHOUSE_SECONDS = 60.0


class RecommendationAgent(ConversableAgent):
    """Chooses."""

    name: ClassVar[str] = "RecommendationAgent"

    def __init__(self, ports: Ports, recommender: service.Ports) -> None:
        super().__init__(ports)
        self._recommender = recommender

    @classmethod
    def build(cls, ports: Ports) -> Self:
        """The agent on BigQuery, Neo4j and the model gateway."""
        from agents.tools.graph import neo4j
        from agents.tools.models import http_gateway
        from agents.tools.serving import redis_serving
        from agents.tools.warehouse import bigquery

        return cls(
            ports,
            service.Ports(
                warehouse=bigquery(),
                graph=neo4j(),
                models=http_gateway(),
                serving=redis_serving(),
                now=ports.now,
                warehouse_bound=Bound("BigQuery", WAREHOUSE_SECONDS),
                model_bound=Bound("the model", MODEL_SECONDS),
            ),
        )

    def actions(self) -> Mapping[str, Action]:
        """What it can do."""
        return {"choose": self.choose}

    def choose(self, task: Task) -> Json:
        """One product for the person, with its reason: with an input `related_to` (a product's id) one that goes with
        that product; with `product_id` that one and no other.

        Raises:
            StepFailed: there is nothing to recommend.
        """
        context = service.Context(channel=CHANNEL, task_id=task.whole_id)
        if "summarise" in task.inputs:
            summary = task.read_input("summarise", ContextSummary)
            recent = [service.ProductName(product_id=p.product_id, name=p.name) for p in summary.recent_products]
            context = msgspec.structs.replace(context, language=summary.language, recent_products=recent)
        named = task.read_text("product_id")
        context = msgspec.structs.replace(context, related_to=task.read_text("related_to"))
        try:
            if named:
                choice = service.present(task.user_id, named, context, self._recommender)
            else:
                choice = service.recommend(task.user_id, context, self._recommender)
        except service.NothingToRecommend as error:
            raise StepFailed(str(error)) from error
        self._publish(choice)
        return to_json(
            ChosenProduct(
                product_id=choice.item.product_id,
                name=choice.item.name,
                price=choice.item.price,
                reason=choice.reason,
                evidence=choice.evidence,
                chosen_by=choice.chosen_by,
            )
        )

    def _publish(self, choice: service.Choice) -> None:
        row = choice.to_row()
        shown = {"productId": row.product_id, "name": choice.item.name, "reason": row.reason}
        update = ProfileUpdate(
            user_id=row.user_id,
            event_id=row.recommendation_id,
            at=row.served_at,
            fields={"recommendation": {**shown, "at": row.served_at.isoformat()}},
        )
        send_all(self.ports.bus, RECOMMENDATIONS_TOPIC, [Outgoing(data=rows.encode(row))])
        send_all(self.ports.bus, PROFILES_TOPIC, [Outgoing(data=msgspec.json.encode(update))])
