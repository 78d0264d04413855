"""Topics of the topology: kept in the region, sealed where the stack has its own keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.settings import Place
from schemas.topology import Topic


@dataclass(frozen=True, kw_only=True)
class TopicsArgs:
    """`key` encrypts the messages; without one Google's own does."""

    place: Place
    topics: Sequence[Topic]
    key: pulumi.Output[str] | None
    protect: bool


class Topics(pulumi.ComponentResource):
    """Every topic by name."""

    def __init__(self, name: str, args: TopicsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:topics:Topics", name, None, opts)
        residency = gcp.pubsub.TopicMessageStoragePolicyArgs(allowed_persistence_regions=[args.place.region])
        self.topics = {
            topic.name: gcp.pubsub.Topic(
                f"topic-{topic.name}",
                name=topic.name,
                project=args.place.project,
                message_storage_policy=residency,
                kms_key_name=args.key,
                labels=args.place.labels,
                opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
            )
            for topic in args.topics
        }
        self.register_outputs({})
