"""Buckets of the topology, their lifecycles, and the notifications that turn a file into a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.settings import Place
from schemas.topology import Bucket, Notification, bucket_id

_NONCURRENT_DAYS = 30
_COLD_AFTER_DAYS = 30
_LONG_KEPT_DAYS = 90  # NEARLINE bills 30 days at least: only what stays much longer gets cheaper by moving


@dataclass(frozen=True, kw_only=True)
class FilesArgs:
    """`topics` are those of the topology by name; `storage_agent` publishes the notifications."""

    place: Place
    buckets: Sequence[Bucket]
    topics: Mapping[str, gcp.pubsub.Topic]
    storage_agent: pulumi.Output[str]
    key: pulumi.Output[str] | None
    protect: bool


class Files(pulumi.ComponentResource):
    """Private, versioned buckets by their name in the topology."""

    def __init__(self, name: str, args: FilesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:files:Files", name, None, opts)
        self._args = args
        self.buckets = {bucket.name: self._make_bucket(bucket) for bucket in args.buckets}
        self._grants = self._grant_topics()
        for bucket in args.buckets:
            for entry in bucket.notifications:
                self._make_notification(bucket, entry)
        self.register_outputs({})

    def _make_bucket(self, bucket: Bucket) -> gcp.storage.Bucket:
        args = self._args
        return gcp.storage.Bucket(
            f"bucket-{bucket.name}",
            name=bucket_id(args.place.project, bucket.name),
            project=args.place.project,
            location=args.place.region.upper(),
            storage_class="STANDARD",
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            versioning=gcp.storage.BucketVersioningArgs(enabled=True),
            soft_delete_policy=gcp.storage.BucketSoftDeletePolicyArgs(retention_duration_seconds=7 * 86_400),
            lifecycle_rules=_make_lifecycle(bucket),
            encryption=gcp.storage.BucketEncryptionArgs(default_kms_key_name=args.key) if args.key else None,
            force_destroy=not args.protect,
            labels=args.place.labels,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )

    def _grant_topics(self) -> dict[str, gcp.pubsub.TopicIAMMember]:
        """Cloud Storage's agent publishes to the notified topics, and to no other."""
        notified = sorted({entry.topic for bucket in self._args.buckets for entry in bucket.notifications})
        return {
            topic: gcp.pubsub.TopicIAMMember(
                f"storage-agent-publisher-{topic}",
                project=self._args.place.project,
                topic=self._args.topics[topic].name,
                role="roles/pubsub.publisher",
                member=self._args.storage_agent,
                opts=pulumi.ResourceOptions(parent=self),
            )
            for topic in notified
        }

    def _make_notification(self, bucket: Bucket, entry: Notification) -> None:
        gcp.storage.Notification(
            f"notification-{bucket.name}-{entry.topic}" + (f"-{entry.prefix.strip('/')}" if entry.prefix else ""),
            bucket=self.buckets[bucket.name].name,
            topic=self._args.topics[entry.topic].id,
            payload_format="JSON_API_V1",
            event_types=list(entry.events),
            object_name_prefix=entry.prefix or None,
            # Cloud Storage refuses a notification to a topic on which its agent may not publish.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self._grants[entry.topic]]),
        )


def _make_lifecycle(bucket: Bucket) -> list[gcp.storage.BucketLifecycleRuleArgs]:
    rules = [
        _make_rule("Delete", gcp.storage.BucketLifecycleRuleConditionArgs(age=bucket.lifecycle_days)),
        _make_rule(
            "Delete",
            gcp.storage.BucketLifecycleRuleConditionArgs(
                days_since_noncurrent_time=min(_NONCURRENT_DAYS, bucket.lifecycle_days), with_state="ARCHIVED"
            ),
        ),
        _make_rule("AbortIncompleteMultipartUpload", gcp.storage.BucketLifecycleRuleConditionArgs(age=7)),
    ]
    if bucket.lifecycle_days > _LONG_KEPT_DAYS:
        cold = gcp.storage.BucketLifecycleRuleConditionArgs(age=_COLD_AFTER_DAYS, matches_storage_classes=["STANDARD"])
        rules.append(_make_rule("SetStorageClass", cold, storage_class="NEARLINE"))
    return rules


def _make_rule(
    kind: str, condition: gcp.storage.BucketLifecycleRuleConditionArgs, *, storage_class: str | None = None
) -> gcp.storage.BucketLifecycleRuleArgs:
    action = gcp.storage.BucketLifecycleRuleActionArgs(type=kind, storage_class=storage_class)
    return gcp.storage.BucketLifecycleRuleArgs(action=action, condition=condition)
