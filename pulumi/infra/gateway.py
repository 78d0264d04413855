"""The way in from the internet: TLS 1.2 or newer, Cloud Armor before every request, then the topology's public functions.

Each public function has its own host name, `<function>.<domain>`. Port 80 is not open at all: a client that posts its
key in clear text must fail at once rather than be redirected after it has sent the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.settings import Place
from schemas.topology import Function

_LAST_PRIORITY = 2_147_483_647  # Cloud Armor's own default rule


@dataclass(frozen=True, kw_only=True)
class GatewayArgs:
    """`functions` are the public ones; without any there is nothing to build."""

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
            raise ValueError("the topology has no public function: leave the gateway out")
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        self.hosts = {function.name: f"{function.name}.{args.domain}" for function in args.functions}
        self.address = gcp.compute.GlobalAddress(
            "gateway-address",
            name="argo-gateway",
            project=args.place.project,
            labels=args.place.labels,
            opts=self._child,
        )
        self._policy = self._make_policy()
        self._open(self._make_routes({entry.name: self._make_backend(entry) for entry in args.functions}))
        self.register_outputs({"address": self.address.address})

    def _make_policy(self) -> gcp.compute.SecurityPolicy:
        rate = gcp.compute.SecurityPolicyRuleRateLimitOptionsArgs(
            conform_action="allow",
            exceed_action="deny(429)",
            enforce_on_key="IP",
            rate_limit_threshold=gcp.compute.SecurityPolicyRuleRateLimitOptionsRateLimitThresholdArgs(
                count=self._args.requests_per_minute_per_ip, interval_sec=60
            ),
        )
        everybody = gcp.compute.SecurityPolicyRuleMatchArgs(
            versioned_expr="SRC_IPS_V1",
            config=gcp.compute.SecurityPolicyRuleMatchConfigArgs(src_ip_ranges=["*"]),
        )
        # Signatures of scanners and of broken HTTP only: those of SQL or scripts would refuse honest events that quote
        # a page's text, and nothing behind this reads a body as SQL or HTML.
        signatures = [
            _make_signature(100 + index, name)
            for index, name in enumerate(("scannerdetection-v33-stable", "protocolattack-v33-stable"))
        ]
        return gcp.compute.SecurityPolicy(
            "gateway-armor",
            name="argo-gateway",
            project=self._args.place.project,
            description="Before every public function",
            type="CLOUD_ARMOR",
            adaptive_protection_config=gcp.compute.SecurityPolicyAdaptiveProtectionConfigArgs(
                layer7_ddos_defense_config=gcp.compute.SecurityPolicyAdaptiveProtectionConfigLayer7DdosDefenseConfigArgs(
                    enable=True
                )
            ),
            rules=[
                *signatures,
                gcp.compute.SecurityPolicyRuleArgs(
                    action="throttle",
                    priority=1000,
                    description="So many requests a minute from one address",
                    match=everybody,
                    rate_limit_options=rate,
                ),
                gcp.compute.SecurityPolicyRuleArgs(
                    action="allow", priority=_LAST_PRIORITY, description="Everything else", match=everybody
                ),
            ],
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
            security_policy=self._policy.id,
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


def _make_signature(priority: int, name: str) -> gcp.compute.SecurityPolicyRuleArgs:
    expression = f"evaluatePreconfiguredWaf('{name}', {{'sensitivity': 1}})"
    return gcp.compute.SecurityPolicyRuleArgs(
        action="deny(403)",
        priority=priority,
        description=name,
        match=gcp.compute.SecurityPolicyRuleMatchArgs(
            expr=gcp.compute.SecurityPolicyRuleMatchExprArgs(expression=expression)
        ),
    )
