"""Each enrichment does what its examples say, fails open, and leaves those alone who do not want to be followed.

`tests/unit/enrichment/<column>.json` lists events with their request's headers and what the column must hold then.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.intake import enrichment
from agents.intake.enrichment import consent, enrich, enrichments, location, weather
from agents.intake.enrichment.clues import Clues, read_clues
from agents.intake.enrichment.weather import RecentWeather
from agents.intake.outgoing import read_profile_fields
from agents.intake.segment import Received, read_message
from agents.tools import places
from agents.tools.places import FakePlaces
from agents.tools.weather import FakeWeather, WeatherObservation, round_hour
from schemas.rows import Consent, Interaction, Location

EXAMPLES = Path(__file__).with_name("enrichment")
NOW = datetime.now(UTC)
LONDON = Location(country="GB", city="London", latitude=51.5, longitude=-0.1)
SEOUL = (37.6, 127.0)


def load_examples() -> Iterator[Any]:
    for path in sorted(EXAMPLES.glob("*.json")):
        for example in json.loads(path.read_text(encoding="utf-8")):
            yield pytest.param(path.stem, example, id=f"{path.stem}: {example['about']}")


def observe(
    latitude: float, longitude: float, *, condition: str, degrees: float | None = None, minutes: int = 0
) -> WeatherObservation:
    """An observation at so many minutes of this hour."""
    return WeatherObservation(
        latitude=latitude,
        longitude=longitude,
        observed_at=round_hour(NOW) + timedelta(minutes=minutes),
        condition=condition,
        temperature_celsius=degrees,
    )


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> RecentWeather:
    """What the two stores know; the process's copy of the weather is read already."""
    store = FakeWeather()
    store.remember([observe(37.57, 126.98, condition="rain", degrees=11.5)])
    store.remember([observe(35.18, 129.08, condition="sun", minutes=-5)])
    recent = RecentWeather(lambda: store)
    recent.find(SEOUL, NOW)
    recent.wait()
    monkeypatch.setattr(weather, "recent_weather", lambda: recent)
    monkeypatch.setattr(places, "maxmind_file", lambda: FakePlaces({"81.2.69.142": LONDON}))
    location._look_up.cache_clear()  # pyright: ignore[reportPrivateUsage] -- another test's places
    enrichment.failures.clear()
    return recent


def take(event: dict[str, Any], clues: Clues) -> Interaction:
    """One event as collect takes it."""
    raw = {"type": "track", "event": "x", "userId": "u1", "messageId": "m1", **event}
    return enrich(read_message(raw, Received(source="web", received_at=NOW, clues=clues)), raw, clues)


@pytest.mark.parametrize(("column", "example"), list(load_examples()))
def test_an_example_is_filled_in_as_written(column: str, example: dict[str, Any]) -> None:
    """Prevents: an enrichment that claims what it cannot know, or overrules the client."""
    behind = example.get("behind_load_balancer", True)
    row = take(example["event"], read_clues(example.get("headers", {}), behind_load_balancer=behind))
    found = msgspec.to_builtins(getattr(row, column))
    if isinstance(found, dict):
        found.pop("user_agent", None)
    assert found == example["expected"]
    assert not enrichment.failures


def test_every_enrichment_has_its_examples() -> None:
    """Prevents: an enrichment that nobody has seen working; and that a column is filled before what it builds on."""
    columns = [one.COLUMN for one in enrichments()]
    assert sorted(columns) == [path.stem for path in sorted(EXAMPLES.glob("*.json"))]
    assert all(columns.index(before) < columns.index(one.COLUMN) for one in enrichments() for before in one.AFTER)
    assert set(columns) <= set(Interaction.__struct_fields__)


def test_an_enrichment_that_fails_is_counted_and_leaves_the_rest_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a damaged file or a bug in one enrichment that turns events away, or takes the others with it."""
    monkeypatch.setattr(places, "maxmind_file", lambda: FakePlaces(error=OSError("damaged")))
    row = take({}, Clues(address="81.2.69.142", user_agent="Mozilla/5.0 (Windows NT 10.0) Firefox/133.0"))
    assert row.location is None
    assert row.device
    assert row.device.os == "Windows"
    assert enrichment.failures == {"location": 1}


def test_the_weather_never_makes_an_event_wait() -> None:
    """Prevents: a slow Redis that every client feels."""
    answer = threading.Event()

    class Stalled(FakeWeather):
        def read_hour(self, hour: datetime) -> dict[places.Place, Any]:
            answer.wait(5)
            return super().read_hour(hour)

    store = Stalled()
    store.remember([observe(37.6, 127, condition="snow")])
    recent = RecentWeather(lambda: store)
    started = time.perf_counter()
    assert [recent.find(SEOUL, NOW) for _ in range(1000)] == [None] * 1000
    assert time.perf_counter() - started < 2
    answer.set()
    recent.wait()
    found = recent.find(SEOUL, NOW)
    assert found
    assert found.condition == "snow"
    assert store.reads == 2, "this hour and the one before, once for a thousand events"


def test_the_last_copy_serves_on_while_redis_is_down() -> None:
    """Prevents: an outage that empties what was known, or is not seen by anybody."""
    store, clock = FakeWeather(), [0.0]
    store.remember([observe(37.6, 127, condition="snow")])
    recent = RecentWeather(lambda: store, lambda: clock[0])
    recent.find(SEOUL, NOW)
    recent.wait()
    store.error, clock[0] = ConnectionError("refused"), 61.0
    assert recent.find(SEOUL, NOW)
    recent.wait()
    assert recent.find(SEOUL, NOW)
    assert enrichment.failures == {"weather": 1}


def test_the_copy_stays_small() -> None:
    """Prevents: events of every hour of two days that fill the memory."""
    clock = [0.0]
    recent = RecentWeather(FakeWeather, lambda: clock[0])
    for hours in range(47):
        recent.find(SEOUL, NOW - timedelta(hours=hours))
        recent.wait()
    assert len(recent._hours) <= weather.HOURS  # pyright: ignore[reportPrivateUsage] -- what is bounded is inside


@pytest.mark.parametrize(
    ("headers", "given", "expected"),
    [
        ({}, None, None),
        ({}, {"marketing": True}, Consent(marketing=True)),
        ({"dnt": "0", "sec-gpc": "0"}, None, None),
        ({"dnt": "1"}, {"marketing": True}, Consent(marketing=False, do_not_track=True)),
        ({"sec-gpc": "1"}, None, Consent(marketing=False, global_privacy_control=True)),
        (
            {},
            {"categoryPreferences": {"Advertising": True, "Targeting": False, "Functional": True}},
            Consent(marketing=False, categories='{"Advertising":true,"Targeting":false,"Functional":true}'),
        ),
        (
            {},
            {"analytics": False, "categoryPreferences": {"Analytics": True}},
            Consent(analytics=False, categories='{"Analytics":true}'),
        ),
    ],
)
def test_consent_is_the_events_under_the_browsers(
    headers: dict[str, str], given: dict[str, Any] | None, expected: Consent | None
) -> None:
    """Prevents: a refusal that is lost between a browser's header, Segment's categories and our columns."""
    row = take({"context": {"consent": given}}, read_clues(headers, behind_load_balancer=True))
    assert row.consent == expected
    told = read_profile_fields(row).get("marketingConsent")
    assert told == (expected.marketing if expected else None), "acting decides by the profile"
    assert consent.is_refused(row.consent) == (
        bool(headers.get("dnt") == "1" or headers.get("sec-gpc") == "1")
        or bool(expected and expected.analytics is False)
    )
