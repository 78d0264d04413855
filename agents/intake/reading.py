"""The one way to read JSON from outside."""

from __future__ import annotations

from typing import Any

import msgspec


class NotJson(ValueError):
    """The bytes are not usable JSON; the message reads after 'the body is' or 'the line is'."""


def decode_json(data: bytes, shape: Any = Any) -> Any:
    """JSON as plain values, or in the shape of a type.

    Raises:
        NotJson: not JSON, not UTF-8, or nested too deeply to read.
        msgspec.ValidationError: JSON, but not in this shape.
    """
    try:
        if not data.isascii():
            data.decode()  # what a shape leaves undecoded (msgspec.Raw) is not looked at otherwise
        return msgspec.json.decode(data, type=shape)
    except msgspec.ValidationError as error:
        if shape is not Any:
            raise
        raise NotJson(f"not usable JSON: {error}") from error  # a number out of range
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotJson(f"not JSON: {error}") from error
    except RecursionError:
        raise NotJson("not usable JSON: nested too deeply") from None
