"""One model call from a typed request to a checked answer: plan, prompt, data, shape with one repair, usage row.

Owns the order of things, the same for every provider. Deliberately knows neither HTTP (`functions.llm`) nor a provider's
client (`agents.gateway.providers`). No prompt, no data and no key gets into a log or an error.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from agents.gateway import fence
from agents.gateway.accounting import Account, Subject
from agents.gateway.asking import Asked, Means, ask_chain, stream_chain
from agents.gateway.calls import Call, choose_models, find_terms
from agents.gateway.errors import GatewayError
from agents.gateway.models import Model
from agents.gateway.questions import Declaration, Provider, ProviderError, Question, Reply, Turn
from agents.gateway.quotas import Quotas
from agents.prompts import PROMPTS, Prompt
from agents.tools.breaker import Breakers
from agents.tools.bus import Bus
from agents.tools.models import ModelAnswer, ModelUsage

CALL_SECONDS = 20.0  # all attempts, fallbacks and the repair together; callers wait 30 s (agents.tools.models)


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What a call needs from outside. `wait_seconds` is the first pause before a retry."""

    find_provider: Callable[[str], Provider]
    bus: Bus
    quotas: Quotas
    breakers: Breakers
    default_model: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    wait_seconds: float = 0.5
    call_seconds: float = CALL_SECONDS

    @property
    def means(self) -> Means:
        """What asking needs of it."""
        return Means(find_provider=self.find_provider, breakers=self.breakers, wait_seconds=self.wait_seconds)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A call that may be made: its prompt, its models in order, its account."""

    call: Call
    prompt: Prompt
    chain: list[Model]
    account: Account
    until: float


async def generate(call: Call, caller: str, ports: Ports) -> ModelAnswer:
    """Ask the model and check its answer against the prompt's shape, with one try to repair it.

    Raises:
        GatewayError: 400 unknown model; 402 the month's money; 403 no plan, or not this model; 413 too much data; 429 a
            limit of the plan or the provider; 502 unusable answer; 503 nobody answers; 504 too slow.
    """
    job = _begin(call, caller, ports)
    try:
        async with asyncio.timeout(ports.call_seconds):
            return await _converse(job, ports)
    except (TimeoutError, ProviderError) as error:
        raise _end_badly(error, job, ports) from None
    finally:
        job.account.keep()
        await asyncio.to_thread(job.account.record, ports.bus)


async def stream(call: Call, caller: str, ports: Ports) -> AsyncIterator[str | ModelAnswer]:
    """The answer's text piece by piece as the model writes it, and last the checked answer; there is no repair, since
    what has been said cannot be taken back. Raises as `generate` does."""
    job = _begin(call, caller, ports)
    question = _write_question(job, _open(call))
    try:
        await job.account.reserve(question, job.chain)
        async with asyncio.timeout(ports.call_seconds):
            async for model, piece in stream_chain(question, job.chain, ports.means):
                if isinstance(piece, str):
                    yield piece
                    continue
                await job.account.settle(Asked(reply=piece, model=model))
                answer, problem = _read(piece, job)
                if answer is None:
                    job.account.status = "UNUSABLE_ANSWER"
                    raise GatewayError(502, f"the answer does not fit {call.prompt}: {problem}", "ask again")
                job.account.status = "ok"
                yield answer
    except (TimeoutError, ProviderError) as error:
        if isinstance(error, ProviderError) and not error.may_be_billed:
            await job.account.settle(None)
        raise _end_badly(error, job, ports) from None
    except (asyncio.CancelledError, GeneratorExit):
        job.account.status = job.account.status if job.account.status == "ok" else "CANCELLED"
        raise
    finally:
        job.account.keep()
        await asyncio.to_thread(job.account.record, ports.bus)


def _begin(call: Call, caller: str, ports: Ports) -> Job:
    terms = find_terms(caller, call)
    chain = choose_models(call.model or ports.default_model, terms)
    subject = Subject(prompt=call.prompt, task_id=call.task_id, asked_model=chain[0].id)
    account = Account(subject, terms, ports.quotas, ports.now)
    until = time.monotonic() + ports.call_seconds
    return Job(call=call, prompt=PROMPTS[call.prompt], chain=chain, account=account, until=until)


def _open(call: Call) -> tuple[Turn, ...]:
    turns = [Turn(role="user", text=fence.write_data(call.data), images=tuple(call.images))]
    for exchange in call.history:
        turns.append(Turn(role="model", calls=tuple(exchange.calls)))
        turns.append(Turn(role="user", results=tuple(zip(exchange.calls, exchange.results, strict=True))))
    if call.rejected:
        output = msgspec.json.encode(call.rejected.output).decode()
        turns += [Turn(role="model", text=output), Turn(role="user", text=fence.write_repair(call.rejected.problem))]
    return tuple(turns)


def _write_question(job: Job, turns: tuple[Turn, ...]) -> Question:
    return Question(
        model=job.chain[0].id,
        system=fence.write_system(job.call.prompt),
        turns=turns,
        schema=fence.write_schema(job.prompt.answer),
        tools=tuple(
            Declaration(name=tool.name, description=tool.description, parameters=fence.write_schema(tool.arguments))
            for tool in job.prompt.tools
        ),
        max_output_tokens=job.prompt.max_output_tokens,
    )


async def _converse(job: Job, ports: Ports) -> ModelAnswer:
    account, turns = job.account, _open(job.call)
    for status in ("ok", "repaired"):
        question = _write_question(job, turns)
        await account.reserve(question, job.chain)
        try:
            asked = await ask_chain(question, job.chain, ports.means, job.until)
        except ProviderError as error:
            if not error.may_be_billed:
                await account.settle(None)
            raise
        await account.settle(asked)
        answer, problem = _read(asked.reply, job)
        if answer is not None:
            account.status = status
            return answer
        turns = (*turns, *_ask_again(asked.reply, problem))
    account.status = "UNUSABLE_ANSWER"
    raise GatewayError(502, f"the model's answer does not fit {job.call.prompt}, twice", "try again, or another model")


def _read(reply: Reply, job: Job) -> tuple[ModelAnswer | None, str]:
    """The answer of a reply, or what is wrong with it."""
    output: dict[str, Any] = {}
    try:
        if reply.calls:
            shapes = {tool.name: tool.arguments for tool in job.prompt.tools}
            for made in reply.calls:
                if made.name not in shapes:
                    return None, f"there is no tool {made.name}"
                msgspec.convert(made.arguments, shapes[made.name])
        else:
            output = msgspec.to_builtins(msgspec.json.decode(reply.text, type=job.prompt.answer))
    except msgspec.MsgspecError as error:
        return None, str(error)[:300]
    usage = ModelUsage(
        input_tokens=job.account.input_tokens, output_tokens=job.account.output_tokens, usd=job.account.usd
    )
    return ModelAnswer(output=output, model=job.account.model, usage=usage, calls=list(reply.calls)), ""


def _ask_again(reply: Reply, problem: str) -> tuple[Turn, Turn]:
    if reply.calls:
        results = tuple((made, {"error": problem}) for made in reply.calls)
        return Turn(role="model", calls=reply.calls), Turn(role="user", results=results)
    said = Turn(role="model", text=reply.text or "(nothing)")
    return said, Turn(role="user", text=fence.write_repair(problem))


def _end_badly(error: TimeoutError | ProviderError, job: Job, ports: Ports) -> GatewayError:
    slow = f"no answer in {ports.call_seconds:.0f} s"
    if isinstance(error, TimeoutError) or error.name == "TIMEOUT":
        job.account.status = "TIMEOUT"
        return GatewayError(504, slow, "try again later")
    job.account.status = error.name
    if error.name == "CIRCUIT_OPEN":
        names = ", ".join(model.id for model in job.chain)
        return GatewayError(503, f"{names} failed too often just now", "try again later", retry_after_seconds=30)
    if error.status == 429:
        return GatewayError(429, "the provider's quota is used up", "try again later", retry_after_seconds=30)
    if error.retryable:
        return GatewayError(503, f"the provider does not answer: {error.name}", "try again later")
    return GatewayError(502, f"the provider refuses: {error.name}", "check the provider's secret and the model")
