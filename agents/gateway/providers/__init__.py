"""Whoever runs the models: one module each, imported when a model of it is first asked."""

from __future__ import annotations

from agents.gateway.errors import GatewayError
from agents.gateway.questions import Provider
from agents.tools.once import once
from agents.tools.settings import settings
from schemas import topology

EXTRAS = {"anthropic": "anthropic", "openai": "openai"}  # provider -> the package that its module needs


@once
def find_provider(name: str) -> Provider:
    """The provider of that name.

    Raises:
        GatewayError: 501, its package is not installed.
        PermissionError: the topology does not let this service use models.
    """
    if "models" not in topology.load().access(settings().service).stores:
        raise PermissionError(f"{settings().service} may not use models; topology.yaml grants it")
    try:
        return _build(name)
    except ModuleNotFoundError as error:
        if error.name != EXTRAS.get(name):
            raise
        fix = "install the extra: pip install 'argo[models]'"
        raise GatewayError(501, f"the package {error.name} of the provider {name} is not installed", fix) from None


def _build(name: str) -> Provider:
    match name:
        case "anthropic":
            from agents.gateway.providers.anthropic import Anthropic

            return Anthropic()
        case "openai":
            from agents.gateway.providers.openai import OpenAI

            return OpenAI()
        case _:
            from agents.gateway.providers.gemini import Gemini

            return Gemini()
