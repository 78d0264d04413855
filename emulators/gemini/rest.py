"""The REST surface: URLs of the developer API and of Vertex AI, keys, errors, streams, faults.

Owns the wire format. Deliberately not here: what is answered.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from emulators.gemini import MODEL_VERSION
from emulators.gemini.faults import Faults, read_plan
from emulators.gemini.prompts import Prompt, RequestError, count_tokens, read_prompt
from emulators.gemini.script import Script, ScriptError

_MODELS = re.compile(
    r"/(?:v1|v1beta|v1beta1)/(?:projects/[^/]+/locations/[^/]+/)?(?P<google>publishers/google/)?models"
    r"(?:/(?P<model>[^/:]+)(?::(?P<method>\w+))?)?"
)
_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_CHUNKS = 4  # pieces of a streamed answer, if it has that many characters

Answer = dict[str, Any]


class Service:
    """Answers requests from one script, under one plan of faults."""

    def __init__(self, script: Script, faults: Faults) -> None:
        self._script = script
        self._faults = faults

    async def serve_model(self, request: Request) -> Response:
        """Serves every models route: list, get and the methods."""
        match = _MODELS.fullmatch(request.url.path)
        if match is None or (request.method == "POST") != bool(match["method"]):
            return refuse(404, f"{request.method} {request.url.path} is not a method of this API.")
        if not _has_key(request):
            return refuse(401, "Request is missing required authentication credential. Expected an API key.")
        if request.method == "GET":
            return _describe_models(match["model"], bool(match["google"]))
        return await self._serve_method(match["method"], request)

    async def _serve_method(self, method: str, request: Request) -> Response:
        status = await self._faults.meet()
        if status is not None:
            return refuse(status, "This failure was asked for through /_faults.")
        try:
            return self._call(method, await request.json(), request)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            return refuse(400, f"Invalid JSON payload received. {error}")
        except (RequestError, ScriptError) as error:
            return refuse(400, str(error))

    def _call(self, method: str, body: Any, request: Request) -> Response:
        if method == "countTokens":
            inner = body.get("generateContentRequest", body) if isinstance(body, dict) else body
            return JSONResponse({"totalTokens": read_prompt(inner).tokens})
        if method not in {"generateContent", "streamGenerateContent"}:
            return refuse(404, f"Method {method} is not served by this stand-in.")
        prompt = read_prompt(body)
        if calls := self._script.call(prompt):
            answer = _build_call(prompt, calls)
            if method == "generateContent":
                return JSONResponse(answer)
            return _serve_stream([answer], request)
        text, reason = _limit(self._script.answer(prompt), prompt.max_tokens)
        if method == "generateContent":
            return JSONResponse(_build_answer(prompt, text, text, reason, uuid4().hex))
        return _serve_stream(_build_chunks(prompt, text, reason), request)

    async def serve_faults(self, request: Request) -> Response:
        """Sets (POST), ends (DELETE) or shows (GET) the plan of faults, with the calls counted under it."""
        try:
            if request.method == "POST":
                self._faults.set_plan(read_plan(await request.json()))
            elif request.method == "DELETE":
                self._faults.set_plan(read_plan({}))
        except ValueError as error:
            return refuse(400, str(error))
        return JSONResponse(self._faults.describe())


def build_app(
    service: Service, lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None
) -> Starlette:
    """Returns the ASGI application."""
    routes = [
        Route("/healthz", _serve_health),
        Route("/_faults", service.serve_faults, methods=["GET", "POST", "DELETE"]),
        Route("/{path:path}", service.serve_model, methods=["GET", "POST"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def refuse(code: int, message: str) -> JSONResponse:
    """Returns an error as Google's APIs write it."""
    status = _STATUS_NAMES.get(code, "UNKNOWN")
    return JSONResponse({"error": {"code": code, "message": message, "status": status}}, code)


async def _serve_health(_request: Request) -> Response:
    return JSONResponse({"status": "ok", "model": MODEL_VERSION})


def _has_key(request: Request) -> bool:
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    return bool(request.headers.get("x-goog-api-key") or bearer or request.query_params.get("key"))


def _describe_models(model: str | None, is_google: bool) -> Response:
    def describe(name: str) -> Answer:
        title = "Scripted stand-in: no model behind it"
        if is_google:
            return {"name": f"publishers/google/models/{name}", "versionId": MODEL_VERSION, "displayName": title}
        methods = ["generateContent", "streamGenerateContent", "countTokens"]
        limits = {"inputTokenLimit": 1_000_000, "outputTokenLimit": 65_536}
        entry = {"name": f"models/{name}", "version": MODEL_VERSION, "displayName": title}
        return {**entry, **limits, "supportedGenerationMethods": methods}

    if model:
        return JSONResponse(describe(model))
    return JSONResponse({"publisherModels" if is_google else "models": [describe(MODEL_VERSION)]})


def _limit(text: str, max_tokens: int | None) -> tuple[str, str]:
    """Cuts an answer where maxOutputTokens ends it; returns it with the reason why it ends."""
    if max_tokens is None or count_tokens(text) <= max_tokens:
        return text, "STOP"
    return text[: max_tokens * 4], "MAX_TOKENS"


def _build_answer(prompt: Prompt, part: str, so_far: str, reason: str | None, answer_id: str) -> Answer:
    candidate: Answer = {"content": {"role": "model", "parts": [{"text": part}]}, "index": 0}
    if reason:
        candidate["finishReason"] = reason
    spent = count_tokens(so_far)
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": prompt.tokens,
            "candidatesTokenCount": spent,
            "totalTokenCount": prompt.tokens + spent,
        },
        "modelVersion": MODEL_VERSION,
        "responseId": answer_id,
    }


def _build_call(prompt: Prompt, calls: list[dict[str, Any]]) -> Answer:
    # As Gemini 3 does, the first call of a turn carries a signature that must come back.
    parts: list[Answer] = [{"functionCall": {"id": uuid4().hex, **call}} for call in calls]
    parts[0]["thoughtSignature"] = base64.b64encode(MODEL_VERSION.encode()).decode()
    answer = _build_answer(prompt, "", json.dumps(calls), "STOP", uuid4().hex)
    answer["candidates"][0]["content"]["parts"] = parts
    return answer


def _serve_stream(answers: list[Answer], request: Request) -> Response:
    if request.query_params.get("alt") == "sse":
        return StreamingResponse(_stream(answers), media_type="text/event-stream")
    return JSONResponse(answers)


def _build_chunks(prompt: Prompt, text: str, reason: str) -> list[Answer]:
    size = max(-(-len(text) // _CHUNKS), 1)
    starts = range(0, max(len(text), 1), size)
    answer_id = uuid4().hex
    return [
        _build_answer(
            prompt,
            text[start : start + size],
            text[: start + size],
            reason if start == starts[-1] else None,
            answer_id,
        )
        for start in starts
    ]


async def _stream(answers: list[Answer]) -> AsyncIterator[str]:
    for answer in answers:
        yield f"data: {json.dumps(answer, ensure_ascii=False)}\r\n\r\n"
