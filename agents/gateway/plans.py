"""Usage plans (`plans.yaml`): which caller may ask which models, and how much. Deliberately counts nothing (`quotas`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from agents.gateway import models
from agents.tools.models import FUNCTION
from schemas import topology
from schemas.places import Problem, read_places, suggest

PATH = Path(__file__).with_name("plans.yaml")
Count = Annotated[int, Meta(ge=0)]


class PlansError(ValueError):
    """The plans are not usable; the message names file, line, key, value and fix of every problem."""


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one caller; every one must be given."""

    models: Annotated[list[str], Meta(min_length=1)]
    requests_per_minute: Count
    requests_per_day: Count
    tokens_per_minute: Count
    tokens_per_day: Count
    usd_per_month: Decimal

    def __post_init__(self) -> None:
        if self.usd_per_month < 0:
            raise ValueError(f"usd_per_month is {self.usd_per_month}; it must be 0 or more")


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One caller's plan by name, and one that is tried in its shadow."""

    plan: str
    shadow: str | None = None


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one caller."""

    caller: str
    plan: Plan
    shadow: Plan | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    plans: dict[str, Plan]
    default: Entry | None = None
    callers: dict[str, Entry] = {}


@cache
def load() -> dict[str, Terms]:
    """The terms of every caller by its name."""
    return parse(PATH.read_text(encoding="utf-8"), topology.load().callers(FUNCTION).values())


def parse(text: str, known: Iterable[str] = ()) -> dict[str, Terms]:
    """Read a file of plans; `known` are the callers that have the default one without a line of their own.

    Raises:
        PlansError: every problem with its line, among them plans that are not there and models that are not in models.yaml.
    """
    places = read_places(text, PATH.name, PlansError)
    file = places.convert(_File)
    places.refuse(_find_problems(file))
    return {
        caller: Terms(
            caller=caller,
            plan=file.plans[entry.plan],
            shadow=file.plans[entry.shadow] if entry.shadow else None,
        )
        for caller, entry in (dict.fromkeys(known, file.default) | file.callers).items()
        if entry
    }


def _find_problems(file: _File) -> Iterator[Problem]:
    for name, plan in file.plans.items():
        for model in plan.models:
            if model not in models.load():
                text = f"{model!r} is not in models.yaml; {suggest(model, models.load())}"
                yield Problem(path=("plans", name, "models"), text=text)
    entries = {("callers", caller): entry for caller, entry in file.callers.items()}
    for path, entry in {**entries, **({("default",): file.default} if file.default else {})}.items():
        for name in (entry.plan, entry.shadow):
            if name is not None and name not in file.plans:
                yield Problem(path=path, text=f"the plan {name!r} is not under plans; {suggest(name, file.plans)}")
