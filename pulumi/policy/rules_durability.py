"""What must not get lost: messages, dead letters, data."""

from __future__ import annotations

from collections.abc import Iterator

from policy.graph import Graph, Resource

_HELD_SECONDS = 604_800


def _seconds(value: object) -> int:
    return int(str(value or "0s").removesuffix("s"))


def _tail(value: object) -> str:
    return str(value).rpartition("/")[2]


def _dead_topics(graph: Graph) -> set[str]:
    found = {entry.get("deadLetterPolicy.deadLetterTopic") for entry in graph.of("pubsub/Subscription")}
    return {_tail(topic) for topic in found if topic}


def _agent(graph: Graph) -> str:
    return next(
        (
            f"serviceAccount:service-123456789012@gcp-sa-{_tail(entry.get('service')).partition('.')[0]}"
            ".iam.gserviceaccount.com"
            for entry in graph.of("projects/ServiceIdentity")
            if entry.get("service") == "pubsub.googleapis.com"
        ),
        "",
    )


def everything_has_a_dead_letter(graph: Graph) -> Iterator[str]:
    """A message that cannot be handled must not be retried for a week and then vanish."""
    for entry in graph.of("pubsub/Subscription"):
        last = _tail(entry.get("topic")) in _dead_topics(graph)
        if not entry.get("deadLetterPolicy") and not last:
            yield f"{entry.name} has no dead letter"


def dead_letters_are_received(graph: Graph) -> Iterator[str]:
    """A topic without a subscription forgets at once."""
    heard = {_tail(entry.get("topic")) for entry in graph.of("pubsub/Subscription")}
    yield from (f"nobody receives {topic}" for topic in sorted(_dead_topics(graph) - heard))


def last_dead_letters_are_held(graph: Graph) -> Iterator[str]:
    """What nothing else will handle stays pullable for a week, for `replay`."""
    subscriptions = list(graph.of("pubsub/Subscription"))
    for topic in sorted(_dead_topics(graph)):
        own = [entry for entry in subscriptions if _tail(entry.get("topic")) == topic]
        if any(entry.get("pushConfig") for entry in own):
            continue  # a function handles these
        held = [
            entry
            for entry in own
            if not (entry.get("bigqueryConfig") or entry.get("cloudStorageConfig"))
            and _seconds(entry.get("messageRetentionDuration")) >= _HELD_SECONDS
        ]
        if not held:
            yield f"{topic} is not held for a week by any pull subscription"


def pubsub_may_forward(graph: Graph) -> Iterator[str]:
    """Without both rights Pub/Sub keeps retrying for ever instead of dead-lettering, and says so nowhere."""
    agent = _agent(graph)
    publishes = _granted(graph, "pubsub/TopicIAMMember", "topic", "roles/pubsub.publisher", agent)
    subscribes = _granted(graph, "pubsub/SubscriptionIAMMember", "subscription", "roles/pubsub.subscriber", agent)
    for entry in graph.of("pubsub/Subscription"):
        topic = entry.get("deadLetterPolicy.deadLetterTopic")
        if topic and _tail(topic) not in publishes:
            yield f"Pub/Sub may not publish to {_tail(topic)}"
        if topic and entry.get("name") not in subscribes:
            yield f"Pub/Sub may not acknowledge on {entry.name}"


def _granted(graph: Graph, kind: str, where: str, role: str, member: str) -> set[str]:
    return {
        str(entry.get(where)) for entry in graph.of(kind) if entry.get("role") == role and entry.get("member") == member
    }


def pubsub_may_write_sinks(graph: Graph) -> Iterator[str]:
    """A native subscription writes in the name of Pub/Sub's agent, to its own table or bucket."""
    agent = _agent(graph)
    tables = _granted(graph, "bigquery/IamMember", "tableId", "roles/bigquery.dataEditor", agent)
    creates = _granted(graph, "storage/BucketIAMMember", "bucket", "roles/storage.objectCreator", agent)
    sees = _granted(graph, "storage/BucketIAMMember", "bucket", "roles/storage.legacyBucketReader", agent)
    for entry in graph.of("pubsub/Subscription"):
        table = entry.get("bigqueryConfig.table")
        if table and str(table).rpartition(".")[2] not in tables:
            yield f"{entry.name} may not write {table}"
        bucket = entry.get("cloudStorageConfig.bucket")
        if bucket and bucket not in creates & sees:
            yield f"{entry.name} may not write {bucket}"


def subscriptions_never_expire(graph: Graph) -> Iterator[str]:
    """Pub/Sub's default deletes a quiet subscription, and its messages, after 31 days."""
    for entry in graph.of("pubsub/Subscription"):
        if entry.get("expirationPolicy.ttl") != "":
            yield f"{entry.name} expires"


def messages_wait_a_day(graph: Graph) -> Iterator[str]:
    """A consumer may be broken over night."""
    for entry in graph.of("pubsub/Subscription"):
        if _seconds(entry.get("messageRetentionDuration")) < 86_400:
            yield f"{entry.name} forgets after {entry.get('messageRetentionDuration')}"


def retries_back_off(graph: Graph) -> Iterator[str]:
    """Immediate redelivery turns one slow store into an avalanche."""
    for entry in graph.of("pubsub/Subscription"):
        least = _seconds(entry.get("retryPolicy.minimumBackoff"))
        most = _seconds(entry.get("retryPolicy.maximumBackoff"))
        if not 0 < least <= most <= 600:
            yield f"{entry.name} retries after {least} to {most} s"


def deadlines_outlast_functions(graph: Graph) -> Iterator[str]:
    """A deadline below the function's timeout delivers again while the first delivery is still at work."""
    timeouts = {
        f"https://{entry.get('name')}-": _seconds(entry.get("template.timeout"))
        for entry in graph.of("cloudrunv2/Service")
    }
    for entry in graph.of("pubsub/Subscription"):
        endpoint = str(entry.get("pushConfig.pushEndpoint") or "")
        matching = [seconds for start, seconds in timeouts.items() if endpoint.startswith(start)]
        if matching and int(entry.get("ackDeadlineSeconds")) < max(matching):
            yield f"{entry.name} waits {entry.get('ackDeadlineSeconds')} s for a function of {max(matching)} s"


def sinks_lose_nothing(graph: Graph) -> Iterator[str]:
    """A field that the table does not know goes to the dead letter, where it can be seen."""
    for entry in graph.of("pubsub/Subscription"):
        config = entry.get("bigqueryConfig")
        if config and config.get("dropUnknownFields"):
            yield f"{entry.name} drops fields silently"
        if config and bool(config.get("useTableSchema")) == bool(config.get("writeMetadata")):
            yield f"{entry.name} must write either the row's columns or the body with its metadata"


def rows_are_checked_before_they_are_taken(graph: Graph) -> Iterator[str]:
    """What no row of the table can be is refused to its publisher at once; a dead-letter topic must take everything."""
    schemas = {f"projects/{graph.project}/schemas/{entry.get('name')}" for entry in graph.of("pubsub/Schema")}
    topics = {entry.get("name"): entry for entry in graph.of("pubsub/Topic")}
    for entry in graph.of("pubsub/Subscription"):
        name = _tail(entry.get("topic"))
        if entry.get("bigqueryConfig.useTableSchema") and topics[name].get("schemaSettings.schema") not in schemas:
            yield f"{name} takes what {entry.name} cannot write"
    for name in sorted(_dead_topics(graph)):
        if topics[name].get("schemaSettings"):
            yield f"{name} refuses some dead letters"
    for name, entry in topics.items():
        if entry.get("schemaSettings") and entry.get("schemaSettings.encoding") != "JSON":
            yield f"{name} does not take the JSON that is published"


def buckets_keep_versions(graph: Graph) -> Iterator[str]:
    """An overwritten or deleted file can be brought back, and old ones do not pile up for ever."""
    for entry in graph.of("storage/Bucket"):
        if not entry.get("versioning.enabled"):
            yield f"{entry.name} keeps no versions"
        if not any(rule["action"]["type"] == "Delete" for rule in entry.get("lifecycleRules") or []):
            yield f"{entry.name} keeps everything for ever"


def tables_are_partitioned(graph: Graph) -> Iterator[str]:
    """A table without partitions is read in whole by every question, and paid for."""
    for entry in graph.of("bigquery/Table"):
        if not entry.get("view") and not entry.get("timePartitioning.type"):
            yield f"{entry.name} has no partitions"


_DATA = {
    "bigquery/Dataset": None,
    "bigquery/Table": "deletionProtection",
    "firestore/Database": None,
    "pubsub/Topic": None,
    "secretmanager/Secret": "deletionProtection",
    "storage/Bucket": None,
}


def prod_data_is_protected(graph: Graph) -> Iterator[str]:
    """In prod one wrong command must not delete what customers told us."""
    if graph.stack != "prod":
        return
    for entry in graph.of(*_DATA):
        if entry.get("view"):
            continue
        flag = _DATA[entry.kind]
        if not entry.protected or (flag and not entry.get(flag)):
            yield f"{entry.name} can be deleted"
    yield from (
        f"{entry.name} deletes its content" for entry in graph.of("storage/Bucket") if entry.get("forceDestroy")
    )
    for entry in graph.of("firestore/Database"):
        if (
            entry.get("deleteProtectionState") != "DELETE_PROTECTION_ENABLED"
            or entry.get("deletionPolicy") != "PREVENT"
        ):
            yield f"{entry.name} can be deleted"


def prod_can_be_restored(graph: Graph) -> Iterator[str]:
    """What is protected from deletion can still be overwritten: backups and a way back in time."""
    if graph.stack != "prod":
        return
    for entry in graph.of("firestore/Database"):
        if entry.get("pointInTimeRecoveryEnablement") != "POINT_IN_TIME_RECOVERY_ENABLED":
            yield f"{entry.name} knows only the present"
    if not list(graph.of("firestore/BackupSchedule")):
        yield "Firestore has no backups"
    yield from (
        f"{entry.name} travels back less than a week"
        for entry in graph.of("bigquery/Dataset")
        if entry.get("maxTimeTravelHours") != "168"
    )


def notifications_may_publish(graph: Graph) -> Iterator[str]:
    """Cloud Storage's agent must be allowed to publish before the notification is made."""
    allowed = {
        str(entry.get("topic")): entry.name
        for entry in graph.of("pubsub/TopicIAMMember")
        if "@gs-project-accounts." in str(entry.get("member")) and entry.get("role") == "roles/pubsub.publisher"
    }
    for entry in graph.of("storage/Notification"):
        grant = allowed.get(_tail(entry.get("topic")))
        if not grant or grant not in entry.waits_for:
            yield f"{entry.name} publishes without a right, or before it has one"


def disks_have_snapshots(graph: Graph) -> Iterator[str]:
    """A disk in one zone is lost with it."""
    saved = {entry.get("disk") for entry in graph.of("compute/DiskResourcePolicyAttachment")}
    yield from (
        f"{entry.name} has no snapshots" for entry in graph.of("compute/Disk") if entry.get("name") not in saved
    )


def _protected_keys(graph: Graph) -> list[Resource]:
    return [entry for entry in graph.of("kms/KeyRing", "kms/CryptoKey") if not entry.protected]


def keys_cannot_be_lost(graph: Graph) -> Iterator[str]:
    """Data under a destroyed key is gone, backups included."""
    yield from (f"{entry.name} can be destroyed by mistake" for entry in _protected_keys(graph))


RULES = (
    everything_has_a_dead_letter,
    dead_letters_are_received,
    last_dead_letters_are_held,
    pubsub_may_forward,
    pubsub_may_write_sinks,
    subscriptions_never_expire,
    messages_wait_a_day,
    retries_back_off,
    deadlines_outlast_functions,
    sinks_lose_nothing,
    rows_are_checked_before_they_are_taken,
    buckets_keep_versions,
    tables_are_partitioned,
    prod_data_is_protected,
    prod_can_be_restored,
    notifications_may_publish,
    disks_have_snapshots,
    keys_cannot_be_lost,
)
