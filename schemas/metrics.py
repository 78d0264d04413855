"""The typed reading of `metrics.yaml`: which metrics there are. Counting is agents', watching pulumi's."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml

PATH = Path(__file__).with_name("metrics.yaml")


class Metric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One metric; `total` says that its values are added up."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]+$")]
    description: str
    unit: Literal["1", "s"]
    total: bool
    label: str = ""


@cache
def load() -> dict[str, Metric]:
    """Every metric by its name."""
    listed = msgspec.convert(yaml.safe_load(PATH.read_text(encoding="utf-8")), list[Metric])
    found = {metric.name: metric for metric in listed}
    if len(found) < len(listed):
        raise ValueError("metrics.yaml names a metric twice")
    return found
