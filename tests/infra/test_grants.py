"""Rights follow from the topology and from nothing else: each line there is one grant here, and no grant has no line."""

from __future__ import annotations

import msgspec
import pulumi
import yaml
from infra.access import OWN_ROLES, Scope, derive_grants, order_by_calls
from infra.settings import Place, read_settings
from infra.stack import StackBuilder
from policy.graph import Graph
from policy.record import read_config, record_program
from policy.rules import judge
from policy.rules_identity import find_grants

from schemas import topology
from schemas.topology import CandidatesBackend, Function, Job, Topology, bucket_id

NAMED = topology.load()
Right = tuple[str, str]  # role, and what it is on


def account(graph: Graph, access: Function | Job) -> str:
    kind = "job" if isinstance(access, Job) else "fn"
    return f"serviceAccount:{kind}-{access.name.replace('_', '-')}@{graph.project}.iam.gserviceaccount.com"


def held(graph: Graph, member: str) -> set[Right]:
    """What an account holds: the role, and the name of the thing that it is on."""
    found: set[Right] = set()
    for entry in find_grants(graph):
        if entry.get("member") != member:
            continue
        names = ("topic", "subscription", "bucket", "secretId", "tableId", "name", "datasetId")
        target = next((str(entry.get(name)) for name in names if entry.get(name)), "project")
        found.add((str(entry.get("role")), target))
    return found


def wanted(graph: Graph, access: Function | Job, named: Topology) -> set[Right]:
    """The same, read from the topology line by line."""
    rights = {("roles/pubsub.publisher", name) for name in access.publishes}
    rights |= {("roles/pubsub.subscriber", name) for name in access.pulls}
    rights |= {("roles/storage.objectViewer", bucket_id(graph.project, name)) for name in access.reads_buckets}
    rights |= {("roles/storage.objectCreator", bucket_id(graph.project, name)) for name in access.writes_buckets}
    rights |= {("roles/storage.objectUser", bucket_id(graph.project, name)) for name in access.rewrites_buckets}
    rights |= {("roles/secretmanager.secretAccessor", name) for name in access.secrets}
    rights |= {("roles/bigquery.dataEditor", name) for name in access.writes_tables}
    rights |= {("roles/run.invoker", name) for name in access.calls}
    if "warehouse" in access.stores:
        rights |= {("roles/bigquery.dataViewer", named.dataset), ("roles/bigquery.jobUser", "project")}
        rights |= {("roles/bigquery.readSessionUser", "project")} if access.writes_tables else set()
    if "profiles" in access.stores:
        rights.add(("roles/datastore.user", "project"))
    if "models" in access.stores:
        rights.add((f"projects/{graph.project}/roles/aiplatformCaller", "project"))
    return rights


def test_training_in_bigquery_takes_one_right_more() -> None:
    """Prevents: a backend that is refused at night, or that may write tables for the sake of a model."""
    there = msgspec.structs.replace(NAMED, candidates_backend=CandidatesBackend.BIGQUERY_ML)
    (more,) = set(derive_grants(there)) - set(derive_grants(NAMED))
    assert (more.holder, more.scope, more.target) == ("train_candidates", Scope.DATASET, NAMED.dataset)
    assert all(permission.startswith("bigquery.models.") for permission in OWN_ROLES[more.role].permissions)


def test_each_account_holds_what_the_topology_says(graph: Graph) -> None:
    for access in (*NAMED.functions, *NAMED.jobs):
        assert held(graph, account(graph, access)) == wanted(graph, access, NAMED), access.name


def test_every_grant_has_a_known_holder(graph: Graph) -> None:
    """A grant to an account that no line of the topology explains."""
    own = {account(graph, access) for access in (*NAMED.functions, *NAMED.jobs)}
    pushed = {entry.push.function for entry in NAMED.subscriptions if entry.push}
    callers = {f"serviceAccount:push-{name}@{graph.project}.iam.gserviceaccount.com" for name in pushed}
    starters = {
        f"serviceAccount:start-{job.name.replace('_', '-')}@{graph.project}.iam.gserviceaccount.com"
        for job in NAMED.jobs
        if job.schedule
    }
    others = {str(entry.get("member")) for entry in find_grants(graph)} - own - callers - starters
    agents = {member for member in others if "@gcp-sa-" in member or "@gs-project" in member or "@bigquery-" in member}
    assert others - agents == {"allUsers"}


def test_whoever_pushes_may_call_its_own_function_only(graph: Graph) -> None:
    for name in {entry.push.function for entry in NAMED.subscriptions if entry.push}:
        member = f"serviceAccount:push-{name}@{graph.project}.iam.gserviceaccount.com"
        assert held(graph, member) == {("roles/run.invoker", name)}


def test_a_job_without_a_schedule_is_deployed_and_nothing_starts_it(graph: Graph) -> None:
    """Dead letters are sent again by a person, after the repair; and the right to take them reaches no other messages."""
    (job,) = [entry for entry in graph.of("cloudrunv2/Job") if entry.get("name") == "replay"]
    assert job.get("template.template.maxRetries") == 0
    assert not [entry.name for entry in graph.resources if "start" in entry.name and "replay" in entry.name]
    assert "replay" not in graph.names("cloudscheduler/Job")
    taken = [
        (entry.get("member"), entry.get("subscription"))
        for entry in graph.of("pubsub/SubscriptionIAMMember")
        if "@gcp-sa-" not in str(entry.get("member"))
    ]
    # `forget` lets go of what names a forgotten person.
    takers = [account(graph, NAMED.access(name)) for name in ("forget", "replay")]
    assert sorted(taken) == [(taker, "dead-letters-replay") for taker in takers]


def test_tables_that_jobs_write_exist() -> None:
    from schemas import warehouse

    known = {table.name for table in warehouse.tables()}
    written = {name for access in (*NAMED.functions, *NAMED.jobs) for name in access.writes_tables}
    assert written <= known
    assert "candidates" in written


def test_a_function_is_deployed_before_who_calls_it() -> None:
    order = [function.name for function in order_by_calls(NAMED)]
    for function in NAMED.functions:
        assert all(order.index(name) < order.index(function.name) for name in function.calls)


def test_a_function_added_to_the_topology_is_deployed_with_its_grants() -> None:
    """One entry in topology.yaml is all that it takes."""
    content = yaml.safe_load(topology.PATH.read_text(encoding="utf-8"))
    content["functions"].append(
        {
            "name": "agent-local-weather-with-a-long-name",
            "target": "agent",
            "description": "LocalWeatherAgent",
            "publishes": ["agent-results"],
            "stores": ["warehouse", "blackboard"],
            "reads_buckets": ["archive"],
            "calls": ["llm"],
        }
    )
    content["subscriptions"].append(
        {
            "name": "agent-tasks-local-weather",
            "topic": "agent-tasks",
            "filter": 'attributes.targetAgent = "LocalWeatherAgent"',
            "push": {"function": "agent-local-weather-with-a-long-name"},
            "dead_letter": {"topic": "agent-tasks-failed"},
        }
    )
    changed = topology.parse(yaml.safe_dump(content))

    def build() -> None:
        place = Place(project="argo-prod", region=changed.region, stack="prod")
        StackBuilder(place, read_settings(pulumi.Config("argo")), changed).build()

    graph = record_program(build, stack="prod", config=read_config("prod"))
    service = next(entry for entry in graph.of("cloudrunv2/Service") if entry.name.startswith("agent-local-weather"))
    member = f"serviceAccount:{service.get('template.serviceAccount')}"
    assert held(graph, member) == wanted(graph, changed.function(service.name), changed)
    assert len(held(graph, member)) == 6
    pushed = next(
        entry for entry in graph.of("pubsub/Subscription") if entry.get("name") == "agent-tasks-local-weather"
    )
    assert str(pushed.get("pushConfig.pushEndpoint")).startswith("https://agent-local-weather-with-a-long-name-")
    assert judge(graph) == []
