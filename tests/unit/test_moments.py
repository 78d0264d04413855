"""Moments: a case is one moment, and one bad file is its own problem."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from agents.moments import detect
from agents.tools.bus import FakeBus
from agents.tools.warehouse import FakeWarehouse, Record
from schemas.messages import derive_id
from schemas.rows import Moment
from schemas.warehouse import Query

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LAPSED = Query(name="lapsed_buyer", description="d", query="SELECT lapsed")
ROW: Record = {
    "user_id": "u1",
    "case_id": "e9",
    "days": Decimal("11.5"),
    "last_order_at": NOW,
    "day": date(2026, 3, 1),
    "orders": 3,
}


def run(bus: FakeBus, *, known: list[str] | None = None, **answers: list[Record]) -> int:
    found = {f"SELECT {name}": rows for name, rows in answers.items()}
    warehouse = FakeWarehouse({"argo.moments": [{"moment_id": moment} for moment in known or []], **found})
    return detect([LAPSED], warehouse, bus, NOW)


def sent(bus: FakeBus) -> list[Moment]:
    return [msgspec.json.decode(message.data, type=Moment) for message in bus.on("moments")]


def test_a_row_becomes_a_moment_that_its_topic_takes() -> None:
    """Prevents: a moment without what its playbook needs to know, or with types that JSON has not."""
    bus = FakeBus()
    assert run(bus, lapsed=[ROW]) == 1
    (moment,) = sent(bus)
    assert (moment.kind, moment.user_id, moment.detected_at) == ("lapsed_buyer", "u1", NOW)
    data: dict[str, Any] = msgspec.json.decode(moment.data)
    assert data == {**ROW, "days": 11.5, "last_order_at": NOW.isoformat(), "day": "2026-03-01"}


def test_the_same_case_is_the_same_moment() -> None:
    """Prevents: an email every five minutes for as long as a person stays away."""
    first, second = FakeBus(), FakeBus()
    run(first, lapsed=[ROW])
    run(second, lapsed=[{**ROW, "days": Decimal(12)}])
    assert sent(first)[0].moment_id == sent(second)[0].moment_id == derive_id("lapsed_buyer", "e9")


def test_what_the_warehouse_has_is_not_told_again() -> None:
    """Prevents: a topic full of moments that everybody has to drop."""
    bus = FakeBus()
    rows = [ROW, {**ROW, "case_id": "new"}, {**ROW, "case_id": "new"}]
    assert run(bus, known=[derive_id("lapsed_buyer", "e9")], lapsed=rows) == 1
    assert [moment.moment_id for moment in sent(bus)] == [derive_id("lapsed_buyer", "new")]


@pytest.mark.parametrize("name", ["user_id", "case_id"])
def test_a_row_without_its_key_names_file_and_column(name: str) -> None:
    """Prevents: a moment for nobody, and an analyst who has to read a stack trace."""
    bus = FakeBus()
    with pytest.raises(ExceptionGroup) as caught:
        run(bus, lapsed=[{**ROW, name: None}])
    assert f"lapsed_buyer.sql returned a row without {name}" in str(caught.value.exceptions[0])
    assert bus.sent == []


def test_one_broken_moment_does_not_stop_the_others() -> None:
    """Prevents: an analyst's typo that keeps every other moment from being found."""
    bus = FakeBus()
    broken = Query(name="broken", description="d", query="SELECT broken")
    warehouse = FakeWarehouse({"SELECT broken": [{"user_id": "u1"}], "SELECT lapsed": [ROW]})
    with pytest.raises(ExceptionGroup, match="1 of 2 moments failed"):
        detect([broken, LAPSED], warehouse, bus, NOW)
    assert [moment.kind for moment in sent(bus)] == ["lapsed_buyer"]


def test_a_publish_that_fails_fails_the_job() -> None:
    """Prevents: a job that looks well while its moments are lost."""
    with pytest.raises(ExceptionGroup):
        run(FakeBus(error=TimeoutError("no Pub/Sub")), lapsed=[ROW])
