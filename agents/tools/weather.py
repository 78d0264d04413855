"""The weather of the last two days in Redis, by rounded place and hour: what the feed brought, for who enriches events.

Owns the keys and how long an hour is kept. One hash an hour (`weather:2026-11-20T08`), one field a place
("37.6,127.0"), so that a reader takes a whole hour in one question and then waits for nothing. Deliberately knows no
feed and no event; history is the warehouse's.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from agents.tools.blackboard import client
from agents.tools.once import once
from agents.tools.places import Place, round_place
from schemas.rows import Weather

KEPT = timedelta(hours=48)  # a phone that was off for a weekend is the latest who still gets its weather
MAX_PLACES = 20_000  # of an hour that is read at once: 3 MB on the wire
WRITE_ROWS = 1_000  # places in one command
log = logging.getLogger(__name__)


class WeatherObservation(msgspec.Struct, frozen=True, kw_only=True):
    """What the weather was somewhere at one time."""

    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]
    observed_at: Annotated[datetime, Meta(tz=True)]
    condition: str | None = None
    temperature_celsius: float | None = None


class _Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of one place in one hour."""

    at: datetime
    condition: str | None = None
    temperature_celsius: float | None = None


class WeatherStore(Protocol):
    """Where the weather is kept."""

    def remember(self, observations: Iterable[WeatherObservation]) -> int:
        """Keep observations of the last two days; how many were recent enough. Repeating it changes nothing."""
        ...

    def read_hour(self, hour: datetime) -> dict[Place, Weather]:
        """Everything that is known of one hour."""
        ...


def round_hour(time: datetime) -> datetime:
    """The hour that a time belongs to, in UTC."""
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


class RedisWeather:
    """Redis."""

    def remember(self, observations: Iterable[WeatherObservation]) -> int:
        """Keep observations; the latest of a place and hour stays, in whatever order they come.

        Raises:
            PermissionError: the topology does not grant the blackboard to this service.
            redis.exceptions.RedisError: Redis does not answer in time; call it again.
        """
        count = 0
        recent = (one for one in observations if _is_recent(one))
        while chunk := list(itertools.islice(recent, WRITE_ROWS)):
            for hour, values in _group(chunk).items():
                self._write(hour, values)
            count += len(chunk)
        return count

    def read_hour(self, hour: datetime) -> dict[Place, Weather]:
        """Everything that is known of one hour; nothing when that is more than MAX_PLACES. Raises as `remember` does."""
        key = _name_key(hour)
        places = int(client().hlen(key))  # pyright: ignore[reportArgumentType] -- redis types sync and async as one
        if places > MAX_PLACES:
            log.error("%s has %d places, more than %d: events of that hour get no weather", key, places, MAX_PLACES)
            return {}
        found: Mapping[str, str] = client().hgetall(key)  # pyright: ignore[reportAssignmentType] -- see above
        return {_read_place(field): _to_weather(_decode(value)) for field, value in found.items()}

    def _write(self, hour: datetime, values: dict[Place, _Kept]) -> None:
        key, fields = _name_key(hour), {_name_place(place): kept for place, kept in values.items()}
        before: list[str | None] = client().hmget(key, list(fields))  # pyright: ignore[reportAssignmentType] -- see above
        known = dict(zip(fields, before, strict=True))
        news = {
            field: msgspec.json.encode(kept).decode()
            for field, kept in fields.items()
            if (old := known[field]) is None or _decode(old).at < kept.at
        }
        if not news:
            return
        with client().pipeline() as together:
            together.hset(key, mapping=dict(news))  # pyright: ignore[reportArgumentType] -- its mapping is invariant
            together.expireat(key, hour + KEPT)
            together.execute()


class FakeWeather:
    """Hours in a dict; `error` fails everything."""

    def __init__(self, error: Exception | None = None) -> None:
        self.hours: dict[datetime, dict[Place, _Kept]] = {}
        self.reads = 0
        self.error = error

    def remember(self, observations: Iterable[WeatherObservation]) -> int:
        """Keep observations, as Redis would."""
        if self.error:
            raise self.error
        recent = [one for one in observations if _is_recent(one)]
        for hour, values in _group(recent).items():
            kept = self.hours.setdefault(hour, {})
            kept |= {place: value for place, value in values.items() if place not in kept or kept[place].at < value.at}
        return len(recent)

    def read_hour(self, hour: datetime) -> dict[Place, Weather]:
        """Everything that is known of one hour."""
        self.reads += 1
        if self.error:
            raise self.error
        return {place: _to_weather(kept) for place, kept in self.hours.get(hour, {}).items()}


@once
def redis_weather() -> RedisWeather:
    """The process's one view of the weather."""
    return RedisWeather()


def _is_recent(observation: WeatherObservation) -> bool:
    return round_hour(observation.observed_at) + KEPT > datetime.now(UTC)


def _group(observations: Iterable[WeatherObservation]) -> dict[datetime, dict[Place, _Kept]]:
    """The latest observation of each place, by hour."""
    hours: dict[datetime, dict[Place, _Kept]] = {}
    for one in sorted(observations, key=lambda one: one.observed_at):
        kept = _Kept(at=one.observed_at, condition=one.condition, temperature_celsius=one.temperature_celsius)
        hours.setdefault(round_hour(one.observed_at), {})[round_place(one.latitude, one.longitude)] = kept
    return hours


def _to_weather(kept: _Kept) -> Weather:
    return Weather(condition=kept.condition, temperature_celsius=kept.temperature_celsius)


def _decode(value: str) -> _Kept:
    return msgspec.json.decode(value, type=_Kept)


def _name_key(hour: datetime) -> str:
    return f"weather:{hour:%Y-%m-%dT%H}"


def _name_place(place: Place) -> str:
    return f"{place[0]:.1f},{place[1]:.1f}"


def _read_place(field: str) -> Place:
    latitude, _, longitude = field.partition(",")
    return float(latitude), float(longitude)
