"""Each provider over its SDK's own wire: what is sent, what is read back, which errors are worth another try."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import pytest

from agents.gateway.providers import anthropic, gemini, openai
from agents.gateway.questions import Declaration, Provider, ProviderError, Question, Reply, Turn
from agents.tools import secrets
from agents.tools.models import ToolCall

Got = TypeVar("Got")
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
_ANTHROPIC_EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m-001",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 5, "cache_read_input_tokens": 4, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": '{"a":'}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": '"b"}'}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "c1", "name": "look", "input": {}},
    },
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"at":'}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '"x"}'}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 5},
    },
    {"type": "message_stop"},
]


def _chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m-001", "choices": choices, **more}


_OPENAI_CHUNKS: list[dict[str, Any]] = [
    _chunk({"role": "assistant", "content": '{"a":'}),
    _chunk({"content": '"b"}'}),
    _chunk(
        {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}}]}
    ),
    _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"at":'}}]}),
    _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"x"}'}}]}),
    _chunk({}, "tool_calls"),
    {**_chunk({}), "choices": [], "usage": ANSWERS["openai"]["usage"]},
]
_GEMINI_CHUNKS: list[dict[str, Any]] = [
    {"candidates": [{"content": {"role": "model", "parts": [{"text": '{"a":'}]}}], "modelVersion": "m-001"},
    {"candidates": [{"content": {"role": "model", "parts": [{"text": '"b"}'}]}}]},
    {
        "candidates": [
            {"content": {"role": "model", "parts": ANSWERS["gemini"]["candidates"][0]["content"]["parts"][2:]}}
        ],
        "usageMetadata": ANSWERS["gemini"]["usageMetadata"],
    },
    {"candidates": [{"finishReason": "STOP"}]},
]


def _lines(chunks: list[dict[str, Any]], *, named: bool = False) -> list[str]:
    return [
        f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" if named else f"data: {json.dumps(one)}\n\n"
        for one in chunks
    ]


STREAMS: dict[str, list[str]] = {
    "gemini": _lines(_GEMINI_CHUNKS),
    "anthropic": _lines(_ANTHROPIC_EVENTS, named=True),
    "openai": [*_lines(_OPENAI_CHUNKS), "data: [DONE]\n\n"],
}
# What a provider says when it gives up in the middle of a stream.
GIVES_UP: dict[str, str] = {
    "gemini": _lines([{"error": {"code": 503, "message": "you said hello", "status": "UNAVAILABLE"}}])[0],
    "anthropic": _lines(
        [{"type": "error", "error": {"type": "overloaded_error", "message": "you said hello"}}], named=True
    )[0],
    "openai": _lines([{"error": {"type": "server_error", "code": None, "message": "you said hello"}}])[0],
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
    stream: list[str] | None = None  # server-sent events instead of the answer
    breaks = False  # the connection, before the stream's end

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Wire  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.sent.append(json.loads(body))
        if self.server.stream is not None:
            self._stream(self.server.stream)
            return
        data = json.dumps(self.server.answer).encode()
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, events: list[str]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event.encode()), event.encode()))
            self.wfile.flush()
        if self.server.breaks:
            self.close_connection = True  # without the last chunk: cut off
            return
        self.wfile.write(b"0\r\n\r\n")

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


def _use(name: str, wire: Wire, monkeypatch: pytest.MonkeyPatch, use: Callable[[Provider], Awaitable[Got]]) -> Got:
    """What `use` gets from a provider whose SDK speaks to the wire."""
    module, provider, variable = PROVIDERS[name]
    monkeypatch.setenv(variable, f"http://127.0.0.1:{wire.server_port}")
    fake = secrets.FakeSecrets({f"{name}-api-key": "the-key"})
    monkeypatch.setattr(module, "secret_manager", lambda: fake)

    async def run() -> Got:
        module._client.cache_clear()
        try:
            return await use(provider())
        finally:
            client = module._client("the-key")
            await (client.aio.aclose() if name == "gemini" else client.close())
            module._client.cache_clear()

    return asyncio.run(run())


def _ask(name: str, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Reply:
    return _use(name, wire, monkeypatch, lambda provider: provider.ask(QUESTION))


def _stream(name: str, wire: Wire, monkeypatch: pytest.MonkeyPatch, pieces: list[str | Reply]) -> None:
    async def collect(provider: Provider) -> None:
        async for piece in provider.stream(QUESTION):
            pieces.append(piece)

    _use(name, wire, monkeypatch, collect)


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


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_a_stream_comes_piece_by_piece_and_is_read_whole(
    name: str, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: a stream whose tokens, tools or model nobody counts, because only the text was looked at."""
    wire.stream = STREAMS[name]
    pieces: list[str | Reply] = []
    _stream(name, wire, monkeypatch, pieces)
    assert pieces[:-1] == ['{"a":', '"b"}']
    reply = pieces[-1]
    assert isinstance(reply, Reply)
    assert (reply.text, reply.model_version) == ('{"a":"b"}', "m-001")
    assert (reply.input_tokens, reply.output_tokens, reply.cached_tokens) == (9, 5, 4)
    assert [(call.name, call.id, call.arguments) for call in reply.calls] == [("look", "c1", {"at": "x"})]
    assert len(wire.sent) == 1


@pytest.mark.parametrize("name", sorted(PROVIDERS))
@pytest.mark.parametrize(("status", "retryable"), [(529, True), (400, False)])
def test_a_stream_that_is_refused_keeps_its_status(
    name: str, status: int, retryable: bool, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: a fallback that is not asked because a refused stream looks like a bug."""
    wire.status, wire.answer = status, {"error": {"message": "you said hello", "code": status}}
    with pytest.raises(ProviderError) as failed:
        _stream(name, wire, monkeypatch, [])
    assert (failed.value.status, failed.value.retryable) == (status, retryable)
    assert "hello" not in str(failed.value)


@pytest.mark.parametrize("name", sorted(PROVIDERS))
@pytest.mark.parametrize("how", ["gives up", "breaks", "ends too soon"])
def test_a_stream_that_stops_in_the_middle_is_the_providers_error(
    name: str, how: str, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: half an answer that passes for a whole one, and an error of the SDK's that nobody has heard of."""
    begun = STREAMS[name][: {"gemini": 1, "anthropic": 4, "openai": 1}[name]]
    wire.stream = [*begun, GIVES_UP[name]] if how == "gives up" else begun
    wire.breaks = how == "breaks"
    pieces: list[str | Reply] = []
    with pytest.raises(ProviderError) as failed:
        _stream(name, wire, monkeypatch, pieces)
    assert pieces == ['{"a":'], "what was said before stays said"
    assert failed.value.retryable, failed.value.name
    assert "hello" not in str(failed.value)
