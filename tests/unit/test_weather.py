"""The weather keeps its promises on a real Redis and on the fake that other tests trust."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import redis

from agents.tools import weather
from agents.tools.weather import FakeWeather, RedisWeather, WeatherObservation, WeatherStore, round_hour
from schemas.rows import Weather
from tests.unit.redis_server import real, redis_url

__all__ = ["real", "redis_url"]
NOW = datetime.now(UTC)
HOUR = round_hour(NOW)


@pytest.fixture(params=["fake", "redis"])
def store(request: pytest.FixtureRequest) -> WeatherStore:
    if request.param == "fake":
        return FakeWeather()
    request.getfixturevalue("real")
    return RedisWeather()


def observe(condition: str, *, minutes: int = 0, place: tuple[float, float] = (37.5665, 126.978)) -> WeatherObservation:
    """One observation of Seoul, so many minutes into this hour."""
    at = HOUR + timedelta(minutes=minutes)
    return WeatherObservation(latitude=place[0], longitude=place[1], observed_at=at, condition=condition)


def test_a_place_is_found_by_its_rounded_coordinates(store: WeatherStore) -> None:
    """Prevents: a station whose weather reaches nobody, because nobody stands exactly there."""
    seoul = msgspec.structs.replace(observe("rain"), temperature_celsius=11.5)
    assert store.remember([seoul, observe("sun", place=(-0.04, -0.01))]) == 2
    assert store.read_hour(HOUR) == {
        (37.6, 127.0): Weather(condition="rain", temperature_celsius=11.5),
        (0.0, 0.0): Weather(condition="sun"),
    }
    assert store.read_hour(HOUR - timedelta(hours=1)) == {}


def test_the_latest_of_an_hour_stays_whatever_the_order(store: WeatherStore) -> None:
    """Prevents: a feed that is delivered twice, or late, and turns the weather back."""
    late, early = observe("rain", minutes=40), observe("sun", minutes=10)
    store.remember([late, early])
    store.remember([early])
    store.remember([early, late])
    assert store.read_hour(HOUR)[37.6, 127.0].condition == "rain"


def test_what_is_older_than_two_days_is_not_kept(store: WeatherStore) -> None:
    """Prevents: a historical file that fills Redis with weather that nobody asks for."""
    old = observe("fog", minutes=-60 * 49)
    assert store.remember([old]) == 0
    assert store.read_hour(round_hour(old.observed_at)) == {}


def test_every_hour_expires(real: redis.Redis) -> None:
    """Prevents: a Redis that fills up."""
    RedisWeather().remember([observe("sun"), observe("fog", minutes=-60)])
    lives = sorted(int(str(real.ttl(key))) for key in real.keys("weather:*"))  # pyright: ignore[reportGeneralTypeIssues] -- redis types sync and async as one
    assert len(lives) == 2
    assert 45 * 3600 < lives[0] < lives[1] <= 48 * 3600


def test_an_hour_of_too_many_places_is_left_out(real: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a feed so fine that every instance of collect runs out of memory."""
    del real
    monkeypatch.setattr(weather, "MAX_PLACES", 1)
    RedisWeather().remember([observe("sun"), observe("fog", place=(1, 1))])
    assert RedisWeather().read_hour(HOUR) == {}
