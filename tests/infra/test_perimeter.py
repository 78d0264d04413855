"""The perimeter begins as a dry run, encloses what holds data, and never locks its operators out."""

from __future__ import annotations

import json
import runpy
from typing import Any

import pytest
import yaml
from infra.keys import Sealed
from perimeter.boundary import RESTRICTED, Perimeter, PerimeterArgs
from policy.graph import Graph, Resource
from policy.record import PROGRAM, record_program

FOLDER = PROGRAM / "perimeter"
CONFIG = {
    "argo-perimeter:access_policy": "42",
    "argo-perimeter:project_numbers": json.dumps(["123456789012"]),
    "argo-perimeter:operators": json.dumps(["user:you@example.com"]),
}


def run_program(monkeypatch: pytest.MonkeyPatch, **more: str) -> Resource:
    monkeypatch.syspath_prepend(str(FOLDER))  # as the CLI does
    given = CONFIG | {f"argo-perimeter:{name}": value for name, value in more.items()}
    graph: Graph = record_program(
        lambda: runpy.run_path(str(FOLDER / "__main__.py")), stack="organisation", config=given
    )
    (found,) = graph.of("accesscontextmanager/ServicePerimeter")
    return found


def test_it_begins_as_a_dry_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall on the first day would stop what nobody remembered."""
    found = run_program(monkeypatch)
    assert found.get("useExplicitDryRunSpec") is True
    assert found.get("spec.resources") == ["projects/123456789012"]
    assert found.get("status") is None
    assert found.protected


def test_enforcing_is_one_word(monkeypatch: pytest.MonkeyPatch) -> None:
    found = run_program(monkeypatch, enforced="true")
    assert found.get("useExplicitDryRunSpec") is False
    assert found.get("status.restrictedServices") == list(RESTRICTED)
    assert found.get("status.accessLevels") == ["accessPolicies/42/accessLevels/argo_operators"]


def test_it_encloses_every_store_that_has_a_key() -> None:
    """Memorystore is reached through the network only, and knows no perimeter."""
    assert {f"{store}.googleapis.com" for store in Sealed} - {"memorystore.googleapis.com"} <= set(RESTRICTED)


@pytest.mark.parametrize(
    ("numbers", "operators", "complaint"),
    [(["argo-prod"], ["user:a@b.c"], "numbers, not ids"), ([], ["user:a@b.c"], "numbers"), (["1"], [], "nobody")],
)
def test_a_useless_perimeter_is_refused(numbers: list[str], operators: list[str], complaint: str) -> None:
    args = PerimeterArgs(access_policy="42", project_numbers=numbers, operators=operators)
    with pytest.raises(ValueError, match=complaint):
        record_program(lambda: Perimeter("argo", args))


def test_its_schema_names_what_the_program_reads() -> None:
    schema: dict[str, Any] = yaml.safe_load((FOLDER / "Pulumi.yaml").read_text("utf-8"))["config"]
    program = (FOLDER / "__main__.py").read_text("utf-8")
    assert {
        f"argo-perimeter:{name}" for name in ("access_policy", "project_numbers", "operators", "enforced")
    } == schema.keys()
    assert all(f'"{name.partition(":")[2]}"' in program for name in schema)
