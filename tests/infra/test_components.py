"""Each component by itself: its shape, its choices, and what it refuses."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from graphlib import CycleError

import infra
import pulumi
import pulumi_gcp as gcp
import pytest
import yaml
from infra import profiles
from infra.access import order_by_calls
from infra.alarms import derive_alarms
from infra.files import Files, FilesArgs
from infra.gateway import Gateway, GatewayArgs
from infra.keys import Keys, KeysArgs, Sealed
from infra.network import Network, NetworkArgs
from infra.settings import Place
from infra.signin import SignIn, SignInArgs
from infra.topics import Topics, TopicsArgs
from infra.vault import Vault, VaultArgs
from infra.warehouse import Warehouse, WarehouseArgs
from policy.graph import Graph
from policy.record import record_program

from schemas import topology
from schemas.topology import Bucket, Secret, Topic
from schemas.warehouse import Table, View

PLACE = Place(project="argo-dev", region="asia-northeast3", stack="dev")
MODULES = [importlib.import_module(f"infra.{module.name}") for module in pkgutil.iter_modules(infra.__path__)]
COMPONENTS = [
    member
    for module in MODULES
    for _, member in inspect.getmembers(module, inspect.isclass)
    if issubclass(member, pulumi.ComponentResource) and member.__module__ == module.__name__
]
AGENT = "serviceAccount:service-1@gcp-sa-pubsub.iam.gserviceaccount.com"


def build(make: Callable[[], object]) -> Graph:
    return record_program(make)


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.__name__)
def test_a_components_arguments_are_one_frozen_dataclass(component: type) -> None:
    """A mutable or positional argument could change, or be swapped, without anybody seeing it."""
    (module,) = (module for module in MODULES if module.__name__ == component.__module__)
    taken = inspect.signature(component).parameters["args"].annotation
    args = getattr(module, taken)
    assert list(inspect.signature(component).parameters) == ["name", "args", "opts"]
    assert dataclasses.is_dataclass(args)
    assert vars(args)["__dataclass_params__"].frozen
    assert all(field.kw_only for field in dataclasses.fields(args))


def test_every_component_has_its_token(graph: Graph) -> None:
    """A component in a stack is found by `argo:<module>:<Component>`; a changed token would rebuild everything in it."""
    # Of a stack that a repository is connected to, and of one that runs its own Neo4j.
    optional = {"argo:delivery:Delivery", "argo:machine:Machine"}
    wanted = {f"argo:{entry.__module__.removeprefix('infra.')}:{entry.__name__}" for entry in COMPONENTS}
    built = {entry.kind for entry in graph.resources if entry.kind.startswith("argo:")}
    wanted -= optional
    assert built == (wanted if graph.stack != "dev" else wanted - {"argo:keys:Keys"})


def test_everything_waits_for_googles_apis(graph: Graph) -> None:
    """In an empty project the first resource would otherwise be refused."""
    early = {"projects/Service", "projects/ServiceIdentity"}
    for entry in graph.resources:
        if "/" in entry.kind and entry.kind not in early:
            assert "api-pubsub" in entry.waits_for, entry.name


def test_a_function_has_its_rights_before_anything_is_pushed_to_it(graph: Graph) -> None:
    """Refusals would spend the attempts of the first messages, and dead-letter them."""
    for entry in graph.of("pubsub/Subscription"):
        if entry.get("pushConfig"):
            assert "grants" in entry.waits_for, entry.name


def make_files(days: int, *, protect: bool = False) -> Graph:
    def make() -> Files:
        topics = Topics(
            "topics", TopicsArgs(place=PLACE, topics=[Topic(name="landed", description="x")], key=None, protect=False)
        )
        notified = topology.Notification(topic="landed", events=["OBJECT_FINALIZE"], prefix="in/")
        bucket = Bucket(name="landing", description="x", lifecycle_days=days, notifications=[notified])
        return Files(
            "files",
            FilesArgs(
                place=PLACE,
                buckets=[bucket],
                topics=topics.topics,
                storage_agent=pulumi.Output.from_input(AGENT),
                key=None,
                protect=protect,
            ),
        )

    return build(make)


def test_files_that_are_kept_long_get_cheaper() -> None:
    def classes(graph: Graph) -> list[str]:
        (bucket,) = graph.of("storage/Bucket")
        return [rule["action"].get("storageClass") for rule in bucket.get("lifecycleRules")]

    assert "NEARLINE" in classes(make_files(400))
    assert "NEARLINE" not in classes(make_files(30))


def test_an_unprotected_bucket_can_be_torn_down_and_a_protected_one_cannot() -> None:
    for protect in (True, False):
        (bucket,) = make_files(30, protect=protect).of("storage/Bucket")
        assert (bucket.protected, bucket.get("forceDestroy")) == (protect, not protect)


def test_a_notification_comes_after_its_right_to_publish() -> None:
    (notification,) = make_files(30).of("storage/Notification")
    assert notification.waits_for == ("storage-agent-publisher-landed",)
    assert notification.get("objectNamePrefix") == "in/"


def test_a_table_key_that_nobody_builds_is_refused() -> None:
    """A new key in a table's file would otherwise be silently missing in the cloud."""
    resource = {"schema": {"fields": []}, "maxStaleness": "1:0:0"}

    def make() -> Warehouse:
        args = WarehouseArgs(
            place=PLACE,
            dataset="argo",
            tables=[Table(name="odd", resource=resource)],
            views=[],
            key=None,
            protect=False,
        )
        return Warehouse("warehouse", args)

    with pytest.raises(ValueError, match="table odd has maxStaleness"):
        build(make)


def test_a_view_of_something_unknown_is_refused() -> None:
    def make() -> Warehouse:
        view = View(name="lost", description="x", query="SELECT 1 FROM argo.nowhere", fields=[])
        args = WarehouseArgs(place=PLACE, dataset="argo", tables=[], views=[view], key=None, protect=False)
        return Warehouse("warehouse", args)

    with pytest.raises(KeyError, match="nowhere"):
        build(make)


def test_indexes_of_the_file_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite needs no composite index today; the first one must not be lost."""
    fields = [
        profiles.IndexField(field_path="state", order="ASCENDING"),
        profiles.IndexField(field_path="updatedAt", order="DESCENDING"),
    ]
    index = profiles.Index(collection_group="outbox", query_scope="COLLECTION", fields=fields)
    override = profiles.FieldOverride(
        collection_group="outbox",
        field_path="tags",
        indexes=[{"arrayConfig": "CONTAINS", "queryScope": "COLLECTION"}],
    )
    document = profiles.Indexes(indexes=[index], field_overrides=[override])
    monkeypatch.setattr(profiles, "read_indexes", lambda: document)
    args = profiles.ProfilesArgs(place=PLACE, key=None, protect=False, backups=False)
    graph = build(lambda: profiles.Profiles("profiles-database", args))
    (built,) = graph.of("firestore/Index")
    assert built.get("fields") == [
        {"fieldPath": "state", "order": "ASCENDING"},
        {"fieldPath": "updatedAt", "order": "DESCENDING"},
    ]
    (field,) = graph.of("firestore/Field")
    assert field.get("indexConfig.indexes") == [{"arrayConfig": "CONTAINS", "queryScope": "COLLECTION"}]
    assert list(graph.of("firestore/BackupSchedule")) == []


def test_a_key_is_known_only_once_its_store_may_use_it() -> None:
    """A bucket that asks for a key before the grant is there is refused by Google."""

    def make() -> Vault:
        keys = Keys("keys", KeysArgs(place=PLACE, agents={store: pulumi.Output.from_input(AGENT) for store in Sealed}))
        secrets = [Secret(name="one", description="x")]
        return Vault("vault", VaultArgs(place=PLACE, secrets=secrets, key=keys.find(Sealed.SECRETS), protect=False))

    graph = build(make)
    (secret,) = graph.of("secretmanager/Secret")
    sealed = secret.get("replication.userManaged.replicas.0.customerManagedEncryption.kmsKeyName")
    assert sealed == "projects/argo-dev/locations/asia-northeast3/keyRings/argo/cryptoKeys/secretmanager"
    assert len(list(graph.of("kms/CryptoKeyIAMMember"))) == len(Sealed)


def test_the_network_has_exactly_two_ways_out() -> None:
    graph = build(lambda: Network("private-network", NetworkArgs(place=PLACE)))
    ways = {entry.name: (entry.get("destinationRanges"), entry.get("allows")) for entry in graph.of("compute/Firewall")}
    assert ways["allow-blackboard"] == (["10.8.1.0/28"], [{"protocol": "tcp", "ports": ["6379"]}])
    assert ways["allow-calls"] == (["199.36.153.8/30"], [{"protocol": "tcp", "ports": ["443"]}])
    assert len(ways) == 3
    (record,) = graph.of("dns/RecordSet")
    assert (record.get("name"), len(record.get("rrdatas"))) == ("*.run.app.", 4)


def test_each_public_function_has_its_own_host() -> None:
    functions = [
        topology.Function(name=name, target="collect", description="x", public=True)
        for name in ("collect", "recommend")
    ]

    def make() -> Gateway:
        services = {
            entry.name: gcp.cloudrunv2.Service(
                entry.name,
                name=entry.name,
                location=PLACE.region,
                template=gcp.cloudrunv2.ServiceTemplateArgs(),
            )
            for entry in functions
        }
        args = GatewayArgs(
            place=PLACE, functions=functions, services=services, domain="argo.example", requests_per_minute_per_ip=60
        )
        return Gateway("gateway", args)

    graph = build(make)
    (routes,) = graph.of("compute/URLMap")
    assert routes.get("hostRules") == [
        {"hosts": ["collect.argo.example"], "pathMatcher": "collect"},
        {"hosts": ["recommend.argo.example"], "pathMatcher": "recommend"},
    ]
    (certificate,) = graph.of("compute/ManagedSslCertificate")
    assert certificate.get("managed.domains") == ["collect.argo.example", "recommend.argo.example"]


def test_a_gateway_to_nothing_is_refused() -> None:
    args = GatewayArgs(place=PLACE, functions=[], services={}, domain="x", requests_per_minute_per_ip=1)
    with pytest.raises(ValueError, match="no public or keyed function"):
        build(lambda: Gateway("gateway", args))


def make_sign_in(client_id: str, secret: str | None) -> Graph:
    def make() -> SignIn:
        given = pulumi.Output.secret(secret) if secret else None
        args = SignInArgs(place=PLACE, domain="argo.example", google_client_id=client_id, google_client_secret=given)
        return SignIn("sign-in", args)

    return build(make)


def test_people_sign_in_with_google_once_there_is_a_client_for_it() -> None:
    (provider,) = make_sign_in("id.apps.googleusercontent.com", "secret").of(
        "identityplatform/DefaultSupportedIdpConfig"
    )
    assert (provider.get("idpId"), provider.get("enabled")) == ("google.com", True)
    assert list(make_sign_in("", None).of("identityplatform/DefaultSupportedIdpConfig")) == []


def test_half_a_client_is_refused() -> None:
    """Google would take a provider without a secret, and every sign-in would fail."""
    with pytest.raises(ValueError, match="belong together"):
        make_sign_in("id.apps.googleusercontent.com", None)


def test_functions_that_call_each_other_in_a_circle_are_refused() -> None:
    """Neither could be told the other's address."""
    content = yaml.safe_load(topology.PATH.read_text(encoding="utf-8"))
    llm = next(entry for entry in content["functions"] if entry["name"] == "llm")
    llm["calls"] = ["recommend"]
    with pytest.raises(CycleError):
        order_by_calls(topology.parse(yaml.safe_dump(content)))


def test_every_flowing_subscription_is_watched_for_backlog_and_every_held_one_for_content() -> None:
    named = topology.load()
    alarms = {alarm.name: alarm.metric for alarm in derive_alarms(named)}
    for entry in named.subscriptions:
        assert (f'"{entry.name}"' in alarms["dead-letters"]) == (entry.pull is not None)
        assert (f'"{entry.name}"' in alarms["backlog"]) == (entry.pull is None)


def test_alarms_name_a_chapter_that_exists() -> None:
    """An alert at night must not point to a page that is not there."""
    guide = (topology.PATH.parent.parent / "docs" / "operating.md").read_text(encoding="utf-8")
    for alarm in derive_alarms(topology.load()):
        if "docs/operating.md, '" in alarm.what_to_do:
            chapter = alarm.what_to_do.partition("docs/operating.md, '")[2].partition("'")[0]
            assert f"\n## {chapter}\n" in guide, alarm.name
