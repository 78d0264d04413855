"""The function `recommend`: recommendations over HTTP, for callers that IAM lets in.

Owns the reading of the request and the shape of the answer, and keeps on record what was served.
"""

from __future__ import annotations

import asyncio
from typing import Any

import functions_framework.aio
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from agents.recommender.items import Choice, Context, Item, encode_json
from agents.recommender.service import NothingToRecommend, Ports
from agents.recommender.service import recommend as choose
from agents.tools import bus, graph, models, warehouse
from schemas.rows import encode

PATH = "/v1/recommend"
TOPIC = "recommendations"
LIMITS = range(1, 51)


@functions_framework.aio.http
async def recommend(request: Request) -> Response:
    """GET /v1/recommend?user_id=...[&limit=5][&explain=true][&language=en]."""
    if request.method != "GET":
        return _answer(405, {"error": f"{request.method} is not supported; use GET"})
    if request.url.path != PATH:
        return _answer(404, {"error": f"no route {request.url.path!r:.80}; there is {PATH}"})
    problem = find_problem(request.query_params)
    if problem:
        return _answer(400, {"error": problem})
    user_id, limit = request.query_params["user_id"], int(request.query_params.get("limit", "5"))
    context = Context(language=request.query_params.get("language", "en"), limit=limit)
    try:
        choice = await asyncio.to_thread(_serve, user_id, context)
    except NothingToRecommend as error:
        return _answer(404, {"error": str(error)})
    explain = request.query_params.get("explain", "false").lower() == "true"
    return _answer(200, shape_choice(choice, limit, explain=explain))


def find_problem(parameters: QueryParams) -> str:
    """What is wrong with the request, or nothing."""
    user_id, limit = parameters.get("user_id", ""), parameters.get("limit", "5")
    if not user_id or len(user_id) > 256:
        return "user_id must be given, with 1 to 256 characters: /v1/recommend?user_id=..."
    if not (limit.isdecimal() and limit.isascii() and len(limit) < 4 and int(limit) in LIMITS):
        return f"limit must be a number from {LIMITS[0]} to {LIMITS[-1]}, not {limit!r:.20}"
    return ""


def shape_choice(choice: Choice, limit: int, *, explain: bool) -> dict[str, Any]:
    """The answer's body; paths only when asked for."""
    return {
        "user_id": choice.user_id,
        "items": [_shape_item(item, explain=explain) for item in choice.items[:limit]],
        "choice": {
            "product_id": choice.item.product_id,
            "reason": choice.reason,
            "chosen_by": choice.chosen_by,
        },
    }


def _shape_item(item: Item, *, explain: bool) -> dict[str, Any]:
    shaped = {"product_id": item.product_id, "name": item.name, "price": item.price, "score": item.score}
    return {**shaped, "paths": item.paths} if explain else shaped


def _serve(user_id: str, context: Context) -> Choice:
    ports = Ports(warehouse=warehouse.bigquery(), graph=graph.neo4j(), models=models.http_gateway())
    choice = choose(user_id, context, ports)
    bus.send_all(bus.pubsub(), TOPIC, [bus.Outgoing(data=encode(choice.to_row()), attributes={"channel": "http"})])
    return choice


def _answer(status: int, body: dict[str, Any]) -> Response:
    return Response(encode_json(body), status_code=status, media_type="application/json")
