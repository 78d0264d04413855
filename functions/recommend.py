"""The function `recommend`: recommendations over HTTP, for signed-in people (their own) and our services (anybody's).

Owns the reading of the request, who may ask for whom, and keeping on record what was served. The answers' shapes are
recommend_shapes', the page is recommend_page's.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import functions_framework.aio
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import TransportError
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from agents.recommender.bounds import Unavailable
from agents.recommender.items import Choice, Context, ProductName
from agents.recommender.service import NothingToRecommend, Ports
from agents.recommender.service import recommend as choose
from agents.tools import bus, graph, models, publishing, serving, warehouse
from agents.tools.callers import Caller, NotSignedIn, find_caller
from agents.tools.once import once
from functions.answers import answer
from functions.parameters import read_number
from functions.recommend_page import POLICY, render_choice
from functions.recommend_shapes import MAX_ID, MAX_LIMIT, MAX_RECENT, OPENAPI, RECOMMEND, describe_api, shape_choice
from schemas.rows import encode

TOPIC = "recommendations"
RECORD_SECONDS = 3.0  # how long an answer waits for Pub/Sub
KNOWN = {"user_id", "session_id", "related_to", "recent", "limit", "language", "country", "explain", "model"}
log = logging.getLogger(__name__)


class Refused(Exception):
    """The request cannot be answered: the status, what is wrong, the fix."""

    def __init__(self, status: int, error: str, fix: str) -> None:
        super().__init__(error)
        self.status, self.error, self.fix = status, error, fix


@dataclass(frozen=True, kw_only=True)
class Question:
    """A request that was read."""

    user_id: str
    context: Context
    explain: bool


@functions_framework.aio.http
async def recommend(request: Request) -> Response:
    """GET /v1/recommend (see /v1/openapi.json)."""
    try:
        response = await _answer(request)
    except Refused as refused:
        response = answer(refused.status, {"error": refused.error, "fix": refused.fix})
        if refused.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Authorization, Accept"
    return response


async def _answer(request: Request) -> Response:
    if request.method not in ("GET", "HEAD"):
        raise Refused(405, f"{request.method} is not supported", "use GET")
    if request.url.path == OPENAPI:
        return answer(200, describe_api())
    if request.url.path != RECOMMEND:
        raise Refused(404, f"no route {request.url.path!r:.80}", f"there are {RECOMMEND} and {OPENAPI}")
    caller = await _find_caller(request)
    question = read_question(request.query_params, caller)
    choice = await asyncio.get_running_loop().run_in_executor(_threads(), _choose, question)
    await _record(choice)
    limit = question.context.limit
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(render_choice(choice, limit), headers={"Content-Security-Policy": POLICY})
    return answer(200, shape_choice(choice, limit, explain=question.explain))


async def _find_caller(request: Request) -> Caller:
    try:
        return await asyncio.to_thread(find_caller, request.headers.get("authorization", ""))
    except NotSignedIn as reason:
        fix = "sign in, and send the ID token; on the laptop: make token USER=<user id>"
        raise Refused(401, str(reason), fix) from None
    except TransportError as error:
        log.warning("Google's keys are not to be had: %s", error)
        raise Refused(503, "nobody can be recognised just now", "try again in some seconds") from None


def read_question(parameters: QueryParams, caller: Caller) -> Question:
    """What is asked, by whom it may be asked.

    Raises:
        Refused: naming the parameter, its value and the fix; or whose recommendations the caller may not see.
    """
    unknown = sorted(set(parameters.keys()) - KNOWN)
    if unknown:
        raise Refused(400, f"unknown parameter {unknown[0]!r:.40}", f"there are {', '.join(sorted(KNOWN))}")
    ids = {name: _read_id(parameters, name) for name in ("user_id", "session_id", "related_to")}
    user_id = ids["user_id"] or caller.user_id
    if not any((user_id, *ids.values())):
        raise Refused(400, "user_id is missing", f"{RECOMMEND}?user_id=..., or session_id=..., or related_to=...")
    _check_rights(caller, ids["user_id"], ids["session_id"])
    recent = parameters.getlist("recent")
    if len(recent) > MAX_RECENT or any(not 0 < len(one) <= MAX_ID for one in recent):
        raise Refused(
            400, f"recent has {len(recent)} values", f"give at most {MAX_RECENT} ids of 1 to {MAX_ID} letters"
        )
    context = Context(
        language=parameters.get("language", "en")[:8].lower().partition("-")[0],
        recent_products=[ProductName(product_id=one, name=one) for one in recent],
        limit=_read_limit(parameters.get("limit", "5")),
        session_id=ids["session_id"],
        related_to=ids["related_to"],
        country=_read_id(parameters, "country"),
        use_model=_read_flag(parameters, "model", default=True),
    )
    return Question(user_id=user_id, context=context, explain=_read_flag(parameters, "explain", default=False))


def _check_rights(caller: Caller, user_id: str, session_id: str) -> None:
    """A person asks for themselves only. A visit has no owner whom a token could name: services ask for it."""
    if user_id and not caller.may_see(user_id):
        raise Refused(403, "these are somebody else's recommendations", "ask for your own: leave user_id out")
    if session_id and not caller.account:
        raise Refused(
            403, "a session is asked for by services only", "leave session_id out, and send recent=<product id>"
        )


def _read_id(parameters: QueryParams, name: str) -> str:
    value = parameters.get(name)
    if value is not None and not 0 < len(value) <= MAX_ID:
        raise Refused(400, f"{name} has {len(value)} letters", f"give 1 to {MAX_ID}: {RECOMMEND}?{name}=...")
    return value or ""


def _read_limit(text: str) -> int:
    limit = read_number(text, range(1, MAX_LIMIT + 1))
    if limit is None:
        raise Refused(400, f"limit is {text!r:.20}", f"give a number from 1 to {MAX_LIMIT}")
    return limit


def _read_flag(parameters: QueryParams, name: str, *, default: bool) -> bool:
    text = parameters.get(name, str(default)).lower()
    if text not in ("true", "false"):
        raise Refused(400, f"{name} is {text!r:.20}", "give true or false")
    return text == "true"


def _choose(question: Question) -> Choice:
    try:
        return choose(question.user_id, question.context, _ports())
    except NothingToRecommend as error:
        raise Refused(404, str(error), "send events and run the jobs train_candidates and publish_serving") from None
    except Unavailable as error:
        log.warning("no source answers: %s", error)
        raise Refused(503, "no source of recommendations answers just now", "try again in some seconds") from None


async def _record(choice: Choice) -> None:
    """Keep what was served; without Pub/Sub the person is answered all the same."""
    message = bus.Outgoing(data=encode(choice.to_row()), attributes={"channel": choice.channel})
    try:
        async with asyncio.timeout(RECORD_SECONDS):
            await publishing.publisher().publish(TOPIC, [message])
    except (GoogleAPICallError, publishing.NotTaken, TimeoutError) as error:
        log.error("recommendation %s is not on record: %s", choice.recommendation_id, type(error).__name__)


@once
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(32, thread_name_prefix="recommend")


@once
def _ports() -> Ports:
    return Ports(
        warehouse=warehouse.bigquery(),
        graph=graph.neo4j(),
        models=models.http_gateway(),
        serving=serving.redis_serving(),
    )
