"""Reads a generateContent request: the prompt's name, the data blocks, what answer is wanted.

Owns the shape of the request body. Deliberately not here: what the answer is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

_PROMPT = re.compile(r"^[ \t]*prompt:[ \t]*(\S+@\S+)[ \t]*$", re.MULTILINE)
# The closing tag stands at the start of a line: inside JSON a line break is always escaped, so no value can forge it.
_DATA = re.compile(r'^<data name="([^"\n]+)">[ \t]*\n(.*?)\n</data>', re.MULTILINE | re.DOTALL)
_CAMEL = re.compile(r"_([a-z])")


class RequestError(ValueError):
    """A body that the API would refuse with INVALID_ARGUMENT."""


@dataclass(frozen=True)
class Prompt:
    """What a request asks: `name` is prompt@version or empty, `data` the fenced blocks by name.

    `tools` are the functions that may be called, `results` what they returned so far, in `exchanges` turns.
    """

    name: str
    text: str
    data: dict[str, Any] = field(default_factory=lambda: {})
    schema: dict[str, Any] | None = None
    wants_json: bool = False
    max_tokens: int | None = None
    tools: list[str] = field(default_factory=lambda: [])
    results: list[dict[str, Any]] = field(default_factory=lambda: [])
    exchanges: int = 0

    @property
    def tokens(self) -> int:
        return count_tokens(self.text)


def count_tokens(text: str) -> int:
    """Approximates: four characters are a token."""
    return math.ceil(len(text) / 4)


def read_prompt(body: object) -> Prompt:
    """Returns what a generateContent (or countTokens) body asks; raises `RequestError`."""
    request = _read_object(body, "the body")
    contents = request.get("contents")
    if isinstance(contents, dict):  # protobuf's JSON takes one message where a list is declared
        contents = [contents]
    if not isinstance(contents, list) or not contents:
        raise RequestError("contents is required")
    system = "\n".join(_read_texts(request.get("systemInstruction") or {}))
    spoken = "\n".join(text for content in cast("list[object]", contents) for text in _read_texts(content))
    config = _read_object(request.get("generationConfig") or {}, "generationConfig")
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    name = _PROMPT.search(system)
    limit = config.get("maxOutputTokens")
    return Prompt(
        name=name[1] if name else "",
        text=system + spoken,
        data=dict(_read_data(spoken)),
        schema=_read_object(schema, "the response schema", rename=False) if schema else None,
        wants_json=config.get("responseMimeType") == "application/json",
        max_tokens=limit if isinstance(limit, int) and limit > 0 else None,
        tools=list(_read_tools(request.get("tools") or [])),
        results=[result for content in cast("list[object]", contents) for result in _read_results(content)],
        exchanges=sum(1 for content in cast("list[object]", contents) if list(_read_results(content))),
    )


def _read_data(text: str) -> Iterator[tuple[str, Any]]:
    for match in _DATA.finditer(text):
        try:
            yield match[1], json.loads(match[2])
        except json.JSONDecodeError as error:
            raise RequestError(f"data block {match[1]!r} is not JSON: {error}") from error


def _read_texts(content: object) -> list[str]:
    parts = _read_object(content, "content").get("parts") or []
    if not isinstance(parts, list):
        parts = [parts]
    found = [_read_object(part, "part").get("text") for part in cast("list[object]", parts)]
    return [text for text in found if isinstance(text, str)]


def _read_tools(tools: object) -> Iterator[str]:
    for tool in cast("list[object]", tools if isinstance(tools, list) else [tools]):
        for declared in _read_object(tool, "tool").get("functionDeclarations") or []:
            name = _read_object(declared, "functionDeclaration").get("name")
            if not isinstance(name, str) or not name:
                raise RequestError("a function declaration needs a name")
            yield name


def _read_results(content: object) -> Iterator[dict[str, Any]]:
    """The function responses of a turn."""
    parts = _read_object(content, "content").get("parts") or []
    for part in cast("list[object]", parts if isinstance(parts, list) else [parts]):
        if answered := _read_object(part, "part").get("functionResponse"):
            result = _read_object(answered, "functionResponse")
            if not result.get("name"):
                raise RequestError("a function response needs the function's name")
            yield _read_object(result.get("response") or {}, "response", rename=False)


def _read_object(value: object, what: str, *, rename: bool = True) -> dict[str, Any]:
    """Returns a JSON object, its own keys in camelCase: the API reads snake_case names as well."""
    if not isinstance(value, dict):
        raise RequestError(f"{what} must be a JSON object")
    given = cast("dict[str, Any]", value)
    if not rename:
        return given
    return {_CAMEL.sub(lambda match: match[1].upper(), name): entry for name, entry in given.items()}
