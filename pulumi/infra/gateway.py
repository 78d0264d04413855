"""The way in from the internet: TLS 1.2 or newer, Cloud Armor before every request, then the topology's public functions,
and the keyed ones, which only API Gateway and who holds a right on them can use (`apigateway.py`).

Each function has its own host name, `<function>.<domain>`. Port 80 is not open at all: a client that posts its
key in clear text must fail at once rather than be redirected after it has sent the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.armor import write_rules
from infra.naming import function_host
from infra.settings import Place
from schemas.headers import LOAD_BALANCER_HEADERS
from schemas.topology import Function


@dataclass(frozen=True, kw_only=True)
class GatewayArgs:
    """`functions` are the public and the keyed ones; without any there is nothing to build."""

    place: Place
    functions: Sequence[Function]
    services: Mapping[str, gcp.cloudrunv2.Service]
    domain: str
    requests_per_minute_per_ip: int


class Gateway(pulumi.ComponentResource):
    """One address; `hosts` are the names that must resolve to it."""

    def __init__(self, name: str, args: GatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:gateway:Gateway", name, None, opts)
        if not args.functions:
            raise ValueError("the topology has no public or keyed function: leave the gateway out")
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        self.hosts = {function.name: function_host(function.name, args.domain) for function in args.functions}
        self.address = gcp.compute.GlobalAddress(
            "gateway-address",
            name="argo-gateway",
            project=args.place.project,
            labels=args.place.labels,
            opts=self._child,
        )
        self._open(self._make_routes({entry.name: self._make_backend(entry) for entry in args.functions}))
        self.register_outputs({"address": self.address.address})

    def _make_policy(self, function: Function) -> gcp.compute.SecurityPolicy:
        """A keyed function's callers all come from API Gateway's few addresses: they are counted together."""
        limit = function.keyed.per_minute if function.keyed else self._args.requests_per_minute_per_ip
        return gcp.compute.SecurityPolicy(
            f"gateway-armor-{function.name}",
            name=f"argo-{function.name}",
            project=self._args.place.project,
            description=f"Before {function.name}",
            type="CLOUD_ARMOR",
            adaptive_protection_config=gcp.compute.SecurityPolicyAdaptiveProtectionConfigArgs(
                layer7_ddos_defense_config=gcp.compute.SecurityPolicyAdaptiveProtectionConfigLayer7DdosDefenseConfigArgs(
                    enable=True
                )
            ),
            rules=write_rules(limit, per_address=function.keyed is None),
            opts=self._child,
        )

    def _make_backend(self, function: Function) -> gcp.compute.BackendService:
        place = self._args.place
        group = gcp.compute.RegionNetworkEndpointGroup(
            f"gateway-group-{function.name}",
            name=f"argo-{function.name}",
            project=place.project,
            region=place.region,
            network_endpoint_type="SERVERLESS",
            cloud_run=gcp.compute.RegionNetworkEndpointGroupCloudRunArgs(
                service=self._args.services[function.name].name
            ),
            opts=self._child,
        )
        return gcp.compute.BackendService(
            f"gateway-backend-{function.name}",
            name=f"argo-{function.name}",
            project=place.project,
            load_balancing_scheme="EXTERNAL_MANAGED",
            protocol="HTTPS",
            security_policy=self._make_policy(function).id,
            custom_request_headers=[f"{name}:{value}" for name, value in LOAD_BALANCER_HEADERS.items()],
            log_config=gcp.compute.BackendServiceLogConfigArgs(enable=True, sample_rate=0.1),
            backends=[gcp.compute.BackendServiceBackendArgs(group=group.id)],
            opts=self._child,
        )

    def _make_routes(self, backends: Mapping[str, gcp.compute.BackendService]) -> gcp.compute.URLMap:
        return gcp.compute.URLMap(
            "gateway-routes",
            name="argo-gateway",
            project=self._args.place.project,
            default_service=next(iter(backends.values())).id,
            host_rules=[
                gcp.compute.URLMapHostRuleArgs(hosts=[host], path_matcher=name) for name, host in self.hosts.items()
            ],
            path_matchers=[
                gcp.compute.URLMapPathMatcherArgs(name=name, default_service=backend.id)
                for name, backend in backends.items()
            ],
            opts=self._child,
        )

    def _open(self, routes: gcp.compute.URLMap) -> None:
        project = self._args.place.project
        tls = gcp.compute.SSLPolicy(
            "gateway-tls",
            name="argo-gateway",
            project=project,
            min_tls_version="TLS_1_2",
            profile="MODERN",
            opts=self._child,
        )
        certificate = gcp.compute.ManagedSslCertificate(  # named by Pulumi: a new host is a new certificate beside it
            "gateway-certificate",
            project=project,
            managed=gcp.compute.ManagedSslCertificateManagedArgs(domains=sorted(self.hosts.values())),
            opts=self._child,
        )
        proxy = gcp.compute.TargetHttpsProxy(
            "gateway-proxy",
            name="argo-gateway",
            project=project,
            url_map=routes.id,
            ssl_certificates=[certificate.id],
            ssl_policy=tls.id,
            opts=self._child,
        )
        gcp.compute.GlobalForwardingRule(
            "gateway-door",
            name="argo-gateway",
            project=project,
            load_balancing_scheme="EXTERNAL_MANAGED",
            ip_address=self.address.id,
            ip_protocol="TCP",
            port_range="443",
            target=proxy.id,
            labels=self._args.place.labels,
            opts=self._child,
        )
