"""A file in MaxMind's format is read as it is meant; the file here is written by the format's own description."""

from __future__ import annotations

import ipaddress
import struct
from pathlib import Path
from typing import Any

import pytest

from agents.tools import places
from agents.tools.places import maxmind_file, round_place
from agents.tools.settings import settings
from schemas.rows import Location

LONDON: dict[str, Any] = {
    "country": {"iso_code": "GB"},
    "city": {"names": {"en": "London", "de": "London"}},
    "subdivisions": [{"iso_code": "ENG"}],
    "location": {"latitude": 51.5142, "longitude": -0.0931},
}


def encode(value: Any) -> bytes:
    """A value of the data section: https://maxmind.github.io/MaxMind-DB/#data-field-format (what is needed of it)."""
    if isinstance(value, str):
        data = value.encode()
        assert len(data) < 29
        return bytes([2 << 5 | len(data)]) + data
    if isinstance(value, float):
        return bytes([3 << 5 | 8]) + struct.pack(">d", value)
    if isinstance(value, bytes):  # a number, ready made: the metadata has one of each width
        return value
    if isinstance(value, list):
        items: list[Any] = value
        return bytes([len(items), 11 - 7]) + b"".join(map(encode, items))
    pairs: dict[str, Any] = value
    return bytes([7 << 5 | len(pairs)]) + b"".join(encode(part) for pair in pairs.items() for part in pair)


def encode_short(value: int) -> bytes:
    return bytes([5 << 5 | 2]) + struct.pack(">H", value)


def write_file(path: Path, network: str, record: dict[str, Any]) -> None:
    """A database of one IPv4 network: a chain of nodes of two 32-bit records, then the data, then the metadata."""
    parsed = ipaddress.ip_network(network)
    bits = f"{int(parsed.network_address):032b}"[: parsed.prefixlen]
    count = len(bits)
    nodes = b""
    for depth, bit in enumerate(bits):
        onward = depth + 1 if depth + 1 < count else count + 16  # behind the nodes: the data, after 16 bytes
        nodes += struct.pack(">II", *((onward, count) if bit == "0" else (count, onward)))
    metadata = {
        "binary_format_major_version": encode_short(2),
        "binary_format_minor_version": encode_short(0),
        "build_epoch": bytes([8, 9 - 7]) + struct.pack(">Q", 1),
        "database_type": "Test-City",
        "description": {"en": "test"},
        "ip_version": encode_short(4),
        "languages": ["en"],
        "node_count": bytes([6 << 5 | 4]) + struct.pack(">I", count),
        "record_size": encode_short(32),
    }
    path.write_bytes(nodes + bytes(16) + encode(record) + b"\xab\xcd\xefMaxMind.com" + encode(metadata))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "city.mmdb"
    write_file(path, "81.2.69.0/24", LONDON)
    monkeypatch.setenv("ARGO_GEOIP_FILE", str(path))
    settings.cache_clear()
    places.maxmind_file.cache_clear()
    return path


@pytest.mark.usefixtures("file")
def test_an_address_is_found_coarsely() -> None:
    """Prevents: a street's coordinates in a warehouse that promised a city's."""
    found = maxmind_file()
    assert found
    assert found.find("81.2.69.142") == Location(
        country="GB", region="ENG", city="London", latitude=51.5, longitude=-0.1
    )
    assert [found.find(address) for address in ("81.2.70.1", "::1", "0.0.0.0", "no address", "")] == [None] * 5
    places.maxmind_file.cache_clear()


def test_without_a_file_there_is_nothing_to_ask() -> None:
    """Prevents: a deployment without the file that fails on every event."""
    places.maxmind_file.cache_clear()
    assert maxmind_file() is None


@pytest.mark.parametrize(
    ("exact", "rounded"), [((37.566, 126.978), (37.6, 127.0)), ((-0.01, -0.04), (0.0, 0.0)), ((90, -180), (90, -180))]
)
def test_a_place_is_a_city_not_a_house(exact: tuple[float, float], rounded: tuple[float, float]) -> None:
    """Prevents: -0.0 beside 0.0, which is another field in Redis."""
    assert round_place(*exact) == rounded
    assert "-0.0" not in str(round_place(*exact))
