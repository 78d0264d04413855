"""Fixtures of the emulator tests, what may run beside what, and the closing lines that say which servers were covered."""

from collections import defaultdict

import pytest

from tests.emulator.firestore_servers import list_servers
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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups for `-n`: whatever uses a shared cloud is one, so that the cloud is started once; each other file is one.

    What fills the cloud with whole files comes last: jobs that read everything would take minutes after it.
    """
    items.sort(key=lambda item: item.path.stem == "test_ingest")
    fixtures: dict[str, set[str]] = defaultdict(set)
    for item in items:
        fixtures[str(item.path)].update(getattr(item, "fixturenames", ()))
    for item in items:
        shared = (name for name in ("cloud", "stub_cloud") if name in fixtures[str(item.path)])
        item.add_marker(pytest.mark.xdist_group(next(shared, item.path.stem)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says, also in a quiet run, which servers the contract tests have run against."""
    for store, names in {"Pub/Sub": SERVER_NAMES, "Firestore": list_servers()}.items():
        absent = "" if "google" in names else " (ARGO_TEST_GOOGLE=1 adds Google's emulator where it is found)"
        terminalreporter.write_line(f"{store} contract tests ran against: {', '.join(names)}{absent}")
