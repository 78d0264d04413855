"""The registry of models (`models.yaml`): which may be asked, how much they take, when they retire."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
import yaml

PATH = Path(__file__).with_name("models.yaml")
WARNING = timedelta(days=60)


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model."""

    id: str
    provider: Literal["gemini"]
    context_tokens: int
    retires: date | None = None


@cache
def load() -> dict[str, Model]:
    """Every model by its id."""
    return parse(PATH.read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, Model]:
    """Read a registry; msgspec.ValidationError names the path of the first wrong value."""
    return {model.id: model for model in msgspec.convert(yaml.safe_load(text), list[Model])}


def find_retiring(models: dict[str, Model], today: date) -> list[str]:
    """The models that have retired or will within 60 days, each with its date."""
    return [
        f"{model.id} retires on {model.retires.isoformat()}"
        for model in models.values()
        if model.retires and model.retires - WARNING <= today
    ]
