"""Service accounts: one per function and job, one per pushed function for Pub/Sub, one per job that has a schedule, one per
client from outside.

No account has a key, and none has a right of its own here: `grants.py`, `subscriptions.py` and `jobs.py` give those.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.access import find_pushed
from infra.naming import account_id
from infra.settings import Place
from schemas.topology import Topology


@dataclass(frozen=True, kw_only=True)
class IdentitiesArgs:
    """`topology` names the functions and jobs."""

    place: Place
    topology: Topology


class Identities(pulumi.ComponentResource):
    """Accounts by the name of their function or job: who it is, who pushes to it, who starts it."""

    def __init__(self, name: str, args: IdentitiesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:identities:Identities", name, None, opts)
        self._args = args
        topology = args.topology
        functions = {entry.name: self._make("fn", entry.name, "is the function") for entry in topology.functions}
        jobs = {entry.name: self._make("job", entry.name, "is the job") for entry in topology.jobs}
        self.own = functions | jobs
        self.pushers = {name: self._make("push", name, "delivers messages to") for name in find_pushed(topology)}
        self.starters = {
            entry.name: self._make("start", entry.name, "starts the job") for entry in topology.jobs if entry.schedule
        }
        self.clients = {
            entry.name: self._make("client", entry.name, "calls from outside as") for entry in topology.clients
        }
        self.register_outputs({})

    def _make(self, prefix: str, name: str, does: str) -> gcp.serviceaccount.Account:
        return gcp.serviceaccount.Account(
            f"account-{prefix}-{name}",
            account_id=account_id(prefix, name),
            project=self._args.place.project,
            display_name=f"{prefix} {name}",
            description=f"{does} {name}",
            opts=pulumi.ResourceOptions(parent=self),
        )
