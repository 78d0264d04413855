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
_EGRESS_RANGE = "10.8.0.0/24"  # Direct VPC egress wants /26 or larger, and holds several addresses per instance
_ENDPOINT_RANGE = "10.8.1.0/28"
# private.googleapis.com (https://cloud.google.com/vpc/docs/configure-private-google-access#config-options). Cloud Run
# sends this range through the network even when only private ranges go there, and a request that arrives by it counts
# as internal.
GOOGLE_ADDRESSES = ["199.36.153.8", "199.36.153.9", "199.36.153.10", "199.36.153.11"]
_GOOGLE_RANGE = "199.36.153.8/30"


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """`place` says where."""

    place: Place


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
        self._make_names()
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
            gcp.compute.Firewall(
                f"allow-{name}",
                name=f"argo-allow-{name}",
                project=place.project,
                network=self.network.id,
                direction="EGRESS",
                priority=1000,
                target_tags=[tag],
                destination_ranges=[addresses],
                allows=[gcp.compute.FirewallAllowArgs(protocol="tcp", ports=ports)],
                opts=child,
            )

    def _make_names(self) -> None:
        """`*.run.app` inside the network is Google's private range, so that functions may call internal functions."""
        zone = gcp.dns.ManagedZone(
            "run-app",
            name="argo-run-app",
            project=self._args.place.project,
            dns_name="run.app.",
            description="Functions call functions without leaving Google's network",
            visibility="private",
            private_visibility_config=gcp.dns.ManagedZonePrivateVisibilityConfigArgs(
                networks=[gcp.dns.ManagedZonePrivateVisibilityConfigNetworkArgs(network_url=self.network.id)]
            ),
            labels=self._args.place.labels,
            opts=pulumi.ResourceOptions(parent=self),
        )
        gcp.dns.RecordSet(
            "run-app-addresses",
            name="*.run.app.",
            project=self._args.place.project,
            managed_zone=zone.name,
            type="A",
            ttl=300,
            rrdatas=GOOGLE_ADDRESSES,
            opts=pulumi.ResourceOptions(parent=self),
        )
