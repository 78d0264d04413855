"""The buckets' part: every object written anew without the person's lines, the other lines byte for byte as they were.

A line that goes becomes an empty one, so that the others keep their numbers: `ingest` derives ids from them. What was
compressed is compressed again. An object that cannot be read line by line (no ending of `agents.intake.files`) is searched as
a text, and removed whole when it names the person.
"""

from __future__ import annotations

import csv
import gzip
import tempfile
import zlib
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Any, cast

import msgspec

from agents.privacy.person import Person
from agents.privacy.stores import Erased
from agents.tools.objects import ChangedMeanwhile, Objects, StoredObject

MEMORY_BYTES = 8_000_000  # of one object being written anew; more goes to a file
LINE_ENDINGS = (".ndjson", ".jsonl", ".csv")
CHANGED = "an object was written by somebody else meanwhile"
DAMAGED = "an object is damaged and could not be searched"


def erase_lines(person: Person, bucket: Objects, since: datetime | None) -> Erased:
    """Look at every object written since then; the number of lines that went, or of whole objects."""
    erased = Erased(deleted={"lines": 0, "objects": 0})
    for stored in bucket.list_since(since):
        try:
            _erase_one(person, bucket, stored, erased)
        except FileNotFoundError:
            continue  # gone by itself
        except ChangedMeanwhile:
            erased.later["objects"] = CHANGED
        except (EOFError, zlib.error, gzip.BadGzipFile):
            erased.later["damaged"] = DAMAGED
    return erased


def _erase_one(person: Person, bucket: Objects, stored: StoredObject, erased: Erased) -> None:
    plain_name = stored.name.removesuffix(".gz")
    with bucket.open(stored) as raw, tempfile.SpooledTemporaryFile(MEMORY_BYTES) as target:
        source = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if plain_name != stored.name else raw
        content = cast("IO[bytes]", target)
        if not plain_name.endswith(LINE_ENDINGS):
            if _names_anywhere(person, source):
                bucket.delete(stored)
                erased.deleted["objects"] += 1
            return
        if plain_name == stored.name:
            count = write_others(person, plain_name, source, content)
        else:
            with gzip.GzipFile(fileobj=content, mode="wb", mtime=0) as packed:
                count = write_others(person, plain_name, source, cast("IO[bytes]", packed))
        if not count:
            return
        if stored.is_live:
            bucket.replace(stored, content)
        else:
            bucket.delete(stored)  # an old version, kept only in case somebody wants it back
    erased.deleted["lines"] += count


def write_others(person: Person, name: str, source: IO[bytes], target: IO[bytes]) -> int:
    """Copy a file without the person's records; how many went."""
    records = _split_csv(source) if name.endswith(".csv") else _split_lines(source)
    count = 0
    for lines, record in records:
        if person.is_subject(record) or (isinstance(record, list) and not person.known.isdisjoint(record)):
            target.write(b"\n" * lines.count(b"\n"))
            count += 1
        else:
            target.write(lines)
    return count


def _split_lines(source: IO[bytes]) -> Iterator[tuple[bytes, Any]]:
    for line in source:
        try:
            yield line, msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            yield line, None


def _split_csv(source: IO[bytes]) -> Iterator[tuple[bytes, list[str]]]:
    """Each record with the lines that it is made of: a quoted cell may have line breaks."""
    pending: list[bytes] = []

    def read() -> Iterator[str]:
        for line in source:
            pending.append(line)
            yield line.decode("utf-8", errors="replace")

    for cells in csv.reader(read()):
        yield b"".join(pending), cells
        pending.clear()


def _names_anywhere(person: Person, source: IO[bytes]) -> bool:
    return person.is_in_text(source.read().decode("utf-8", errors="replace"))
