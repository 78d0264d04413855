"""The two tables of the bill: prices with their sources, and loads with their assumptions. Typed; no arithmetic."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import yaml
from msgspec import Meta

FOLDER = Path(__file__).parent
Amount = Annotated[float, Meta(ge=0)]
Value = TypeVar("Value")


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """US dollars for one `unit`; `free` units a month cost nothing. `seen`: the source was read where this was written."""

    usd: Amount
    unit: str
    source: Annotated[str, Meta(pattern="^https://")]
    read: date
    seen: bool
    free: Amount = 0.0


class Messages(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Messages of a topic in a month, and the bytes of one."""

    count: Amount
    bytes: Amount


class ModelCalls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calls of a model in a month, and the tokens of one."""

    count: Amount
    input_tokens: Amount
    output_tokens: Amount


class Load(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A month of use. Each table by name has an entry `default` for whatever it does not name."""

    description: str
    requests: dict[str, Amount]
    request_seconds: dict[str, Amount]
    requests_at_once: Annotated[float, Meta(ge=1)]
    messages: dict[str, Messages]
    filtered: dict[str, Amount]
    job_seconds: dict[str, Amount]
    warehouse_months_kept: Amount
    query_tib: Amount
    profiles: Amount
    profile_kib: Amount
    model_calls: ModelCalls
    response_kib: Amount
    log_gib: Amount
    image_gib: Amount
    sign_ins: Amount
    key_versions: Amount


def pick(table: dict[str, Value], name: str) -> Value:
    """The entry of that name, or the default."""
    return table.get(name, table["default"])


def read_prices() -> dict[str, Price]:
    """Every price by name."""
    return msgspec.convert(yaml.safe_load((FOLDER / "prices.yaml").read_text("utf-8")), dict[str, Price])


def read_loads() -> dict[str, Load]:
    """Every load by name."""
    return msgspec.convert(yaml.safe_load((FOLDER / "loads.yaml").read_text("utf-8")), dict[str, Load])
