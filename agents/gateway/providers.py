"""Whoever runs the models, behind one question and one reply. Here: Gemini through google-genai.

Owns the provider's client and its errors. Deliberately does not retry, time out or read the answer: that is
`agents.gateway.service`, the same for every provider.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from agents.tools.once import once
from agents.tools.secrets import secret_manager
from agents.tools.settings import settings
from schemas import topology

if TYPE_CHECKING:
    from google.genai import Client
    from google.genai.types import ContentUnionDict, GenerateContentResponse

VERTEX = "vertex"  # this value of the secret, or none, means Vertex AI with the service's own identity


@dataclass(frozen=True, kw_only=True)
class Question:
    """One call: the turns alternate between the user and the model and begin with the user."""

    model: str
    system: str
    turns: tuple[str, ...]
    schema: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the model said, the version that said it, and the tokens of this call."""

    text: str
    model_version: str
    input_tokens: int
    output_tokens: int


class ProviderError(Exception):
    """The provider did not answer; `name` is fit for a log and a row, the provider's own words are not kept."""

    def __init__(self, name: str, *, status: int, retryable: bool) -> None:
        super().__init__(name)
        self.name = name
        self.status = status
        self.retryable = retryable


class Provider(Protocol):
    """Where a question goes."""

    async def ask(self, question: Question) -> Reply:
        """The model's reply, or ProviderError."""
        ...


class Gemini:
    """Gemini by API key, or on Vertex AI. GOOGLE_GEMINI_BASE_URL is the SDK's own variable and is read by it alone."""

    async def ask(self, question: Question) -> Reply:
        """The model's reply.

        Raises:
            ProviderError: retryable on 429, 5xx and a broken connection.
        """
        import httpx2
        from google.genai import errors, types

        config = types.GenerateContentConfig(
            system_instruction=question.system,
            response_mime_type="application/json",
            response_json_schema=question.schema,
        )
        try:
            response = await (await _open_client()).aio.models.generate_content(
                model=question.model, contents=_write_turns(question.turns), config=config
            )
        except errors.APIError as error:
            name = f"{error.code} {error.status or 'UNKNOWN'}"
            retryable = error.code == 429 or error.code >= 500
            raise ProviderError(name, status=error.code, retryable=retryable) from None
        except httpx2.HTTPError as error:
            raise ProviderError(type(error).__name__, status=503, retryable=True) from None
        return _read_reply(response, question)


def _write_turns(turns: tuple[str, ...]) -> list[ContentUnionDict]:
    from google.genai import types

    return [
        types.Content(role="model" if index % 2 else "user", parts=[types.Part(text=text)])
        for index, text in enumerate(turns)
    ]


def _read_reply(response: GenerateContentResponse, question: Question) -> Reply:
    usage = response.usage_metadata
    return Reply(
        text=response.text or "",  # empty when the model was stopped, such as by its safety filter
        model_version=response.model_version or question.model,
        input_tokens=(usage and usage.prompt_token_count) or 0,
        # Thinking is billed as output (https://ai.google.dev/gemini-api/docs/thinking#pricing).
        output_tokens=((usage and usage.candidates_token_count) or 0) + ((usage and usage.thoughts_token_count) or 0),
    )


class FakeProvider:
    """Says what was prepared, one after another, and keeps what it was asked; an exception is raised."""

    def __init__(self, *replies: str | Exception) -> None:
        self.replies = list(replies)
        self.asked: list[Question] = []

    async def ask(self, question: Question) -> Reply:
        """The next prepared reply."""
        self.asked.append(question)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return Reply(text=reply, model_version="fake-001", input_tokens=10, output_tokens=5)


@once
def gemini() -> Gemini:
    """The process's one Gemini."""
    return Gemini()


async def _open_client() -> Client:
    import asyncio

    # Secret Manager's client blocks; the value is cached, so this is a thread hop once in five minutes at most.
    return _client(await asyncio.to_thread(secret_manager().read, "gemini-api-key"))


@once
def _client(key: str) -> Client:
    from google import genai

    if "models" not in topology.load().access(settings().service).stores:
        raise PermissionError(f"{settings().service} may not use models; topology.yaml grants it")
    if key.strip() in {"", VERTEX}:
        return genai.Client(vertexai=True, project=settings().project, location=settings().vertex_location)
    return genai.Client(vertexai=False, api_key=key)
