"""Secrets of the topology, without values: those are added by a person (`docs/operating.md`) and never pass through
the program, its state or its logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.settings import Place
from schemas.topology import Secret


@dataclass(frozen=True, kw_only=True)
class VaultArgs:
    """`key` encrypts the values; without one Google's own does."""

    place: Place
    secrets: Sequence[Secret]
    key: pulumi.Output[str] | None
    protect: bool


class Vault(pulumi.ComponentResource):
    """Every secret by name, kept in the region."""

    def __init__(self, name: str, args: VaultArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:vault:Vault", name, None, opts)
        sealed = (
            gcp.secretmanager.SecretReplicationUserManagedReplicaCustomerManagedEncryptionArgs(kms_key_name=args.key)
            if args.key
            else None
        )
        replica = gcp.secretmanager.SecretReplicationUserManagedReplicaArgs(
            location=args.place.region, customer_managed_encryption=sealed
        )
        replication = gcp.secretmanager.SecretReplicationArgs(
            user_managed=gcp.secretmanager.SecretReplicationUserManagedArgs(replicas=[replica])
        )
        self.secrets = {
            secret.name: gcp.secretmanager.Secret(
                f"secret-{secret.name}",
                secret_id=secret.name,
                project=args.place.project,
                replication=replication,
                version_destroy_ttl=f"{7 * 86_400}s",  # a destroyed version can be brought back for a week
                deletion_protection=args.protect,
                labels=args.place.labels,
                opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
            )
            for secret in args.secrets
        }
        # Off by default: without it nobody could say who has read a value that leaked.
        gcp.projects.IAMAuditConfig(
            "secret-reads",
            project=args.place.project,
            service="secretmanager.googleapis.com",
            audit_log_configs=[
                gcp.projects.IAMAuditConfigAuditLogConfigArgs(log_type=kind) for kind in ("DATA_READ", "DATA_WRITE")
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
