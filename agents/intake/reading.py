"""The one way to read JSON from outside."""

from __future__ import annotations

from typing import Any

import msgspec


class NotJson(ValueError):
    """The bytes are not usable JSON; the message reads after 'the body is' or 'the line is'."""


def decode_json(data: bytes) -> Any:
    """JSON as plain values.

    Raises:
        NotJson: not JSON, not UTF-8, or nested too deeply to read.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotJson(f"not JSON: {error}") from error
    except RecursionError:
        raise NotJson("not usable JSON: nested too deeply") from None
