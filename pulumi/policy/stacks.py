"""The committed stacks: their names, and what the CLI would tell the program for each. Needs neither Pulumi nor Google."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PROGRAM = Path(__file__).resolve().parent.parent
STACKS = ("dev", "staging", "prod")


def read_config(stack: str) -> dict[str, str]:
    """What the CLI would give the program: defaults of `Pulumi.yaml`, then the stack's own file."""
    schema: dict[str, Any] = yaml.safe_load((PROGRAM / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    own: dict[str, Any] = yaml.safe_load((PROGRAM / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))["config"]
    merged = {name: entry["default"] for name, entry in schema.items() if "default" in entry} | own
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in merged.items()}
