"""One whole stack: the topology's components in the order in which they need each other, and what an operator is told.

Each stack has a project of its own, so that names are the topology's in every stack.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pulumi
import pulumi_gcp as gcp

from infra.access import Scope, derive_grants, order_by_calls
from infra.alarms import derive_alarms
from infra.apigateway import ApiGateway, ApiGatewayArgs, Door
from infra.blackboard import Blackboard, BlackboardArgs
from infra.delivery import Delivery, DeliveryArgs
from infra.files import Files, FilesArgs
from infra.functions import FunctionArgs, FunctionService, Surroundings
from infra.gateway import Gateway, GatewayArgs
from infra.grants import Grants, GrantsArgs, Targets
from infra.identities import Identities, IdentitiesArgs
from infra.jobs import JobArgs, ScheduledJob
from infra.keys import Keys, KeysArgs, Sealed
from infra.machine import Machine, MachineArgs
from infra.measures import Measures, MeasuresArgs
from infra.network import Network, NetworkArgs
from infra.outputs import Exported, export_outputs
from infra.profiles import Profiles, ProfilesArgs
from infra.project import Project, ProjectArgs
from infra.registry import Registry, RegistryArgs, choose_image
from infra.settings import Place, StackSettings
from infra.signin import SignIn, SignInArgs
from infra.subscriptions import Subscriptions, SubscriptionsArgs
from infra.topics import Topics, TopicsArgs
from infra.vault import Vault, VaultArgs
from infra.warehouse import Warehouse, WarehouseArgs
from infra.watch import Watch, WatchArgs
from schemas import metrics, warehouse
from schemas.topology import Topology


@dataclass(frozen=True, kw_only=True)
class Stores:
    """Where data lives."""

    topics: Topics
    files: Files
    warehouse: Warehouse
    profiles: Profiles
    vault: Vault


class StackBuilder:
    """Builds a stack step by step; a step may use what the steps before it have built."""

    def __init__(
        self,
        place: Place,
        settings: StackSettings,
        topology: Topology,
        *,
        google_client_secret: pulumi.Output[str] | None = None,
    ) -> None:
        self._place, self._settings, self._topology = place, settings, topology
        self._google_client_secret = google_client_secret

    def build(self) -> None:
        """Everything."""
        project = Project("project", ProjectArgs(place=self._place, machine=self._settings.neo4j_self_run))
        self._after_apis = _wait_for(project)
        keys = self._make_keys(project)
        stores = self._make_stores(project, keys)
        doors = self._make_doors()
        around = self._make_surroundings(keys, stores, doors)
        identities = Identities("identities", IdentitiesArgs(place=self._place, topology=self._topology), self._after())
        services = self._deploy(around, identities)
        targets = _name_targets(stores, services)
        rights = derive_grants(self._topology)
        first = [grant for grant in rights if grant.scope is not Scope.SUBSCRIPTION]
        pulls = [grant for grant in rights if grant.scope is Scope.SUBSCRIPTION]
        grants = GrantsArgs(place=self._place, grants=first, accounts=identities.own, targets=targets)
        # A push waits for the grants of whom it calls; who pulls can be granted that only once the subscription is there.
        made = self._subscribe(project, identities, targets, Grants("grants", grants, self._after()))
        targets = replace(targets, subscriptions=made.subscriptions)
        Grants("pull-grants", replace(grants, grants=pulls, targets=targets), self._after())
        self._let_sign_in()
        gateway = self._open_gateway(services, doors)
        self._watch(project)
        if self._settings.repository:
            delivery = DeliveryArgs(place=self._place, repository=self._settings.repository)
            Delivery("delivery", delivery, self._after())
        export_outputs(self._place, self._topology, Exported(services=services, gateway=gateway, doors=doors))

    def _after(self) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(transformations=[self._after_apis])

    def _make_keys(self, project: Project) -> Keys | None:
        if not self._settings.customer_keys:
            return None
        return Keys("keys", KeysArgs(place=self._place, agents=project.agents), self._after())

    def _make_stores(self, project: Project, keys: Keys | None) -> Stores:
        place, topology, protect = self._place, self._topology, self._settings.protect_data
        topics = Topics(
            "topics",
            TopicsArgs(place=place, topics=topology.topics, key=_find_key(keys, Sealed.PUBSUB), protect=protect),
            self._after(),
        )
        files = FilesArgs(
            place=place,
            buckets=topology.buckets,
            topics=topics.topics,
            storage_agent=project.agents["storage"],
            key=_find_key(keys, Sealed.STORAGE),
            protect=protect,
        )
        tables = WarehouseArgs(
            place=place,
            dataset=topology.dataset,
            tables=warehouse.tables(),
            views=warehouse.views(),
            key=_find_key(keys, Sealed.BIGQUERY),
            protect=protect,
        )
        profiles = ProfilesArgs(
            place=place,
            key=_find_key(keys, Sealed.FIRESTORE),
            protect=protect,
            backups=self._settings.backups,
        )
        secrets = VaultArgs(place=place, secrets=topology.secrets, key=_find_key(keys, Sealed.SECRETS), protect=protect)
        return Stores(
            topics=topics,
            files=Files("files", files, self._after()),
            warehouse=Warehouse("warehouse", tables, self._after()),
            profiles=Profiles("profiles-database", profiles, self._after()),
            vault=Vault("vault", secrets, self._after()),
        )

    def _make_doors(self) -> dict[str, Door]:
        keyed = [function for function in self._topology.functions if function.keyed]
        if not keyed or not self._settings.api_gateway_region:
            return {}
        args = ApiGatewayArgs(
            place=self._place,
            functions=keyed,
            region=self._settings.api_gateway_region,
            domain=self._settings.domain,
        )
        return ApiGateway("api-gateway", args, self._after()).doors

    def _make_surroundings(self, keys: Keys | None, stores: Stores, doors: dict[str, Door]) -> Surroundings:
        network = Network(
            "private-network", NetworkArgs(place=self._place, machine=self._settings.neo4j_self_run), self._after()
        )
        blackboard = BlackboardArgs(
            place=self._place,
            network=network,
            node_type=self._settings.redis_node_type,
            replicas=self._settings.redis_replicas,
            key=_find_key(keys, Sealed.MEMORYSTORE),
            protect=self._settings.protect_data,
        )
        Registry("registry", RegistryArgs(place=self._place), self._after())
        return Surroundings(
            place=self._place,
            settings=self._settings,
            dataset=self._topology.dataset,
            image=choose_image(self._settings, self._place),
            network=network,
            redis_url=Blackboard("blackboard-store", blackboard, self._after()).url,
            doors=doors,
            graph=self._run_graph(network, stores, keys),
        )

    def _run_graph(self, network: Network, stores: Stores, keys: Keys | None) -> pulumi.Output[str] | None:
        if not self._settings.neo4j_self_run:
            return None
        args = MachineArgs(
            place=self._place,
            network=network,
            password=stores.vault.secrets["neo4j-password"],
            machine_type=self._settings.neo4j_machine,
            disk_gib=self._settings.neo4j_disk_gib,
            key=_find_key(keys, Sealed.COMPUTE),
            protect=self._settings.protect_data,
        )
        return Machine("graph-machine", args, self._after()).uri

    def _deploy(self, around: Surroundings, identities: Identities) -> dict[str, gcp.cloudrunv2.Service]:
        """Every function, callees first, then every job."""
        services: dict[str, gcp.cloudrunv2.Service] = {}

        def find_address(name: str) -> pulumi.Output[str]:
            return around.doors[name].url if name in around.doors else services[name].uri

        for function in order_by_calls(self._topology):
            args = FunctionArgs(
                around=around,
                function=function,
                account=identities.own[function.name],
                addresses={name: find_address(name) for name in function.calls},
                clients=[identities.clients[one.name] for one in self._topology.clients if function.name in one.calls],
            )
            services[function.name] = FunctionService(f"function-{function.name}", args, self._after()).service
        for job in self._topology.jobs:
            args = JobArgs(
                around=around,
                job=job,
                account=identities.own[job.name],
                starter=identities.starters.get(job.name),
                addresses={name: find_address(name) for name in job.calls},
            )
            ScheduledJob(f"scheduled-{job.name}", args, self._after())
        return services

    def _subscribe(self, project: Project, identities: Identities, targets: Targets, grants: Grants) -> Subscriptions:
        args = SubscriptionsArgs(
            place=self._place,
            subscriptions=self._topology.subscriptions,
            functions={function.name: function for function in self._topology.functions},
            targets=targets,
            pushers=identities.pushers,
            agent=project.agents["pubsub"],
            grants=grants,
        )
        return Subscriptions("subscriptions", args, self._after())

    def _open_gateway(self, services: dict[str, gcp.cloudrunv2.Service], doors: dict[str, Door]) -> Gateway | None:
        reached = [function for function in self._topology.functions if function.public or function.name in doors]
        if not reached:
            return None
        args = GatewayArgs(
            place=self._place,
            functions=reached,
            services=services,
            domain=self._settings.domain,
            requests_per_minute_per_ip=self._settings.requests_per_minute_per_ip,
        )
        return Gateway("gateway", args, self._after())

    def _let_sign_in(self) -> None:
        args = SignInArgs(
            place=self._place,
            domain=self._settings.domain,
            google_client_id=self._settings.google_client_id,
            google_client_secret=self._google_client_secret,
        )
        SignIn("sign-in", args, self._after())

    def _watch(self, project: Project) -> None:
        listed = MeasuresArgs(place=self._place, metrics=metrics.load().values())
        args = WatchArgs(
            place=self._place,
            project_number=project.number,
            alarms=derive_alarms(self._topology),
            measures=Measures("measures", listed, self._after()),
            alert_email=self._settings.alert_email,
            billing_account=self._settings.billing_account,
            monthly_budget=self._settings.monthly_budget,
        )
        Watch("watch", args, self._after())


def _find_key(keys: Keys | None, store: Sealed) -> pulumi.Output[str] | None:
    return keys.find(store) if keys else None


def _name_targets(stores: Stores, services: dict[str, gcp.cloudrunv2.Service]) -> Targets:
    return Targets(
        topics=stores.topics.topics,
        buckets=stores.files.buckets,
        secrets=stores.vault.secrets,
        dataset=stores.warehouse.dataset,
        tables=stores.warehouse.tables,
        services=services,
        database=stores.profiles.database,
    )


def _wait_for(project: Project) -> pulumi.ResourceTransformation:
    """Makes every resource of a component wait until Google's APIs are on: a component's own wait does not reach them."""

    def wait(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if not args.type_.startswith("gcp:"):
            return None
        waiting = pulumi.ResourceOptions(depends_on=project.apis)
        return pulumi.ResourceTransformationResult(args.props, pulumi.ResourceOptions.merge(args.opts, waiting))

    return wait
