"""The way to a model: the gateway over HTTP. An agent names a prompt and gives data; it never sees a model's key.

Owns the request, its wait and the two ways in which it fails. Retries of the model are the gateway's; a gateway that
does not answer is a reason to be tried again by the bus.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from agents.tools.identity import prove_identity
from agents.tools.once import once
from agents.tools.secrets import secret_manager
from agents.tools.settings import require, settings
from schemas import topology

if TYPE_CHECKING:
    from httpx import Client, Response

FUNCTION = "llm"
PATH = "/v1/generate"
WAIT_SECONDS = 30.0  # the gateway gives a model 20 s


class ModelUnavailable(Exception):
    """No answer now (network, quota, the model itself); a later try may get one."""


class ModelRefused(Exception):
    """The gateway refuses this request as it is: key, prompt, model or data; trying again gives the same."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A tool that the model wants called. `id` and `signature` are the provider's, and go back to it as they came."""

    name: str
    arguments: dict[str, Any] = {}
    id: str = ""
    signature: str = ""


class ToolExchange(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the model called at once, and what came back, in the same order."""

    calls: list[ToolCall]
    results: list[dict[str, Any]]


class Rejected(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An answer that the caller could not use, and why."""

    output: dict[str, Any]
    problem: str


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What an agent asks: a prompt by `name@version`, and its data blocks by name. Who asks, its key says.

    `images` are gs:// addresses; `history` holds the calls of tools so far, for a prompt that has tools; `rejected` is
    the last answer when another one is asked for.
    """

    prompt: str
    data: dict[str, Any]
    images: list[str] = []
    history: list[ToolExchange] = []
    rejected: Rejected | None = None
    task_id: str | None = None
    model: str | None = None


class ModelUsage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Tokens of one answer, and what they cost by the gateway's registry, the only list of prices."""

    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0


class ModelAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came back: the output in the prompt's own shape (`agents.prompts`), and the version of the model.

    When there are `calls` there is no output yet: the model wants these tools called first.
    """

    output: dict[str, Any]
    model: str
    usage: ModelUsage = ModelUsage()
    calls: list[ToolCall] = []


class ModelGateway(Protocol):
    """Where models are asked."""

    def generate(self, request: ModelRequest) -> ModelAnswer:
        """The model's answer."""
        ...


class HttpGateway:
    """The function `llm`."""

    def generate(self, request: ModelRequest) -> ModelAnswer:
        """The model's answer.

        Raises:
            ModelUnavailable: no answer in time, 429 or 5xx.
            ModelRefused: any other refusal.
            PermissionError: the topology does not let this service call the gateway.
        """
        import httpx
        from google.auth.exceptions import GoogleAuthError

        key = secret_manager().read(topology.key_secret(FUNCTION, settings().service))
        # The first is for the function, which knows whose key it is; the second for API Gateway before it.
        headers = {"authorization": f"Bearer {key}", "x-api-key": key, "content-type": "application/json"}
        try:
            response = _client().post(PATH, content=msgspec.json.encode(request), headers=headers)
        except (httpx.HTTPError, GoogleAuthError) as error:
            raise ModelUnavailable(f"the gateway does not answer: {type(error).__name__}") from error
        return _read_answer(response)


def _read_answer(response: Response) -> ModelAnswer:
    if response.status_code == 429 or response.status_code >= 500:
        raise ModelUnavailable(f"the gateway answers {response.status_code}: {response.text[:300]}")
    if response.status_code != 200:
        raise ModelRefused(f"the gateway answers {response.status_code}: {response.text[:300]}")
    try:
        return msgspec.json.decode(response.content, type=ModelAnswer)
    except msgspec.MsgspecError as error:
        raise ModelUnavailable(f"the gateway's answer is not readable: {error}") from error


class FakeGateway:
    """Answers by prompt from what was prepared (an output or an exception), and keeps what was asked."""

    def __init__(self, answers: Mapping[str, dict[str, Any] | Exception] | None = None, model: str = "fake") -> None:
        self.answers = dict(answers or {})
        self.model = model
        self.asked: list[ModelRequest] = []

    def generate(self, request: ModelRequest) -> ModelAnswer:
        """The prepared answer; ModelUnavailable when none was prepared."""
        self.asked.append(request)
        answer = self.answers.get(request.prompt, ModelUnavailable("nothing prepared"))
        if isinstance(answer, Exception):
            raise answer
        return ModelAnswer(output=answer, model=self.model)


@once
def http_gateway() -> HttpGateway:
    """The process's one way to a model."""
    return HttpGateway()


@once
def _client() -> Client:
    import httpx

    if FUNCTION not in topology.load().access(settings().service).calls:
        raise PermissionError(f"{settings().service} may not call the gateway; topology.yaml grants it")
    url = require(settings().llm_url, "ARGO_LLM_URL")
    # Behind API Gateway the function is not where the request goes first, and its name is another.
    audience = settings().llm_audience or url
    return httpx.Client(base_url=url, timeout=WAIT_SECONDS, auth=prove_identity(audience))
