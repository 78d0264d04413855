"""One question to a model and its reply, the same for every provider, and what a provider must do.

Owns the words of the conversation between the gateway and a provider. Deliberately knows no provider.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

from agents.tools.models import ToolCall

CUT_SHORT = "STREAM_CUT_SHORT"  # a stream that ended without saying that this was its end
IMAGE_TYPES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one side says: text, pictures (gs:// addresses), calls of tools (the model), or their results by call."""

    role: Literal["user", "model"]
    text: str = ""
    images: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    results: tuple[tuple[ToolCall, dict[str, Any]], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """One tool that the model may call; `parameters` is a JSON Schema."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One call: the turns alternate between the user and the model and begin with the user."""

    model: str
    system: str
    turns: tuple[Turn, ...]
    schema: dict[str, Any]
    tools: tuple[Declaration, ...] = ()
    max_output_tokens: int = 8192


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the model said, the version that said it, and the tokens of this call; cached tokens are part of the input."""

    text: str
    model_version: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    calls: tuple[ToolCall, ...] = ()


class ProviderError(Exception):
    """The provider did not answer; `name` is fit for a log and a row, the provider's own words are not kept.

    `may_be_billed`: a call was broken off on the way, and nobody knows what the provider bills of it.
    """

    def __init__(self, name: str, *, status: int, retryable: bool, may_be_billed: bool = False) -> None:
        super().__init__(name)
        self.name = name
        self.status = status
        self.retryable = retryable
        self.may_be_billed = may_be_billed

    @classmethod
    def of_status(cls, status: int, kind: str) -> Self:
        """What an HTTP status means: 429 and 5xx may pass. A status of success is of a stream that failed after it."""
        if status < 400:
            return cls(kind, status=503, retryable=True)
        return cls(f"{status} {kind}", status=status, retryable=status == 429 or status >= 500)

    @classmethod
    def of_transport(cls, kind: str) -> Self:
        """No answer, or the end of one on its way."""
        return cls(kind, status=503, retryable=True)


class Provider(Protocol):
    """Where a question goes."""

    async def ask(self, question: Question) -> Reply:
        """The model's reply, or ProviderError."""
        ...

    def stream(self, question: Question) -> AsyncIterator[str | Reply]:
        """The reply's text piece by piece, and last the whole reply; or ProviderError."""
        ...


class FakeProvider:
    """Says what was prepared, one after another, and keeps what it was asked; an exception is raised.

    A text is an answer, a Reply is given as it is.
    """

    def __init__(self, *replies: str | Reply | Exception) -> None:
        self.replies: list[str | Reply | Exception] = list(replies)
        self.asked: list[Question] = []

    async def ask(self, question: Question) -> Reply:
        """The next prepared reply."""
        self.asked.append(question)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, Reply):
            return reply
        return Reply(text=reply, model_version="fake-001", input_tokens=10, output_tokens=5)

    async def stream(self, question: Question) -> AsyncIterator[str | Reply]:
        """The next prepared reply in two pieces."""
        reply = await self.ask(question)
        middle = len(reply.text) // 2
        for piece in (reply.text[:middle], reply.text[middle:], reply):
            yield piece
