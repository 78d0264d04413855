"""The landing bucket in Cloud Storage: files in, and batches that could not be published."""

from __future__ import annotations

import io
import logging
from typing import IO, TYPE_CHECKING, Protocol, cast

from agents.tools.once import once
from agents.tools.settings import settings
from schemas import topology

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

log = logging.getLogger(__name__)
WRITE_SECONDS = 4  # in all, with retries: a client waits for it


class Landing(Protocol):
    """Where files land."""

    def write(self, name: str, data: bytes) -> None:
        """Store one object; the same name is the same object."""
        ...

    def open(self, name: str, generation: int | None = None) -> IO[bytes]:
        """Read one object as a stream in constant memory; FileNotFoundError when it is gone."""
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
        """Read one object as a stream in constant memory.

        Raises:
            FileNotFoundError: no such object.
        """
        blob = _bucket().get_blob(name, generation=generation)
        if blob is None:
            raise FileNotFoundError(f"gs://{_bucket().name}/{name}")
        # raw: a .gz object comes as it was stored, whatever its Content-Encoding says.
        return cast("IO[bytes]", blob.open("rb", raw_download=True))


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
