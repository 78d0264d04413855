"""Every subscription of the topology: push with an identity, pull, BigQuery, Cloud Storage; its dead letter, and the
rights of Pub/Sub's own agent that all of that needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.grants import Targets
from infra.settings import Place
from schemas.topology import BigQuerySink, Function, Push, StorageSink, Subscription


@dataclass(frozen=True, kw_only=True)
class SubscriptionsArgs:
    """`pushers`: by function, the account in whose name Pub/Sub calls it. `agent` is Pub/Sub's own. `grants` come first."""

    place: Place
    subscriptions: Sequence[Subscription]
    functions: Mapping[str, Function]
    targets: Targets
    pushers: Mapping[str, gcp.serviceaccount.Account]
    agent: pulumi.Output[str]
    grants: pulumi.Resource | None = None


class Subscriptions(pulumi.ComponentResource):
    """Every subscription by name."""

    def __init__(self, name: str, args: SubscriptionsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:subscriptions:Subscriptions", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        invokers = {function: self._let_push(function) for function in args.pushers}
        tables = sorted({entry.bigquery.table for entry in args.subscriptions if entry.bigquery})
        buckets = sorted({entry.storage.bucket for entry in args.subscriptions if entry.storage})
        dead = sorted({entry.dead_letter.topic for entry in args.subscriptions if entry.dead_letter})
        # A sink is refused unless the agent may write there already; a push would be dead-lettered.
        self._before: dict[str, list[pulumi.Resource]] = {
            **{f"push:{name}": resources for name, resources in invokers.items()},
            **{f"table:{name}": [self._let_write_table(name)] for name in tables},
            **{f"bucket:{name}": self._let_write_bucket(name) for name in buckets},
        }
        for topic in dead:
            self._let_publish(topic)
        self.subscriptions = {entry.name: self._make(entry) for entry in args.subscriptions}
        self.register_outputs({})

    def _make(self, entry: Subscription) -> gcp.pubsub.Subscription:
        place, targets = self._args.place, self._args.targets
        subscription = gcp.pubsub.Subscription(
            f"subscription-{entry.name}",
            name=entry.name,
            project=place.project,
            topic=targets.topics[entry.topic].id,
            filter=entry.filter or None,
            enable_message_ordering=entry.ordered or None,
            ack_deadline_seconds=self._choose_deadline(entry),
            message_retention_duration=f"{entry.retention_seconds}s",
            # An empty ttl is "never": a subscription that nobody used for a month must not take its messages with it.
            expiration_policy=gcp.pubsub.SubscriptionExpirationPolicyArgs(ttl=""),
            retry_policy=gcp.pubsub.SubscriptionRetryPolicyArgs(
                minimum_backoff=f"{entry.retry.minimum_backoff_seconds}s",
                maximum_backoff=f"{entry.retry.maximum_backoff_seconds}s",
            ),
            dead_letter_policy=self._describe_dead_letter(entry),
            push_config=self._describe_push(entry.push) if entry.push else None,
            bigquery_config=self._describe_table(entry.bigquery) if entry.bigquery else None,
            cloud_storage_config=self._describe_bucket(entry.storage) if entry.storage else None,
            labels=place.labels,
            opts=pulumi.ResourceOptions(parent=self, depends_on=self._find_needs(entry)),
        )
        if entry.dead_letter:
            self._let_forward(entry, subscription)
        return subscription

    def _choose_deadline(self, entry: Subscription) -> int:
        """At least the function's own timeout: a shorter one delivers again while the first delivery is at work."""
        if not entry.push:
            return entry.ack_deadline_seconds
        return max(entry.ack_deadline_seconds, min(self._args.functions[entry.push.function].timeout_seconds, 600))

    def _find_needs(self, entry: Subscription) -> list[pulumi.Resource]:
        if entry.push:
            # A function that is pushed to before it has its rights spends the message's attempts on refusals.
            rights = [self._args.grants] if self._args.grants else []
            return [*self._before[f"push:{entry.push.function}"], *rights]
        if entry.bigquery:
            return self._before[f"table:{entry.bigquery.table}"]
        return self._before[f"bucket:{entry.storage.bucket}"] if entry.storage else []

    def _describe_push(self, push: Push) -> gcp.pubsub.SubscriptionPushConfigArgs:
        uri = self._args.targets.services[push.function].uri
        token = gcp.pubsub.SubscriptionPushConfigOidcTokenArgs(
            service_account_email=self._args.pushers[push.function].email, audience=uri
        )
        endpoint = pulumi.Output.concat(uri, push.path)
        return gcp.pubsub.SubscriptionPushConfigArgs(push_endpoint=endpoint, oidc_token=token)

    def _describe_table(self, sink: BigQuerySink) -> gcp.pubsub.SubscriptionBigqueryConfigArgs:
        table = self._args.targets.tables[sink.table]
        return gcp.pubsub.SubscriptionBigqueryConfigArgs(
            table=pulumi.Output.concat(self._args.place.project, ".", table.dataset_id, ".", table.table_id),
            use_table_schema=not sink.write_metadata,
            write_metadata=sink.write_metadata,
            drop_unknown_fields=False,  # a field that the table does not know is a dead letter, not a silent loss
        )

    def _describe_bucket(self, sink: StorageSink) -> gcp.pubsub.SubscriptionCloudStorageConfigArgs:
        return gcp.pubsub.SubscriptionCloudStorageConfigArgs(
            bucket=self._args.targets.buckets[sink.bucket].name,
            filename_prefix=sink.prefix or None,
            filename_suffix=sink.suffix or None,
            max_duration=f"{sink.max_duration_seconds}s",
            max_bytes=sink.max_bytes,
        )

    def _describe_dead_letter(self, entry: Subscription) -> gcp.pubsub.SubscriptionDeadLetterPolicyArgs | None:
        if not entry.dead_letter:
            return None
        return gcp.pubsub.SubscriptionDeadLetterPolicyArgs(
            dead_letter_topic=self._args.targets.topics[entry.dead_letter.topic].id,
            max_delivery_attempts=entry.dead_letter.max_delivery_attempts,
        )

    def _let_push(self, function: str) -> list[pulumi.Resource]:
        """Pub/Sub may speak as this one account, and the account may call this one function."""
        place, pusher = self._args.place, self._args.pushers[function]
        return [
            gcp.cloudrunv2.ServiceIamMember(
                f"push-{function}-invoker",
                project=place.project,
                location=place.region,
                name=self._args.targets.services[function].name,
                role="roles/run.invoker",
                member=pusher.member,
                opts=self._child,
            ),
            gcp.serviceaccount.IAMMember(
                f"push-{function}-token",
                service_account_id=pusher.name,
                # Identity tokens only; serviceAccountTokenCreator would give access tokens as well.
                role="roles/iam.serviceAccountOpenIdTokenCreator",
                member=self._args.agent,
                opts=self._child,
            ),
        ]

    def _let_write_table(self, table: str) -> gcp.bigquery.IamMember:
        target = self._args.targets.tables[table]
        return gcp.bigquery.IamMember(
            f"pubsub-agent-table-{table}",
            project=self._args.place.project,
            dataset_id=target.dataset_id,
            table_id=target.table_id,
            role="roles/bigquery.dataEditor",
            member=self._args.agent,
            opts=self._child,
        )

    def _let_write_bucket(self, bucket: str) -> list[pulumi.Resource]:
        return [
            gcp.storage.BucketIAMMember(
                f"pubsub-agent-bucket-{bucket}-{role.rpartition('.')[2]}",
                bucket=self._args.targets.buckets[bucket].name,
                role=role,
                member=self._args.agent,
                opts=self._child,
            )
            # The second lets Pub/Sub see that the bucket is there (storage.buckets.get); it reads no object.
            for role in ("roles/storage.objectCreator", "roles/storage.legacyBucketReader")
        ]

    def _let_publish(self, topic: str) -> None:
        gcp.pubsub.TopicIAMMember(
            f"pubsub-agent-dead-letter-{topic}",
            project=self._args.place.project,
            topic=self._args.targets.topics[topic].name,
            role="roles/pubsub.publisher",
            member=self._args.agent,
            opts=self._child,
        )

    def _let_forward(self, entry: Subscription, subscription: gcp.pubsub.Subscription) -> None:
        """Forwarding to the dead letter acknowledges at the source, which is a subscriber's right."""
        gcp.pubsub.SubscriptionIAMMember(
            f"pubsub-agent-forwards-{entry.name}",
            project=self._args.place.project,
            subscription=subscription.name,
            role="roles/pubsub.subscriber",
            member=self._args.agent,
            opts=self._child,
        )
