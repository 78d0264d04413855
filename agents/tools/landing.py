"""The landing bucket in Cloud Storage: files in, and batches that could not be published."""

from __future__ import annotations

import io
import logging
from typing import IO, TYPE_CHECKING, Protocol, cast

from agents.tools.once import once
from agents.tools.settings import settings
from schemas import topology

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Bucket

log = logging.getLogger(__name__)
WRITE_SECONDS = 4  # in all, with retries: a client waits for it
RANGE_BYTES = 8_000_000  # of one read request: large enough that its round trip does not count
BUFFER_BYTES = 256_000


class Landing(Protocol):
    """Where files land."""

    def write(self, name: str, data: bytes) -> None:
        """Store one object; the same name is the same object."""
        ...

    def open(self, name: str, generation: int | None = None) -> IO[bytes]:
        """Read one object as a seekable stream in constant memory; FileNotFoundError when it is gone, now or later."""
        ...


class CloudStorage:
    """Google Cloud Storage."""

    def write(self, name: str, data: bytes) -> None:
        """Store one object; google.api_core and requests errors are the caller's.

        It creates only: the grant is objectCreator, and the same name is the same object, so one that is there is done.
        """
        from google.api_core.exceptions import PreconditionFailed
        from google.cloud.storage.retry import DEFAULT_RETRY

        blob = _bucket().blob(name)
        try:
            blob.upload_from_string(
                data,
                content_type="application/x-ndjson",
                timeout=WRITE_SECONDS,
                if_generation_match=0,
                retry=DEFAULT_RETRY.with_timeout(WRITE_SECONDS),  # the library's own is 120 s
            )
        except PreconditionFailed:
            log.info("%s is there already", name)

    def open(self, name: str, generation: int | None = None) -> IO[bytes]:
        """Read one object, or one generation of it, as a seekable stream of range reads in constant memory.

        Raises:
            FileNotFoundError: no such object, or no longer this generation; reading raises it too. Other errors of
                google.api_core and requests are the caller's.
        """
        blob = _bucket().get_blob(name, generation=generation)
        if blob is None or (generation is not None and blob.generation != generation):
            raise FileNotFoundError(f"gs://{_bucket().name}/{name}#{generation or ''}")
        return io.BufferedReader(cast("io.RawIOBase", _BlobStream(blob)), BUFFER_BYTES)


class _BlobStream(io.RawIOBase):
    """Google's own reader of a blob, pinned to its generation; an object that goes meanwhile is FileNotFoundError."""

    def __init__(self, blob: Blob) -> None:
        # raw: a .gz object comes as it was stored, whatever its Content-Encoding says.
        self._reader = cast("io.BufferedIOBase", blob.open("rb", chunk_size=RANGE_BYTES, raw_download=True))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._reader.seek(offset, whence)

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  # IOBase's buffer is wider
        from google.api_core.exceptions import NotFound

        try:
            data = self._reader.read(len(buffer))
        except NotFound as error:
            raise FileNotFoundError(str(error)) from error
        buffer[: len(data)] = data
        return len(data)


class FakeLanding:
    """Objects in memory; with `error` every write fails with it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.objects: dict[str, bytes] = {}
        self.error = error

    def write(self, name: str, data: bytes) -> None:
        """Record the object."""
        if self.error:
            raise self.error
        self.objects[name] = data

    def open(self, name: str, generation: int | None = None) -> IO[bytes]:
        """The recorded object."""
        del generation
        if name not in self.objects:
            raise FileNotFoundError(name)
        return io.BytesIO(self.objects[name])


@once
def cloud_storage() -> CloudStorage:
    """The process's one landing bucket."""
    return CloudStorage()


@once
def _bucket() -> Bucket:
    from google.cloud import storage

    project = settings().project
    return storage.Client(project=project).bucket(topology.bucket_id(project, "landing"))
