"""Where an address is, coarsely, from a file in MaxMind's format (GeoLite2-City and the like); and what coarse means.

Owns the file and the rounding. Deliberately keeps no address: what is asked for is forgotten with the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from agents.tools.once import once
from agents.tools.settings import settings
from schemas.rows import Location

if TYPE_CHECKING:
    from maxminddb import Reader

PLACE_DECIMALS = 1  # about 11 km: a city, no house
Place = tuple[float, float]  # rounded latitude and longitude in degrees


class Places(Protocol):
    """Where addresses are looked up."""

    def find(self, address: str) -> Location | None:
        """The coarse place of an IPv4 or IPv6 address, or None."""
        ...


def round_place(latitude: float, longitude: float) -> Place:
    """The place that an exact one belongs to."""
    return round(latitude, PLACE_DECIMALS) + 0.0, round(longitude, PLACE_DECIMALS) + 0.0  # + 0.0: there is no -0.0


def make_location(country: str | None, region: str | None, city: str | None, place: Place | None) -> Location | None:
    """A coarse location of what is known; None when that is nothing. Coordinates that are none on earth are left out."""
    if place and not (-90 <= place[0] <= 90 and -180 <= place[1] <= 180):
        place = None
    if not (country or region or city or place):
        return None
    latitude, longitude = round_place(*place) if place else (None, None)
    return Location(
        country=country or None, region=region or None, city=city or None, latitude=latitude, longitude=longitude
    )


class MaxMindFile:
    """A file in MaxMind's format, mapped into memory."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def find(self, address: str) -> Location | None:
        """The coarse place of an address; None when it is not in the file, or no address."""
        try:
            found = self._reader.get(address)
        except ValueError:  # no address, or an IPv6 one in a file of IPv4
            return None
        return _read_record(found) if isinstance(found, dict) else None


class FakePlaces:
    """Places in a dict; `error` fails everything."""

    def __init__(self, known: Mapping[str, Location] | None = None, error: Exception | None = None) -> None:
        self.known = dict(known or {})
        self.error = error

    def find(self, address: str) -> Location | None:
        """The prepared place."""
        if self.error:
            raise self.error
        return self.known.get(address)


@once
def maxmind_file() -> Places | None:
    """The file that ARGO_GEOIP_FILE names, or None when it names none.

    Raises:
        FileNotFoundError, maxminddb.InvalidDatabaseError: it names a file that is not there, or of another format.
    """
    if not settings().geoip_file:
        return None
    import maxminddb

    return MaxMindFile(maxminddb.open_database(settings().geoip_file))


def _read_record(record: Mapping[str, Any]) -> Location | None:
    """The record's shape: https://dev.maxmind.com/geoip/docs/databases/city-and-country#binary-databases."""
    regions, coordinates = record.get("subdivisions") or [{}], record.get("location") or {}
    latitude, longitude = coordinates.get("latitude"), coordinates.get("longitude")
    return make_location(
        (record.get("country") or {}).get("iso_code"),
        regions[0].get("iso_code"),
        ((record.get("city") or {}).get("names") or {}).get("en"),
        None if latitude is None or longitude is None else (latitude, longitude),
    )
