"""Gemini through google-genai: on Vertex AI, or by API key.

Owns the provider's client and its errors. Deliberately does not retry, time out or read the answer: that is
`agents.gateway.service`, the same for every provider.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx2
from google import genai
from google.genai import errors, types

from agents.gateway.questions import CUT_SHORT, IMAGE_TYPES, ProviderError, Question, Reply, Turn
from agents.tools.models import ToolCall
from agents.tools.once import once
from agents.tools.secrets import secret_manager
from agents.tools.settings import settings

if TYPE_CHECKING:
    from google.genai import Client
    from google.genai.types import ContentUnionDict, GenerateContentConfig, GenerateContentResponse

VERTEX = "vertex"  # this value of the secret, or none, means Vertex AI with the service's own identity


class Gemini:
    """Gemini. GOOGLE_GEMINI_BASE_URL is the SDK's own variable and is read by it alone."""

    async def ask(self, question: Question) -> Reply:
        """The model's reply.

        Raises:
            ProviderError: retryable on 429, 5xx and a broken connection.
        """
        client = await _open_client()
        with _translated():
            response = await client.aio.models.generate_content(
                model=question.model, contents=_write_turns(question), config=_write_config(question)
            )
        return _read_reply([response], question)

    async def stream(self, question: Question) -> AsyncIterator[str | Reply]:
        """The reply's text piece by piece, and last the whole reply. Raises as `ask` does."""
        client, chunks = await _open_client(), list[types.GenerateContentResponse]()
        with _translated():
            async for chunk in await client.aio.models.generate_content_stream(
                model=question.model, contents=_write_turns(question), config=_write_config(question)
            ):
                chunks.append(chunk)
                if text := _join_text(chunk):
                    yield text
        # What its safety filter stops before the first word has feedback in place of a candidate.
        ended = any(chunk.prompt_feedback for chunk in chunks)
        if not ended and not any(candidate.finish_reason for chunk in chunks for candidate in chunk.candidates or []):
            raise ProviderError.of_transport(CUT_SHORT)
        yield _read_reply(chunks, question)


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except errors.APIError as error:
        raise ProviderError.of_status(error.code, error.status or "UNKNOWN") from None
    except httpx2.HTTPError as error:
        raise ProviderError.of_transport(type(error).__name__) from None


def _write_config(question: Question) -> GenerateContentConfig:
    declared = [
        types.FunctionDeclaration(name=tool.name, description=tool.description, parameters_json_schema=tool.parameters)
        for tool in question.tools
    ]
    return types.GenerateContentConfig(
        system_instruction=question.system,
        response_mime_type="application/json",
        response_json_schema=question.schema,
        max_output_tokens=question.max_output_tokens,
        tools=[types.Tool(function_declarations=declared)] if declared else None,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )


def _write_turns(question: Question) -> list[ContentUnionDict]:
    return [types.Content(role=turn.role, parts=list(_write_parts(turn))) for turn in question.turns]


def _write_parts(turn: Turn) -> Iterator[types.Part]:
    if turn.text:
        yield types.Part(text=turn.text)
    for uri in turn.images:
        kind = IMAGE_TYPES[uri.rpartition(".")[2].lower()]
        yield types.Part(file_data=types.FileData(file_uri=uri, mime_type=kind))
    for call in turn.calls:
        # Gemini 3 refuses a turn whose calls come back without their signatures
        # (https://ai.google.dev/gemini-api/docs/thought-signatures).
        signature = base64.b64decode(call.signature) if call.signature else None
        made = types.FunctionCall(id=call.id or None, name=call.name, args=call.arguments)
        yield types.Part(function_call=made, thought_signature=signature)
    for call, result in turn.results:
        yield types.Part(function_response=types.FunctionResponse(id=call.id or None, name=call.name, response=result))


def _read_reply(chunks: list[GenerateContentResponse], question: Question) -> Reply:
    usage = next((chunk.usage_metadata for chunk in reversed(chunks) if chunk.usage_metadata), None)
    version = next((chunk.model_version for chunk in chunks if chunk.model_version), None)
    return Reply(
        text="".join(_join_text(chunk) for chunk in chunks),  # empty when it was stopped, such as by its safety filter
        model_version=version or question.model,
        input_tokens=(usage and usage.prompt_token_count) or 0,
        # Thinking is billed as output (https://ai.google.dev/gemini-api/docs/thinking#pricing).
        output_tokens=((usage and usage.candidates_token_count) or 0) + ((usage and usage.thoughts_token_count) or 0),
        cached_tokens=(usage and usage.cached_content_token_count) or 0,
        calls=tuple(_read_call(part) for chunk in chunks for part in _parts(chunk) if part.function_call),
    )


def _parts(chunk: GenerateContentResponse) -> list[types.Part]:
    content = chunk.candidates[0].content if chunk.candidates else None
    return (content and content.parts) or []


def _join_text(chunk: GenerateContentResponse) -> str:
    return "".join(part.text for part in _parts(chunk) if part.text and not part.thought)


def _read_call(part: types.Part) -> ToolCall:
    made = part.function_call or types.FunctionCall()
    signature = base64.b64encode(part.thought_signature).decode() if part.thought_signature else ""
    return ToolCall(id=made.id or "", name=made.name or "", arguments=made.args or {}, signature=signature)


async def _open_client() -> Client:
    # Secret Manager's client blocks; the value is cached, so this is a thread hop once in five minutes at most.
    return _client(await asyncio.to_thread(secret_manager().read, "gemini-api-key"))


@once
def _client(key: str) -> Client:
    if key.strip() in {"", VERTEX}:
        return genai.Client(vertexai=True, project=settings().project, location=settings().vertex_location)
    return genai.Client(vertexai=False, api_key=key)
