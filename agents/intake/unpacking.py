"""From an object's bytes to a plain stream: gzip told by its first bytes, a mark at the start left out, bombs refused.

Owns where a reading goes on: at any byte of the unpacked content. Deliberately knows no format of records.
"""

from __future__ import annotations

import gzip
import io
import zlib
from typing import IO, cast

GZIP = b"\x1f\x8b"
UTF8_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
BUFFER_BYTES = 256_000
# Text packs 5 to 50 times, deflate's end is 1,032 times: what is beyond this is made to be large, not to be read.
MAX_RATIO = 500
RATIO_COUNTS_FROM_BYTES = 100_000_000  # a short file of blanks harms nobody
MAX_UNPACKED_BYTES = 50_000_000_000


class Broken(Exception):
    """The file is not, or from here on no longer, what it says it is; what was read before is good."""


def open_plain(stream: IO[bytes], offset: int = 0) -> tuple[io.BufferedReader, int]:
    """The unpacked content from `offset` on, and where it really begins; `stream` is seekable, and read from its start.

    A plain file goes on with one seek, a packed one is unpacked again up to there. Reading raises Broken for damaged or
    overly packed data, and whatever `stream` raises.

    Raises:
        Broken: the content cannot be text of ours.
    """
    stream.seek(0)
    head = stream.read(3)
    if head[:2] == GZIP:
        stream.seek(0)
        plain = _buffer(_Unpacked(stream))
        start = max(offset, _measure_mark(plain.peek(3)[:3]))
        _skip(plain, start)
        return plain, start
    start = max(offset, _measure_mark(head))
    stream.seek(start)
    return _buffer(_Counting(stream)), start


def _measure_mark(head: bytes) -> int:
    if head[:2] in UTF16_MARKS:
        raise Broken("the file is UTF-16; save it as UTF-8")
    return len(UTF8_MARK) if head == UTF8_MARK else 0


def _skip(stream: IO[bytes], count: int) -> None:
    while count > 0:
        got = len(stream.read(min(count, BUFFER_BYTES)))
        if not got:
            return
        count -= got


def _buffer(stream: object) -> io.BufferedReader:
    return io.BufferedReader(cast("io.RawIOBase", stream), BUFFER_BYTES)


class _Counting(io.RawIOBase):
    """How many packed bytes were read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  # IOBase's buffer is wider
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)


class _Unpacked(io.RawIOBase):
    """gzip's content, with damage and bombs as Broken."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._packed = _Counting(stream)
        self._gzip = gzip.GzipFile(fileobj=cast("IO[bytes]", io.BufferedReader(self._packed, BUFFER_BYTES)), mode="rb")
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  # IOBase's buffer is wider
        try:
            data = self._gzip.read1(len(buffer))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Broken(f"the gzip data is damaged after {self._count:,} unpacked bytes: {error}") from error
        buffer[: len(data)] = data
        self._count += len(data)
        if self._count > RATIO_COUNTS_FROM_BYTES and self._count > MAX_RATIO * self._packed.count:
            raise Broken(f"the file unpacks to more than {MAX_RATIO} times its size; send it in a form that packs less")
        if self._count > MAX_UNPACKED_BYTES:
            raise Broken(f"the file unpacks to more than {MAX_UNPACKED_BYTES:,} bytes; send it in parts")
        return len(data)
