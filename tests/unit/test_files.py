"""A file of any form is read in constant memory, from any place; damage costs what is damaged and is told with its line."""

import gzip
import io
import json
from typing import IO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.intake import files, unpacking
from agents.intake.files import Place, Record, read_records
from agents.intake.unpacking import Broken
from schemas.feed import File
from schemas.rows import Failure


def read(name: str, data: bytes, form: File | None = None, start: Place | None = None) -> list[Record]:
    return list(read_records(name, io.BytesIO(data), form or File(), start or Place()))


CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters='\n\r",;'), max_size=8)
ROWS = st.lists(st.tuples(CELLS, CELLS), max_size=6)


def write_csv(rows: list[tuple[str, str]], end: str) -> bytes:
    quoted = ((f'"{cell}"' for cell in (a.replace('"', '""'), b.replace('"', '""'))) for a, b in rows)
    return end.join(["a,b", *(",".join(cells) for cells in quoted), ""]).encode()


@settings(max_examples=40, deadline=None)
@given(ROWS, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.data())
def test_a_csv_file_gives_its_rows_back_from_any_place(
    rows: list[tuple[str, str]], end: str, packed: bool, data: st.DataObject
) -> None:
    """Prevents: a restart that loses, doubles or shifts a row, whatever is quoted."""
    content = write_csv(rows, end)
    content = gzip.compress(content) if packed else content
    records = read("a.csv", content)
    assert [tuple(record.value.values()) for record in records] == rows
    if records:
        at = data.draw(st.integers(0, len(records) - 1))
        again = read("a.csv", content, start=records[at].end)
        assert [(r.line, r.end, r.value) for r in again] == [(r.line, r.end, r.value) for r in records[at + 1 :]]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(VALUES, max_size=6), st.sampled_from([None, 1]), st.booleans(), st.data())
def test_an_array_gives_its_elements_back_from_any_place(
    values: list[object], indent: int | None, ascii_only: bool, data: st.DataObject
) -> None:
    content = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "WINDOW_CHARACTERS", 7)  # every element crosses windows
        records = read("a.json", content)
        assert [record.value for record in records] == values
        if records:
            at = data.draw(st.integers(0, len(records) - 1))
            assert read("a.json", content, start=records[at].end) == records[at + 1 :]


def test_ndjson_goes_on_behind_any_record() -> None:
    content = b'\xef\xbb\xbf{"a":1}\r\n\n{"b":"' + "ü".encode() + b'"}\n{"c":3}'
    records = read("a.jsonl", content)
    assert [(record.line, record.value) for record in records] == [(1, {"a": 1}), (3, {"b": "ü"}), (4, {"c": 3})]
    assert read("a.jsonl", content, start=records[0].end) == records[1:]
    assert read("a.jsonl", gzip.compress(content), start=records[1].end) == records[2:]


def test_a_record_over_several_lines_has_the_number_of_its_first() -> None:
    records = read("a.csv", b'a,b\n1,"x\ny"\n2,z\n')
    assert [(record.line, record.value["b"]) for record in records] == [(2, "x\ny"), (4, "z")]


def test_a_quotation_mark_that_nobody_closes_costs_its_own_line() -> None:
    records = read("a.csv", b'a,b\n1,"open\n' + b"2,y\n" * 20_000)
    assert records[0].refusal is not None
    assert (records[0].line, records[0].refusal.failure) == (2, Failure.UNREADABLE_FILE)
    assert len(records) == 20_001
    assert not any(record.refusal for record in records[1:])


def test_rows_with_too_few_or_too_many_cells_are_refused() -> None:
    records = read("a.csv", b"a,b\n1\n1,2\n1,2,3\n")
    assert [record.refusal is None for record in records] == [False, True, False]


def test_declared_encodings_and_delimiters() -> None:
    records = read(
        "a.csv", "naam;plaats\n'caf\xe9;x';2\n".encode("latin-1"), File(encoding="latin-1", delimiter=";", quote="'")
    )
    assert records[0].value == {"naam": "café;x", "plaats": "2"}
    assert read("a.tsv", b"a\tb\n1\t2\n")[0].value == {"a": "1", "b": "2"}
    assert read("a.ndjson", '{"a":"\xe9"}'.encode("latin-1"), File(encoding="latin-1"))[0].value == {"a": "é"}
    assert read("a.csv", b"1,2\n", File(columns=["x", "y"]))[0].value == {"x": "1", "y": "2"}


def test_a_line_in_another_encoding_is_refused_not_garbled() -> None:
    bad, good = read("a.csv", b"a\ncaf\xe9\nx\n")
    assert bad.refusal is not None
    assert "not utf-8" in bad.refusal.reason
    assert good.value == {"a": "x"}


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.json", b'[{"a":1},{"b":', "behind element 1"),
        ("a.json", b'[{"a":1} {"b":1}]', "a comma or the array's end is missing"),
        ("a.json", b'[{"a":1}] x', "something stands behind the array"),
        ("a.json", b'[{"a":1},' + b"[" * 200_000 + b"]" * 200_000 + b"]", "nested too deeply"),
        ("a.json", b'[{"a":1},"' + b"x" * 2_000_000 + b'"]', "no element ends within"),
        ("a.ndjson.gz", gzip.compress(b'{"a":1}\n' + b" " * 90_000, mtime=0)[:-30], "gzip data is damaged"),
        ("a.ndjson", gzip.compress(b'{"a":1}\n', mtime=0) + b"rubbish", "gzip data is damaged"),
    ],
)
def test_a_broken_tail_keeps_what_was_good(name: str, data: bytes, reason: str) -> None:
    records: list[Record] = []
    with pytest.raises(Broken, match=reason):
        records.extend(read_records(name, io.BytesIO(data), File(), Place()))
    assert [record.value for record in records] == [{"a": 1}]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a,b,a\n1,2,3\n", "names 'a' more than once"),
        ("a,b\n".encode("utf-16"), "UTF-16; save it as UTF-8"),
        (b'a,"b\n1,2\n', "the header is not CSV"),
    ],
)
def test_a_csv_file_that_is_none_says_so_at_once(data: bytes, reason: str) -> None:
    with pytest.raises(Broken, match=reason):
        read("a.csv", data)


def test_gzip_is_told_by_its_bytes_not_by_its_name() -> None:
    """Prevents: an object stored with Content-Encoding gzip that is read as rubbish."""
    assert read("a.ndjson", gzip.compress(b'{"a":1}'))[0].value == {"a": 1}
    assert read("a.ndjson.gz", b'{"a":1}')[0].value == {"a": 1}


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "RATIO_COUNTS_FROM_BYTES", 1_000_000)
    with pytest.raises(Broken, match="more than 500 times its size"):
        read("a.ndjson.gz", gzip.compress(b" " * 20_000_000))


def test_a_csv_line_without_end_is_refused_and_the_next_one_read() -> None:
    one, refused, three = read("a.csv", b"product_id,name\n1,a\n2," + b"x" * 3_000_000 + b"\n3,c\n")
    assert (one.value["product_id"], three.value["product_id"], refused.line) == ("1", "3", 3)
    assert refused.refusal is not None
    assert refused.refusal.failure is Failure.TOO_LARGE


def test_a_line_without_end_is_refused_in_constant_memory() -> None:
    class Endless(io.RawIOBase):
        left = 30_000_000

        def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  # IOBase's buffer is wider
            size = min(len(buffer), self.left)
            self.left -= size
            buffer[:size] = b"x" * size
            return size

        def readable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return True

        def seek(self, offset: int, whence: int = 0) -> int:
            return offset + whence

    (record,) = read_records("a.ndjson", cast("IO[bytes]", io.BufferedReader(Endless())), File(), Place())
    assert record.refusal is not None
    assert record.refusal.failure is Failure.TOO_LARGE
