"""What comes in: the holder of a key, the typed call of a body, the models that its plan allows. Pure.

Owns every refusal of a call that is wrong as it is. Deliberately asks nobody.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from agents.gateway import models, plans
from agents.gateway.errors import GatewayError
from agents.gateway.models import Model
from agents.gateway.plans import Terms
from agents.prompts import PROMPTS, Prompt
from agents.tools.models import FUNCTION, Rejected, ToolExchange
from schemas import topology
from schemas.rows import Id

MAX_EXCHANGES = 12
Address = Annotated[str, Meta(pattern=r"^gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]/[^\s]+\.(jpe?g|png|webp|JPE?G|PNG)$")]


class Call(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of POST /v1/generate and /v1/stream. Who asks is not in it, because the key says so; an `agent` that is
    somebody else is refused."""

    prompt: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*@[0-9]+$")]
    data: dict[Annotated[str, Meta(pattern="^[a-z][a-z_]*$")], Any]
    task_id: Id | None = None
    model: str | None = None
    agent: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    images: list[Address] = []
    history: Annotated[list[ToolExchange], Meta(max_length=MAX_EXCHANGES)] = []
    rejected: Rejected | None = None


def find_caller(authorization: str, keys: Mapping[str, str]) -> str:
    """Who holds a bearer key: the agent that the key's function hosts, else the holder's own name. Every key is compared
    in constant time.

    Raises:
        GatewayError: 401, when the key is none of ours.
    """
    given = authorization.removeprefix("Bearer ").strip().encode()
    found = [name for key, name in keys.items() if hmac.compare_digest(key.encode(), given)]
    if not authorization.startswith("Bearer ") or not given or not found:
        raise GatewayError(401, "unknown key", "send Authorization: Bearer <a key of the secret llm-agent-keys>")
    return topology.load().callers(FUNCTION).get(found[0], found[0])


def find_terms(caller: str, call: Call) -> Terms:
    """The plan of the key's holder.

    Raises:
        GatewayError: 403, it has none, or the call says that it is somebody else's.
    """
    if call.agent not in (None, caller):
        fix = f"leave agent out, or use the key of {call.agent}"
        raise GatewayError(403, f"the key is {caller}'s, and the call says that it is {call.agent}'s", fix)
    terms = plans.load().get(caller)
    if terms is None:
        raise GatewayError(403, f"{caller} has no plan", "add it under callers in agents/gateway/plans.yaml")
    return terms


def choose_models(name: str, terms: Terms) -> list[Model]:
    """The model of that name, then its fallbacks, as far as the plan allows them.

    Raises:
        GatewayError: 400, no such model; 403, the plan does not hold it.
    """
    known = models.load()
    if name not in known:
        raise GatewayError(400, f"unknown model {name}", f"use one of {', '.join(sorted(known))}")
    if name not in terms.plan.models:
        allowed = ", ".join(terms.plan.models)
        fix = f"use one of {allowed}, or add it to the plan's models in agents/gateway/plans.yaml"
        raise GatewayError(403, f"the plan of {terms.caller} does not hold the model {name}", fix)
    return [known[name], *(known[other] for other in known[name].fallback if other in terms.plan.models)]


def parse_call(body: bytes) -> Call:
    """The typed call of a body.

    Raises:
        GatewayError: 400, naming the path of the first wrong value, or the prompt and what it takes.
    """
    try:
        call = msgspec.json.decode(body, type=Call)
    except msgspec.MsgspecError as error:
        raise GatewayError(400, str(error), "send {prompt: name@version, data, taskId?, model?}") from error
    prompt = PROMPTS.get(call.prompt)
    if prompt is None:
        raise GatewayError(400, f"unknown prompt {call.prompt}", f"use one of {', '.join(sorted(PROMPTS))}")
    if call.data.keys() != prompt.data:
        fix = f"send exactly {', '.join(sorted(prompt.data))}"
        raise GatewayError(400, f"data for {call.prompt} holds {', '.join(sorted(call.data)) or 'nothing'}", fix)
    _check_parts(call, prompt)
    return call


def _check_parts(call: Call, prompt: Prompt) -> None:
    if len(call.images) > prompt.max_images:
        fix = f"send at most {prompt.max_images}"
        raise GatewayError(400, f"images for {call.prompt} holds {len(call.images)}", fix)
    tools = [tool.name for tool in prompt.tools]
    for index, exchange in enumerate(call.history):
        for made in exchange.calls:
            if made.name not in tools:
                fix = f"use one of {', '.join(tools)}" if tools else "send no history: this prompt has no tools"
                raise GatewayError(400, f"history[{index}] calls {made.name!r}, no tool of {call.prompt}", fix)
        if not exchange.calls or len(exchange.calls) != len(exchange.results):
            fix = "send one result for each call, in their order"
            found = f"{len(exchange.calls)} calls and {len(exchange.results)} results"
            raise GatewayError(400, f"history[{index}] holds {found}", fix)
