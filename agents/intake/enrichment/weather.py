"""The weather where and when an event happened, from what Redis has of it; never asked for while a client waits.

Owns the process's own copy of the last hours: it is read in the background, at most so often, and answers from what is
there. So the first events of an hour may go without, and while Redis is down all of them do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from agents.intake import enrichment
from agents.tools.once import once
from agents.tools.places import Place, round_place
from agents.tools.settings import settings
from agents.tools.weather import KEPT, WeatherStore, redis_weather, round_hour

if TYPE_CHECKING:
    from agents.intake.enrichment.clues import Clues
    from schemas.rows import Interaction, Weather

COLUMN = "weather"
AFTER = ("location",)
FRESH_SECONDS = 60.0
HOURS = 8  # in memory at once: those that events were last from
_HOUR = timedelta(hours=1)


def fill(row: Interaction, clues: Clues) -> Weather | None:
    """The weather of the event's place and hour, or of the hour before, as long as the feed has not told more."""
    del clues  # the place is all that is needed
    place = row.location
    if row.weather is not None or place is None or place.latitude is None or place.longitude is None:
        return None
    known = recent_weather()
    return known.find(round_place(place.latitude, place.longitude), row.event_timestamp) if known else None


class RecentWeather:
    """The last hours of a store, in memory."""

    def __init__(self, store: Callable[[], WeatherStore], clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._hours: dict[datetime, dict[Place, Weather]] = {}
        self._asked: dict[datetime, float] = {}
        self._reader: threading.Thread | None = None

    def find(self, place: Place, at: datetime) -> Weather | None:
        """What is known now; what is not known, or was long ago, is read for the next events."""
        hour = round_hour(at)
        if not timedelta(0) <= datetime.now(UTC) - hour < KEPT:
            return None
        hours = (hour, hour - _HOUR)
        self._refresh([one for one in hours if self._clock() - self._asked.get(one, float("-inf")) > FRESH_SECONDS])
        return next((found[place] for one in hours if (found := self._hours.get(one)) and place in found), None)

    def wait(self) -> None:
        """Return when nothing is being read any more (for tests)."""
        if self._reader:
            self._reader.join()

    def _refresh(self, hours: list[datetime]) -> None:
        if not hours or (self._reader and self._reader.is_alive()):
            return
        for hour in hours:
            self._asked[hour] = self._clock()
        self._reader = threading.Thread(target=self._read, args=(hours,), name="weather", daemon=True)
        self._reader.start()

    def _read(self, hours: list[datetime]) -> None:
        try:
            news = {hour: self._store().read_hour(hour) for hour in hours}
        except Exception as error:  # noqa: BLE001  # whatever Redis' client raises, the last copy serves on
            enrichment.note_failure(COLUMN, error)
            return
        kept = {**{hour: found for hour, found in self._hours.items() if hour not in news}, **news}
        latest = list(kept)[-HOURS:]
        self._hours = {hour: kept[hour] for hour in latest}
        self._asked = {hour: asked for hour, asked in self._asked.items() if hour in self._hours}


@once
def recent_weather() -> RecentWeather | None:
    """The process's copy, or None where no Redis is configured."""
    return RecentWeather(redis_weather) if settings().redis_url else None
