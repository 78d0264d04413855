"""What thinking costs: counts the tokens and the money of a step's model calls, and stops it at its allowance.

Owns the count within one step; what a whole task may spend is shared out by `agents.swarm.progress`. What a month may
cost is the gateway's business.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from agents.errors import StepFailed
from agents.tools.models import ModelAnswer, ModelGateway, ModelRequest
from schemas.messages import Spent


@dataclass
class Measured:
    """One step's count."""

    spent: Spent = field(default_factory=Spent)
    allowance: Spent | None = None


class Meter:
    """Counts for the step that is at work in this context; steps run in threads of their own."""

    def __init__(self) -> None:
        self._step: ContextVar[Measured | None] = ContextVar("step", default=None)

    @contextmanager
    def measure(self) -> Generator[Measured]:
        """Count whatever is added inside."""
        measured = Measured()
        token = self._step.set(measured)
        try:
            yield measured
        finally:
            self._step.reset(token)

    def allow(self, allowance: Spent | None) -> None:
        """Set what the step at work may spend."""
        if step := self._step.get():
            step.allowance = allowance

    def check(self) -> None:
        """Raises StepFailed when the step at work has spent its allowance."""
        step = self._step.get()
        if step is None or step.allowance is None:
            return
        if step.spent.tokens >= step.allowance.tokens or step.spent.usd >= step.allowance.usd:
            raise StepFailed(
                f"its allowance of {step.allowance.tokens} tokens and {step.allowance.usd:.4f} USD is used up"
            )

    def add(self, spent: Spent) -> None:
        """Count what one call has cost."""
        if step := self._step.get():
            total = Spent(tokens=step.spent.tokens + spent.tokens, usd=step.spent.usd + spent.usd)
            step.spent = total


class MeteredGateway:
    """A gateway whose answers are counted."""

    def __init__(self, gateway: ModelGateway, meter: Meter) -> None:
        self._gateway = gateway
        self._meter = meter

    def generate(self, request: ModelRequest) -> ModelAnswer:
        """The model's answer. Raises as the gateway does, and StepFailed when the step's allowance is used up."""
        self._meter.check()
        answer = self._gateway.generate(request)
        self._meter.add(price(answer))
        return answer


def price(answer: ModelAnswer) -> Spent:
    """What an answer has cost, as the gateway says."""
    usage = answer.usage
    return Spent(tokens=usage.input_tokens + usage.output_tokens, usd=usage.usd)
