"""The perimeter: inside it projects may use each other's data services, from outside only the named operators may.

A stack of its own, because it belongs to the organisation and not to any project. It begins as a dry run, which refuses
nothing and logs what it would refuse; public functions are not data services and stay reachable either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

# What holds customers' data, or hands it on. Cloud Run's own API is not among them: it serves, and holds nothing.
RESTRICTED = (
    "aiplatform.googleapis.com",
    "artifactregistry.googleapis.com",
    "bigquery.googleapis.com",
    "cloudkms.googleapis.com",
    "compute.googleapis.com",  # disks and snapshots of a self-run Neo4j
    "firestore.googleapis.com",
    "logging.googleapis.com",
    "pubsub.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
)


@dataclass(frozen=True, kw_only=True)
class PerimeterArgs:
    """`operators` are members; `enforced` turns the dry run into a wall."""

    access_policy: str
    project_numbers: Sequence[str]
    operators: Sequence[str]
    enforced: bool = False


class Perimeter(pulumi.ComponentResource):
    """One perimeter, and the level by which operators pass it."""

    def __init__(self, name: str, args: PerimeterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:perimeter:Perimeter", name, None, opts)
        if not args.project_numbers or not all(number.isdigit() for number in args.project_numbers):
            raise ValueError(f"project_numbers must be numbers, not ids: {list(args.project_numbers)}")
        if not args.operators:
            raise ValueError("without an operator nobody could repair anything from outside")
        policy = f"accessPolicies/{args.access_policy}"
        level = gcp.accesscontextmanager.AccessLevel(
            "operators",
            name=f"{policy}/accessLevels/argo_operators",
            parent=policy,
            title="ARGO's operators",
            basic=gcp.accesscontextmanager.AccessLevelBasicArgs(
                conditions=[gcp.accesscontextmanager.AccessLevelBasicConditionArgs(members=list(args.operators))]
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        resources = [f"projects/{number}" for number in args.project_numbers]
        dry_run = gcp.accesscontextmanager.ServicePerimeterSpecArgs(
            resources=resources, restricted_services=list(RESTRICTED), access_levels=[level.name]
        )
        wall = gcp.accesscontextmanager.ServicePerimeterStatusArgs(
            resources=resources, restricted_services=list(RESTRICTED), access_levels=[level.name]
        )
        gcp.accesscontextmanager.ServicePerimeter(
            "perimeter",
            name=f"{policy}/servicePerimeters/argo",
            parent=policy,
            title="ARGO",
            perimeter_type="PERIMETER_TYPE_REGULAR",
            use_explicit_dry_run_spec=not args.enforced,
            spec=None if args.enforced else dry_run,
            status=wall if args.enforced else None,
            opts=pulumi.ResourceOptions(parent=self, protect=True),
        )
        self.register_outputs({})
