"""Reads records from a file in constant memory: NDJSON, CSV with a header, either gzipped. Pure but for the stream."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

from agents.intake.reading import NotJson, decode_json
from agents.intake.refusal import Refusal
from schemas.rows import Failure

LINE_BYTES = 1_000_000  # a longer line is no event; it is refused without being held whole
ENDINGS = (".ndjson", ".jsonl", ".csv")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record of a file, or why its line could not be read. Lines count from 1."""

    line: int
    value: object = None
    refusal: Refusal | None = None


def is_readable(name: str) -> bool:
    """Whether the file's ending is one that `read_records` knows."""
    return name.removesuffix(".gz").endswith(ENDINGS)


def read_records(name: str, stream: IO[bytes]) -> Iterator[Record]:
    """Every record of a file, by the ending of its name.

    Raises:
        OSError, EOFError: the stream broke or the gzip data is damaged; what came before has been yielded.
    """
    if name.endswith(".gz"):
        stream = cast("IO[bytes]", gzip.GzipFile(fileobj=stream))
    if name.removesuffix(".gz").endswith(".csv"):
        return _read_csv(stream)
    return _read_ndjson(stream)


def unflatten(flat: dict[str, Any]) -> dict[str, Any]:
    """{'properties.revenue': 1} -> {'properties': {'revenue': 1}}; empty cells are absent."""
    result: dict[str, Any] = {}
    for key, value in flat.items():
        if value in (None, ""):
            continue
        *folders, leaf = key.split(".")
        place = result
        for folder in folders:
            inner = place.setdefault(folder, {})
            if not isinstance(inner, dict):
                raise Refusal(Failure.WRONG_TYPE, f"column {key} needs {folder} to be an object, but it has a value")
            place = inner
        place[leaf] = value
    return result


def _read_ndjson(stream: IO[bytes]) -> Iterator[Record]:
    number = 0
    while line := stream.readline(LINE_BYTES + 1):
        number += 1
        if len(line) > LINE_BYTES:
            _skip_line(stream, line)
            yield Record(line=number, refusal=_refuse_length())
        elif line.strip():
            try:
                yield Record(line=number, value=decode_json(line))
            except NotJson as error:
                yield Record(line=number, refusal=Refusal(Failure.UNREADABLE_FILE, f"the line is {error}"))


def _read_csv(stream: IO[bytes]) -> Iterator[Record]:
    too_long: list[int] = []
    reader = csv.DictReader(_read_lines(io.BufferedReader(cast("Any", stream)), too_long), strict=True)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield Record(line=reader.line_num, refusal=Refusal(Failure.UNREADABLE_FILE, f"not CSV: {error}"))
            continue
        while too_long:
            yield Record(line=too_long.pop(0), refusal=_refuse_length())
        if row is None:
            return
        yield _make_record(reader.line_num, cast("dict[str | None, Any]", row))


def _read_lines(stream: IO[bytes], too_long: list[int]) -> Iterator[str]:
    """The lines as text, a mark at the start left out; one that is too long is empty, and its number is noted."""
    number = 0
    while line := stream.readline(LINE_BYTES + 1):
        number += 1
        if len(line) > LINE_BYTES:
            _skip_line(stream, line)
            too_long.append(number)
            line = b"\n"
        yield line.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace")


def _skip_line(stream: IO[bytes], line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = stream.readline(LINE_BYTES)


def _refuse_length() -> Refusal:
    return Refusal(Failure.TOO_LARGE, f"a line may have {LINE_BYTES} bytes")


def _make_record(line: int, row: dict[str | None, Any]) -> Record:
    if None in row:
        refusal = Refusal(Failure.UNREADABLE_FILE, "the line has more cells than the header")
        return Record(line=line, refusal=refusal)
    try:
        return Record(line=line, value=unflatten(cast("dict[str, Any]", row)))
    except Refusal as refusal:
        return Record(line=line, refusal=refusal)
