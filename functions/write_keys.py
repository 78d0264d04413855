"""Write keys: which source a request speaks for. Reading the secret never blocks the event loop."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import time
from functools import cache

from starlette.requests import Request

from agents.tools import secrets
from functions.exchange import BadRequest, read_headers

KEYS_NAME = "collect-write-keys"
FRESH_SECONDS = 30.0  # Secret Manager's own cache is behind it
log = logging.getLogger(__name__)


class KeysUnavailable(Exception):
    """Secret Manager does not answer and no write keys were ever read: nobody can be told apart."""


class WriteKeys:
    """The sources by write key, kept in memory; what is there serves on while it is read anew, or when that fails."""

    def __init__(self, store: secrets.Secrets) -> None:
        self._store = store
        self._sources: dict[bytes, str] = {}
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    @property
    def are_fresh(self) -> bool:
        """Whether there is nothing to prepare."""
        return time.monotonic() - self._read_at <= FRESH_SECONDS

    async def prepare(self) -> None:
        """Have them read anew; only a process that has none waits.

        Raises:
            KeysUnavailable: the keys could not be read, now or before.
        """
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        if not self._sources:
            await asyncio.shield(self._reading)

    def find_source(self, key: str) -> str | None:
        """The source of a write key, or None."""
        return self._sources.get(_digest(key))

    async def _read(self) -> None:
        try:
            found = await asyncio.to_thread(secrets.read_json, self._store, KEYS_NAME)
        except Exception as error:  # noqa: BLE001  # whatever the client library raises, it is "try again"
            log.warning("the write keys could not be read: %s", type(error).__name__)
            if not self._sources:
                raise KeysUnavailable("write keys cannot be read now") from None
        else:
            self._sources = {_digest(key): source for key, source in found.items() if key}
        self._read_at = time.monotonic()


@cache
def _write_keys(store: secrets.Secrets) -> WriteKeys:
    return WriteKeys(store)


async def write_keys() -> WriteKeys:
    """The process's one set, not older than it may be.

    Raises:
        KeysUnavailable: the keys could not be read, now or before.
    """
    keys = _write_keys(secrets.secret_manager())
    if not keys.are_fresh:
        await keys.prepare()
    return keys


def find_source(keys: WriteKeys, request: Request, body_key: str) -> str:
    """The source of a request's write key. Precedence: body, Authorization (Basic user or Bearer), X-Write-Key, query.

    Raises:
        BadRequest: no key, or one that is not known.
    """
    headers = read_headers(request)
    given = body_key or _read_authorization(headers.get("authorization", "")) or headers.get("x-write-key", "")
    source = keys.find_source(given or request.query_params.get("writeKey", ""))
    if source is None:
        raise BadRequest(401, "no write key, or one that is not known", "send your write key as writeKey or Basic user")
    return source


def _read_authorization(header: str) -> str:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[0]
        except ValueError:
            return ""
    return ""


def _digest(key: str) -> bytes:
    # A lookup by digest takes the same time whatever the key: nobody can guess a key letter by letter.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
