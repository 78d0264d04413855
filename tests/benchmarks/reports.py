"""How a benchmark tells what it does, and keeps what it found."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def say(line: str) -> None:
    """Progress, for whoever waits."""
    print(line, file=sys.stderr, flush=True)


def write_report(path: Path, content: object) -> None:
    """Keep the content as JSON; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
