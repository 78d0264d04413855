"""Every stack keeps every rule, and every rule sees what it is there for: a rule that cannot fail guards nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from policy import rules_durability, rules_exposure, rules_identity, rules_placement
from policy.graph import Graph
from policy.rules import RULES, Rule, judge

from tests.infra.changes import changed, orphaned, plus, unprotected, without

Change = Callable[[Graph], Graph]
PUSH = "subscription-actions-act"
TABLE_SINK = "subscription-actions-warehouse"


def _grant(role: str, member: str = "serviceAccount:fn-act@argo-prod.iam.gserviceaccount.com") -> Change:
    return lambda graph: plus(graph, "projects/IAMMember", "extra", role=role, member=member)


def _set(kind: str, path: str, value: object, name: str | None = None) -> Change:
    return lambda graph: changed(graph, kind, path, value, name)


def _drop(kind: str, name: str | None = None) -> Change:
    return lambda graph: without(graph, kind, name)


def _rewrite(old: str, new: str) -> Change:
    """The document of the API Gateway with one text replaced."""

    def rewrite(graph: Graph) -> Graph:
        (entry,) = graph.of("apigateway/ApiConfig")
        path = "openapiDocuments.0.document.contents"
        text = base64.b64decode(entry.get(path)).decode()
        assert old in text
        return changed(graph, entry.kind, path, base64.b64encode(text.replace(old, new).encode()).decode())

    return rewrite


IDENTITY: list[tuple[Rule, Change]] = [
    (rules_identity.secret_reads_are_logged, _drop("projects/IAMAuditConfig")),
    (rules_identity.no_basic_roles, _grant("roles/editor")),
    (rules_identity.no_administrators, _grant("roles/storage.admin")),
    (rules_identity.no_administrators, _grant("roles/iam.serviceAccountTokenCreator")),
    (rules_identity.grants_are_additive, lambda graph: plus(graph, "projects/IAMBinding", "extra")),
    (rules_identity.no_account_keys, lambda graph: plus(graph, "serviceaccount/Key", "extra")),
    (rules_identity.runs_as_itself, _set("cloudrunv2/Service", "template.serviceAccount", None, "act")),
    (
        rules_identity.runs_as_itself,
        _set("cloudrunv2/Service", "template.serviceAccount", "fn-llm@argo-prod.iam.gserviceaccount.com", "act"),
    ),
    (
        rules_identity.invokers_do_one_thing,
        _grant("roles/bigquery.jobUser", "serviceAccount:push-act@argo-prod.iam.gserviceaccount.com"),
    ),
    (rules_identity.project_grants_are_few, _grant("roles/pubsub.publisher")),
    (rules_identity.project_grants_are_few, _grant("roles/datastore.user")),
    (rules_identity.own_roles_are_small, _set("projects/IAMCustomRole", "permissions", ["aiplatform.*"])),
    (rules_identity.agents_are_googles, _grant("roles/bigquery.jobUser", "user:somebody@example.com")),
    (rules_identity.no_secret_values, lambda graph: plus(graph, "secretmanager/SecretVersion", "extra")),
    (
        rules_identity.no_secret_values,
        _set("cloudrunv2/Service", "template.containers.0.envs.0", {"name": "NEO4J_PASSWORD", "value": "x"}),
    ),
    (
        rules_identity.no_secret_values,
        _set("cloudrunv2/Job", "template.template.containers.0.envs.0", {"name": "URL", "value": "rediss://a:b@c"}),
    ),
    (rules_identity.pushes_carry_an_identity, _set("pubsub/Subscription", "pushConfig.oidcToken", None, PUSH)),
    (
        rules_identity.pushes_carry_an_identity,
        _set("pubsub/Subscription", "pushConfig.oidcToken.audience", "https://elsewhere", PUSH),
    ),
    (rules_identity.schedules_carry_an_identity, _set("cloudscheduler/Job", "httpTarget.oauthToken", None)),
]
EXPOSURE: list[tuple[Rule, Change]] = [
    (rules_exposure.machines_are_private, lambda graph: plus(graph, "compute/Instance", "extra", name="extra")),
    (rules_exposure.keyed_requests_are_counted, _rewrite('"security"', '"x-security"')),
    (rules_exposure.keyed_requests_are_counted, _rewrite('"x-google-quota"', '"x-quota"')),
    (rules_exposure.keyed_requests_are_counted, _rewrite("https://llm.", "http://llm.")),
    (rules_exposure.gates_hold_no_right, _set("apigateway/ApiConfig", "gatewayConfig", None)),
    (
        rules_exposure.gates_hold_no_right,
        _grant("roles/bigquery.jobUser", "serviceAccount:gate-llm@argo-prod.iam.gserviceaccount.com"),
    ),
    (rules_exposure.clients_cannot_claim_a_place, _set("compute/BackendService", "customRequestHeaders", [])),
    (
        rules_exposure.public_only_behind_armor,
        lambda graph: plus(
            graph, "cloudrunv2/ServiceIamMember", "extra", name="act", role="roles/run.invoker", member="allUsers"
        ),
    ),
    (
        rules_exposure.public_only_behind_armor,  # behind the load balancer, but meant for holders of a key
        lambda graph: plus(
            graph, "cloudrunv2/ServiceIamMember", "extra", name="llm", role="roles/run.invoker", member="allUsers"
        ),
    ),
    (rules_exposure.armor_limits_rates, _set("compute/SecurityPolicy", "rules", [{"action": "throttle"}])),
    (rules_exposure.public_only_behind_armor, _grant("roles/bigquery.jobUser", "allAuthenticatedUsers")),
    (rules_exposure.functions_are_not_on_the_internet, _set("cloudrunv2/Service", "ingress", "INGRESS_TRAFFIC_ALL")),
    (rules_exposure.functions_are_not_on_the_internet, _set("cloudrunv2/Service", "invokerIamDisabled", True, "llm")),
    (rules_exposure.buckets_are_private, _set("storage/Bucket", "publicAccessPrevention", "inherited")),
    (rules_exposure.armor_stands_before_backends, _set("compute/BackendService", "securityPolicy", None)),
    (rules_exposure.armor_limits_rates, _set("compute/SecurityPolicy", "rules.8.action", "allow")),
    (rules_exposure.armor_limits_rates, _set("compute/SecurityPolicy", "rules.1.priority", 1000)),
    (rules_exposure.tls_is_modern, _set("compute/SSLPolicy", "minTlsVersion", "TLS_1_0")),
    (rules_exposure.tls_is_modern, _set("compute/TargetHttpsProxy", "sslPolicy", None)),
    (rules_exposure.only_https_is_open, _set("compute/GlobalForwardingRule", "portRange", "80")),
    (rules_exposure.firewall_denies_by_default, _drop("compute/Firewall", "deny-egress")),
    (rules_exposure.firewall_denies_by_default, _set("compute/Firewall", "targetTags", None, "allow-calls")),
    (rules_exposure.networks_are_ours, _set("compute/Network", "autoCreateSubnetworks", True)),
    (rules_exposure.networks_are_ours, _set("compute/Subnetwork", "privateIpGoogleAccess", False)),
    (
        rules_exposure.egress_is_tagged,
        _set("cloudrunv2/Service", "template.vpcAccess.networkInterfaces.0.tags", [], "act"),
    ),
    (
        rules_exposure.the_blackboard_is_encrypted,
        _set("memorystore/Instance", "transitEncryptionMode", "TRANSIT_ENCRYPTION_DISABLED"),
    ),
    (
        rules_exposure.the_blackboard_is_encrypted,
        _set("cloudrunv2/Job", "template.template.containers.0.envs.0.value", "bolt://graph:7687"),
    ),
    (
        rules_exposure.profiles_are_closed,
        _set("firebaserules/Ruleset", "source.files.0.content", "match /{document=**} { allow read: if true; }"),
    ),
    (rules_exposure.profiles_are_closed, _drop("firebaserules/Release")),
    (rules_exposure.sign_in_is_narrow, _set("identityplatform/Config", "signIn.email.enabled", True)),
    (rules_exposure.sign_in_is_narrow, _set("identityplatform/Config", "authorizedDomains", ["localhost"])),
]
DURABILITY: list[tuple[Rule, Change]] = [
    (rules_durability.everything_has_a_dead_letter, _set("pubsub/Subscription", "deadLetterPolicy", None)),
    (
        rules_durability.dead_letters_are_received,
        _drop("pubsub/Subscription", "subscription-agent-tasks-failed-orchestrate"),
    ),
    (rules_durability.last_dead_letters_are_held, _drop("pubsub/Subscription", "subscription-dead-letters-replay")),
    (rules_durability.pubsub_may_forward, _drop("pubsub/TopicIAMMember", "pubsub-agent-dead-letter-dead-letters")),
    (rules_durability.pubsub_may_forward, _drop("pubsub/SubscriptionIAMMember", "pubsub-agent-forwards-actions-act")),
    (rules_durability.pubsub_may_write_sinks, _drop("bigquery/IamMember", "pubsub-agent-table-actions")),
    (
        rules_durability.pubsub_may_write_sinks,
        _drop("storage/BucketIAMMember", "pubsub-agent-bucket-archive-legacyBucketReader"),
    ),
    (rules_durability.subscriptions_never_expire, _set("pubsub/Subscription", "expirationPolicy", None)),
    (rules_durability.messages_wait_a_day, _set("pubsub/Subscription", "messageRetentionDuration", "600s")),
    (rules_durability.retries_back_off, _set("pubsub/Subscription", "retryPolicy", None)),
    (rules_durability.deadlines_outlast_functions, _set("pubsub/Subscription", "ackDeadlineSeconds", 10, PUSH)),
    (
        rules_durability.sinks_lose_nothing,
        _set("pubsub/Subscription", "bigqueryConfig.dropUnknownFields", True, TABLE_SINK),
    ),
    (
        rules_durability.sinks_lose_nothing,
        _set("pubsub/Subscription", "bigqueryConfig.writeMetadata", True, TABLE_SINK),
    ),
    (rules_durability.buckets_keep_versions, _set("storage/Bucket", "versioning.enabled", False)),
    (rules_durability.buckets_keep_versions, _set("storage/Bucket", "lifecycleRules", None)),
    (rules_durability.tables_are_partitioned, _set("bigquery/Table", "timePartitioning", None)),
    (
        rules_durability.rows_are_checked_before_they_are_taken,
        _set("pubsub/Topic", "schemaSettings", None, "topic-moments"),
    ),
    (
        rules_durability.rows_are_checked_before_they_are_taken,
        _set("pubsub/Topic", "schemaSettings", {"schema": "x", "encoding": "JSON"}, "topic-dead-letters"),
    ),
    (
        rules_durability.rows_are_checked_before_they_are_taken,
        _set("pubsub/Topic", "schemaSettings.encoding", "BINARY", "topic-moments"),
    ),
    (rules_durability.disks_have_snapshots, lambda graph: plus(graph, "compute/Disk", "extra", name="extra")),
    (rules_durability.prod_data_is_protected, lambda graph: unprotected(graph, "storage/Bucket")),
    (rules_durability.prod_data_is_protected, _set("bigquery/Table", "deletionProtection", False, "table-actions")),
    (rules_durability.prod_data_is_protected, _set("firestore/Database", "deletionPolicy", "DELETE")),
    (rules_durability.prod_can_be_restored, _drop("firestore/BackupSchedule")),
    (
        rules_durability.prod_can_be_restored,
        _set("firestore/Database", "pointInTimeRecoveryEnablement", "POINT_IN_TIME_RECOVERY_DISABLED"),
    ),
    (
        rules_durability.notifications_may_publish,
        _drop("pubsub/TopicIAMMember", "storage-agent-publisher-landing-objects"),
    ),
    (rules_durability.keys_cannot_be_lost, lambda graph: unprotected(graph, "kms/CryptoKey")),
]
PLACEMENT: list[tuple[Rule, Change]] = [
    (rules_placement.everything_is_in_the_region, _set("storage/Bucket", "location", "US")),
    (rules_placement.everything_is_in_the_region, _set("bigquery/Dataset", "location", None)),
    (rules_placement.messages_stay_in_the_region, _set("pubsub/Topic", "messageStoragePolicy", None)),
    (
        rules_placement.secrets_stay_in_the_region,
        _set("secretmanager/Secret", "replication", {"auto": {}}),
    ),
    (rules_placement.everything_is_labelled, _set("pubsub/Topic", "labels", {"app": "argo"})),
    (rules_placement.names_are_unique, lambda graph: plus(graph, "pubsub/Topic", "other", name="moments")),
    (
        rules_placement.names_are_unique,
        lambda graph: plus(graph, "storage/Notification", "notification-landing-landing-objects"),
    ),
    (rules_placement.stores_are_sealed, _set("bigquery/Dataset", "defaultEncryptionConfiguration", None)),
    (rules_placement.stores_are_sealed, _drop("kms/CryptoKey")),
    (rules_placement.keys_rotate, _set("kms/CryptoKey", "rotationPeriod", None)),
    (rules_placement.keys_serve_their_store_only, _set("kms/CryptoKeyIAMMember", "role", "roles/cloudkms.viewer")),
    (
        rules_placement.one_image_that_cannot_move,
        _set("cloudrunv2/Service", "template.containers.0.image", "docker.io/library/python:3.11"),
    ),
    (
        rules_placement.one_image_that_cannot_move,
        _set("artifactregistry/Repository", "dockerConfig.immutableTags", False),
    ),
    (rules_placement.costs_are_bounded, _set("cloudrunv2/Service", "template.scaling.maxInstanceCount", 1000)),
    (
        rules_placement.costs_are_bounded,
        _set("cloudrunv2/Job", "template.template.containers.0.resources.limits.memory", "32768Mi"),
    ),
    (rules_placement.a_budget_is_watched, _drop("billing/Budget")),
    (rules_placement.alerts_reach_somebody, _set("monitoring/AlertPolicy", "notificationChannels", [])),
    (rules_placement.the_main_dangers_are_watched, _drop("monitoring/AlertPolicy", "alert-dead-letters")),
    (
        rules_placement.the_main_dangers_are_watched,
        lambda graph: plus(graph, "pubsub/Subscription", "extra", name="extra"),
    ),
    (rules_placement.schedules_are_in_utc, _set("cloudscheduler/Job", "timeZone", "Asia/Seoul")),
    (rules_placement.components_own_resources, lambda graph: orphaned(graph, "pubsub/Topic")),
]
CASES = [*IDENTITY, *EXPOSURE, *DURABILITY, *PLACEMENT]


def test_every_stack_keeps_every_rule(graph: Graph) -> None:
    assert judge(graph) == []


@pytest.mark.parametrize(
    ("rule", "change"), [pytest.param(*case, id=f"{case[0].__name__}-{index}") for index, case in enumerate(CASES)]
)
def test_a_rule_sees_what_it_forbids(prod: Graph, rule: Rule, change: Change) -> None:
    assert list(rule(change(prod))) != []


def test_every_rule_is_tried() -> None:
    """A new rule without a wrong example could be empty and nobody would know."""
    assert {rule.__name__ for rule, _ in CASES} == {rule.__name__ for rule in RULES}
    assert len(RULES) >= 20


def test_a_rule_says_why() -> None:
    assert [rule.__name__ for rule in RULES if not rule.__doc__] == []
