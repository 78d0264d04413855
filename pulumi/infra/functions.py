"""Cloud Run services: one image, deployed once per function of the topology under the function's own name.

Owns what a function is told through its environment (the laptop's variables, with real addresses; only those that the
function's own stores and calls need) and what it may use of CPU, memory and network. Secrets are not in here: the code
reads them from Secret Manager, by grants of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.apigateway import Door
from infra.naming import audience_variable, function_host, url_variable
from infra.network import BLACKBOARD_TAG, CALLS_TAG, GRAPH_TAG, Network
from infra.settings import Place, StackSettings
from schemas.topology import Function, Job

Environment = dict[str, pulumi.Input[str]]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What every function and job of a stack shares. `doors`: the keyed functions behind API Gateway.
    `graph`: the address of a Neo4j inside the network; without one the settings' own."""

    place: Place
    settings: StackSettings
    dataset: str
    image: str
    network: Network
    redis_url: pulumi.Output[str]
    doors: Mapping[str, Door]
    graph: pulumi.Output[str] | None = None


@dataclass(frozen=True, kw_only=True)
class FunctionArgs:
    """`addresses`: the URL of each function that this one calls. `clients`: who from outside calls it as a service."""

    around: Surroundings
    function: Function
    account: gcp.serviceaccount.Account
    addresses: Mapping[str, pulumi.Output[str]]
    clients: Sequence[gcp.serviceaccount.Account] = ()


class FunctionService(pulumi.ComponentResource):
    """One function, deployed."""

    def __init__(self, name: str, args: FunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:functions:FunctionService", name, None, opts)
        around, function = args.around, args.function
        self.service = gcp.cloudrunv2.Service(
            function.name,
            name=function.name,  # K_SERVICE, by which the code finds itself in the topology
            project=around.place.project,
            location=around.place.region,
            description=function.description,
            ingress=choose_ingress(function, behind=function.name in around.doors),
            custom_audiences=[around.doors[function.name].audience] if function.name in around.doors else None,
            deletion_protection=around.settings.protect_data,
            labels={**around.place.labels, "function": function.name},
            template=_make_template(args),
            # Who gets requests is the canary's business (delivery/canary.py), not a deployment's.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["traffics"]),
        )
        self.register_outputs({"uri": self.service.uri})


def choose_ingress(function: Function, *, behind: bool) -> str:
    """Public functions, and those behind API Gateway, only through the load balancer, because API Gateway does not count
    as inside; all others only from inside, which Pub/Sub's push counts as
    (https://cloud.google.com/run/docs/securing/ingress)."""
    return f"INGRESS_TRAFFIC_INTERNAL_{'LOAD_BALANCER' if function.public or behind else 'ONLY'}"


def describe_environment(
    around: Surroundings, access: Function | Job, addresses: Mapping[str, pulumi.Output[str]]
) -> Environment:
    """The variables of a function or job, by what it uses."""
    settings, stores = around.settings, set(access.stores)
    variables: Environment = {"GOOGLE_CLOUD_PROJECT": around.place.project, "ARGO_DATASET": around.dataset}
    if "graph" in stores:
        variables |= {
            "NEO4J_URI": around.graph or settings.neo4j_uri,
            "NEO4J_USERNAME": settings.neo4j_username,
            "NEO4J_DATABASE": settings.neo4j_database,
        }
    if "blackboard" in stores:
        variables["REDIS_URL"] = around.redis_url
    if "mail" in stores:
        variables |= {"SMTP_HOST": settings.smtp_host, "SMTP_PORT": str(settings.smtp_port)}
        # The links in a message lead to the public function of this name, from outside as everybody's.
        variables["ARGO_MESSAGE_LINKS"] = f"https://{function_host('links', settings.domain)}"
    if "models" in stores:
        variables |= {
            "GOOGLE_CLOUD_LOCATION": settings.vertex_location,
            "ARGO_DEFAULT_MODEL": settings.default_model,
        }
    if isinstance(access, Function) and access.public:
        variables["ARGO_BEHIND_LOAD_BALANCER"] = "true"
        variables["ARGO_AUDIENCE"] = f"https://{function_host(access.name, settings.domain)}"
        if settings.geoip_file:
            variables["ARGO_GEOIP_FILE"] = settings.geoip_file
    variables |= {url_variable(name): addresses[name] for name in access.calls}
    variables |= {audience_variable(name): door.audience for name, door in around.doors.items() if name in access.calls}
    return variables


def choose_tags(around: Surroundings, access: Function | Job) -> list[str]:
    """The network tags of a function or job: none means that it stays out of the network. API Gateway is outside of it."""
    needed = {
        BLACKBOARD_TAG: "blackboard" in access.stores,
        GRAPH_TAG: around.graph is not None and "graph" in access.stores,
        CALLS_TAG: bool(set(access.calls) - around.doors.keys()),
    }
    tags = [tag for tag, is_needed in needed.items() if is_needed]
    # With a machine in the network, Google's names lead through it (network.py), for whoever is in it.
    return sorted({*tags, CALLS_TAG}) if tags and around.graph is not None else tags


def _make_template(args: FunctionArgs) -> gcp.cloudrunv2.ServiceTemplateArgs:
    around, function = args.around, args.function
    return gcp.cloudrunv2.ServiceTemplateArgs(
        service_account=args.account.email,
        timeout=f"{function.timeout_seconds}s",
        max_instance_request_concurrency=function.concurrency,
        execution_environment="EXECUTION_ENVIRONMENT_GEN2",
        scaling=gcp.cloudrunv2.ServiceTemplateScalingArgs(
            # A person waits for a public function; nobody waits for the start of another.
            min_instance_count=around.settings.public_min_instances if function.public else 0,
            max_instance_count=function.max_instances,
        ),
        vpc_access=_make_network(around, function),
        containers=[_make_container(args)],
    )


def _make_container(args: FunctionArgs) -> gcp.cloudrunv2.ServiceTemplateContainerArgs:
    around, function = args.around, args.function
    variables = describe_environment(around, function, args.addresses)
    variables |= {"FUNCTION_TARGET": function.target, "FUNCTION_SOURCE": "functions/main.py"}
    if args.clients:
        emails = [client.email for client in args.clients]
        variables["ARGO_TRUSTED_CALLERS"] = pulumi.Output.all(*emails).apply(",".join)
    return gcp.cloudrunv2.ServiceTemplateContainerArgs(
        image=around.image,
        ports=gcp.cloudrunv2.ServiceTemplateContainerPortsArgs(container_port=8080),
        envs=[
            gcp.cloudrunv2.ServiceTemplateContainerEnvArgs(name=name, value=value)
            for name, value in sorted(variables.items(), key=lambda pair: pair[0])
        ],
        resources=gcp.cloudrunv2.ServiceTemplateContainerResourcesArgs(
            limits={"cpu": str(function.cpu), "memory": f"{function.memory_mib}Mi"},
            cpu_idle=True,  # billed by request
            startup_cpu_boost=True,
        ),
        startup_probe=gcp.cloudrunv2.ServiceTemplateContainerStartupProbeArgs(
            tcp_socket=gcp.cloudrunv2.ServiceTemplateContainerStartupProbeTcpSocketArgs(port=8080),
            period_seconds=1,
            timeout_seconds=1,
            failure_threshold=30,
        ),
    )


def _make_network(around: Surroundings, function: Function) -> gcp.cloudrunv2.ServiceTemplateVpcAccessArgs | None:
    network, tags = around.network, choose_tags(around, function)
    if not tags:
        return None
    interface = gcp.cloudrunv2.ServiceTemplateVpcAccessNetworkInterfaceArgs(
        network=network.network.name, subnetwork=network.subnet.name, tags=tags
    )
    return gcp.cloudrunv2.ServiceTemplateVpcAccessArgs(egress="PRIVATE_RANGES_ONLY", network_interfaces=[interface])
