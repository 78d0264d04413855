"""What can be reached from where, and what is encrypted on the way."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from policy.graph import Graph, Resource
from policy.rules_identity import EVERYBODY, find_grants, find_variables


def public_only_behind_armor(graph: Graph) -> Iterator[str]:
    """Everybody may call only what the load balancer alone can reach, with Cloud Armor before it."""
    groups = {entry.get("cloudRun.service") for entry in graph.of("compute/RegionNetworkEndpointGroup")}
    balanced = {
        entry.get("name")
        for entry in graph.of("cloudrunv2/Service")
        if entry.get("ingress") == "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
        and not entry.get("customAudiences")  # of a function behind API Gateway
    }
    for entry in find_grants(graph):
        if entry.get("member") not in EVERYBODY:
            continue
        if entry.kind != "cloudrunv2/ServiceIamMember" or entry.get("role") != "roles/run.invoker":
            yield f"{entry.name} grants {entry.get('role')} to everybody"
        elif entry.get("name") not in groups & balanced:
            yield f"{entry.name} opens {entry.get('name')} past the load balancer"


def functions_are_not_on_the_internet(graph: Graph) -> Iterator[str]:
    """`run.app` addresses answer only from inside, or through the load balancer."""
    inside = {"INGRESS_TRAFFIC_INTERNAL_ONLY", "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"}
    for entry in graph.of("cloudrunv2/Service"):
        if entry.get("ingress") not in inside:
            yield f"{entry.name} has ingress {entry.get('ingress')}"
        if entry.get("invokerIamDisabled"):
            yield f"{entry.name} asks nobody who they are"


def buckets_are_private(graph: Graph) -> Iterator[str]:
    """No object can be made public, by anybody."""
    for entry in graph.of("storage/Bucket"):
        if not entry.get("uniformBucketLevelAccess") or entry.get("publicAccessPrevention") != "enforced":
            yield f"{entry.name} can be opened to the public"


def armor_stands_before_backends(graph: Graph) -> Iterator[str]:
    """Each backend of the load balancer has a policy, and its requests are logged."""
    for entry in graph.of("compute/BackendService"):
        if not entry.get("securityPolicy"):
            yield f"{entry.name} has no Cloud Armor policy"
        if not entry.get("logConfig.enable"):
            yield f"{entry.name} logs no requests"


def armor_limits_rates(graph: Graph) -> Iterator[str]:
    """One client cannot take everybody's capacity, and the default rule is written down."""
    for entry in graph.of("compute/SecurityPolicy"):
        rules: list[dict[str, Any]] = entry.get("rules") or []
        if not any(rule.get("action") in {"throttle", "rate_based_ban"} for rule in rules):
            yield f"{entry.name} has no rate limit"
        if 2_147_483_647 not in {rule.get("priority") for rule in rules}:
            yield f"{entry.name} has no default rule"
        if not any("evaluatePreconfiguredWaf" in str(rule.get("match")) for rule in rules):
            yield f"{entry.name} knows no attack"
        if len({rule.get("priority") for rule in rules}) != len(rules):
            yield f"{entry.name} has two rules of one priority"


def tls_is_modern(graph: Graph) -> Iterator[str]:
    """TLS 1.2 at least, on every proxy, and no proxy without TLS."""
    policies = {
        entry.name
        for entry in graph.of("compute/SSLPolicy")
        if entry.get("minTlsVersion") in {"TLS_1_2", "TLS_1_3"} and entry.get("profile") in {"MODERN", "RESTRICTED"}
    }
    yield from (f"{entry.name} allows old TLS" for entry in graph.of("compute/SSLPolicy") if entry.name not in policies)
    yield from (
        f"{entry.name} has no policy" for entry in graph.of("compute/TargetHttpsProxy") if not entry.get("sslPolicy")
    )
    yield from (f"{entry.name} speaks plain HTTP" for entry in graph.of("compute/TargetHttpProxy"))


def only_https_is_open(graph: Graph) -> Iterator[str]:
    """The load balancer has one door."""
    for entry in graph.of("compute/GlobalForwardingRule", "compute/ForwardingRule"):
        if entry.get("portRange") != "443":
            yield f"{entry.name} opens {entry.get('portRange')}"


def firewall_denies_by_default(graph: Graph) -> Iterator[str]:
    """Inside the network only named paths exist, and nothing comes in from the internet."""
    walls = list(graph.of("compute/Firewall"))
    denying = [entry for entry in walls if entry.get("denies") and entry.get("direction") == "EGRESS"]
    if not any("0.0.0.0/0" in (entry.get("destinationRanges") or []) for entry in denying):
        yield "no rule denies egress by default"
    for entry in walls:
        if (
            entry.get("allows")
            and entry.get("direction") != "EGRESS"
            and "0.0.0.0/0" in (entry.get("sourceRanges") or [])
        ):
            yield f"{entry.name} lets the internet in"
        if entry.get("allows") and not (entry.get("targetTags") or entry.get("targetServiceAccounts")):
            yield f"{entry.name} is for everything in the network"


def networks_are_ours(graph: Graph) -> Iterator[str]:
    """No automatic subnets in every region of the world; ours reach Google privately and are logged."""
    yield from (
        f"{entry.name} makes subnets by itself"
        for entry in graph.of("compute/Network")
        if entry.get("autoCreateSubnetworks") is not False
    )
    for entry in graph.of("compute/Subnetwork"):
        if not entry.get("privateIpGoogleAccess") or not entry.get("logConfig"):
            yield f"{entry.name} has no private access to Google, or no flow logs"


def egress_is_tagged(graph: Graph) -> Iterator[str]:
    """Who enters the network says what for, or the firewall cannot tell."""
    known = {tag for entry in graph.of("compute/Firewall") for tag in entry.get("targetTags") or []}
    for entry in graph.of("cloudrunv2/Service", "cloudrunv2/Job"):
        access = entry.get("template.vpcAccess") or entry.get("template.template.vpcAccess")
        if access is None:
            continue
        tags = set(access["networkInterfaces"][0].get("tags") or [])
        if not tags or not tags <= known:
            yield f"{entry.name} enters the network with {sorted(tags)}"
        if access.get("egress") != "PRIVATE_RANGES_ONLY":
            yield f"{entry.name} sends {access.get('egress')} through the network"


def the_blackboard_is_encrypted(graph: Graph) -> Iterator[str]:
    """What agents share about people travels encrypted."""
    for entry in graph.of("memorystore/Instance"):
        if entry.get("transitEncryptionMode") != "SERVER_AUTHENTICATION":
            yield f"{entry.name} speaks in clear"
    for entry in graph.of("cloudrunv2/Service", "cloudrunv2/Job"):
        for variable in find_variables(entry):
            if str(variable.get("value")).startswith(("redis://", "bolt://", "neo4j://", "http://")):
                yield f"{entry.name} is told an unencrypted address in {variable.get('name')}"


def profiles_are_closed(graph: Graph) -> Iterator[str]:
    """Firestore's rules end in a refusal, and no line lets everybody in."""
    released = False
    for entry in graph.of("firebaserules/Ruleset"):
        released = True
        text = re.sub(r"//[^\n]*", "", str(entry.get("source.files.0.content")))
        if re.search(r"if\s+true|allow[^:;]*;", text):
            yield f"{entry.name} lets everybody in"
        if not re.search(r"match /\{document=\*\*\}\s*\{\s*allow read, write: if false;", text):
            yield f"{entry.name} does not refuse the rest"
    if not released or not list(graph.of("firebaserules/Release")):
        yield "Firestore has no rules"


def sign_in_is_narrow(graph: Graph) -> Iterator[str]:
    """No passwords of ours to lose, no accounts for nobody, no developer's machine as a place to sign in from."""
    for entry in graph.of("identityplatform/Config"):
        if entry.get("signIn.email.enabled") is not False or entry.get("signIn.anonymous.enabled") is not False:
            yield f"{entry.name} takes passwords or strangers"
        if "localhost" in (entry.get("authorizedDomains") or ["localhost"]):
            yield f"{entry.name} trusts localhost"


def read_openapi(entry: Resource) -> dict[str, Any]:
    """The document of an API Gateway configuration."""
    return json.loads(base64.b64decode(entry.get("openapiDocuments.0.document.contents")))


def keyed_requests_are_counted(graph: Graph) -> Iterator[str]:
    """Before a keyed function every request carries a key and costs quota, and what is not listed does not pass."""
    for entry in graph.of("apigateway/ApiConfig"):
        document = read_openapi(entry)
        keys = {name for name, kind in document.get("securityDefinitions", {}).items() if kind.get("type") == "apiKey"}
        limits = document.get("x-google-management", {}).get("quota", {}).get("limits", [])
        limited = {limit["metric"] for limit in limits if limit["values"]["STANDARD"] > 0}
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                demanded = {name for part in operation.get("security", []) for name in part}
                if not demanded or not demanded <= keys:
                    yield f"{entry.name} lets {method} {path} in without a key"
                if not limited & operation.get("x-google-quota", {}).get("metricCosts", {}).keys():
                    yield f"{entry.name} does not count {method} {path}"
        if not str(document.get("x-google-backend", {}).get("address")).startswith("https://"):
            yield f"{entry.name} goes on in clear"


def gates_hold_no_right(graph: Graph) -> Iterator[str]:
    """API Gateway passes its callers' identity on; one of its own could be borrowed by everybody with a key."""
    gates = {
        f"serviceAccount:{entry.get('accountId')}@{graph.project}.iam.gserviceaccount.com"
        for entry in graph.of("serviceaccount/Account")
        if str(entry.get("accountId")).startswith("gate-")
    }
    known = {member.partition(":")[2] for member in gates}
    for entry in graph.of("apigateway/ApiConfig"):
        if entry.get("gatewayConfig.backendConfig.googleServiceAccount") not in known:
            yield f"{entry.name} runs as the project's default account"
    yield from (f"{entry.name} gives a gate a right" for entry in find_grants(graph) if entry.get("member") in gates)


def clients_cannot_claim_a_place(graph: Graph) -> Iterator[str]:
    """The load balancer overwrites the headers that say where a client is; one that it leaves alone is the client's word."""
    for entry in graph.of("compute/BackendService"):
        given = {str(line).partition(":")[2] for line in entry.get("customRequestHeaders") or []}
        if not {"{client_region}", "{client_city}", "{client_city_lat_long}"} <= given:
            yield f"{entry.name} passes on where clients say that they are"


def machines_are_private(graph: Graph) -> Iterator[str]:
    """A machine has no public address, an account of its own, and starts nothing that was not signed."""
    for entry in graph.of("compute/Instance"):
        interfaces: list[dict[str, Any]] = entry.get("networkInterfaces") or []
        if any(part.get("accessConfigs") or part.get("ipv6AccessConfigs") for part in interfaces):
            yield f"{entry.name} has a public address"
        if not str(entry.get("serviceAccount.email")).startswith("vm-"):
            yield f"{entry.name} runs as {entry.get('serviceAccount.email')}"
        if not entry.get("shieldedInstanceConfig.enableSecureBoot"):
            yield f"{entry.name} starts anything"
        if entry.get("metadata.block-project-ssh-keys") != "TRUE":
            yield f"{entry.name} takes every key of the project"


RULES = (
    machines_are_private,
    keyed_requests_are_counted,
    gates_hold_no_right,
    clients_cannot_claim_a_place,
    sign_in_is_narrow,
    public_only_behind_armor,
    functions_are_not_on_the_internet,
    buckets_are_private,
    armor_stands_before_backends,
    armor_limits_rates,
    tls_is_modern,
    only_https_is_open,
    firewall_denies_by_default,
    networks_are_ours,
    egress_is_tagged,
    the_blackboard_is_encrypted,
    profiles_are_closed,
)
