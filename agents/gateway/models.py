"""The registry of models (`models.yaml`): which may be asked, how much they take and cost, when they retire."""

from __future__ import annotations

import logging
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.places import Problem, read_places

PATH = Path(__file__).with_name("models.yaml")
WARNING = timedelta(days=60)
NANO_USD_PER_TOKEN = 1000  # of a price of one dollar a million tokens
log = logging.getLogger(__name__)


class ModelsError(ValueError):
    """The registry is not usable; the message names file, line, key, value and fix of every problem."""


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """USD per million tokens from a day on; without `cached`, cached input costs as much as the rest."""

    since: date
    input: Decimal
    output: Decimal
    cached: Decimal | None = None

    def __post_init__(self) -> None:
        if min(self.input, self.output, self.cached or 0) < 0:
            raise ValueError(f"a price since {self.since} is below 0")


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model, and who is asked instead when it fails."""

    id: str
    provider: Literal["gemini", "anthropic", "openai"]
    context_tokens: int
    prices: Annotated[list[Price], Meta(min_length=1)]
    fallback: list[str] = []
    retires: date | None = None

    def cost_nano_usd(self, today: date, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> int:
        """What tokens cost on a day, in billionths of a dollar, rounded up; `cached_tokens` are part of the input."""
        known = sorted(self.prices, key=lambda price: price.since)
        price = next((price for price in reversed(known) if price.since <= today), known[0])
        cached = price.input if price.cached is None else price.cached
        usd = (input_tokens - cached_tokens) * price.input + cached_tokens * cached + output_tokens * price.output
        return int((usd * NANO_USD_PER_TOKEN).to_integral_value(rounding="ROUND_CEILING"))


@cache
def load() -> dict[str, Model]:
    """Every model by its id. The first use warns of the models that retire soon."""
    known = parse(PATH.read_text(encoding="utf-8"))
    for warning in find_retiring(known, date.today()):  # the day is enough; a zone changes nothing at 60 days
        log.warning("models.yaml: %s; set another default and take it out of the plans", warning)
    return known


def parse(text: str) -> dict[str, Model]:
    """Read a registry.

    Raises:
        ModelsError: every problem with its line, among them a fallback that is not a model of the registry.
    """
    places = read_places(text, PATH.name, ModelsError)
    listed = places.convert(list[Model])
    known = {model.id: model for model in listed}
    places.refuse(
        Problem(path=(str(index), "fallback"), text=f"{name!r} is not in it; add it or take it out")
        for index, model in enumerate(listed)
        for name in model.fallback
        if name not in known
    )
    return known


def find_retiring(models: dict[str, Model], today: date) -> list[str]:
    """The models that have retired or will within 60 days, each with its date."""
    return [
        f"{model.id} retires on {model.retires.isoformat()}"
        for model in models.values()
        if model.retires and model.retires - WARNING <= today
    ]
