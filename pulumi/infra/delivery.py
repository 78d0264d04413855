"""Cloud Build triggers of one stack, by Git Flow: which branch runs which file of `pulumi/delivery` in this project.

The connection to the repository and the deployer's account are made by a person before (docs/operating.md): the first
needs somebody's consent, the second must be able to grant, which nothing that the program makes may.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.settings import Place

FOLDER = "pulumi/delivery"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One branch pattern and the build that it starts."""

    name: str
    branch: str
    build: str
    approval: bool = False


LINES: dict[str, tuple[Line, ...]] = {
    "dev": (
        Line(name="feature", branch="^feature/.*$", build="check.yaml"),
        Line(name="develop", branch="^develop$", build="deploy.yaml"),
    ),
    "staging": (
        Line(name="release", branch="^release/.*$", build="deploy.yaml"),
        Line(name="hotfix", branch="^hotfix/.*$", build="deploy.yaml"),
    ),
    "prod": (Line(name="main", branch="^main$", build="prod.yaml", approval=True),),
}


@dataclass(frozen=True, kw_only=True)
class DeliveryArgs:
    """`repository` is Cloud Build's name of the connected repository."""

    place: Place
    repository: str


class Delivery(pulumi.ComponentResource):
    """The triggers of the stack; a stack that no branch leads to has none."""

    def __init__(self, name: str, args: DeliveryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:delivery:Delivery", name, None, opts)
        for line in LINES.get(args.place.stack, ()):
            self._make_trigger(line, args)
        self.register_outputs({})

    def _make_trigger(self, line: Line, args: DeliveryArgs) -> None:
        place = args.place
        account = f"deployer@{place.project}.iam.gserviceaccount.com"
        gcp.cloudbuild.Trigger(
            f"trigger-{line.name}",
            name=f"argo-{line.name}",
            project=place.project,
            location=place.region,
            description=f"{line.branch} runs {line.build}",
            filename=f"{FOLDER}/{line.build}",
            repository_event_config=gcp.cloudbuild.TriggerRepositoryEventConfigArgs(
                repository=args.repository,
                push=gcp.cloudbuild.TriggerRepositoryEventConfigPushArgs(branch=line.branch),
            ),
            approval_config=gcp.cloudbuild.TriggerApprovalConfigArgs(approval_required=line.approval),
            include_build_logs="INCLUDE_BUILD_LOGS_WITH_STATUS",  # the preview is read beside the commit
            service_account=f"projects/{place.project}/serviceAccounts/{account}",
            substitutions={"_STACK": place.stack} if line.build == "deploy.yaml" else None,
            opts=pulumi.ResourceOptions(parent=self),
        )
