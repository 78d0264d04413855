"""The network: one subnet for functions' egress, one for private endpoints, and who may reach what inside it.

Only functions that use the blackboard or call another function enter the network at all; everything else reaches
Google's APIs and the internet directly from Cloud Run. Nothing in here has a public address, so there is no NAT.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.settings import Place

BLACKBOARD_TAG = "argo-blackboard"
CALLS_TAG = "argo-calls"
GRAPH_TAG = "argo-graph"
MACHINE_TAG = "argo-neo4j"
_EGRESS_RANGE = "10.8.0.0/24"  # Direct VPC egress wants /26 or larger, and holds several addresses per instance
_ENDPOINT_RANGE = "10.8.1.0/28"
_GRAPH_RANGE = "10.8.2.0/28"
# private.googleapis.com (https://cloud.google.com/vpc/docs/configure-private-google-access#config-options). Cloud Run
# sends this range through the network even when only private ranges go there, and a request that arrives by it counts
# as internal.
GOOGLE_ADDRESSES = ["199.36.153.8", "199.36.153.9", "199.36.153.10", "199.36.153.11"]
_GOOGLE_RANGE = "199.36.153.8/30"


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """`machine`: Neo4j runs in here as well (`machine.py`)."""

    place: Place
    machine: bool = False


class Network(pulumi.ComponentResource):
    """A VPC that denies what it does not name."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:network:Network", name, None, opts)
        self._args = args
        self.network = gcp.compute.Network(
            "network",
            name="argo",
            project=args.place.project,
            auto_create_subnetworks=False,
            delete_default_routes_on_create=False,  # Private Google Access travels by the default route
            routing_mode="REGIONAL",
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.subnet = self._make_subnet("egress", _EGRESS_RANGE)
        self._endpoints = self._make_subnet("endpoints", _ENDPOINT_RANGE)
        self.connection_policy = gcp.networkconnectivity.ServiceConnectionPolicy(
            "memorystore-connections",
            name="argo-memorystore",
            location=args.place.region,
            project=args.place.project,
            service_class="gcp-memorystore",
            network=self.network.id,
            labels=args.place.labels,
            psc_config=gcp.networkconnectivity.ServiceConnectionPolicyPscConfigArgs(subnetworks=[self._endpoints.id]),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self._make_firewall()
        self._make_names("run-app", "run.app.", "Functions call functions without leaving Google's network")
        if args.machine:
            self._admit_machine()
        self.register_outputs({})

    def _make_subnet(self, name: str, addresses: str) -> gcp.compute.Subnetwork:
        return gcp.compute.Subnetwork(
            f"subnet-{name}",
            name=f"argo-{name}",
            project=self._args.place.project,
            region=self._args.place.region,
            network=self.network.id,
            ip_cidr_range=addresses,
            private_ip_google_access=True,
            log_config=gcp.compute.SubnetworkLogConfigArgs(
                aggregation_interval="INTERVAL_10_MIN", flow_sampling=0.1, metadata="EXCLUDE_ALL_METADATA"
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _make_firewall(self) -> None:
        place, child = self._args.place, pulumi.ResourceOptions(parent=self)
        gcp.compute.Firewall(
            "deny-egress",
            name="argo-deny-egress",
            project=place.project,
            network=self.network.id,
            direction="EGRESS",
            priority=65_000,
            destination_ranges=["0.0.0.0/0"],
            denies=[gcp.compute.FirewallDenyArgs(protocol="all")],
            log_config=gcp.compute.FirewallLogConfigArgs(metadata="INCLUDE_ALL_METADATA"),
            opts=child,
        )
        for name, tag, addresses, ports in (
            ("blackboard", BLACKBOARD_TAG, _ENDPOINT_RANGE, ["6379"]),
            ("calls", CALLS_TAG, _GOOGLE_RANGE, ["443"]),
        ):
            self._let_out(name, tag, addresses, ports)

    def _let_out(self, name: str, tag: str, addresses: str, ports: list[str]) -> None:
        gcp.compute.Firewall(
            f"allow-{name}",
            name=f"argo-allow-{name}",
            project=self._args.place.project,
            network=self.network.id,
            direction="EGRESS",
            priority=1000,
            target_tags=[tag],
            destination_ranges=[addresses],
            allows=[gcp.compute.FirewallAllowArgs(protocol="tcp", ports=ports)],
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _admit_machine(self) -> None:
        """A subnet for Neo4j's machine: functions with the graph reach its one port, and it reaches Google only."""
        self.graph_subnet = self._make_subnet("graph", _GRAPH_RANGE)
        self._let_out("graph", GRAPH_TAG, _GRAPH_RANGE, ["7687"])
        self._let_out("machine", MACHINE_TAG, _GOOGLE_RANGE, ["443"])
        gcp.compute.Firewall(
            "admit-graph",
            name="argo-admit-graph",
            project=self._args.place.project,
            network=self.network.id,
            direction="INGRESS",
            priority=1000,
            source_ranges=[_EGRESS_RANGE],
            target_tags=[MACHINE_TAG],
            allows=[gcp.compute.FirewallAllowArgs(protocol="tcp", ports=["7687"])],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self._make_names("pkg-dev", "pkg.dev.", "The machine pulls its image without leaving Google's network")
        self._make_names(
            "googleapis", "googleapis.com.", "The machine reads its password without leaving Google's network"
        )

    def _make_names(self, name: str, domain: str, why: str) -> None:
        """Every name of a domain of Google's, inside the network, is Google's private range."""
        zone = gcp.dns.ManagedZone(
            name,
            name=f"argo-{name}",
            project=self._args.place.project,
            dns_name=domain,
            description=why,
            visibility="private",
            private_visibility_config=gcp.dns.ManagedZonePrivateVisibilityConfigArgs(
                networks=[gcp.dns.ManagedZonePrivateVisibilityConfigNetworkArgs(network_url=self.network.id)]
            ),
            labels=self._args.place.labels,
            opts=pulumi.ResourceOptions(parent=self),
        )
        gcp.dns.RecordSet(
            f"{name}-addresses",
            name=f"*.{domain}",
            project=self._args.place.project,
            managed_zone=zone.name,
            type="A",
            ttl=300,
            rrdatas=GOOGLE_ADDRESSES,
            opts=pulumi.ResourceOptions(parent=self),
        )
