"""Claude through Anthropic's SDK (extra `models`). ANTHROPIC_BASE_URL is the SDK's own variable and is read by it alone.

Owns the provider's client and its errors. Deliberately does not retry: the SDK's own retries are off, so that there is
one policy for every provider (`agents.gateway.asking`). Pictures are refused: Claude does not read gs:// addresses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from typing import Any

import httpx2
import msgspec
from anthropic import APIError, APIStatusError, AsyncAnthropic

from agents.gateway.questions import CUT_SHORT, ProviderError, Question, Reply, Turn
from agents.tools.models import ToolCall
from agents.tools.once import once
from agents.tools.secrets import secret_manager


class Anthropic:
    """Claude."""

    async def ask(self, question: Question) -> Reply:
        """The model's reply.

        Raises:
            ProviderError: retryable on 429, 5xx and a broken connection.
        """
        client, request = await _open_client(), _write_request(question)
        with _translated():
            return _read_reply(await client.messages.create(**request))

    async def stream(self, question: Question) -> AsyncIterator[str | Reply]:
        """The reply's text piece by piece, and last the whole reply. Raises as `ask` does."""
        client, request = await _open_client(), _write_request(question)
        with _translated():
            async with client.messages.stream(**request) as stream:
                async for text in stream.text_stream:
                    yield text
                message = await stream.get_final_message()
                if message.stop_reason is None:
                    raise ProviderError.of_transport(CUT_SHORT)
                yield _read_reply(message)


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except APIStatusError as error:
        raise ProviderError.of_status(error.status_code, type(error).__name__) from None
    except (APIError, httpx2.HTTPError) as error:  # no connection, one that breaks, an error in the middle of a stream
        raise ProviderError.of_transport(type(error).__name__) from None


def _write_request(question: Question) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": question.model,
        "system": question.system,
        "max_tokens": question.max_output_tokens,
        "messages": [_write_turn(turn) for turn in question.turns],
        "output_config": {"format": {"type": "json_schema", "schema": _close(question.schema)}},
    }
    if question.tools:
        request["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
            for tool in question.tools
        ]
    return request


def _write_turn(turn: Turn) -> dict[str, Any]:
    if turn.images:
        raise ProviderError("400 NO_PICTURES", status=400, retryable=False)
    blocks: list[dict[str, Any]] = [{"type": "text", "text": turn.text}] if turn.text else []
    blocks += [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in turn.calls]
    blocks += [
        {"type": "tool_result", "tool_use_id": call.id, "content": msgspec.json.encode(result).decode()}
        for call, result in turn.results
    ]
    return {"role": "assistant" if turn.role == "model" else "user", "content": blocks}


def _close(node: Any) -> Any:
    """The schema as structured outputs want it: no object takes a name that it does not know, no bounds on texts."""
    if isinstance(node, list):
        return [_close(item) for item in node]  # pyright: ignore[reportUnknownVariableType]  # JSON
    if not isinstance(node, dict):
        return node
    bounds = {"minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "pattern"}
    given: dict[str, Any] = node
    closed = {key: _close(value) for key, value in given.items() if key not in bounds}
    return closed | {"additionalProperties": False} if given.get("type") == "object" else closed


def _read_reply(message: Any) -> Reply:
    usage, blocks = message.usage, message.content
    cached = usage.cache_read_input_tokens or 0
    return Reply(
        text="".join(block.text for block in blocks if block.type == "text"),
        model_version=message.model,
        # Anthropic counts the cached tokens beside the others.
        input_tokens=usage.input_tokens + cached + (usage.cache_creation_input_tokens or 0),
        output_tokens=usage.output_tokens,
        cached_tokens=cached,
        calls=tuple(
            ToolCall(id=block.id, name=block.name, arguments=block.input)
            for block in blocks
            if block.type == "tool_use"
        ),
    )


async def _open_client() -> AsyncAnthropic:
    return _client(await asyncio.to_thread(secret_manager().read, "anthropic-api-key"))


@once
def _client(key: str) -> AsyncAnthropic:
    return AsyncAnthropic(api_key=key, max_retries=0)
