"""Prompts: files with versions (`<name>@<version>.md`), and for each the data it takes and the shape of its answer.

Owns the registry that the gateway and its callers share. A changed prompt is a new version with a new file, so that a
row of `llm_usage` always says which words were used. Deliberately knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

FOLDER = Path(__file__).parent


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of every answer's shape; fields that it does not name are dropped."""


class ChosenProduct(Answer, frozen=True, kw_only=True):
    """choose_product@2."""

    product_id: Annotated[str, Meta(min_length=1, description="The productId of one of the candidates")]
    reason: Annotated[str, Meta(min_length=1, max_length=600, description="Why this one, for the person to read")]
    evidence: Annotated[list[str], Meta(description="The ids of the facts that the reason rests on")]


class WrittenEmail(Answer, frozen=True, kw_only=True):
    """write_email@1."""

    subject: Annotated[str, Meta(min_length=1, max_length=200)]
    text: Annotated[str, Meta(min_length=1, max_length=8000)]
    html: Annotated[str, Meta(min_length=1, max_length=40000)]
    image_prompt: Annotated[str, Meta(max_length=2000, description="One picture that would go with it")]


class Review(Answer, frozen=True, kw_only=True):
    """review_message@2."""

    approved: bool
    reasons: Annotated[list[str], Meta(description="Every reason against it; empty when approved")]


class Quote(Answer, frozen=True, kw_only=True):
    """One value of a row, as it was returned."""

    column: Annotated[str, Meta(min_length=1)]
    value: Annotated[str, Meta(description="Copied exactly: a text as it is, anything else as its JSON")]


class Evidence(Answer, frozen=True, kw_only=True):
    """A row that a tool has returned."""

    result: Annotated[str, Meta(description="The result that holds the row, such as r2")]
    row: Annotated[int, Meta(ge=0, description="Which of its rows, from 0")]
    quotes: Annotated[list[Quote], Meta(min_length=1)]
    says: Annotated[str, Meta(min_length=1, max_length=300, description="What this row shows")]


class Hypothesis(Answer, frozen=True, kw_only=True):
    """analyse_engagement@1."""

    cause: Literal["delivery", "product", "price", "service", "season", "lost_interest", "unknown"]
    hypothesis: Annotated[str, Meta(min_length=1, max_length=1000)]
    confidence: Annotated[float, Meta(ge=0, le=1)]
    suggestion: Annotated[str, Meta(min_length=1, max_length=500)]
    evidence: Annotated[list[Evidence], Meta(min_length=1, max_length=10)]


class Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of the arguments of every tool."""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the model may ask for; the caller runs it, the gateway checks its arguments."""

    name: str
    description: str
    arguments: type[Arguments]


class PlannedStep(Answer, frozen=True, kw_only=True):
    """One step of plan_steps@1."""

    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$", max_length=40)]
    agent: Annotated[str, Meta(pattern="^[A-Z][A-Za-z]+Agent$", description="As in agents")]
    action: Annotated[str, Meta(min_length=1, description="One of the agent's actions")]
    needs: Annotated[list[str], Meta(description="Names of steps whose findings it must have")]
    why: Annotated[str, Meta(max_length=300, description="What it will show")]


class PlannedSteps(Answer, frozen=True, kw_only=True):
    """plan_steps@1."""

    steps: Annotated[list[PlannedStep], Meta(min_length=1)]


class Conclusion(Answer, frozen=True, kw_only=True):
    """conclude_goal@1."""

    answer: Annotated[str, Meta(min_length=1, max_length=3000)]
    evidence: Annotated[list[str], Meta(description="The names of the findings that the answer rests on")]


class WarehouseQuestion(Arguments, frozen=True, kw_only=True):
    """query_warehouse."""

    sql: Annotated[str, Meta(min_length=1, max_length=4000, description="One GoogleSQL SELECT over the given tables")]


class GraphQuestion(Arguments, frozen=True, kw_only=True):
    """query_graph."""

    cypher: Annotated[
        str, Meta(min_length=1, max_length=2000, description="MATCH (u:User {userId: $userId})... RETURN ... LIMIT n")
    ]


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway knows of a prompt: the data blocks that a caller must give, and the shape of the answer.

    `max_output_tokens` bounds one answer with its thinking, and with it what a call may cost.
    """

    data: frozenset[str]
    answer: type[Answer]
    tools: tuple[Tool, ...] = ()
    max_images: int = 0
    max_output_tokens: int = 8192


PROMPTS: Mapping[str, Prompt] = {
    "choose_product@2": Prompt(data=frozenset({"candidates", "context"}), answer=ChosenProduct),
    "write_email@1": Prompt(data=frozenset({"context", "recommendation", "moment"}), answer=WrittenEmail),
    "plan_steps@1": Prompt(data=frozenset({"goal", "agents", "limits"}), answer=PlannedSteps),
    "conclude_goal@1": Prompt(data=frozenset({"goal", "findings"}), answer=Conclusion),
    "analyse_engagement@1": Prompt(
        data=frozenset({"moment", "context", "tickets", "tables"}),
        answer=Hypothesis,
        tools=(
            Tool(
                name="query_warehouse",
                description="Rows about this person, from the tables in the block `tables`; at most 50.",
                arguments=WarehouseQuestion,
            ),
            Tool(
                name="query_graph",
                description="What this person did, as a graph: sessions, events, products, categories; at most 50 rows.",
                arguments=GraphQuestion,
            ),
        ),
        max_images=4,
    ),
    "review_message@2": Prompt(data=frozenset({"message", "evidence"}), answer=Review),
}


@cache
def read_text(prompt: str) -> str:
    """The words of a registered prompt; KeyError for any other, so that a name is never a path."""
    if prompt not in PROMPTS:
        raise KeyError(prompt)
    return (FOLDER / f"{prompt}.md").read_text(encoding="utf-8").strip()
