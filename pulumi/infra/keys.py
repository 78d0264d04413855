"""Customer-managed keys: one per kind of store, so that losing or turning one off touches nothing else.

Each key may be used only by the agent of the service that stores the data. Cloud Run's images hold no customer data
and stay with Google's keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import pulumi
import pulumi_gcp as gcp

from infra.settings import Place


class Sealed(StrEnum):
    """A kind of store that gets its own key; the value is also its service agent's name."""

    BIGQUERY = "bigquery"
    COMPUTE = "compute"
    FIRESTORE = "firestore"
    MEMORYSTORE = "memorystore"
    PUBSUB = "pubsub"
    SECRETS = "secretmanager"
    STORAGE = "storage"


@dataclass(frozen=True, kw_only=True)
class KeysArgs:
    """`agents`: service -> member that encrypts in its name; a store whose service has none is not in the stack."""

    place: Place
    agents: Mapping[str, pulumi.Output[str]]


class Keys(pulumi.ComponentResource):
    """A key ring in the stack's region, and a rotating key per store."""

    def __init__(self, name: str, args: KeysArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:keys:Keys", name, None, opts)
        self._ring = gcp.kms.KeyRing(
            "keys",
            name="argo",
            location=args.place.region,
            project=args.place.project,
            opts=pulumi.ResourceOptions(parent=self, protect=True),  # a key ring can never be deleted, only forgotten
        )
        self._keys = {store: self._make_key(store, args) for store in Sealed if store in args.agents}
        self.register_outputs({})

    def find(self, store: Sealed) -> pulumi.Output[str]:
        """The key's resource name, known only once its store's agent may use it."""
        return self._keys[store]

    def _make_key(self, store: Sealed, args: KeysArgs) -> pulumi.Output[str]:
        key = gcp.kms.CryptoKey(
            f"key-{store}",
            name=store,
            key_ring=self._ring.id,
            purpose="ENCRYPT_DECRYPT",
            rotation_period=f"{90 * 86_400}s",
            destroy_scheduled_duration=f"{30 * 86_400}s",  # a month to notice that data became unreadable
            labels=args.place.labels,
            opts=pulumi.ResourceOptions(parent=self, protect=True),
        )
        grant = gcp.kms.CryptoKeyIAMMember(
            f"key-{store}-agent",
            crypto_key_id=key.id,
            role="roles/cloudkms.cryptoKeyEncrypterDecrypter",
            member=args.agents[store],
            opts=pulumi.ResourceOptions(parent=self),
        )
        # Through the grant, so that whoever uses the key waits for it.
        return pulumi.Output.all(key.id, grant.id).apply(lambda ids: str(ids[0]))
