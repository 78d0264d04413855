"""One model call from a typed request to a checked answer: prompt, data, retries, time limit, shape, usage row.

Owns what is the same for every provider. Deliberately knows neither HTTP (`functions.llm`) nor a provider's client
(`agents.gateway.providers`). No prompt, no data and no key gets into a log or an error.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import uuid4

import msgspec
import tenacity
from msgspec import Meta

from agents.gateway import fence, models
from agents.gateway.providers import Provider, ProviderError, Question, Reply
from agents.prompts import PROMPTS, Answer
from agents.tools.bus import Bus, Outgoing, send_all
from agents.tools.models import ModelAnswer, ModelUsage
from schemas.rows import Id, LlmUsage, encode

USAGE_TOPIC = "llm-usage"
CALL_SECONDS = 20.0  # all attempts and the repair together; callers wait 30 s (agents.tools.models)
ATTEMPTS = 3
log = logging.getLogger(__name__)


class GatewayError(Exception):
    """A call that gets no answer: the HTTP status, what is wrong, and what to do about it."""

    def __init__(self, status: int, error: str, fix: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.fix = fix


class Call(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of POST /v1/generate. `agent` is what the caller calls itself; who it is, its key says."""

    agent: Annotated[str, Meta(min_length=1, max_length=100)]
    prompt: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*@[0-9]+$")]
    data: dict[Annotated[str, Meta(pattern="^[a-z][a-z_]*$")], Any]
    task_id: Id | None = None
    model: str | None = None


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What a call needs from outside. `wait_seconds` is the first pause before a retry."""

    provider: Provider
    bus: Bus
    default_model: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    wait_seconds: float = 0.5
    call_seconds: float = CALL_SECONDS


@dataclass(kw_only=True)
class _Meter:
    """What a call has used so far, whatever comes of it."""

    model: str
    started: float = field(default_factory=time.monotonic)
    input_tokens: int = 0
    output_tokens: int = 0
    status: str = "ERROR"  # until something better or more exact is known

    def add(self, reply: Reply) -> None:
        self.model = reply.model_version
        self.input_tokens += reply.input_tokens
        self.output_tokens += reply.output_tokens


def find_caller(authorization: str, keys: Mapping[str, str]) -> str:
    """The name behind a bearer key; every key is compared in constant time.

    Raises:
        GatewayError: 401, when the key is none of ours.
    """
    given = authorization.removeprefix("Bearer ").strip().encode()
    found = [name for key, name in keys.items() if hmac.compare_digest(key.encode(), given)]
    if not authorization.startswith("Bearer ") or not given or not found:
        raise GatewayError(401, "unknown key", "send Authorization: Bearer <a key of the secret llm-agent-keys>")
    return found[0]


def parse_call(body: bytes) -> Call:
    """The typed call of a body.

    Raises:
        GatewayError: 400, naming the path of the first wrong value, or the prompt and the data that it takes.
    """
    try:
        call = msgspec.json.decode(body, type=Call)
    except msgspec.MsgspecError as error:
        raise GatewayError(400, str(error), "send {agent, taskId?, prompt: name@version, data, model?}") from error
    prompt = PROMPTS.get(call.prompt)
    if prompt is None:
        raise GatewayError(400, f"unknown prompt {call.prompt}", f"use one of {', '.join(sorted(PROMPTS))}")
    if call.data.keys() != prompt.data:
        fix = f"send exactly {', '.join(sorted(prompt.data))}"
        raise GatewayError(400, f"data for {call.prompt} holds {', '.join(sorted(call.data)) or 'nothing'}", fix)
    return call


async def generate(call: Call, caller: str, ports: Ports) -> ModelAnswer:
    """Ask the model and check its answer against the prompt's shape, with one try to repair it.

    Raises:
        GatewayError: 400 unknown model, 429 and 503 from the provider, 502 unusable answer, 504 too slow.
    """
    model = call.model or ports.default_model
    if model not in models.load():
        raise GatewayError(400, f"unknown model {model}", f"use one of {', '.join(sorted(models.load()))}")
    meter = _Meter(model=model)
    try:
        async with asyncio.timeout(ports.call_seconds):
            output = await _converse(call, model, meter, ports)
    except TimeoutError:
        meter.status = "TIMEOUT"
        raise GatewayError(504, f"no answer in {ports.call_seconds:.0f} s", "try again later") from None
    except ProviderError as error:
        meter.status = error.name
        raise _translate(error) from None
    finally:
        await asyncio.to_thread(_record, call, caller, meter, ports)
    usage = ModelUsage(input_tokens=meter.input_tokens, output_tokens=meter.output_tokens)
    return ModelAnswer(output=msgspec.to_builtins(output), model=meter.model, usage=usage)


async def _converse(call: Call, model: str, meter: _Meter, ports: Ports) -> Answer:
    shape = PROMPTS[call.prompt].answer
    schema = fence.write_schema(shape)
    turns = (fence.write_data(call.data),)
    system = fence.write_system(call.prompt)
    for status in ("ok", "repaired"):
        reply = await _ask(Question(model=model, system=system, turns=turns, schema=schema), ports)
        meter.add(reply)
        try:
            output = msgspec.json.decode(reply.text, type=shape)
            meter.status = status
            return output
        except msgspec.MsgspecError as error:
            turns = (*turns, reply.text or "(nothing)", fence.REPAIR.format(problem=str(error)[:300]))
    meter.status = "UNUSABLE_ANSWER"
    raise GatewayError(502, f"the model's answer does not fit {call.prompt}, twice", "try again, or another model")


async def _ask(question: Question, ports: Ports) -> Reply:
    attempts = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential_jitter(initial=ports.wait_seconds, max=5.0, jitter=ports.wait_seconds),
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, ProviderError) and error.retryable),
        reraise=True,
    )
    return await attempts(ports.provider.ask, question)


def _translate(error: ProviderError) -> GatewayError:
    if error.status == 429:
        return GatewayError(429, "the provider's quota is used up", "try again later")
    if error.retryable:
        return GatewayError(503, f"the provider does not answer: {error.name}", "try again later")
    return GatewayError(502, f"the provider refuses: {error.name}", "check the secret gemini-api-key and the model")


def _record(call: Call, caller: str, meter: _Meter, ports: Ports) -> None:
    row = LlmUsage(
        call_id=str(uuid4()),
        called_at=ports.now(),
        caller=caller,
        prompt=call.prompt,
        model=meter.model,
        status=meter.status,
        input_tokens=meter.input_tokens,
        output_tokens=meter.output_tokens,
        latency_ms=round((time.monotonic() - meter.started) * 1000),
        agent=call.agent,
        task_id=call.task_id,
    )
    try:
        send_all(ports.bus, USAGE_TOPIC, [Outgoing(data=encode(row), attributes={"caller": caller})])
    except Exception as error:  # noqa: BLE001  # the answer is paid for: losing it as well would only cost it twice
        log.error("usage of call %s is not recorded: %s; %s", row.call_id, type(error).__name__, encode(row).decode())
