"""Fixtures of the contract tests, and the closing lines that say which servers a run has covered."""

import pytest

from tests.contract.firestore_servers import list_servers
from tests.contract.pubsub_servers import SERVER_NAMES, pubsub, pubsub_servers
from tests.contract.push_endpoint import endpoint

__all__ = ["endpoint", "pubsub", "pubsub_servers"]


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker for known differences."""
    config.addinivalue_line(
        "markers",
        "google_differs(reason, sometimes=False): Google's emulator is known to behave otherwise (emulators/pubsub/README.md); "
        "expected to fail there, and reported when it no longer does (unless it does so only sometimes)",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says, also in a quiet run, which servers the contract tests have run against."""
    for store, names in {"Pub/Sub": SERVER_NAMES, "Firestore": list_servers()}.items():
        absent = "" if "google" in names else " (ARGO_TEST_GOOGLE=1 adds Google's emulator where it is found)"
        terminalreporter.write_line(f"{store} contract tests ran against: {', '.join(names)}{absent}")
