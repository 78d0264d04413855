"""The blackboard: Memorystore for Valkey, reached only from inside the network and only encrypted.

It has no password: who may reach it is decided by the network (`network.py`: the tag that only functions with the
store `blackboard` carry). Its content is never the only copy of a fact, so it is neither persisted nor backed up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import pulumi
import pulumi_gcp as gcp

from infra.network import Network
from infra.settings import Place


@dataclass(frozen=True, kw_only=True)
class BlackboardArgs:
    """`replicas` of 1 and more survive the loss of a zone."""

    place: Place
    network: Network
    node_type: str
    replicas: int
    key: pulumi.Output[str] | None
    protect: bool


class Blackboard(pulumi.ComponentResource):
    """One instance; `url` is what the variable REDIS_URL holds."""

    def __init__(self, name: str, args: BlackboardArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:blackboard:Blackboard", name, None, opts)
        self.instance = gcp.memorystore.Instance(
            "blackboard",
            instance_id="argo-blackboard",
            project=args.place.project,
            location=args.place.region,
            mode="CLUSTER_DISABLED",  # the code speaks to one server, as on the laptop
            shard_count=1,
            replica_count=args.replicas,
            node_type=args.node_type,
            engine_version="VALKEY_8_0",
            engine_configs={"maxmemory-policy": "volatile-ttl"},  # every key has a TTL; the nearest one goes first
            transit_encryption_mode="SERVER_AUTHENTICATION",
            authorization_mode="AUTH_DISABLED",
            kms_key=args.key,
            desired_auto_created_endpoints=[
                gcp.memorystore.InstanceDesiredAutoCreatedEndpointArgs(
                    network=args.network.network.id, project_id=args.place.project
                )
            ],
            deletion_protection_enabled=args.protect,
            labels=args.place.labels,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[args.network.connection_policy]),
        )
        # Not Output.all: it turns the SDK's types into plain dicts.
        self.url = self.instance.endpoints.apply(
            lambda endpoints: self.instance.managed_server_cas.apply(
                lambda authorities: _write_url(endpoints, authorities)
            )
        )
        self.register_outputs({"url": self.url})


def _write_url(
    endpoints: Sequence[gcp.memorystore.outputs.InstanceEndpoint],
    authorities: Sequence[gcp.memorystore.outputs.InstanceManagedServerCa],
) -> str:
    """The address with the instance's own certificate authority, in the form that `redis.Redis.from_url` reads.

    That authority signs this one instance and nothing else, so the chain alone proves the server; its name is an
    address that the certificate need not carry.
    """
    addresses = [
        connection.psc_auto_connection
        for endpoint in endpoints
        for connection in endpoint.connections or []
        if connection.psc_auto_connection
    ]
    primary = next(
        (address for address in addresses if address.connection_type == "CONNECTION_TYPE_PRIMARY"), addresses[0]
    )
    certificates = [
        text for authority in authorities for entry in authority.ca_certs or [] for text in entry.certificates or []
    ]
    trust = quote("\n".join(certificates), safe="")
    return f"rediss://{primary.ip_address}:{primary.port or 6379}/0?ssl_check_hostname=false&ssl_ca_data={trust}"
