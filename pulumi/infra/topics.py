"""Topics of the topology: kept in the region, sealed where the stack has its own keys, and with the schema of the rows
that they carry (`schemas/proto`). A topic that must take anything, such as dead letters, has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_gcp as gcp

import schemas
from infra.settings import Place
from schemas.topology import Topic

SCHEMAS = Path(schemas.__file__).with_name("proto")


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
        self._args = args
        self.topics = {
            topic.name: gcp.pubsub.Topic(
                f"topic-{topic.name}",
                name=topic.name,
                project=args.place.project,
                message_storage_policy=residency,
                schema_settings=self._make_schema(topic.name),
                kms_key_name=args.key,
                labels=args.place.labels,
                opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
            )
            for topic in args.topics
        }
        self.register_outputs({})

    def _make_schema(self, topic: str) -> gcp.pubsub.TopicSchemaSettingsArgs | None:
        """Any revision is taken: while a release goes out, old and new code publish side by side."""
        file = SCHEMAS / f"{topic}.proto"
        if not file.is_file():
            return None
        schema = gcp.pubsub.Schema(
            f"schema-{topic}",
            name=topic,
            project=self._args.place.project,
            type="PROTOCOL_BUFFER",
            definition=file.read_text(encoding="utf-8"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        return gcp.pubsub.TopicSchemaSettingsArgs(schema=schema.id, encoding="JSON")
