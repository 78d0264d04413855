"""Who answers: the model that was asked for, tried three times, else its fallbacks, each behind its circuit breaker.

Owns retries, time limits and the order of models. The breakers are the suite's own (`agents.tools.breaker`), one for each
model, shared by every instance. Deliberately knows neither quotas nor what an answer means.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar
from uuid import uuid4

import tenacity

from agents.gateway.errors import GatewayError
from agents.gateway.models import Model
from agents.gateway.questions import Provider, ProviderError, Question, Reply
from agents.tools.breaker import Breakers, Limit

ATTEMPTS = 3
CIRCUIT = Limit(failures=5, window_seconds=30)
TRY_SECONDS = 20.0  # how long one try of a half-open circuit keeps the others away
SHARE = 0.6  # of the time that is left, for a model that has a fallback
SLACK_SECONDS = 0.1  # the last model's time ends this much before the whole call's, so that its breaker learns of it
log = logging.getLogger(__name__)
Given = ParamSpec("Given")
Got = TypeVar("Got")


@dataclass(frozen=True, kw_only=True)
class Means:
    """What asking needs. `wait_seconds` is the first pause before a retry."""

    find_provider: Callable[[str], Provider]
    breakers: Breakers
    wait_seconds: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A reply, the model that gave it, and whether an attempt before it ran out of time, which may be billed."""

    reply: Reply
    model: Model
    timed_out: bool = False


async def in_store(function: Callable[Given, Got], *args: Given.args, **kwargs: Given.kwargs) -> Got:
    """Call Redis in a thread; GatewayError 503 when it does not answer."""
    from redis.exceptions import RedisError

    try:
        return await asyncio.to_thread(function, *args, **kwargs)
    except RedisError as error:
        fix = "try again later; REDIS_URL is where quotas and circuits are kept"
        raise GatewayError(503, f"Redis does not answer: {type(error).__name__}", fix, retry_after_seconds=5) from None


async def ask_chain(question: Question, chain: Sequence[Model], means: Means, until: float) -> Asked:
    """The first model's reply, else a fallback's. `until`: time.monotonic() when the whole call must have ended.

    Raises:
        ProviderError: of the last model that was asked; TIMEOUT, CIRCUIT_OPEN and NO_PROVIDER are ours.
        GatewayError: 503, Redis does not answer; 501, the provider's package is not installed.
    """
    problem = ProviderError("CIRCUIT_OPEN", status=503, retryable=True)
    timed_out = False
    for index, model in enumerate(chain):
        if not await in_store(means.breakers.admit, _circuit(model), TRY_SECONDS):
            log.warning("the circuit of %s is open", model.id)
            continue
        share = 1.0 if index == len(chain) - 1 else SHARE
        try:
            reply = await _ask_in_time(replace(question, model=model.id), model, means, (until - SLACK_SECONDS, share))
        except ProviderError as error:
            timed_out = error.may_be_billed = error.may_be_billed or timed_out
            problem = error
            if error.retryable:
                await in_store(means.breakers.record_failure, _circuit(model), CIRCUIT, str(uuid4()))
            if error.status == 400:
                break  # the question itself is refused; another model would not like it better
            log.warning("%s fails: %s", model.id, error.name)
            continue
        await in_store(means.breakers.record_success, _circuit(model))
        return Asked(reply=reply, model=model, timed_out=timed_out)
    raise problem


async def stream_chain(
    question: Question, chain: Sequence[Model], means: Means
) -> AsyncIterator[tuple[Model, str | Reply]]:
    """The pieces of a reply, and last the whole, each with its model. A fallback is asked only before the first piece:
    what has been said cannot be taken back. Raises as `ask_chain` does."""
    problem = ProviderError("CIRCUIT_OPEN", status=503, retryable=True)
    for model in chain:
        if not await in_store(means.breakers.admit, _circuit(model), TRY_SECONDS):
            continue
        said = False
        try:
            async for piece in means.find_provider(model.provider).stream(replace(question, model=model.id)):
                said = True
                yield model, piece
        except ProviderError as error:
            problem, error.may_be_billed = error, said
            if error.retryable:
                await in_store(means.breakers.record_failure, _circuit(model), CIRCUIT, str(uuid4()))
            if said or error.status == 400:
                break
            continue
        await in_store(means.breakers.record_success, _circuit(model))
        return
    raise problem


async def _ask_in_time(question: Question, model: Model, means: Means, time_left: tuple[float, float]) -> Reply:
    until, share = time_left
    attempts = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential_jitter(initial=means.wait_seconds, max=5.0, jitter=means.wait_seconds),
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, ProviderError) and error.retryable),
        reraise=True,
    )
    try:
        async with asyncio.timeout(max(0.0, (until - time.monotonic()) * share)):
            return await attempts(means.find_provider(model.provider).ask, question)
    except TimeoutError:
        raise ProviderError("TIMEOUT", status=504, retryable=True, may_be_billed=True) from None


def _circuit(model: Model) -> str:
    return f"model:{model.id}"
