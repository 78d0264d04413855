"""The callers' side of the gateway: what it sends, and later told from never."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest

from agents.gateway import calls
from agents.tools import models as client_side
from agents.tools import secrets
from agents.tools.models import ModelRefused, ModelRequest, ModelUnavailable
from agents.tools.settings import settings
from tests.unit.test_gateway import GOOD, KEY, generate_now, make_ports


@pytest.mark.parametrize(
    ("status", "error"), [(429, ModelUnavailable), (503, ModelUnavailable), (401, ModelRefused), (400, ModelRefused)]
)
def test_a_caller_can_tell_later_from_never(
    monkeypatch: pytest.MonkeyPatch, status: int, error: type[Exception]
) -> None:
    """Prevents: agents that retry a wrong key, or give up because of a full quota."""
    with pytest.raises(error):
        _ask_over_http(monkeypatch, _always(httpx.Response(status, json={"error": "e", "fix": "f"})))


def test_a_gateway_that_is_down_or_speaks_nonsense_is_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a step that fails for good while the gateway restarts."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(ModelUnavailable):
        _ask_over_http(monkeypatch, refuse)
    with pytest.raises(ModelUnavailable):
        _ask_over_http(monkeypatch, _always(httpx.Response(200, text="<html>")))


def test_a_caller_sends_what_the_gateway_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: two ends of one protocol that have grown apart."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        ports = make_ports(GOOD)
        return httpx.Response(200, content=msgspec.json.encode(generate_now(ports, calls.parse_call(request.content))))

    got = _ask_over_http(monkeypatch, answer)
    assert got.output == {"approved": True, "reasons": []}
    assert calls.find_caller(seen[0].headers["authorization"], {KEY: "agent-planner"}) == "PlannerAgent"


def _always(response: httpx.Response) -> Callable[[httpx.Request], httpx.Response]:
    def answer(_request: httpx.Request) -> httpx.Response:
        return response

    return answer


def _ask_over_http(monkeypatch: pytest.MonkeyPatch, handler: Any) -> client_side.ModelAnswer:
    transport = httpx.Client(base_url="http://llm", transport=httpx.MockTransport(handler))
    monkeypatch.setattr(client_side, "_client", lambda: transport)
    fake = secrets.FakeSecrets({"llm-key-agent-planner": KEY})  # the agent's own and no other
    monkeypatch.setenv("K_SERVICE", "agent-planner")
    settings.cache_clear()
    monkeypatch.setattr(client_side, "secret_manager", lambda: fake)
    with transport:
        request = ModelRequest(prompt="review_message@2", data={"message": {"text": "hi"}, "evidence": {}})
        return client_side.HttpGateway().generate(request)
