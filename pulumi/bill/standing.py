"""What a stack costs before anybody uses it: per kind of resource, how much of which price it takes for being there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from policy.graph import Graph, Resource

from bill.schedule import count_runs
from bill.tables import Load, pick

MONTH_HOURS = 730.0
MONTH_SECONDS = MONTH_HOURS * 3600
MIB_PER_GIB = 1024.0
SNAPSHOTS_KEPT = 14


@dataclass(frozen=True, kw_only=True)
class Use:
    """So much of a price, and what for. `standing`: it is paid although nobody uses the stack."""

    price: str
    amount: float
    what: str
    standing: bool = True


def read_size(limits: dict[str, str]) -> tuple[float, float]:
    """vCPUs and GiB of a container's limits."""
    return float(limits["cpu"]), float(limits["memory"].removesuffix("Mi")) / MIB_PER_GIB


def _price_service(entry: Resource, _: Load) -> Iterator[Use]:
    kept = float(entry.get("template.scaling.minInstanceCount") or 0)
    if kept:
        cpus, gib = read_size(entry.get("template.containers.0.resources.limits"))
        what = f"{entry.get('name')}: {kept:.0f} instances that wait"
        yield Use(price="run_idle_cpu", amount=kept * cpus * MONTH_SECONDS, what=what)
        yield Use(price="run_idle_memory", amount=kept * gib * MONTH_SECONDS, what=what)


def _price_job(name: str, schedule: Resource, job: Resource, load: Load) -> Iterator[Use]:
    """By its schedule: that runs whether anybody uses the stack or not."""
    runs = count_runs(schedule.get("schedule"))
    seconds = runs * pick(load.job_seconds, name)
    cpus, gib = read_size(job.get("template.template.containers.0.resources.limits"))
    yield Use(price="job_cpu", amount=seconds * cpus, what=f"{name}: {runs:.0f} runs")
    yield Use(price="job_memory", amount=seconds * gib, what=f"{name}: {runs:.0f} runs")


def _price_redis(entry: Resource, _: Load) -> Iterator[Use]:
    nodes = float(entry.get("shardCount")) * (1 + float(entry.get("replicaCount") or 0))
    node = str(entry.get("nodeType"))
    yield Use(price=f"redis_{node.lower()}", amount=nodes * MONTH_HOURS, what=f"the blackboard: {nodes:.0f} x {node}")
    yield Use(price="psc_endpoints", amount=2 * MONTH_HOURS, what="the blackboard's two addresses in the network")


def _price_armor(entry: Resource, _: Load) -> Iterator[Use]:
    yield Use(price="armor_policies", amount=1, what=f"Cloud Armor before {entry.get('name')}")
    yield Use(price="armor_rules", amount=len(entry.get("rules")), what=f"its rules before {entry.get('name')}")


def _price_machine(entry: Resource, _: Load) -> Iterator[Use]:
    kind = str(entry.get("machineType")).replace("-", "_")
    yield Use(price=f"machine_{kind}", amount=MONTH_HOURS, what=f"{entry.get('name')}: {entry.get('machineType')}")


def _price_disk(entry: Resource, _: Load) -> Iterator[Use]:
    size = float(entry.get("size"))
    yield Use(price="disks", amount=size, what=f"{entry.get('name')}: {size:.0f} GiB")
    # Snapshots hold what changed since the one before: a tenth of the disk a day is assumed.
    kept = size + SNAPSHOTS_KEPT * size / 10
    yield Use(price="snapshots", amount=kept, what=f"{entry.get('name')}: {SNAPSHOTS_KEPT} snapshots")


def _each(price: str, what: str, amount: float = 1.0) -> Callable[[Resource, Load], Iterator[Use]]:
    def price_one(entry: Resource, _: Load) -> Iterator[Use]:
        name = entry.get("name") or entry.get("secretId") or entry.name
        yield Use(price=price, amount=amount, what=f"{what}: {name}")

    return price_one


def _price_key(entry: Resource, load: Load) -> Iterator[Use]:
    yield Use(price="key_versions", amount=load.key_versions, what=f"key: {entry.get('name')}")


def _price_images(_: Resource, load: Load) -> Iterator[Use]:
    yield Use(price="images", amount=load.image_gib, what="images in the registry")


PRICED: dict[str, Callable[[Resource, Load], Iterator[Use]]] = {
    "artifactregistry/Repository": _price_images,
    "cloudrunv2/Service": _price_service,
    "cloudscheduler/Job": _each("scheduler_jobs", "schedule"),
    "compute/Disk": _price_disk,
    "compute/GlobalForwardingRule": _each("forwarding_rules", "load balancer", MONTH_HOURS),
    "compute/Instance": _price_machine,
    "compute/RouterNat": _each("nat_gateways", "NAT", MONTH_HOURS),
    "compute/SecurityPolicy": _price_armor,
    "dns/ManagedZone": _each("dns_zones", "zone"),
    "kms/CryptoKey": _price_key,
    "memorystore/Instance": _price_redis,
    "monitoring/AlertPolicy": _each("alert_conditions", "alert"),
    "secretmanager/Secret": _each("secret_versions", "secret"),
}


def price_standing(graph: Graph, load: Load) -> Iterator[Use]:
    """Everything that costs by being there. A job is priced with its schedule, under the topology's own name."""
    for entry in graph.resources:
        if entry.kind in PRICED:
            yield from PRICED[entry.kind](entry, load)
    jobs = {entry.get("name"): entry for entry in graph.of("cloudrunv2/Job")}
    for entry in graph.of("cloudscheduler/Job"):
        name = str(entry.get("name"))
        yield from _price_job(name.replace("-", "_"), entry, jobs[name], load)
