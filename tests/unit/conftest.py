"""Every unit test is the function collect of a project `p`, unless it says otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agents.tools.settings import settings


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The two variables that every process has; nothing is remembered from test to test."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("K_SERVICE", "collect")
    settings.cache_clear()
    yield
    settings.cache_clear()
