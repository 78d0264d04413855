"""The order of the tests that share the laptop cloud."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What fills the cloud with whole files comes last: jobs that read everything would take minutes after it."""
    items.sort(key=lambda item: item.path.stem == "test_ingest")
