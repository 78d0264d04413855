"""Reads records from a file in constant memory, from its start or any record's end: NDJSON, CSV, a JSON array.

Owns the forms and where each record stands. Pure but for the stream. unpacking.py owns gzip; what a record means is
feeds.py's.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections import deque
from collections.abc import Collection, Iterator
from typing import IO, Any, NamedTuple

import msgspec

from agents.intake.reading import NotJson, decode_json
from agents.intake.refusal import Refusal
from agents.intake.unpacking import BUFFER_BYTES, Broken, open_plain
from schemas.feed import File
from schemas.rows import Failure

LINE_BYTES = 1_000_000  # a longer record is none; it is refused without being held whole
RECORD_LINES = 10_000  # a quotation mark that nobody closes ends here, and costs its own line only
WINDOW_CHARACTERS = 256_000
_SCANNER, _BLANKS = json.JSONDecoder(), re.compile(r"[ \t\r\n]+")
csv.field_size_limit(LINE_BYTES)  # the parser knows one limit for the whole process
ENDINGS = (".ndjson", ".jsonl", ".json", ".csv", ".tsv")
UTF8 = ("utf-8", "utf8", "ascii", "us-ascii")


class Place(NamedTuple):
    """How far a file was read: unpacked bytes, whole lines, and in an array elements."""

    offset: int = 0
    line: int = 0
    element: int = 0


class Record(msgspec.Struct, kw_only=True):
    """One record of a file, or why it could not be read. `line` is its first, from 1; no two records have one `end`."""

    line: int
    end: Place
    value: Any = None
    refusal: Refusal | None = None


def is_readable(name: str) -> bool:
    """Whether the file's ending is one that `read_records` knows."""
    return name.lower().removesuffix(".gz").endswith(ENDINGS)


def read_records(
    name: str, stream: IO[bytes], form: File, start: Place, needed: Collection[str] = ()
) -> Iterator[Record]:
    """Every record of a file behind `start`, by the ending of its name; `stream` is seekable.

    `needed` are columns without which a CSV file is not the one that it should be.

    Raises:
        Broken: the file is damaged, or not what its ending says; the records before have been yielded.
    """
    ending = name.lower().removesuffix(".gz").rpartition(".")[2]
    if ending in ("csv", "tsv"):
        if ending == "tsv" and form.delimiter == ",":
            form = msgspec.structs.replace(form, delimiter="\t")
        return _CsvReader(stream, form, start, needed).read()
    if ending == "json" and _is_array(stream):
        return _ArrayReader(stream, form, start).read()
    return _read_ndjson(_Lines(stream, start), form)


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


def _is_array(stream: IO[bytes]) -> bool:
    """What is called .json may as well be NDJSON (BigQuery's exports are)."""
    plain, _ = open_plain(stream)
    return plain.peek(BUFFER_BYTES).lstrip()[:1] == b"["


class _Lines:
    """Lines as bytes, and how far they were read; one that is too long is b"", and its rest is passed over."""

    def __init__(self, stream: IO[bytes], start: Place) -> None:
        self._stream, self._offset = open_plain(stream, start.offset)
        self._line = start.line

    def next(self) -> bytes | None:
        """The next line with its end, or None after the last."""
        line = self._stream.readline(LINE_BYTES + 1)
        if not line:
            return None
        self._line += 1
        self._offset += len(line)
        if len(line) <= LINE_BYTES:
            return line
        while line and not line.endswith(b"\n"):
            line = self._stream.readline(LINE_BYTES)
            self._offset += len(line)
        return b""

    @property
    def place(self) -> Place:
        """Where the next line begins."""
        return Place(self._offset, self._line)


def _read_ndjson(lines: _Lines, form: File) -> Iterator[Record]:
    is_utf8 = form.encoding.lower() in UTF8
    while (line := lines.next()) is not None:
        end = lines.place
        if not line:
            yield Record(line=end.line, end=end, refusal=_refuse_length())
        elif not line.isspace():
            try:
                value = decode_json(line if is_utf8 else line.decode(form.encoding).encode())
                yield Record(line=end.line, end=end, value=value)
            except (NotJson, UnicodeError) as error:
                refusal = Refusal(Failure.UNREADABLE_FILE, f"the line is {error}")
                yield Record(line=end.line, end=end, refusal=refusal)


class _ArrayReader:
    """Elements of a JSON array, each found in a window of text and then read like a line of NDJSON.

    The standard library finds where an element ends. Not ijson: it keeps a path per level, so that half a megabyte of
    brackets took all memory; and it does not tell an element's bytes, so that a reading could not go on there.
    """

    def __init__(self, stream: IO[bytes], form: File, start: Place) -> None:
        self._stream, offset = open_plain(stream, start.offset)
        self._decoder = codecs.getincrementaldecoder(form.encoding)("surrogateescape")
        self._encoding = form.encoding
        self._text, self._at, self._ended = "", 0, False
        self._place = Place(offset, start.line, start.element)
        self._is_first = start.element == 0

    def read(self) -> Iterator[Record]:
        """Every element, with the line that it begins on."""
        if self._is_first:
            self._pass_blanks()
            self._pass_over(self._at + 1)  # the bracket that _is_array has seen
        while self._find_element():
            line, end = self._place.line + 1, self._find_end()
            text = self._text[self._at : end]
            self._pass_over(end)
            self._place = self._place._replace(element=self._place.element + 1)
            yield self._make_record(line, text)

    def _find_element(self) -> bool:
        """Go to the next element's first character; False at the array's end."""
        self._pass_blanks()
        mark = self._text[self._at : self._at + 1]
        if mark == "," and not self._is_first:
            self._pass_over(self._at + 1)
            self._pass_blanks()
        elif mark == "]":
            self._pass_over(self._at + 1)
            self._pass_blanks()
            if self._at < len(self._text):
                raise self._break_off("something stands behind the array")
            return False
        elif not self._is_first:
            raise self._break_off("a comma or the array's end is missing")
        self._is_first = False
        return True

    def _find_end(self) -> int:
        while True:
            try:
                end = _SCANNER.raw_decode(self._text, self._at)[1]
                if end < len(self._text) or self._ended:  # else a number's other digits may follow
                    return end
            except RecursionError:
                raise self._break_off("an element is nested too deeply") from None
            except ValueError as error:
                if self._ended:
                    raise self._break_off(str(error).partition(":")[0]) from error
                if len(self._text) - self._at > LINE_BYTES:
                    raise self._break_off(f"no element ends within {LINE_BYTES:,} characters") from error
            self._fill()

    def _pass_blanks(self) -> None:
        while True:
            found = _BLANKS.match(self._text, self._at)
            self._pass_over(found.end() if found else self._at)
            if self._ended or len(self._text) - self._at > WINDOW_CHARACTERS // 4:
                return
            self._fill()

    def _pass_over(self, end: int) -> None:
        passed = self._text[self._at : end]
        size = len(passed.encode(self._encoding, "surrogateescape"))
        offset, line, element = self._place
        self._place = Place(offset + size, line + passed.count("\n"), element)
        self._at = end

    def _fill(self) -> None:
        data = self._stream.read(WINDOW_CHARACTERS)
        self._ended = not data
        self._text, self._at = self._text[self._at :] + self._decoder.decode(data, final=self._ended), 0

    def _make_record(self, line: int, text: str) -> Record:
        try:
            return Record(line=line, end=self._place, value=decode_json(text.encode()))
        except (NotJson, UnicodeError) as error:
            refusal = Refusal(Failure.UNREADABLE_FILE, f"the element is {error}")
            return Record(line=line, end=self._place, refusal=refusal)

    def _break_off(self, reason: str) -> Broken:
        return Broken(
            f"the JSON array breaks off behind element {self._place.element}, on line {self._place.line + 1}: {reason}"
        )


class _Line(NamedTuple):
    """One line of a CSV file as text, or why it is none."""

    text: str
    end: Place
    refusal: Refusal | None


class _NoEnd(Exception):
    """A quoted cell that goes on and on."""


class _CsvReader:
    """Rows of a CSV file as {column: cell}. A row that is no CSV costs its first line; the next is tried anew."""

    def __init__(self, stream: IO[bytes], form: File, start: Place, needed: Collection[str]) -> None:
        self._form = form
        self._again: deque[_Line] = deque()
        self._taken: list[_Line] = []
        self._size = 0
        self._lines = _Lines(stream, Place())
        self._parser = csv.reader(self, strict=True, delimiter=form.delimiter, quotechar=form.quote)
        self._columns = form.columns or self._read_header(needed)
        if start.offset:
            self._lines = _Lines(stream, start)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next line for the parser."""
        line = self._again.popleft() if self._again else self._read_line()
        self._taken.append(line)
        self._size += len(line.text)
        if len(self._taken) > RECORD_LINES or self._size > LINE_BYTES:
            raise _NoEnd("a quoted cell does not end")
        return line.text

    def read(self) -> Iterator[Record]:
        """Every row."""
        while True:
            self._taken, self._size = [], 0
            try:
                cells = next(self._parser)
            except StopIteration:
                return
            except (csv.Error, _NoEnd) as error:
                line, *rest = self._taken
                self._again.extendleft(reversed(rest))
                refusal = Refusal(Failure.UNREADABLE_FILE, f"not CSV: {error}")
                yield Record(line=line.end.line, end=line.end, refusal=line.refusal or refusal)
                continue
            refusal = next((line.refusal for line in self._taken if line.refusal), None)
            if cells or refusal:
                yield self._make_record(cells, refusal)

    def _read_header(self, needed: Collection[str]) -> list[str]:
        try:
            header = next((cells for cells in self._parser if cells), [])
        except (csv.Error, _NoEnd) as error:
            raise Broken(f"the header is not CSV: {error}") from error
        columns = [cell.strip() for cell in header]
        if doubles := sorted({column for column in columns if columns.count(column) > 1}):
            raise Broken(f"the header names {', '.join(map(repr, doubles))} more than once")
        if columns and (missing := sorted(set(needed) - set(columns))):
            raise Broken(f"the header has no column {', '.join(map(repr, missing))}; it has {', '.join(columns):.500}")
        return columns

    def _read_line(self) -> _Line:
        raw = self._lines.next()
        if raw is None:
            raise StopIteration
        place = self._lines.place
        if not raw:
            return _Line("\n", place, _refuse_length())
        try:
            return _Line(raw.decode(self._form.encoding), place, None)
        except UnicodeError as error:
            fix = "; a mapping may declare another encoding" if self._form.encoding in UTF8 else ""
            refusal = Refusal(Failure.UNREADABLE_FILE, f"the line is not {self._form.encoding}: {error}{fix}")
            return _Line(raw.decode(self._form.encoding, errors="replace"), place, refusal)

    def _make_record(self, cells: list[str], refusal: Refusal | None) -> Record:
        first, last = self._taken[0], self._taken[-1]
        if refusal is None and len(cells) != len(self._columns):
            reason = f"the line has {len(cells)} cells, the header {len(self._columns)}"
            refusal = Refusal(Failure.UNREADABLE_FILE, reason)
        value = dict(zip(self._columns, cells, strict=False))
        return Record(line=first.end.line, end=last.end, value=value, refusal=refusal)


def _refuse_length() -> Refusal:
    return Refusal(Failure.TOO_LARGE, f"a line may have {LINE_BYTES} bytes")
