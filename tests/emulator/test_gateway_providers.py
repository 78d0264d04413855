"""Each provider over its SDK's own wire: what is sent, what is read back, which errors are worth another try."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agents.gateway.providers import anthropic, gemini, openai
from agents.gateway.questions import Declaration, Provider, ProviderError, Question, Reply, Turn
from agents.tools import secrets
from agents.tools.models import ToolCall

CALL = ToolCall(id="c1", name="look", arguments={"at": "x"}, signature="c2ln")
QUESTION = Question(
    model="m",
    system="be brief",
    turns=(
        Turn(role="user", text="hello"),
        Turn(role="model", calls=(CALL,)),
        Turn(role="user", results=((CALL, {"rows": [1]}),)),
    ),
    schema={"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}, "required": ["a"]},
    tools=(Declaration(name="look", description="looks", parameters={"type": "object", "properties": {}}),),
)
ANSWERS: dict[str, Any] = {
    "gemini": {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [
                        {"text": "hm", "thought": True},
                        {"text": '{"a":"b"}'},
                        {"functionCall": {"id": "c1", "name": "look", "args": {"at": "x"}}, "thoughtSignature": "c2ln"},
                    ],
                }
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 9,
            "candidatesTokenCount": 3,
            "thoughtsTokenCount": 2,
            "cachedContentTokenCount": 4,
        },
        "modelVersion": "m-001",
    },
    "anthropic": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m-001",
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "content": [
            {"type": "text", "text": '{"a":"b"}'},
            {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "x"}},
        ],
        "usage": {"input_tokens": 5, "cache_read_input_tokens": 4, "output_tokens": 5},
    },
    "openai": {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m-001",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": '{"a":"b"}',
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":"x"}'}}
                    ],
                },
            }
        ],
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 5,
            "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 4},
        },
    },
}
PROVIDERS: dict[str, tuple[Any, type[Provider], str]] = {
    "gemini": (gemini, gemini.Gemini, "GOOGLE_GEMINI_BASE_URL"),
    "anthropic": (anthropic, anthropic.Anthropic, "ANTHROPIC_BASE_URL"),
    "openai": (openai, openai.OpenAI, "OPENAI_BASE_URL"),
}


class Wire(ThreadingHTTPServer):
    """Answers one status and body, and keeps what was sent."""

    status = 200
    answer: Any = None

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Wire  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.sent.append(json.loads(body))
        data = json.dumps(self.server.answer).encode()
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture
def wire() -> Iterator[Wire]:
    server = Wire()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _ask(name: str, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Reply:
    module, provider, variable = PROVIDERS[name]
    monkeypatch.setenv(variable, f"http://127.0.0.1:{wire.server_port}")
    fake = secrets.FakeSecrets({f"{name}-api-key": "the-key"})
    monkeypatch.setattr(module, "secret_manager", lambda: fake)

    async def ask() -> Reply:
        module._client.cache_clear()
        try:
            return await provider().ask(QUESTION)
        finally:
            client = module._client("the-key")
            await (client.aio.aclose() if name == "gemini" else client.close())
            module._client.cache_clear()

    return asyncio.run(ask())


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_a_reply_is_read_whole(name: str, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: tokens that nobody counts, thoughts that pass for the answer, and tools that are not heard."""
    wire.answer = ANSWERS[name]
    reply = _ask(name, wire, monkeypatch)
    assert (reply.text, reply.model_version) == ('{"a":"b"}', "m-001")
    assert (reply.input_tokens, reply.output_tokens, reply.cached_tokens) == (9, 5, 4)
    [call] = reply.calls
    assert (call.name, call.id, call.arguments) == ("look", "c1", {"at": "x"})
    [sent] = wire.sent
    written = json.dumps(sent)
    assert all(words in written for words in ("be brief", "hello", "look", "rows"))
    if name == "gemini":
        assert sent["contents"][1]["parts"][0]["thoughtSignature"] == "c2ln"
    if name == "anthropic":
        assert sent["output_config"]["format"]["schema"]["additionalProperties"] is False
        assert "minLength" not in written


@pytest.mark.parametrize("name", sorted(PROVIDERS))
@pytest.mark.parametrize(("status", "retryable"), [(429, True), (503, True), (400, False), (401, False)])
def test_errors_keep_their_status_and_lose_their_words(
    name: str, status: int, retryable: bool, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: a provider's words, which may quote a prompt, in a log; and retries of what cannot work, or twice over."""
    wire.status, wire.answer = status, {"error": {"message": "you said hello", "code": status}}
    with pytest.raises(ProviderError) as failed:
        _ask(name, wire, monkeypatch)
    assert (failed.value.status, failed.value.retryable) == (status, retryable)
    assert "hello" not in str(failed.value)
    assert len(wire.sent) == 1, "the retries are the gateway's, not the SDK's"
