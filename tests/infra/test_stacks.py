"""Stacks say only what differs and why; a wrong configuration is refused with every problem at once; outputs help."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pulumi
import pytest
import yaml
from infra.settings import SettingsError, StackSettings, read_settings
from policy.graph import Graph
from policy.record import PROGRAM, STACKS, read_config

from schemas import topology

SCHEMA: dict[str, Any] = yaml.safe_load((PROGRAM / "Pulumi.yaml").read_text("utf-8"))["config"]
KINDS = {"str": "string", "int": "integer", "bool": "boolean"}


def read_with(**values: str) -> StackSettings:
    config = {**read_config("dev"), **{f"argo:{name}": value for name, value in values.items()}}
    pulumi.runtime.set_all_config({name: value for name, value in config.items() if value != "MISSING"})
    return read_settings(pulumi.Config("argo"))


def test_the_published_schema_is_the_programs() -> None:
    """The CLI would accept what the program refuses, or the other way round."""
    wanted: dict[str, tuple[str, object]] = {
        f"argo:{field.name}": (KINDS[str(field.type)], vars(StackSettings).get(field.name))
        for field in fields(StackSettings)
    }
    assert {name: (entry["type"], entry.get("default")) for name, entry in SCHEMA.items()} == wanted
    assert all(entry["description"] for entry in SCHEMA.values())


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_says_only_what_differs(stack: str) -> None:
    own = yaml.safe_load((PROGRAM / f"Pulumi.{stack}.yaml").read_text("utf-8"))["config"]
    assert own.keys() - {"gcp:project"} <= SCHEMA.keys()
    assert [name for name, value in own.items() if SCHEMA.get(name, {}).get("default") == value] == []


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_holds_no_secret(stack: str) -> None:
    """Secrets' values are added with gcloud and never pass through Pulumi."""
    text = (PROGRAM / f"Pulumi.{stack}.yaml").read_text("utf-8")
    assert "secure:" not in text
    assert "password" not in text.lower()


def test_each_stack_has_a_project_of_its_own() -> None:
    """Names are the topology's in every stack: two stacks in one project would be one."""
    assert len({read_config(stack)["gcp:project"] for stack in STACKS}) == len(STACKS)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"domain": "MISSING", "smtp_host": "MISSING"}, r"argo:domain is not set.*argo:smtp_host is not set"),
        ({"monthly_budget": "much"}, "argo:monthly_budget must be int, it is 'much'"),
        ({"protect_data": "perhaps"}, "argo:protect_data must be bool"),
        ({"image": "argo:latest"}, "must name a digest"),
        ({"neo4j_uri": "bolt://graph:7687"}, "must be encrypted"),
        ({"billing_account": "mine"}, "must look like"),
        ({"image": "x", "neo4j_uri": "bolt://x"}, r"digest.*encrypted"),
    ],
)
def test_a_wrong_configuration_is_refused(values: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        read_with(**values)


def test_a_digest_goes_before_the_release() -> None:
    digest = "asia-northeast3-docker.pkg.dev/argo-dev/argo/argo@sha256:" + "0" * 64
    assert read_with(image=digest).image == digest


def test_outputs_tell_an_operator_what_to_do(graph: Graph) -> None:
    named = topology.load()
    outputs = graph.outputs
    assert outputs["function_urls"].keys() == {function.name for function in named.functions}
    assert outputs["secrets_to_fill"].keys() == {secret.name for secret in named.secrets}
    assert outputs["topics"] == [topic.name for topic in named.topics]
    assert outputs["dataset"] == f"{graph.project}:{named.dataset}"
    assert all(graph.project in line for line in outputs["try_first"])
    assert any(line.startswith("bq ") for line in outputs["try_first"])
    assert any("dead-letters-replay" in line for line in outputs["try_first"])
    assert outputs["public_urls"].keys() == {function.name for function in named.functions if function.public}


def test_prod_is_stricter_than_dev(graphs: dict[str, Graph]) -> None:
    protected = {stack: sum(entry.protected for entry in graph.resources) for stack, graph in graphs.items()}
    assert protected["dev"] == 0
    assert protected["prod"] > protected["staging"] > 0
