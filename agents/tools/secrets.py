"""Secrets from Secret Manager, read at run time, kept in memory for a short while; never in a log or an error."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Protocol

import msgspec

from agents.tools.once import once
from agents.tools.settings import settings
from schemas import topology

if TYPE_CHECKING:
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient

log = logging.getLogger(__name__)
READ_SECONDS = 5.0
CACHE_SECONDS = 300.0  # a rotated secret is picked up within five minutes without a restart


class Secrets(Protocol):
    """Where secrets come from."""

    def read(self, name: str) -> str:
        """The latest version of a secret, as text."""
        ...


class SecretManager:
    """Google Secret Manager; only what the topology grants to this service can be read."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[float, str]] = {}

    def read(self, name: str) -> str:
        """The latest version of a secret, as text.

        Raises:
            PermissionError: the topology does not grant this secret to this service.
            google.api_core.exceptions.GoogleAPICallError: Secret Manager does not answer, or has no such secret.
        """
        if name not in topology.load().access(settings().service).secrets:
            raise PermissionError(f"{settings().service} may not read the secret {name!r}; topology.yaml grants it")
        if name not in self._values or time.monotonic() - self._values[name][0] > CACHE_SECONDS:
            self._refresh(name)
        return self._values[name][1]

    def _refresh(self, name: str) -> None:
        path = f"projects/{settings().project}/secrets/{name}/versions/latest"
        try:
            value = _client().access_secret_version(name=path, timeout=READ_SECONDS).payload.data.decode()
        except Exception as error:
            if name not in self._values:
                raise
            log.warning("secret %s could not be refreshed (%s): its last value serves on", name, type(error).__name__)
            value = self._values[name][1]
        self._values[name] = (time.monotonic(), value)


class FakeSecrets:
    """Secrets for unit tests."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values
        self.read_names: list[str] = []

    def read(self, name: str) -> str:
        """The value, noting that it was read."""
        self.read_names.append(name)
        return self.values[name]


def read_json(secrets: Secrets, name: str) -> dict[str, str]:
    """A secret that is a JSON object of texts. A malformed one raises without showing its content."""
    try:
        return msgspec.json.decode(secrets.read(name), type=dict[str, str])
    except msgspec.DecodeError:
        raise ValueError(f"the secret {name!r} must be a JSON object of texts") from None


@once
def secret_manager() -> SecretManager:
    """The process's one Secret Manager."""
    return SecretManager()


@once
def _client() -> SecretManagerServiceClient:
    from google.cloud import secretmanager_v1

    endpoint = settings().secret_manager_endpoint
    if not endpoint:
        return secretmanager_v1.SecretManagerServiceClient()
    # Secret Manager has no official emulator variable: an endpoint of our own is reached in plain text.
    import grpc
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
        SecretManagerServiceGrpcTransport,
    )

    transport = SecretManagerServiceGrpcTransport(channel=grpc.insecure_channel(endpoint))
    return secretmanager_v1.SecretManagerServiceClient(transport=transport)
