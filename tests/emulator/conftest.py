"""Fixtures of the emulator tests, and the header line that says which Pub/Sub servers a run covers."""

import pytest

from tests.emulator.pubsub_servers import SERVER_NAMES, pubsub, pubsub_servers
from tests.emulator.push_endpoint import endpoint

__all__ = ["endpoint", "pubsub", "pubsub_servers"]


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker for known differences."""
    config.addinivalue_line(
        "markers",
        "google_differs(reason, sometimes=False): Google's emulator is known to behave otherwise (emulators/pubsub/README.md); "
        "expected to fail there, and reported when it no longer does (unless it does so only sometimes)",
    )


def pytest_report_header() -> str:
    """Says which servers the Pub/Sub contract tests run against."""
    absent = "" if "google" in SERVER_NAMES else " (Google's emulator not found: gcloud is not on PATH)"
    return f"Pub/Sub servers under test: {', '.join(SERVER_NAMES)}{absent}"
