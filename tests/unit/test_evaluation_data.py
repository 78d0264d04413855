"""`make evaluate` reads what people bring: ARGO's rows, Segment's messages, tables, published splits; or says what is wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import pytest

from tests.benchmarks.evaluate.datasets import Unusable, read_data
from tests.benchmarks.evaluate.progress import Progress, Question
from tests.benchmarks.evaluate.running import split_data

ARGO = {
    "event_type": "order_completed",
    "event_timestamp": "2026-01-01T00:00:00Z",
    "user_id": "u",
    "products": [{"product_id": "a", "quantity": 2}, {"product_id": "b", "category": "mugs"}],
}
SEGMENT = {
    "type": "track",
    "event": "Product Viewed",
    "anonymousId": "v",
    "timestamp": "2026-01-02T00:00:00Z",
    "properties": {"product_id": "a"},
}


def write(path: Path, *rows: object) -> str:
    path.write_bytes(b"\n".join(msgspec.json.encode(row) for row in rows))
    return str(path)


def test_argo_and_segment_in_one_file(tmp_path: Path) -> None:
    """Prevents: a shape of events that the suite takes in and the evaluation does not."""
    other = {"type": "page", "userId": "u", "event_type": "page"}
    data = read_data(write(tmp_path / "mine.ndjson", SEGMENT, ARGO, other))
    assert (data.name, data.events.user_ids, data.events.item_ids) == ("mine", ["v", "u"], ["a", "b"])
    assert data.events.kinds.tolist() == [2, 2, 0]
    assert data.events.quantities.tolist() == [2, 1, 1]
    assert data.left_out == {"not a view, an addition or an order": 1}


def test_a_table_by_its_header(tmp_path: Path) -> None:
    """Prevents: a published table that has to be rewritten first."""
    with gzip.open(tmp_path / "shop.csv.gz", "wt") as file:
        file.write("timestamp,visitorid,event,itemid\n1433221332117,1,view,10\n1433221332118,1,addtocart,10\n")
    events = read_data(str(tmp_path / "shop.csv.gz")).events
    assert (events.user_ids, events.item_ids, events.kinds.tolist(), events.timed) == (["1"], ["10"], [0, 1], True)


def test_a_published_split(tmp_path: Path) -> None:
    """Prevents: a split of our own where a published one is there."""
    (tmp_path / "train.txt").write_text("0 1 2\n1 2\n")
    (tmp_path / "test.txt").write_text("0 3\n")
    data = read_data(str(tmp_path))
    assert len(data.events) == 3
    assert data.held_out is not None
    assert (data.held_out.users.tolist(), len(data.held_out.item_ids)) == ([0], 3)


def test_single_lines_without_a_time_are_left_out(tmp_path: Path) -> None:
    """Prevents: one line of a million without a time, because of which nothing could be held out."""
    rows = [{"user": "u", "item": f"i{place}", "timestamp": f"2026-01-0{place}"} for place in range(1, 5)]
    data = read_data(write(tmp_path / "mine.ndjson", *rows, {"user": "u", "item": "i9", "timestamp": "yesterday"}))
    assert (data.events.timed, len(data.events), data.left_out) == (True, 4, {"no readable time": 1})
    assert split_data(data, repeats=False)[2].startswith("by time")


def test_a_list_without_times_is_split_at_random(tmp_path: Path) -> None:
    """Prevents: ratings or purchases without times, which many published sets are, refused."""
    rows = [{"user": f"사람{person}", "item": f"상품{person % 3 + place}"} for person in range(9) for place in range(5)]
    data = read_data(write(tmp_path / "mine.ndjson", *rows))
    split, test, how = split_data(data, repeats=False)
    assert how.startswith("at random")
    assert (data.left_out, len(test), len(split.train)) == ({}, 9, 36)
    assert data.events.user_ids[0] == "사람0"


@pytest.mark.parametrize("resume", [True, False])
def test_a_broken_run_is_taken_up_on_request_only(tmp_path: Path, resume: bool) -> None:
    """Prevents: hours lost with a process; figures of last week's code in today's table."""
    path = tmp_path / "progress.json"
    Progress(path, Question(), 100, resume=False).tried["als 64"] = 0.5
    assert dict(Progress(path, Question(), 100, resume=resume).tried) == ({"als 64": 0.5} if resume else {})
    Progress(path, Question(), 100, resume=False).tried["als 64"] = 0.5
    assert not Progress(path, Question(trials=2), 100, resume=True).tried
    assert not Progress(path, Question(), 101, resume=True).tried


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("absent.ndjson", None, "does not exist"),
        ("strange.xml", [ARGO], r"must end in \.ndjson"),
        ("empty.ndjson", [{"user_id": "u"}, {"product_id": "a"}], "no touch of a product"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, rows: list[object] | None, message: str) -> None:
    """Prevents: a stack trace instead of the key, the value and the fix."""
    path = str(tmp_path / name) if rows is None else write(tmp_path / name, *rows)
    with pytest.raises(Unusable, match=message):
        read_data(path)
