"""The contract of `recommend` over HTTP: its answers as types, and the OpenAPI document made from them.

`python -m functions.recommend_shapes` prints the document; docs/recommend.openapi.json is that, and a test keeps it so.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from agents.recommender.items import Choice, Item, Link, Relation, Source

RECOMMEND, OPENAPI = "/v1/recommend", "/v1/openapi.json"
MAX_LIMIT, MAX_RECENT, MAX_ID = 50, 20, 256


class ShownLink(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One way to the product."""

    relation: Relation
    count: Annotated[int, Meta(description="How many others went it")]
    from_id: Annotated[str, Meta(description="The product of the person's that it begins at")] = ""
    from_name: str = ""


class ShownItem(msgspec.Struct, frozen=True, kw_only=True):
    """One recommended product."""

    product_id: str
    name: str
    price: Annotated[float, Meta(description="As the catalogue has it")] | None
    score: Annotated[float, Meta(description="Higher is better; comparable within one answer")]
    category: str | None = None
    paths: Annotated[list[str], Meta(description="Why, as texts")] | msgspec.UnsetType = msgspec.UNSET
    links: Annotated[list[ShownLink], Meta(description="Why, as parts")] | msgspec.UnsetType = msgspec.UNSET


class ShownChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The one to show first, and why in the person's language."""

    product_id: str
    reason: str
    chosen_by: Annotated[str, Meta(description="The model's version, or template")]
    evidence: Annotated[list[str], Meta(description="What the reason rests on")] | msgspec.UnsetType = msgspec.UNSET


class ShownVariant(msgspec.Struct, frozen=True, kw_only=True):
    """The person's part in an experiment."""

    experiment: str
    variant: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is recommended. Send `recommendation_id` with the events that come of it."""

    recommendation_id: str
    user_id: str
    items: list[ShownItem]
    choice: ShownChoice
    degraded: Annotated[list[Source], Meta(description="Sources that did not answer in time; others stood in")]
    experiment: ShownVariant | msgspec.UnsetType | None = msgspec.UNSET


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, and what to do."""

    error: str
    fix: str


def shape_choice(choice: Choice, limit: int, *, explain: bool) -> Answer:
    """The answer's body; paths, evidence and experiment only when asked for."""
    drawn = ShownVariant(experiment=choice.experiment, variant=choice.variant or "") if choice.experiment else None
    return Answer(
        recommendation_id=choice.recommendation_id,
        user_id=choice.user_id,
        items=[_shape_item(item, explain=explain) for item in choice.items[:limit]],
        choice=ShownChoice(
            product_id=choice.item.product_id,
            reason=choice.reason,
            chosen_by=choice.chosen_by,
            evidence=choice.evidence if explain else msgspec.UNSET,
        ),
        degraded=choice.degraded,
        experiment=drawn if explain else msgspec.UNSET,
    )


def _shape_item(item: Item, *, explain: bool) -> ShownItem:
    return ShownItem(
        product_id=item.product_id,
        name=item.name,
        price=_to_number(item.price),
        score=item.score,
        category=item.category,
        paths=item.paths if explain else msgspec.UNSET,
        links=[_shape_link(link) for link in item.links] if explain else msgspec.UNSET,
    )


def _shape_link(link: Link) -> ShownLink:
    return ShownLink(relation=link.relation, count=link.count, from_id=link.from_id, from_name=link.from_name)


def _to_number(price: Decimal | None) -> float | None:
    return None if price is None else float(price)


def describe_api() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    (answer, problem), components = msgspec.json.schema_components(
        [Answer, Problem], ref_template="#/components/schemas/{name}"
    )
    refused = {"description": "Why not, and what to do", "content": {"application/json": {"schema": problem}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ARGO recommend",
            "version": "1",
            "description": "What a person might want now, and why. People see only their own; services of ours, anybody's.",
        },
        "security": [{"idToken": []}],
        "paths": {
            RECOMMEND: {
                "get": {
                    "operationId": "recommend",
                    "summary": "For a person (user_id), a visit (session_id), or a product (related_to)",
                    "parameters": _list_parameters(),
                    "responses": {
                        "200": {
                            "description": "What is recommended; a page for whoever prefers text/html",
                            "content": {
                                "application/json": {"schema": answer},
                                "text/html": {"schema": {"type": "string"}},
                            },
                        },
                        **dict.fromkeys(("400", "401", "403", "404", "405", "503"), refused),
                    },
                }
            }
        },
        "components": {
            "schemas": components,
            "securitySchemes": {
                "idToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A Firebase ID token of the person, or a Google-signed ID token of a service account",
                }
            },
        },
    }


def _list_parameters() -> list[dict[str, Any]]:
    text = {"type": "string", "minLength": 1, "maxLength": MAX_ID}
    flag = {"type": "boolean"}
    found: dict[str, tuple[dict[str, Any], str]] = {
        "user_id": (text, "The person; left out, the signed-in one"),
        "session_id": (text, "The visit, or the device's anonymous id: for who is not signed in; services only"),
        "related_to": (text, "What goes with this product"),
        "recent": (
            {"type": "array", "items": text, "maxItems": MAX_RECENT},
            "Ids of products just touched, newest first, that the client knows of; once for each",
        ),
        "limit": ({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 5}, "How many items"),
        "language": ({"type": "string", "default": "en"}, "ISO 639, of the reason; English where there is no wording"),
        "country": (
            text,
            "Where the person is, as events say it: what is popular there answers where little else is known",
        ),
        "explain": ({**flag, "default": False}, "With paths, evidence and experiment"),
        "model": ({**flag, "default": True}, "false: no model is asked, the template words the reason"),
    }
    return [
        {"name": name, "in": "query", "required": False, "description": about, "schema": schema}
        for name, (schema, about) in found.items()
    ]


def render_api() -> str:
    """The document as it is published."""
    return json.dumps(describe_api(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_api())
