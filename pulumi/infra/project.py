"""The project's ground: Google's APIs, and the agents in whose name Google's services act inside it.

Does not create the project, its billing or the operator's own rights: those exist before the first `pulumi up`.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.settings import Place

APIS = (
    "aiplatform",
    "apigateway",
    "apikeys",
    "artifactregistry",
    "bigquery",
    "billingbudgets",
    "cloudbuild",
    "cloudkms",
    "cloudresourcemanager",
    "cloudscheduler",
    "compute",
    "dns",
    "firebaserules",
    "firestore",
    "iam",
    "identitytoolkit",
    "memorystore",
    "monitoring",
    "networkconnectivity",
    "pubsub",
    "run",
    "secretmanager",
    "serviceconsumermanagement",
    "servicecontrol",
    "servicemanagement",
    "storage",
)
# Agents whose existence Google guarantees only once asked; each needs a grant of ours before its first use.
_ASKED = ("firestore", "memorystore", "pubsub", "secretmanager")


@dataclass(frozen=True, kw_only=True)
class ProjectArgs:
    """`place` says which project; `machine`: there are disks in it, which Compute Engine's own agent encrypts."""

    place: Place
    machine: bool = False


class Project(pulumi.ComponentResource):
    """Enabled APIs, the project's number, and the service agents by the name of their service."""

    def __init__(self, name: str, args: ProjectArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:project:Project", name, None, opts)
        self.apis = [
            gcp.projects.Service(
                f"api-{api}",
                service=f"{api}.googleapis.com",
                project=args.place.project,
                disable_on_destroy=False,  # another stack or a person may use it in the same project
                opts=pulumi.ResourceOptions(parent=self),
            )
            for api in APIS
        ]
        self.agents: dict[str, pulumi.Output[str]] = {
            service: gcp.projects.ServiceIdentity(
                f"agent-{service}",
                service=f"{service}.googleapis.com",
                project=args.place.project,
                opts=pulumi.ResourceOptions(parent=self, depends_on=self.apis),
            ).member
            for service in _ASKED
        }
        after = pulumi.InvokeOutputOptions(depends_on=self.apis)
        self.number = gcp.organizations.get_project_output(project_id=args.place.project, opts=after).number
        storage = gcp.storage.get_project_service_account_output(project=args.place.project, opts=after)
        bigquery = gcp.bigquery.get_default_service_account_output(project=args.place.project, opts=after)
        self.agents["storage"] = pulumi.Output.concat("serviceAccount:", storage.email_address)
        self.agents["bigquery"] = pulumi.Output.concat("serviceAccount:", bigquery.email)
        if args.machine:
            self.agents["compute"] = pulumi.Output.concat(
                "serviceAccount:service-", self.number, "@compute-system.iam.gserviceaccount.com"
            )
        self.register_outputs({})
