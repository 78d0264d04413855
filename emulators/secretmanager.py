"""Secret Manager on the real gRPC API, values in memory only.

Owns secrets, their versions and the status codes a client sees. Deliberately not here: IAM, replication, rotation,
the List filters (refused with UNIMPLEMENTED, never ignored) and any form of disk: a restart forgets every value.
No value, nor any part of one, is ever logged.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import google_crc32c
import grpc
from google.cloud.secretmanager_v1.types import resources, service
from google.protobuf import empty_pb2, timestamp_pb2

_SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"
_PARENT = re.compile(r"projects/[^/]+(?:/locations/[^/]+)?")
_SECRET_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_MAX_VALUE_BYTES = 64 * 1024  # https://cloud.google.com/secret-manager/quotas
_MAX_PAGE = 25_000  # what the API documents for page_size
_UPDATABLE = {
    "labels",
    "annotations",
    "topics",
    "version_aliases",
    "expire_time",
    "ttl",
    "rotation",
    "version_destroy_ttl",
}
_State = resources.SecretVersion.State
_Item = TypeVar("_Item")


class RefusedError(Exception):
    """A call that ends with a gRPC status other than OK."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass
class _Version:
    resource: resources.SecretVersion
    value: bytes = field(repr=False)


@dataclass
class _Secret:
    resource: resources.Secret
    versions: list[_Version] = field(default_factory=lambda: [])


class SecretStore:
    """Every secret of every project; each public method is one RPC and may raise `RefusedError`."""

    def __init__(self) -> None:
        self._secrets: dict[str, _Secret] = {}
        self._etag = 0

    def create_secret(self, request: service.CreateSecretRequest) -> resources.Secret:
        _require(_PARENT.fullmatch(request.parent), f"parent {request.parent!r} is not projects/*")
        _require(
            _SECRET_ID.fullmatch(request.secret_id),
            f"secret_id {request.secret_id!r} must match {_SECRET_ID.pattern}",
        )
        regional = "/locations/" in request.parent
        _require(regional or "replication" in request.secret, "secret.replication is required")
        name = f"{request.parent}/secrets/{request.secret_id}"
        if name in self._secrets:
            raise RefusedError(grpc.StatusCode.ALREADY_EXISTS, f"Secret [{name}] already exists.")
        secret = resources.Secret(request.secret)
        secret.name, secret.create_time, secret.etag = name, _now(), self._next_etag()
        _settle_expiry(secret)
        self._secrets[name] = _Secret(secret)
        return secret

    def get_secret(self, request: service.GetSecretRequest) -> resources.Secret:
        return self._find_secret(request.name).resource

    def list_secrets(self, request: service.ListSecretsRequest) -> service.ListSecretsResponse:
        _refuse_filter(request.filter)
        names = sorted(name for name in self._secrets if name.rpartition("/secrets/")[0] == request.parent)
        found = [self._secrets[name].resource for name in names]
        page, token = _take_page(found, request.page_size, request.page_token)
        return service.ListSecretsResponse(secrets=page, next_page_token=token, total_size=len(found))

    def update_secret(self, request: service.UpdateSecretRequest) -> resources.Secret:
        secret = self._find_secret(request.secret.name).resource
        paths = list(request.update_mask.paths)
        _require(paths, "update_mask is required")
        unknown = sorted(set(paths) - _UPDATABLE)
        _require(not unknown, f"update_mask names fields that cannot be updated: {unknown}")
        _check_etag(request.secret.etag, secret.etag)
        target = resources.Secret.pb(secret)
        for path in paths:
            target.ClearField(path)
        request.update_mask.MergeMessage(resources.Secret.pb(request.secret), target, True, True)
        secret.etag = self._next_etag()
        _settle_expiry(secret)
        return secret

    def delete_secret(self, request: service.DeleteSecretRequest) -> empty_pb2.Empty:
        _check_etag(request.etag, self._find_secret(request.name).resource.etag)
        del self._secrets[request.name]
        return empty_pb2.Empty()

    def add_secret_version(self, request: service.AddSecretVersionRequest) -> resources.SecretVersion:
        secret = self._find_secret(request.parent)
        value = bytes(request.payload.data)
        _require(value, "Secret Payload cannot be empty.")
        _require(len(value) <= _MAX_VALUE_BYTES, f"Secret Payload exceeds {_MAX_VALUE_BYTES} bytes.")
        has_checksum = "data_crc32c" in request.payload
        _require(
            not has_checksum or request.payload.data_crc32c == google_crc32c.value(value),
            "Secret Payload does not match its data_crc32c.",
        )
        version = resources.SecretVersion(
            name=f"{request.parent}/versions/{len(secret.versions) + 1}",
            create_time=_now(),
            state=_State.ENABLED,
            etag=self._next_etag(),
            client_specified_payload_checksum=has_checksum,
        )
        secret.versions.append(_Version(version, value))
        return version

    def get_secret_version(self, request: service.GetSecretVersionRequest) -> resources.SecretVersion:
        return self._find_version(request.name).resource

    def list_secret_versions(self, request: service.ListSecretVersionsRequest) -> service.ListSecretVersionsResponse:
        _refuse_filter(request.filter)
        found = [version.resource for version in reversed(self._find_secret(request.parent).versions)]
        page, token = _take_page(found, request.page_size, request.page_token)
        return service.ListSecretVersionsResponse(versions=page, next_page_token=token, total_size=len(found))

    def access_secret_version(self, request: service.AccessSecretVersionRequest) -> service.AccessSecretVersionResponse:
        version = self._find_version(request.name)
        if version.resource.state != _State.ENABLED:
            raise RefusedError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Secret Version [{version.resource.name}] is in {_State(version.resource.state).name} state.",
            )
        payload = resources.SecretPayload(data=version.value, data_crc32c=int(google_crc32c.value(version.value)))
        return service.AccessSecretVersionResponse(name=version.resource.name, payload=payload)

    def enable_secret_version(self, request: service.EnableSecretVersionRequest) -> resources.SecretVersion:
        return self._set_state(request.name, request.etag, _State.ENABLED)

    def disable_secret_version(self, request: service.DisableSecretVersionRequest) -> resources.SecretVersion:
        return self._set_state(request.name, request.etag, _State.DISABLED)

    def destroy_secret_version(self, request: service.DestroySecretVersionRequest) -> resources.SecretVersion:
        version = self._set_state(request.name, request.etag, _State.DESTROYED)
        version.destroy_time = _now()
        self._find_version(request.name).value = b""
        return version

    def _set_state(self, name: str, etag: str, state: resources.SecretVersion.State) -> resources.SecretVersion:
        version = self._find_version(name).resource
        _check_etag(etag, version.etag)
        if version.state == _State.DESTROYED:
            raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, f"Secret Version [{version.name}] is destroyed.")
        version.state = state
        version.etag = self._next_etag()
        return version

    def _find_secret(self, name: str) -> _Secret:
        secret = self._secrets.get(name)
        if secret is not None and "expire_time" in secret.resource:
            expiry: Any = secret.resource.expire_time  # proto-plus: declared Timestamp, read as datetime
            if expiry <= datetime.now(UTC):
                del self._secrets[name]
                secret = None
        if secret is None:
            raise RefusedError(grpc.StatusCode.NOT_FOUND, f"Secret [{name}] not found.")
        return secret

    def _find_version(self, name: str) -> _Version:
        secret_name, _, wanted = name.partition("/versions/")
        secret = self._find_secret(secret_name)
        if wanted == "latest":  # the most recently created one, whatever its state
            wanted = str(len(secret.versions))
        elif wanted in secret.resource.version_aliases:
            wanted = str(secret.resource.version_aliases[wanted])
        if not wanted.isdecimal() or not 1 <= int(wanted) <= len(secret.versions):
            raise RefusedError(grpc.StatusCode.NOT_FOUND, f"Secret Version [{name}] not found.")
        return secret.versions[int(wanted) - 1]

    def _next_etag(self) -> str:
        self._etag += 1
        return f'"{self._etag:x}"'


def _now() -> timestamp_pb2.Timestamp:
    moment = timestamp_pb2.Timestamp()
    moment.GetCurrentTime()
    return moment


def _require(condition: object, message: str) -> None:
    if not condition:
        raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, message)


def _check_etag(given: str, current: str) -> None:
    if given and given != current:
        raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, "The etag does not match the current one.")


def _refuse_filter(given: str) -> None:
    if given:
        raise RefusedError(grpc.StatusCode.UNIMPLEMENTED, "This stand-in does not evaluate list filters.")


def _settle_expiry(secret: resources.Secret) -> None:
    """Turns an input-only ttl into the expire_time that the API answers with."""
    if "ttl" in secret:
        ttl: Any = secret.ttl  # proto-plus: declared Duration, read as timedelta
        secret.expire_time = datetime.now(UTC) + ttl


def _take_page(items: Sequence[_Item], size: int, token: str) -> tuple[list[_Item], str]:
    _require(size >= 0, "page_size must not be negative")
    _require(not token or token.isdecimal(), "page_token is not one of ours")
    start = int(token or 0)
    end = start + min(size or _MAX_PAGE, _MAX_PAGE)
    return list(items[start:end]), str(end) if end < len(items) else ""


def _adapt(
    method: Callable[[Any], Any], serialize: Callable[[Any], bytes], lock: threading.Lock
) -> Callable[[Any, grpc.ServicerContext], bytes]:
    def serve(request: Any, context: grpc.ServicerContext) -> bytes:
        try:
            with lock:  # also while serialising: the store hands out its live resources
                return serialize(method(request))
        except RefusedError as error:
            context.abort(error.code, error.message)

    return serve


def build_handler(store: SecretStore) -> grpc.GenericRpcHandler:
    """The service's routes: each RPC's name, its store method and its two message types."""
    lock = threading.Lock()
    rpcs: list[tuple[Callable[[Any], Any], Any, Any]] = [
        (store.create_secret, service.CreateSecretRequest, resources.Secret.serialize),
        (store.get_secret, service.GetSecretRequest, resources.Secret.serialize),
        (store.list_secrets, service.ListSecretsRequest, service.ListSecretsResponse.serialize),
        (store.update_secret, service.UpdateSecretRequest, resources.Secret.serialize),
        (store.delete_secret, service.DeleteSecretRequest, empty_pb2.Empty.SerializeToString),
        (store.add_secret_version, service.AddSecretVersionRequest, resources.SecretVersion.serialize),
        (store.get_secret_version, service.GetSecretVersionRequest, resources.SecretVersion.serialize),
        (store.list_secret_versions, service.ListSecretVersionsRequest, service.ListSecretVersionsResponse.serialize),
        (
            store.access_secret_version,
            service.AccessSecretVersionRequest,
            service.AccessSecretVersionResponse.serialize,
        ),
        (store.enable_secret_version, service.EnableSecretVersionRequest, resources.SecretVersion.serialize),
        (store.disable_secret_version, service.DisableSecretVersionRequest, resources.SecretVersion.serialize),
        (store.destroy_secret_version, service.DestroySecretVersionRequest, resources.SecretVersion.serialize),
    ]
    return grpc.method_handlers_generic_handler(
        _SERVICE,
        {
            request_type.__name__.removesuffix("Request"): grpc.unary_unary_rpc_method_handler(
                _adapt(method, serialize, lock), request_deserializer=request_type.deserialize
            )
            for method, request_type, serialize in rpcs
        },
    )


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m emulators.secretmanager", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    arguments = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopped.set())
    server = grpc.server(ThreadPoolExecutor(max_workers=8), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((build_handler(SecretStore()),))
    port = server.add_insecure_port(f"{arguments.host}:{arguments.port}")
    server.start()
    print(f"secretmanager listening on {arguments.host}:{port}", file=sys.stderr, flush=True)
    stopped.wait()
    server.stop(grace=1).wait()


if __name__ == "__main__":
    main()
