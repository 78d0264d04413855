"""EngagementAnalystAgent: why did this person's engagement fall? A hypothesis with the rows that it rests on.

Owns the conversation: the model asks two guarded tools, in bounded steps, tokens and money, and concludes; every piece of
its evidence must be a row that was really returned, else it is asked once more, then refused. Deliberately guards no
statement (`agents.tools.guards`) and runs none (`agents.tools.analyst_tools`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import msgspec

from agents.errors import StepFailed
from agents.prompts import Hypothesis
from agents.swarm.agent import Action, ModelAgent, Ports, Task, to_json
from agents.swarm.metering import price
from agents.swarm.outputs import Analysis, ContextSummary, EvidenceRow
from agents.tools.analyst_tools import Toolbox
from agents.tools.graph import Graph
from agents.tools.guards.sql_guard import describe_relations
from agents.tools.models import ModelAnswer, ModelGateway, ModelRefused, ModelRequest, Rejected, ToolCall, ToolExchange
from agents.tools.warehouse import Warehouse
from schemas.messages import Json, Spent

PROMPT = "analyse_engagement@1"
MAX_TURNS = 8  # answers of the model
MAX_CALLS = 12  # of tools
MAX_SPENT = Spent(tokens=300_000, usd=0.50)
MAX_IMAGES = 4
TICKETS_SQL = """
SELECT ticket_id, status, subject, text, event_timestamp FROM tickets ORDER BY event_timestamp DESC LIMIT 10
"""


class EngagementAnalystAgent(ModelAgent):
    """Analyses."""

    name: ClassVar[str] = "EngagementAnalystAgent"

    def __init__(self, ports: Ports, gateway: ModelGateway, warehouse: Warehouse, graph: Graph) -> None:
        super().__init__(ports, gateway)
        self._warehouse = warehouse
        self._graph = graph

    @classmethod
    def build(cls, ports: Ports) -> Self:
        """The agent on the model gateway, BigQuery and Neo4j."""
        from agents.tools.graph import neo4j
        from agents.tools.models import http_gateway
        from agents.tools.warehouse import bigquery

        return cls(ports, http_gateway(), bigquery(), neo4j())

    def actions(self) -> Mapping[str, Action]:
        """What it can do."""
        return {"analyse": self.analyse}

    def analyse(self, task: Task) -> Json:
        """A hypothesis with its evidence.

        Raises:
            StepFailed: no hypothesis within the bounds, or one whose evidence does not exist.
            ModelUnavailable: the model cannot be asked now.
        """
        toolbox = Toolbox(task.user_id, self._warehouse, self._graph)
        request = _begin(task, toolbox)
        spent = Spent()
        for _ in range(MAX_TURNS):
            answer = self._ask(request)
            cost = price(answer)
            spent = Spent(tokens=spent.tokens + cost.tokens, usd=spent.usd + cost.usd)
            if answer.calls:
                request = _call_tools(request, answer, toolbox)
            else:
                hypothesis = msgspec.convert(answer.output, Hypothesis)
                problem, rows = _check_evidence(hypothesis, toolbox)
                if not problem:
                    return _conclude(hypothesis, rows, answer.model)
                if request.rejected:
                    raise StepFailed(f"the hypothesis is refused, its evidence does not exist: {problem}")
                rejected = Rejected(output=answer.output, problem=problem)
                request = msgspec.structs.replace(request, rejected=rejected)
            if spent.tokens >= MAX_SPENT.tokens or spent.usd >= MAX_SPENT.usd:
                raise StepFailed(f"no hypothesis within {MAX_SPENT.tokens} tokens and {MAX_SPENT.usd} USD")
        raise StepFailed(f"no hypothesis in {MAX_TURNS} answers")

    def _ask(self, request: ModelRequest) -> ModelAnswer:
        try:
            return self.gateway.generate(request)
        except ModelRefused as error:
            raise StepFailed(f"the gateway refuses: {error}") from error


def _begin(task: Task, toolbox: Toolbox) -> ModelRequest:
    context: dict[str, Any] = {}
    if "summarise" in task.inputs:
        summary = task.read_input("summarise", ContextSummary)
        context = {"country": summary.country, "language": summary.language, "orders": summary.orders}
    given = task.moment.data.get("images")
    images: list[str] = [uri for uri in given if isinstance(uri, str)] if isinstance(given, list) else []
    tickets = toolbox.run(ToolCall(name="query_warehouse", arguments={"sql": TICKETS_SQL}))
    return ModelRequest(
        prompt=PROMPT,
        task_id=task.whole_id or None,
        images=images[:MAX_IMAGES],
        data={
            "moment": {"kind": task.moment.kind, "data": task.moment.data},
            "context": context,
            "tickets": tickets,
            "tables": describe_relations(),
        },
    )


def _call_tools(request: ModelRequest, answer: ModelAnswer, toolbox: Toolbox) -> ModelRequest:
    done = sum(len(exchange.calls) for exchange in request.history)
    if done + len(answer.calls) > MAX_CALLS:
        raise StepFailed(f"the model wants more than {MAX_CALLS} calls of tools")
    exchange = ToolExchange(calls=answer.calls, results=[toolbox.run(call) for call in answer.calls])
    return msgspec.structs.replace(request, history=[*request.history, exchange])


def _check_evidence(hypothesis: Hypothesis, toolbox: Toolbox) -> tuple[str, list[EvidenceRow]]:
    """Every problem in one text, empty when there is none; and the rows."""
    problems, rows = list[str](), list[EvidenceRow]()
    for index, evidence in enumerate(hypothesis.evidence):
        try:
            row = toolbox.find_row(evidence)
        except LookupError as error:
            problems.append(f"evidence[{index}]: {error.args[0]}")
        else:
            rows.append(EvidenceRow(says=evidence.says, result=evidence.result, row=row))
    return "; ".join(problems)[:1000], rows


def _conclude(hypothesis: Hypothesis, rows: list[EvidenceRow], model: str) -> Json:
    return to_json(
        Analysis(
            cause=hypothesis.cause,
            hypothesis=hypothesis.hypothesis,
            confidence=hypothesis.confidence,
            suggestion=hypothesis.suggestion,
            evidence=rows,
            analysed_by=model,
        )
    )
