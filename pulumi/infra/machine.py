"""Neo4j on a machine of one's own: optional, off unless `argo:neo4j_self_run` says so. The usual way is a URI and a secret.

One machine without a public address, its data on a disk of its own with daily snapshots; a password from Secret Manager
at each start (`machine.sh`). It is one machine in one zone: when it is away, what needs the graph waits or goes on without.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_gcp as gcp

from infra.network import MACHINE_TAG, Network
from infra.settings import Place

SCRIPT = Path(__file__).with_name("machine.sh")
IMAGE = "library/neo4j:5.26.12-community"  # a long-term release; Docker Hub's, through the stack's own mirror
HEAP = "2g"
SNAPSHOT_DAYS = 14


@dataclass(frozen=True, kw_only=True)
class MachineArgs:
    """`password` is the secret that the machine reads; `key` encrypts its disk."""

    place: Place
    network: Network
    password: gcp.secretmanager.Secret
    machine_type: str
    disk_gib: int
    key: pulumi.Output[str] | None
    protect: bool


class Machine(pulumi.ComponentResource):
    """One machine; `uri` is what NEO4J_URI holds."""

    def __init__(self, name: str, args: MachineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:machine:Machine", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        self._zone = f"{args.place.region}-a"
        address = gcp.compute.Address(
            "neo4j-address",
            name="argo-neo4j",
            project=args.place.project,
            region=args.place.region,
            address_type="INTERNAL",
            subnetwork=args.network.graph_subnet.id,
            labels=args.place.labels,
            opts=self._child,
        )
        self._start(address, self._make_disk(), self._make_mirror())
        self.uri = pulumi.Output.concat("bolt+ssc://", address.address, ":7687")
        self.register_outputs({"uri": self.uri})

    def _make_disk(self) -> gcp.compute.Disk:
        args = self._args
        disk = gcp.compute.Disk(
            "neo4j-disk",
            name="argo-neo4j",
            project=args.place.project,
            zone=self._zone,
            type="pd-balanced",
            size=args.disk_gib,
            disk_encryption_key=gcp.compute.DiskDiskEncryptionKeyArgs(kms_key_self_link=args.key) if args.key else None,
            labels=args.place.labels,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        daily = gcp.compute.ResourcePolicySnapshotSchedulePolicyScheduleDailyScheduleArgs(
            days_in_cycle=1, start_time="18:00"
        )
        policy = gcp.compute.ResourcePolicy(
            "neo4j-snapshots",
            name="argo-neo4j",
            project=args.place.project,
            region=args.place.region,
            snapshot_schedule_policy=gcp.compute.ResourcePolicySnapshotSchedulePolicyArgs(
                schedule=gcp.compute.ResourcePolicySnapshotSchedulePolicyScheduleArgs(daily_schedule=daily),
                retention_policy=gcp.compute.ResourcePolicySnapshotSchedulePolicyRetentionPolicyArgs(
                    max_retention_days=SNAPSHOT_DAYS, on_source_disk_delete="KEEP_AUTO_SNAPSHOTS"
                ),
                snapshot_properties=gcp.compute.ResourcePolicySnapshotSchedulePolicySnapshotPropertiesArgs(
                    storage_locations=args.place.region, labels=args.place.labels
                ),
            ),
            opts=self._child,
        )
        gcp.compute.DiskResourcePolicyAttachment(
            "neo4j-disk-snapshots",
            name=policy.name,
            disk=disk.name,
            zone=self._zone,
            project=args.place.project,
            opts=self._child,
        )
        return disk

    def _make_mirror(self) -> gcp.artifactregistry.Repository:
        """Docker Hub through the registry: the machine has no way to the internet."""
        return gcp.artifactregistry.Repository(
            "neo4j-mirror",
            repository_id="docker-hub",
            project=self._args.place.project,
            location=self._args.place.region,
            format="DOCKER",
            mode="REMOTE_REPOSITORY",
            remote_repository_config=gcp.artifactregistry.RepositoryRemoteRepositoryConfigArgs(
                docker_repository=gcp.artifactregistry.RepositoryRemoteRepositoryConfigDockerRepositoryArgs(
                    public_repository="DOCKER_HUB"
                )
            ),
            labels=self._args.place.labels,
            opts=self._child,
        )

    def _make_account(self, mirror: gcp.artifactregistry.Repository) -> gcp.serviceaccount.Account:
        place = self._args.place
        account = gcp.serviceaccount.Account(
            "account-vm-neo4j",
            account_id="vm-neo4j",
            project=place.project,
            display_name="vm neo4j",
            description="Is the machine of Neo4j",
            opts=self._child,
        )
        gcp.secretmanager.SecretIamMember(
            "neo4j-reads-password",
            project=place.project,
            secret_id=self._args.password.secret_id,
            role="roles/secretmanager.secretAccessor",
            member=account.member,
            opts=self._child,
        )
        gcp.artifactregistry.RepositoryIamMember(
            "neo4j-reads-image",
            project=place.project,
            location=place.region,
            repository=mirror.name,
            role="roles/artifactregistry.reader",
            member=account.member,
            opts=self._child,
        )
        return account

    def _start(
        self, address: gcp.compute.Address, disk: gcp.compute.Disk, mirror: gcp.artifactregistry.Repository
    ) -> None:
        args, place = self._args, self._args.place
        image = f"{place.region}-docker.pkg.dev/{place.project}/docker-hub/{IMAGE}"
        gcp.compute.Instance(
            "neo4j",
            name="argo-neo4j",
            project=place.project,
            zone=self._zone,
            machine_type=args.machine_type,
            tags=[MACHINE_TAG],
            boot_disk=gcp.compute.InstanceBootDiskArgs(
                kms_key_self_link=args.key,
                initialize_params=gcp.compute.InstanceBootDiskInitializeParamsArgs(
                    image="projects/cos-cloud/global/images/family/cos-stable", size=20, type="pd-balanced"
                ),
            ),
            attached_disks=[gcp.compute.InstanceAttachedDiskArgs(source=disk.id, device_name="neo4j")],
            # No access_configs: that would be a public address.
            network_interfaces=[
                gcp.compute.InstanceNetworkInterfaceArgs(
                    subnetwork=args.network.graph_subnet.id, network_ip=address.address
                )
            ],
            service_account=gcp.compute.InstanceServiceAccountArgs(
                email=self._make_account(mirror).email, scopes=["https://www.googleapis.com/auth/cloud-platform"]
            ),
            shielded_instance_config=gcp.compute.InstanceShieldedInstanceConfigArgs(
                enable_secure_boot=True, enable_vtpm=True, enable_integrity_monitoring=True
            ),
            metadata={
                "neo4j-image": image,
                "neo4j-heap": HEAP,
                "enable-oslogin": "TRUE",
                "block-project-ssh-keys": "TRUE",
            },
            metadata_startup_script=SCRIPT.read_text(encoding="utf-8"),
            allow_stopping_for_update=True,
            deletion_protection=args.protect,
            labels=place.labels,
            opts=self._child,
        )
