"""Each committed stack is recorded once for all tests; nobody changes a recorded graph (see `changes.py`)."""

from __future__ import annotations

import pytest
from policy.graph import Graph
from policy.record import STACKS, record_stack


@pytest.fixture(scope="session")
def graphs() -> dict[str, Graph]:
    """Every committed stack by name."""
    return {stack: record_stack(stack) for stack in STACKS}


@pytest.fixture(params=STACKS)
def graph(request: pytest.FixtureRequest, graphs: dict[str, Graph]) -> Graph:
    """Each committed stack in turn."""
    return graphs[request.param]


@pytest.fixture
def prod(graphs: dict[str, Graph]) -> Graph:
    """The stack with everything switched on."""
    return graphs["prod"]
