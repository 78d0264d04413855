"""The ways in: Cloud Armor before public functions, API Gateway before keyed ones, and who calls stays known."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pulumi
import pytest
import yaml
from infra.armor import write_rules
from infra.openapi import KEY_HEADER, write_openapi
from infra.settings import API_GATEWAY_REGIONS, Place, SettingsError, read_settings
from infra.stack import StackBuilder
from policy.graph import Graph, Resource
from policy.record import read_config, record_program
from policy.rules import judge
from policy.rules_identity import find_grants, find_variables

from schemas import topology
from schemas.topology import Function, Keyed

NAMED = topology.load()
KEYED = [function for function in NAMED.functions if function.keyed]
ROOT = Path(topology.PATH).parent.parent


def build_with(**values: str) -> Graph:
    """The stack dev with other settings."""
    config = {**read_config("dev"), **{f"argo:{name}": value for name, value in values.items()}}

    def build() -> None:
        place = Place(project="argo-dev", region=NAMED.region, stack="dev")
        StackBuilder(place, read_settings(pulumi.Config("argo")), NAMED).build()

    return record_program(build, config=config)


def find(graph: Graph, kind: str, name: str) -> Resource:
    return next(entry for entry in graph.of(kind) if entry.name == name)


def variables(entry: Resource) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in find_variables(entry)}


def test_the_model_gateway_is_keyed() -> None:
    """What costs money by the call stands behind keys and a quota."""
    assert [function.name for function in KEYED] == ["llm"]


def test_every_route_of_the_model_gateway_passes_and_no_other() -> None:
    """A route that API Gateway does not know is a 404 that only the cloud shows."""
    code = (ROOT / "functions" / "llm.py").read_text("utf-8") + (ROOT / "agents/tools/models.py").read_text("utf-8")
    routes = set(re.findall(r"\"(/v1/[a-z/]+)\"", code))
    listed = {request.partition(" ")[2] for function in KEYED if function.keyed for request in function.keyed.requests}
    assert listed == routes


def test_the_key_travels_in_the_header_that_the_gateway_reads() -> None:
    """A key in another header would be refused as missing."""
    assert f'"{KEY_HEADER}"' in (ROOT / "agents" / "tools" / "models.py").read_text("utf-8")


def test_callers_go_through_api_gateway_and_stay_who_they_are(graph: Graph) -> None:
    """The address is the gateway's, the identity is for the function, and the right to call is still on the function."""
    (llm,) = KEYED
    service = find(graph, "cloudrunv2/Service", llm.name)
    assert service.get("ingress") == "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
    callers = [access for access in (*NAMED.functions, *NAMED.jobs) if llm.name in access.calls]
    assert callers
    for access in callers:
        told = next(
            variables(entry)
            for entry in graph.of("cloudrunv2/Service", "cloudrunv2/Job")
            if entry.get("name") == access.name.replace("_", "-")
        )
        assert re.fullmatch(r"https://argo-llm-\w+\.\w+\.gateway\.dev", told["ARGO_LLM_URL"])
        assert [told["ARGO_LLM_AUDIENCE"]] == service.get("customAudiences")
    granted = [
        entry
        for entry in find_grants(graph)
        if entry.kind == "cloudrunv2/ServiceIamMember" and entry.get("name") == llm.name
    ]
    assert len(granted) == len(callers)
    assert "allUsers" not in {entry.get("member") for entry in granted}


def test_without_api_gateway_callers_stay_inside() -> None:
    """Where no request may leave the region, the same function is called directly, and nothing of the gateway is left."""
    direct = build_with(api_gateway_region="")
    assert list(direct.of("apigateway/Gateway")) == []
    service = find(direct, "cloudrunv2/Service", "llm")
    assert (service.get("ingress"), service.get("customAudiences")) == ("INGRESS_TRAFFIC_INTERNAL_ONLY", None)
    caller = find(direct, "cloudrunv2/Service", "agent-creative-content")
    assert variables(caller)["ARGO_LLM_URL"].endswith(".run.app")
    assert "ARGO_LLM_AUDIENCE" not in variables(caller)
    assert "argo-calls" in caller.get("template.vpcAccess.networkInterfaces.0.tags")
    assert judge(direct) == []


def test_keyed_addresses_are_outputs(graph: Graph) -> None:
    """Prevents: a gateway whose address the operator has to look for."""
    assert graph.outputs["keyed_urls"].keys() == {"llm"}


def test_a_region_that_api_gateway_does_not_have_is_refused() -> None:
    assert NAMED.region not in API_GATEWAY_REGIONS
    with pytest.raises(SettingsError, match="api_gateway_region must be empty or one of asia-northeast1"):
        build_with(api_gateway_region=NAMED.region)


def test_the_document_is_openapi_2() -> None:
    keyed = Keyed(requests=["POST /v1/generate", "GET /v1/models"], per_minute=7)
    function = Function(name="llm", target="llm", description="x", keyed=keyed, timeout_seconds=120)
    document = write_openapi(function, keyed, "https://llm.argo.example")
    assert document["swagger"] == "2.0"
    assert {"info", "paths", "securityDefinitions"} <= document.keys()
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == 2
    assert all(operation["responses"] for operation in operations)
    assert document["x-google-backend"]["deadline"] == 120.0
    metrics = {metric["name"] for metric in document["x-google-management"]["metrics"]}
    assert {name for operation in operations for name in operation["x-google-quota"]["metricCosts"]} == metrics
    assert json.loads(json.dumps(document)) == document


def test_public_and_keyed_exclude_each_other() -> None:
    content = yaml.safe_load(topology.PATH.read_text("utf-8"))
    next(entry for entry in content["functions"] if entry["name"] == "llm")["public"] = True
    with pytest.raises(topology.TopologyError, match="'llm' is public and keyed"):
        topology.parse(yaml.safe_dump(content))


def test_attacks_by_text_are_logged_and_not_refused() -> None:
    """An event that quotes what somebody searched for must not be lost with its whole batch."""
    rules = write_rules(60, per_address=True)
    preview = {str(rule.description) for rule in rules if rule.preview}
    refused = {str(rule.description) for rule in rules if rule.action == "deny(403)" and not rule.preview}
    assert {"sqli-v33-stable", "xss-v33-stable"} <= preview
    assert refused == {"scannerdetection-v33-stable", "protocolattack-v33-stable"}


def test_agents_behind_one_address_do_not_starve_each_other(graph: Graph) -> None:
    """All calls of the model gateway come from API Gateway's addresses: a limit per address would stop everybody."""
    policies = {entry.get("name"): entry.get("rules") for entry in graph.of("compute/SecurityPolicy")}
    keys = {
        name: next(rule["rateLimitOptions"]["enforceOnKey"] for rule in rules if rule["action"] == "throttle")
        for name, rules in policies.items()
    }
    assert keys["argo-llm"] == "ALL"
    assert keys["argo-collect"] == "IP"
