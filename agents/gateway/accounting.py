"""What a call uses: reserved before each question, settled after it, and one row of llm_usage whatever comes of it.

Owns the estimate, the sums and the row. Deliberately knows neither HTTP nor a provider. No prompt, no data and no key
gets into a row or a log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import uuid4

import msgspec

from agents.gateway.asking import Asked, in_store
from agents.gateway.errors import GatewayError
from agents.gateway.models import Model
from agents.gateway.plans import Terms
from agents.gateway.questions import Question
from agents.gateway.quotas import NANO, OverQuota, Quotas, Reservation, Use, write_amount
from agents.tools.bus import Bus, Outgoing, send_all
from schemas.rows import LlmUsage, encode

USAGE_TOPIC = "llm-usage"
BYTES_PER_TOKEN = 2  # text has 3 to 4, digits 1: what is held too much comes back when the call is settled
TOKENS_PER_IMAGE = 2000  # Gemini's highest resolution has 1,120 and Claude's about 1,600
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a call is about, as the row says it."""

    prompt: str
    task_id: str | None
    asked_model: str


class Account:
    """One call's use, whatever comes of it."""

    def __init__(self, subject: Subject, terms: Terms, quotas: Quotas, now: Callable[[], datetime]) -> None:
        self.status = "ERROR"  # until something better or more exact is known
        self.model = subject.asked_model
        self.input_tokens = 0
        self.output_tokens = 0
        self.cached_tokens = 0
        self.nano_usd = 0
        self._subject = subject
        self._terms = terms
        self._quotas = quotas
        self._now = now
        self._started = time.monotonic()
        self._requests = 1  # a repair is part of the request
        self._held: tuple[Reservation, Use] | None = None
        self._shadow_limit: str | None = None

    @property
    def usd(self) -> float:
        """What has been spent so far."""
        return self.nano_usd / NANO

    async def reserve(self, question: Question, chain: Sequence[Model]) -> None:
        """Hold what the question may cost at most.

        Raises:
            GatewayError: 402 the month's money, 429 any other limit, 413 more than the model or the plan ever takes, 503.
        """
        use = estimate(question, chain, self._now(), self._requests)
        try:
            reservation = await in_store(self._quotas.reserve, self._terms, use)
        except OverQuota as over:
            self.status = f"OVER_{over.counter.name.upper()}"
            raise _refuse(over, self._terms.caller) from None
        self._held, self._requests = (reservation, use), 0
        if reservation.shadow_limits:
            self._shadow_limit = reservation.shadow_limits[0]
            log.warning(
                "the shadow plan of %s would refuse: %s", self._terms.caller, ", ".join(reservation.shadow_limits)
            )

    async def settle(self, asked: Asked | None) -> None:
        """Put what a question has used in place of what was held; None: the provider refused it and bills nothing."""
        if self._held is None:
            return
        (reservation, held), self._held = self._held, None
        use = Use(requests=held.requests)
        if asked:
            use = self._add(asked, held)
        try:
            await in_store(self._quotas.settle, reservation, use)
        except GatewayError as error:  # the answer is there; what was held stays until its window ends
            log.error("a call of %s is not settled: %s", self._terms.caller, error.error)

    def keep(self) -> None:
        """Charge what was held: nobody knows what the provider bills of a call that was broken off."""
        if self._held is not None:
            self.nano_usd += self._held[1].nano_usd
            self._held = None

    def record(self, bus: Bus) -> None:
        """Publish the row. What is lost is in the log: an answer that is paid for is not given up for it."""
        row = LlmUsage(
            call_id=str(uuid4()),
            called_at=self._now(),
            caller=self._terms.caller,
            prompt=self._subject.prompt,
            model=self.model,
            status=self.status,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            latency_ms=round((time.monotonic() - self._started) * 1000),
            agent=self._terms.caller,
            task_id=self._subject.task_id,
            cached_tokens=self.cached_tokens,
            cost_usd=Decimal(self.nano_usd) / NANO,
            asked_model=self._subject.asked_model,
            shadow_limit=self._shadow_limit,
        )
        try:
            send_all(bus, USAGE_TOPIC, [Outgoing(data=encode(row), attributes={"caller": row.caller})])
        except Exception as error:  # noqa: BLE001  # losing the answer as well would only cost it twice
            log.error(
                "usage of call %s is not recorded: %s; %s", row.call_id, type(error).__name__, encode(row).decode()
            )

    def _add(self, asked: Asked, held: Use) -> Use:
        reply = asked.reply
        self.model = reply.model_version
        self.input_tokens += reply.input_tokens
        self.output_tokens += reply.output_tokens
        self.cached_tokens += reply.cached_tokens
        cost = asked.model.cost_nano_usd(
            self._now().date(), reply.input_tokens, reply.output_tokens, reply.cached_tokens
        )
        tokens = reply.input_tokens + reply.output_tokens
        if asked.timed_out:  # an earlier attempt may be billed too
            tokens, cost = max(tokens, held.tokens), max(cost, held.nano_usd)
        self.nano_usd += cost
        return Use(requests=held.requests, tokens=tokens, nano_usd=cost)


def estimate(question: Question, chain: Sequence[Model], now: datetime, requests: int) -> Use:
    """What a question may use at most, at the dearest price of those who may answer it.

    Raises:
        GatewayError: 413, no model of the chain takes so much.
    """
    written = msgspec.json.encode((question.system, question.turns, question.schema, question.tools))
    images = sum(len(turn.images) for turn in question.turns)
    input_tokens = -(-len(written) // BYTES_PER_TOKEN) + images * TOKENS_PER_IMAGE
    most = max(model.context_tokens for model in chain)
    if input_tokens + question.max_output_tokens > most:
        raise GatewayError(413, f"data of about {input_tokens} tokens; the model takes {most}", "send less data")
    nano_usd = max(model.cost_nano_usd(now.date(), input_tokens, question.max_output_tokens) for model in chain)
    return Use(requests=requests, tokens=input_tokens + question.max_output_tokens, nano_usd=nano_usd)


def _refuse(over: OverQuota, caller: str) -> GatewayError:
    counter = over.counter
    asked = write_amount(counter, over.asked)
    error = f"{caller} has used {write_amount(counter, over.used)} of its {over}; this call may need {asked}"
    fix = f"wait {over.retry_after_seconds} s, or raise {counter.name} of its plan in agents/gateway/plans.yaml"
    if over.asked > counter.limit:
        return GatewayError(413, error, f"send less data, or {fix.partition(', or ')[2]}", limit=counter.name)
    status = 402 if counter.unit == "nano_usd" else 429
    return GatewayError(status, error, fix, limit=counter.name, retry_after_seconds=over.retry_after_seconds)
