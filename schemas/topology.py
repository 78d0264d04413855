"""The typed reading of `topology.yaml`.

Owns the shape of the file; what a shape cannot say is checked in `topology_rules`. Deliberately does not build anything:
`emulators` builds the laptop from it, `pulumi` the cloud.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
import yaml

ACCOUNT_ID_MAX = 30  # https://cloud.google.com/iam/docs/service-accounts-create: 6 to 30 characters
PATH = Path(__file__).with_name("topology.yaml")

# Pub/Sub: 3 to 255 characters, a letter first (https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names).
Name = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_-]{2,62}$")]
AgentName = Annotated[str, msgspec.Meta(pattern="^[A-Z][A-Za-z]+Agent$")]
Store = Literal["warehouse", "graph", "profiles", "blackboard", "models", "mail"]
# Pub/Sub's own limits: https://cloud.google.com/pubsub/docs/subscription-properties
AckDeadline = Annotated[int, msgspec.Meta(ge=10, le=600)]
Backoff = Annotated[int, msgspec.Meta(ge=0, le=600)]
Attempts = Annotated[int, msgspec.Meta(ge=5, le=100)]
# Cloud Run's: https://cloud.google.com/run/docs/configuring/services/memory-limits and .../about-concurrency
Cpu = Literal[1, 2, 4, 8]
Memory = Annotated[int, msgspec.Meta(ge=512, le=32_768)]
Concurrency = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Retention = Annotated[int, msgspec.Meta(ge=600, le=2_678_400)]


class TopologyError(ValueError):
    """The topology is not usable; the message lists every problem found."""


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Topic(_Entry, frozen=True, kw_only=True):
    """One Pub/Sub topic."""

    name: Name
    description: str


class Push(_Entry, frozen=True, kw_only=True):
    """Deliver to a function; `path` tells the function which subscription speaks."""

    function: Name
    path: Annotated[str, msgspec.Meta(pattern="^/[a-z]*$")] = "/"


class Pull(_Entry, frozen=True, kw_only=True):
    """Deliver to whoever asks."""


class BigQuerySink(_Entry, frozen=True, kw_only=True):
    """Native delivery to a table: JSON to its own columns, or with `write_metadata` the body to a `data` column."""

    table: Name
    write_metadata: bool = False


class StorageSink(_Entry, frozen=True, kw_only=True):
    """Native delivery to a bucket: a new object per `max_duration_seconds` or `max_bytes`."""

    bucket: Name
    prefix: str = ""
    suffix: str = ""
    max_duration_seconds: Annotated[int, msgspec.Meta(ge=60, le=600)] = 300
    max_bytes: Annotated[int, msgspec.Meta(ge=1000)] = 10_000_000


class DeadLetter(_Entry, frozen=True, kw_only=True):
    """Where a message goes after `max_delivery_attempts`."""

    topic: Name
    max_delivery_attempts: Attempts = 5


class Retry(_Entry, frozen=True, kw_only=True):
    """Exponential backoff between deliveries."""

    minimum_backoff_seconds: Backoff = 10
    maximum_backoff_seconds: Backoff = 600


class Subscription(_Entry, frozen=True, kw_only=True):
    """One subscription; exactly one of push, pull, bigquery, storage."""

    name: Name
    topic: Name
    push: Push | None = None
    pull: Pull | None = None
    bigquery: BigQuerySink | None = None
    storage: StorageSink | None = None
    filter: str = ""
    ordered: bool = False
    ack_deadline_seconds: AckDeadline = 60  # not less than the functions' timeout
    retention_seconds: Retention = 604_800
    retry: Retry = Retry()
    dead_letter: DeadLetter | None = None


class Notification(_Entry, frozen=True, kw_only=True):
    """Object changes of a bucket, sent to a topic."""

    topic: Name
    events: list[Literal["OBJECT_FINALIZE", "OBJECT_DELETE"]]
    prefix: str = ""


class Bucket(_Entry, frozen=True, kw_only=True):
    """One bucket; its name in the cloud is `bucket_id(project, name)` because bucket names are global."""

    name: Name
    description: str
    lifecycle_days: Annotated[int, msgspec.Meta(ge=1)]
    notifications: list[Notification] = []


class Secret(_Entry, frozen=True, kw_only=True):
    """A secret's name; values are added outside."""

    name: Name
    description: str


class _Access(_Entry, frozen=True, kw_only=True):
    name: Name
    description: str
    timeout_seconds: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 60
    cpu: Cpu = 1
    memory_mib: Memory = 512
    publishes: list[Name] = []
    pulls: list[Name] = []
    stores: list[Store] = []
    reads_buckets: list[Name] = []
    writes_buckets: list[Name] = []
    rewrites_buckets: list[Name] = []  # reads, overwrites and deletes; only who forgets people needs that
    writes_tables: list[Name] = []
    secrets: list[Name] = []
    calls: list[Name] = []


class Keyed(_Entry, frozen=True, kw_only=True):
    """Callers come through API Gateway with a key: which requests pass, and how many of all callers in a minute."""

    requests: list[Annotated[str, msgspec.Meta(pattern="^(GET|POST) /[a-z0-9/_-]+$")]]
    per_minute: Annotated[int, msgspec.Meta(ge=1)]


class Function(_Access, frozen=True, kw_only=True):
    """One deployed function: `target` is its entry point in `functions.main`; `concurrency` is requests per instance."""

    target: Name
    public: bool = False
    keyed: Keyed | None = None
    concurrency: Concurrency = 16
    max_instances: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10


class Job(_Access, frozen=True, kw_only=True):
    """One job: the module `functions.jobs.<name>`; `schedule` is a cron line in UTC, or empty: run by hand."""

    schedule: str = ""
    timeout_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 3600


class Client(_Entry, frozen=True, kw_only=True):
    """Somebody outside who calls public functions as a service, with a service account of this project."""

    name: Name
    description: str
    calls: list[Name]


class Agent(_Entry, frozen=True, kw_only=True):
    """One agent: the actions it knows, the agents that may ask it, and what its own function may touch.

    Without `function` it gets one of its own, and a subscription filtered by its name (`agent_defaults`): an agent is one
    entry.
    """

    name: AgentName
    description: str = ""
    function: Annotated[str, msgspec.Meta(pattern="^([a-z][a-z0-9_-]{2,62})?$")] = ""
    actions: list[str] = []
    asked_by: list[AgentName] = []
    timeout_seconds: Annotated[int, msgspec.Meta(ge=1, le=600)] = 60
    memory_mib: Memory = 512
    publishes: list[Name] = []
    stores: list[Store] = []
    secrets: list[Name] = []
    calls: list[Name] = []


class AgentDefaults(_Entry, frozen=True, kw_only=True):
    """What every agent with a function of its own gets: where its requests come from, and what it may touch besides."""

    target: Name
    requests: Name
    failed: Name
    publishes: list[Name]
    stores: list[Store]
    retry: Retry = Retry()
    max_delivery_attempts: Attempts = 5


class CandidatesBackend(StrEnum):
    """What trains stage 1 of the recommender: the job itself, or BigQuery, which needs a reservation for it."""

    IMPLICIT = "implicit"
    BIGQUERY_ML = "bigquery_ml"


class Topology(_Entry, frozen=True, kw_only=True):
    """Everything that has a name in the cloud."""

    region: str
    dataset: Name
    candidates_backend: CandidatesBackend = CandidatesBackend.IMPLICIT
    topics: list[Topic]
    subscriptions: list[Subscription]
    buckets: list[Bucket]
    secrets: list[Secret]
    functions: list[Function]
    jobs: list[Job]
    agents: list[Agent]
    agent_defaults: AgentDefaults | None = None
    clients: list[Client] = []

    def function(self, name: str) -> Function:
        """The function of that name; KeyError when there is none."""
        return _find(name, self.functions)

    def agent(self, name: str) -> Agent:
        """The agent of that name; KeyError when there is none."""
        return _find(name, self.agents)

    def callers(self, function: str) -> dict[str, str]:
        """Who may call a function: each caller's function or job, and its name, which is the agent's where it hosts one."""
        agents = {agent.function: agent.name for agent in self.agents}
        calling = [access.name for access in (*self.functions, *self.jobs) if function in access.calls]
        return {name: agents.get(name, name) for name in calling}

    def access(self, name: str) -> Function | Job:
        """The function or job of that name; KeyError when there is none."""
        return _find(name, [*self.functions, *self.jobs])


Named = TypeVar("Named", Function, Agent, Function | Job)
Holder = TypeVar("Holder", Function, Job)


def bucket_id(project: str, name: str) -> str:
    """The globally unique name of a bucket of the topology."""
    return f"{project}-{name}"


def key_secret(function: str, caller: str) -> str:
    """The secret that holds the key which a function or job shows to a keyed function."""
    return f"{function}-key-{caller}"


def account_id(prefix: str, name: str) -> str:
    """The id of a service account: readable, and cut with a hash of the whole where Google's limit asks for it."""
    wanted = f"{prefix}-{name.replace('_', '-')}"
    if len(wanted) <= ACCOUNT_ID_MAX:
        return wanted
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:6]
    return f"{wanted[: ACCOUNT_ID_MAX - 7].rstrip('-')}-{digest}"


def account_email(project: str, function: str) -> str:
    """The service account that a function of the topology runs as."""
    return f"{account_id('fn', function)}@{project}.iam.gserviceaccount.com"


def parse(text: str) -> Topology:
    """Read and check a topology.

    Raises:
        TopologyError: naming the path of the first wrong value, or every broken reference.
    """
    from schemas.topology_rules import find_problems

    try:
        topology = add_keys(add_agents(msgspec.convert(yaml.safe_load(text), Topology)))
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise TopologyError(f"topology.yaml: {error}") from error
    problems = list(find_problems(topology))
    if problems:
        raise TopologyError("topology.yaml:\n- " + "\n- ".join(problems))
    return topology


def add_agents(topology: Topology) -> Topology:
    """The topology with the function and the subscription of every agent that has only its entry."""
    agents = [agent if agent.function else _name_function(agent) for agent in topology.agents]
    new = [agent for agent, entry in zip(agents, topology.agents, strict=True) if not entry.function]
    defaults = topology.agent_defaults
    if not defaults:
        if new:
            raise TopologyError(f"topology.yaml: {new[0].name} has no function; give it one, or agent_defaults")
        return topology
    return msgspec.structs.replace(
        topology,
        agents=agents,
        functions=[*topology.functions, *(_make_function(agent, defaults) for agent in new)],
        subscriptions=[*topology.subscriptions, *(_make_subscription(agent, defaults) for agent in new)],
    )


def add_keys(topology: Topology) -> Topology:
    """The topology with a secret for each caller of a keyed function, which that caller alone may read."""
    doors = {function.name for function in topology.functions if function.keyed}
    made = [
        Secret(name=key_secret(door, access.name), description=f"The key that {access.name} shows to {door}")
        for access in (*topology.functions, *topology.jobs)
        for door in access.calls
        if door in doors
    ]
    return msgspec.structs.replace(
        topology,
        secrets=[*topology.secrets, *made],
        functions=[_give_keys(function, doors) for function in topology.functions],
        jobs=[_give_keys(job, doors) for job in topology.jobs],
    )


def _give_keys(access: Holder, doors: set[str]) -> Holder:
    keys = [key_secret(door, access.name) for door in access.calls if door in doors]
    return msgspec.structs.replace(access, secrets=[*access.secrets, *keys]) if keys else access


def _name_function(agent: Agent) -> Agent:
    words = re.sub("(?<=.)(?=[A-Z])", "-", agent.name.removesuffix("Agent")).lower()
    return msgspec.structs.replace(agent, function=f"agent-{words}")


def _make_function(agent: Agent, defaults: AgentDefaults) -> Function:
    return Function(
        name=agent.function,
        target=defaults.target,
        description=agent.description or agent.name,
        timeout_seconds=agent.timeout_seconds,
        memory_mib=agent.memory_mib,
        publishes=[*defaults.publishes, *agent.publishes],
        stores=[*defaults.stores, *agent.stores],
        secrets=agent.secrets,
        calls=agent.calls,
    )


def _make_subscription(agent: Agent, defaults: AgentDefaults) -> Subscription:
    return Subscription(
        name=f"{defaults.requests}-{agent.function.removeprefix('agent-')}",
        topic=defaults.requests,
        filter=f'attributes.targetAgent = "{agent.name}"',
        push=Push(function=agent.function),
        ack_deadline_seconds=max(60, agent.timeout_seconds),
        retry=defaults.retry,
        dead_letter=DeadLetter(topic=defaults.failed, max_delivery_attempts=defaults.max_delivery_attempts),
    )


@cache
def load() -> Topology:
    """The suite's own topology."""
    return parse(PATH.read_text(encoding="utf-8"))


def json_schema() -> dict[str, object]:
    """The meta-schema, published as `topology.schema.json` for editors and other tools."""
    return msgspec.json.schema(Topology)


def _find(name: str, entries: Iterable[Named]) -> Named:
    for entry in entries:
        if entry.name == name:
            return entry
    raise KeyError(f"{name!r} is not in topology.yaml")
