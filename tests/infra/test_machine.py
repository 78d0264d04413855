"""A self-run Neo4j is off unless asked for; asked for, it is private, saved every day, and known to who needs it only."""

from __future__ import annotations

import pytest
from infra.machine import SCRIPT
from infra.settings import SettingsError
from policy.graph import Graph
from policy.rules import judge
from policy.rules_identity import find_grants, find_variables

from schemas import topology
from tests.infra.test_gateway import build_with

NAMED = topology.load()


@pytest.fixture(scope="module")
def self_run() -> Graph:
    """The stack dev with a Neo4j of its own, under keys of its own."""
    return build_with(neo4j_uri="", neo4j_self_run="true", customer_keys="true")


def test_no_stack_runs_one_unasked(graph: Graph) -> None:
    assert list(graph.of("compute/Instance", "compute/Disk")) == []


def test_it_keeps_every_rule(self_run: Graph) -> None:
    assert judge(self_run) == []


def test_who_has_the_graph_is_told_and_reaches_it_and_nobody_else(self_run: Graph) -> None:
    for entry in self_run.of("cloudrunv2/Service", "cloudrunv2/Job"):
        access = NAMED.access(
            next(
                item.name
                for item in (*NAMED.functions, *NAMED.jobs)
                if item.name.replace("_", "-") == entry.get("name")
            )
        )
        told = {variable["name"]: variable["value"] for variable in find_variables(entry)}
        network = entry.get("template.vpcAccess") or entry.get("template.template.vpcAccess") or {}
        tags = (network.get("networkInterfaces") or [{"tags": []}])[0]["tags"]
        assert (told.get("NEO4J_URI") == "bolt+ssc://10.8.2.2:7687") == ("graph" in access.stores)
        assert ("argo-graph" in tags) == ("graph" in access.stores)
        assert not tags or "argo-calls" in tags, "Google's own names lead through the network, and must be let out"


def test_its_disk_is_sealed_saved_and_apart_from_the_system(self_run: Graph) -> None:
    (disk,) = self_run.of("compute/Disk")
    assert str(disk.get("diskEncryptionKey.kmsKeySelfLink")).endswith("/cryptoKeys/compute")
    (policy,) = self_run.of("compute/ResourcePolicy")
    assert policy.get("snapshotSchedulePolicy.retentionPolicy.maxRetentionDays") == 14
    assert policy.get("snapshotSchedulePolicy.snapshotProperties.storageLocations") == self_run.region
    (machine,) = self_run.of("compute/Instance")
    assert machine.get("attachedDisks.0.deviceName") == "neo4j"


def test_it_may_read_its_password_and_its_image_only(self_run: Graph) -> None:
    member = f"serviceAccount:vm-neo4j@{self_run.project}.iam.gserviceaccount.com"
    roles = {entry.get("role") for entry in find_grants(self_run) if entry.get("member") == member}
    assert roles == {"roles/secretmanager.secretAccessor", "roles/artifactregistry.reader"}


def test_the_password_is_in_no_metadata(self_run: Graph) -> None:
    """Metadata can be read by everybody who may look at the machine."""
    (machine,) = self_run.of("compute/Instance")
    assert machine.get("metadataStartupScript") == SCRIPT.read_text("utf-8")
    assert "secrets/neo4j-password/versions/latest:access" in SCRIPT.read_text("utf-8")
    assert not [name for name in machine.get("metadata") if "password" in name]


@pytest.mark.parametrize(
    "values", [{"neo4j_uri": ""}, {"neo4j_self_run": "true"}], ids=["neither a URI nor a machine", "both"]
)
def test_one_graph_and_not_two(values: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="and not both"):
        build_with(**values)
