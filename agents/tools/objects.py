"""Every object of the suite's buckets, to be read, written anew or removed; for the job `forget` only.

Owns listing, versions and the precondition that keeps a rewriting from undoing somebody else's. The topology's
`rewrites_buckets` says who may. What is written into objects belongs to their writers.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Protocol, cast

from agents.tools.once import once
from agents.tools.settings import settings
from schemas import topology

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

CALL_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One version of one object; `is_live` says that it is the one that readers get."""

    name: str
    generation: int
    updated_at: datetime
    is_live: bool = True


class ChangedMeanwhile(Exception):
    """Somebody wrote the object between our reading and our writing; it is looked at again by the next run."""


class Objects(Protocol):
    """One bucket."""

    def list_since(self, since: datetime | None) -> Iterator[StoredObject]:
        """Every version of every object that was written at or after a time (None: all)."""
        ...

    def open(self, stored: StoredObject) -> IO[bytes]:
        """A version's bytes as they were stored, as a stream."""
        ...

    def replace(self, stored: StoredObject, content: IO[bytes]) -> None:
        """Write an object anew, and leave no old version behind."""
        ...

    def delete(self, stored: StoredObject) -> None:
        """Remove one version for good."""
        ...


class CloudBucket:
    """Google Cloud Storage. Raises google.api_core.exceptions.GoogleAPICallError when it does not answer."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def list_since(self, since: datetime | None) -> Iterator[StoredObject]:
        """Every version of every object that was written at or after a time."""
        for blob in self._bucket.list_blobs(versions=True, timeout=CALL_SECONDS):
            updated_at = blob.updated or datetime.now(UTC)
            if since is None or updated_at >= since:
                yield StoredObject(
                    name=str(blob.name),
                    generation=int(blob.generation or 0),
                    updated_at=updated_at,
                    is_live=blob.time_deleted is None,
                )

    def open(self, stored: StoredObject) -> IO[bytes]:
        """A version's bytes as they were stored, as a stream."""
        blob = self._bucket.blob(stored.name, generation=stored.generation)
        return cast("IO[bytes]", blob.open("rb", raw_download=True, timeout=CALL_SECONDS))

    def replace(self, stored: StoredObject, content: IO[bytes]) -> None:
        """Write an object anew, and leave no old version behind.

        Raises:
            ChangedMeanwhile: the object is another one by now, or gone.
        """
        from google.api_core.exceptions import NotFound, PreconditionFailed

        old = self._bucket.get_blob(stored.name, timeout=CALL_SECONDS)
        if old is None or old.generation != stored.generation:
            raise ChangedMeanwhile(stored.name)
        blob = self._bucket.blob(stored.name)
        blob.content_encoding, blob.metadata = old.content_encoding, old.metadata
        try:
            blob.upload_from_file(
                content,
                rewind=True,
                content_type=old.content_type,
                if_generation_match=stored.generation,
                timeout=CALL_SECONDS,
            )
        except (PreconditionFailed, NotFound) as error:
            raise ChangedMeanwhile(stored.name) from error
        self.delete(stored)  # a versioned bucket has kept it; for another one it is gone already

    def delete(self, stored: StoredObject) -> None:
        """Remove one version for good; one that is gone is done."""
        from google.api_core.exceptions import NotFound

        with suppress(NotFound):
            self._bucket.blob(stored.name, generation=stored.generation).delete(timeout=CALL_SECONDS)


class FakeObjects:
    """Objects in memory; `error` fails every listing."""

    def __init__(self, contents: dict[str, bytes] | None = None, error: Exception | None = None) -> None:
        self.contents = dict(contents or {})
        self.error = error

    def list_since(self, since: datetime | None) -> Iterator[StoredObject]:
        """Every object, as if written now."""
        del since
        if self.error:
            raise self.error
        for name in list(self.contents):
            yield StoredObject(name=name, generation=1, updated_at=datetime.now(UTC))

    def open(self, stored: StoredObject) -> IO[bytes]:
        """The object's bytes."""
        return io.BytesIO(self.contents[stored.name])

    def replace(self, stored: StoredObject, content: IO[bytes]) -> None:
        """Write the object anew."""
        content.seek(0)
        self.contents[stored.name] = content.read()

    def delete(self, stored: StoredObject) -> None:
        """Remove the object."""
        del self.contents[stored.name]


@once
def cloud_bucket(name: str) -> CloudBucket:
    """The process's view of a bucket of the topology.

    Raises:
        PermissionError: the topology does not let this service rewrite it.
    """
    from google.cloud import storage

    if name not in topology.load().access(settings().service).rewrites_buckets:
        raise PermissionError(f"{settings().service} may not rewrite {name!r}; topology.yaml grants it")
    project = settings().project
    return CloudBucket(storage.Client(project=project).bucket(topology.bucket_id(project, name)))
