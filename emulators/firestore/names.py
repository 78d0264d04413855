"""Owns resource names: databases, documents and collections, what is valid and how it splits."""

import re
from dataclasses import dataclass
from functools import lru_cache

from emulators.statuses import invalid

_DATABASE = re.compile(r"projects/[^/]+/databases/[^/]+\Z")
_RESERVED = re.compile(r"__.*__\Z", re.DOTALL)
_NUMERIC_ID = re.compile(r"__id-?\d+__\Z")
_MAX_ID_BYTES = 1500


@dataclass(frozen=True, slots=True)
class DocumentName:
    """A document's full name and its parts; `collection` is the path below the database's root."""

    full: str
    database: str
    collection: str
    document_id: str


@dataclass(frozen=True, slots=True)
class ParentName:
    """Where collections hang: the database's root (`path` is empty) or a document."""

    database: str
    path: str

    def join(self, collection_id: str) -> str:
        """Returns the path of a collection right below this parent."""
        return f"{self.path}/{collection_id}" if self.path else collection_id


def parse_database(name: str) -> str:
    """Returns the database's name unchanged; raises INVALID_ARGUMENT when it is not one."""
    if not _DATABASE.match(name):
        raise invalid(f'Database name "{name}" is not projects/PROJECT/databases/DATABASE.')
    return name


@lru_cache(maxsize=65_536)
def parse_document(name: str) -> DocumentName:
    """Splits and checks a document's full name."""
    database, segments = _split(name)
    if not segments or len(segments) % 2:
        raise invalid(f'Document name "{name}" does not name a document: it needs collection/id pairs.')
    return DocumentName(name, database, "/".join(segments[:-1]), segments[-1])


def parse_parent(name: str) -> ParentName:
    """Splits and checks the name of a parent of collections."""
    database, segments = _split(name)
    if len(segments) % 2:
        raise invalid(f'Parent name "{name}" names a collection, not a document.')
    return ParentName(database, "/".join(segments))


def check_collection_id(collection_id: str) -> str:
    """Returns a valid collection id unchanged."""
    if not collection_id:
        raise invalid("collectionId is the empty string.")
    if "/" in collection_id:
        raise invalid(f'Collection id "{collection_id}" contains "/".')
    _check_segment(collection_id, is_document_id=False)
    return collection_id


def check_document_id(document_id: str) -> str:
    """Returns a valid document id unchanged."""
    if not document_id or "/" in document_id:
        raise invalid(f'Document id "{document_id}" is empty or contains "/".')
    _check_segment(document_id, is_document_id=True)
    return document_id


def _split(name: str) -> tuple[str, list[str]]:
    parts = name.split("/", 5)
    if len(parts) < 5 or parts[4] != "documents":
        raise invalid(f'Name "{name}" is not below projects/PROJECT/databases/DATABASE/documents.')
    database = parse_database("/".join(parts[:4]))
    if len(parts) == 5:
        return database, []
    segments = parts[5].split("/")
    for index, segment in enumerate(segments):
        if not segment:
            raise invalid(f'Name "{name}" has an empty id.')
        _check_segment(segment, is_document_id=index % 2 == 1)
    return database, segments


def _check_segment(segment: str, *, is_document_id: bool) -> None:
    if segment in {".", ".."}:
        raise invalid(f'Resource id "{segment}" is not allowed.')
    if len(segment.encode()) > _MAX_ID_BYTES:
        raise invalid(f"A resource id is longer than {_MAX_ID_BYTES} bytes.")
    if _RESERVED.match(segment) and not (is_document_id and _NUMERIC_ID.match(segment)):
        raise invalid(f'Resource id "{segment}" is invalid because it is reserved.')
