"""Where the one image is kept. A tag that exists never moves, so a release is the same bytes for ever."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.settings import Place, StackSettings

REPOSITORY = "argo"


@dataclass(frozen=True, kw_only=True)
class RegistryArgs:
    """`place` says where."""

    place: Place


class Registry(pulumi.ComponentResource):
    """One repository of container images."""

    def __init__(self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:registry:Registry", name, None, opts)
        self.repository = gcp.artifactregistry.Repository(
            "images",
            repository_id=REPOSITORY,
            project=args.place.project,
            location=args.place.region,
            format="DOCKER",
            description="The suite's one image",
            docker_config=gcp.artifactregistry.RepositoryDockerConfigArgs(immutable_tags=True),
            labels=args.place.labels,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})


def choose_image(settings: StackSettings, place: Place) -> str:
    """The configured digest, else the release's tag, which the registry never lets move."""
    return settings.image or f"{place.region}-docker.pkg.dev/{place.project}/{REPOSITORY}/argo:{settings.release}"
