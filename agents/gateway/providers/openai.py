"""GPT through OpenAI's SDK (extra `models`). OPENAI_BASE_URL is the SDK's own variable and is read by it alone.

Owns the provider's client and its errors. Deliberately does not retry: the SDK's own retries are off, so that there is
one policy for every provider (`agents.gateway.asking`). Pictures are refused: GPT does not read gs:// addresses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import msgspec
from openai import APIError, APIStatusError, AsyncOpenAI

from agents.gateway.questions import CUT_SHORT, ProviderError, Question, Reply, Turn
from agents.tools.models import ToolCall
from agents.tools.once import once
from agents.tools.secrets import secret_manager


class OpenAI:
    """GPT."""

    async def ask(self, question: Question) -> Reply:
        """The model's reply.

        Raises:
            ProviderError: retryable on 429, 5xx and a broken connection.
        """
        client, request = await _open_client(), _write_request(question)
        with _translated():
            return _read_reply(await client.chat.completions.create(**request))

    async def stream(self, question: Question) -> AsyncIterator[str | Reply]:
        """The reply's text piece by piece, and last the whole reply. Raises as `ask` does."""
        client, request = await _open_client(), _write_request(question)
        with _translated():
            async with client.chat.completions.stream(**request, stream_options={"include_usage": True}) as stream:
                async for event in stream:
                    if event.type == "content.delta":
                        yield event.delta
                completion: Any = (
                    await stream.get_final_completion()
                )  # the SDK's type says that there is always a reason
                if not completion.choices[0].finish_reason:
                    raise ProviderError.of_transport(CUT_SHORT)
                yield _read_reply(completion)


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except APIStatusError as error:
        raise ProviderError.of_status(error.status_code, type(error).__name__) from None
    except (APIError, httpx2.HTTPError) as error:  # no connection, one that breaks, an error in the middle of a stream
        raise ProviderError.of_transport(type(error).__name__) from None


def _write_request(question: Question) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": question.system}]
    for turn in question.turns:
        messages += _write_turn(turn)
    shape = {"name": "answer", "schema": question.schema, "strict": False}
    request: dict[str, Any] = {
        "model": question.model,
        "messages": messages,
        "max_completion_tokens": question.max_output_tokens,
        "response_format": {"type": "json_schema", "json_schema": shape},
    }
    if question.tools:
        request["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in question.tools
        ]
    return request


def _write_turn(turn: Turn) -> Iterator[dict[str, Any]]:
    if turn.images:
        raise ProviderError("400 NO_PICTURES", status=400, retryable=False)
    if turn.calls:
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()},
            }
            for call in turn.calls
        ]
        yield {"role": "assistant", "content": turn.text or None, "tool_calls": calls}
    elif turn.text:
        yield {"role": "assistant" if turn.role == "model" else "user", "content": turn.text}
    for call, result in turn.results:
        yield {"role": "tool", "tool_call_id": call.id, "content": msgspec.json.encode(result).decode()}


def _read_reply(completion: Any) -> Reply:
    message, usage = completion.choices[0].message, completion.usage
    details = usage and usage.prompt_tokens_details
    return Reply(
        text=message.content or "",
        model_version=completion.model,
        input_tokens=usage.prompt_tokens if usage else 0,
        output_tokens=usage.completion_tokens if usage else 0,
        cached_tokens=(details and details.cached_tokens) or 0,
        calls=tuple(
            ToolCall(id=call.id, name=call.function.name, arguments=_read_arguments(call.function.arguments))
            for call in message.tool_calls or []
        ),
    )


def _read_arguments(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {"unreadable": text[:200]}  # no tool takes it, so the model is told to try again


async def _open_client() -> AsyncOpenAI:
    return _client(await asyncio.to_thread(secret_manager().read, "openai-api-key"))


@once
def _client(key: str) -> AsyncOpenAI:
    return AsyncOpenAI(api_key=key, max_retries=0)
