"""The bill is computed from what is built: nothing that costs is left out, and every price says where it is from."""

from __future__ import annotations

from datetime import date

import pytest
from bill.__main__ import main
from bill.schedule import count_runs
from bill.standing import MONTH_HOURS, PRICED
from bill.statement import USUAL_LOADS, Statement, make_statement, render
from bill.tables import Load, Messages, read_loads, read_prices
from msgspec import structs
from policy.graph import Graph
from policy.record import STACKS, read_config

from schemas import topology
from tests.infra.changes import changed, plus, without

LOADS, PRICES = read_loads(), read_prices()
NAMED = topology.load()
# What is built and costs nothing by itself, or is paid by what goes through it (bill/usage.py).
BY_USE = {
    "apigateway/Gateway",
    "bigquery/Table",
    "cloudrunv2/Job",
    "compute/RegionNetworkEndpointGroup",
    "firestore/BackupSchedule",
    "firestore/Database",
    "identityplatform/Config",
    "pubsub/Subscription",
    "pubsub/Topic",
    "storage/Bucket",
}
FREE = {
    "apigateway/Api",
    "apigateway/ApiConfig",
    "bigquery/Dataset",
    "billing/Budget",
    "cloudbuild/Trigger",
    "compute/Address",
    "compute/BackendService",
    "compute/DiskResourcePolicyAttachment",
    "compute/Firewall",
    "compute/GlobalAddress",  # while a forwarding rule uses it
    "compute/ManagedSslCertificate",
    "compute/Network",
    "compute/ResourcePolicy",
    "compute/Router",
    "logging/Metric",  # eight series: far within the 150 MiB a month that are free
    "compute/SSLPolicy",
    "compute/Subnetwork",
    "compute/TargetHttpsProxy",
    "compute/URLMap",
    "dns/RecordSet",
    "firebaserules/Release",
    "firebaserules/Ruleset",
    "firestore/Field",
    "firestore/Index",
    "identityplatform/DefaultSupportedIdpConfig",
    "kms/KeyRing",
    "monitoring/Dashboard",
    "monitoring/NotificationChannel",
    "networkconnectivity/ServiceConnectionPolicy",
    "projects/IAMAuditConfig",
    "projects/IAMCustomRole",
    "projects/Service",
    "projects/ServiceIdentity",
    "pubsub/Schema",
    "serviceaccount/Account",
    "storage/Notification",
}


def bill(graph: Graph, load: str) -> Statement:
    return make_statement(graph, load, LOADS[load], PRICES)


def pay(statement: Statement, price: str) -> float:
    return next((line.usd for line in statement.lines if line.price == price), 0.0)


def amount(statement: Statement, price: str) -> float:
    return next((line.amount for line in statement.lines if line.price == price), 0.0)


def test_every_kind_of_resource_is_priced_or_known_to_be_free(graph: Graph) -> None:
    """A new kind that costs would otherwise be missing in the bill, silently."""
    kinds = {entry.kind for entry in graph.resources if not entry.kind.startswith("argo:")}
    grants = {kind for kind in kinds if kind.lower().endswith("iammember")}
    assert kinds - grants - PRICED.keys() - BY_USE - FREE == set()
    assert not PRICED.keys() & (BY_USE | FREE)


@pytest.mark.parametrize("load", LOADS)
def test_every_stack_has_a_bill_under_every_load(graph: Graph, load: str) -> None:
    found = bill(graph, load)
    assert found.usd >= found.standing_usd > 0
    assert found.usd == pytest.approx(sum(line.usd for line in found.lines))


def test_the_budget_of_a_stack_covers_its_usual_bill(graphs: dict[str, Graph]) -> None:
    """Else the budget's warning would be sent every month, and soon be read by nobody."""
    for stack in STACKS:
        budget = float(read_config(stack)["argo:monthly_budget"])
        usual = bill(graphs[stack], USUAL_LOADS[stack]).usd
        assert usual <= 0.9 * budget, stack


def test_an_idle_dev_stack_costs_only_what_stands(graphs: dict[str, Graph]) -> None:
    found = bill(graphs["dev"], "idle")
    assert found.usd == pytest.approx(found.standing_usd, abs=1)
    assert pay(found, "redis_shared_core_nano") == pytest.approx(PRICES["redis_shared_core_nano"].usd * MONTH_HOURS)
    assert pay(found, "forwarding_rules") == pytest.approx(18.25)
    assert pay(found, "run_idle_cpu") == pay(found, "key_versions") == 0.0


def test_prods_waiting_instances_replica_and_keys_are_paid(prod: Graph) -> None:
    found = bill(prod, "busy")
    public = [function for function in NAMED.functions if function.public]
    kept = int(read_config("prod")["argo:public_min_instances"]) * sum(function.cpu for function in public)
    assert amount(found, "run_idle_cpu") == pytest.approx(kept * MONTH_HOURS * 3600)
    assert amount(found, "redis_standard_small") == pytest.approx(2 * MONTH_HOURS)
    assert amount(found, "key_versions") == 6 * LOADS["busy"].key_versions


def test_the_bill_follows_the_graph(prod: Graph) -> None:
    """A figure that does not move with what is built would be made up."""
    before = bill(prod, "busy")
    smaller = changed(prod, "memorystore/Instance", "replicaCount", 0)
    assert amount(bill(smaller, "busy"), "redis_standard_small") == pytest.approx(MONTH_HOURS)
    unkept = changed(prod, "cloudrunv2/Service", "template.scaling.minInstanceCount", 0, "collect")
    assert pay(bill(unkept, "busy"), "run_idle_cpu") < pay(before, "run_idle_cpu")
    unsunk = without(prod, "pubsub/Subscription", "subscription-user-interactions-warehouse")
    assert amount(bill(unsunk, "busy"), "bigquery_storage") < amount(before, "bigquery_storage")
    disk = plus(prod, "compute/Disk", "extra", name="graph", size=100)
    assert amount(bill(disk, "busy"), "disks") == 100


def test_messages_are_paid_in_and_out(prod: Graph) -> None:
    """The hand count of one topic: published once, to BigQuery, to the archive, and its filtered parts to functions."""
    load = replace_messages("user-interactions", count=2.0**20, size=2.0**20)  # a TiB
    found = make_statement(prod, "x", load, PRICES)
    share = sum(LOADS["busy"].filtered[f"user-interactions-{who}"] for who in ("moments", "touched"))
    assert amount(found, "pubsub_data") == pytest.approx(1 + share)
    assert amount(found, "pubsub_sinks") == pytest.approx(2)
    assert pay(found, "pubsub_data") == pytest.approx((1 + share - PRICES["pubsub_data"].free) * 40)


def replace_messages(topic: str, *, count: float, size: float) -> Load:
    """The busy load with messages on one topic only."""
    messages = {"default": Messages(count=0, bytes=0), topic: Messages(count=count, bytes=size)}
    return structs.replace(LOADS["busy"], messages=messages)


def test_a_free_allowance_is_taken_off_once(graphs: dict[str, Graph]) -> None:
    found = bill(graphs["dev"], "idle")
    schedules = [job for job in NAMED.jobs if job.schedule]
    free = PRICES["scheduler_jobs"].free
    assert pay(found, "scheduler_jobs") == pytest.approx(max(0.0, len(schedules) - free) * 0.1)


def test_a_price_that_is_not_in_the_table_is_refused(prod: Graph) -> None:
    fewer = {name: price for name, price in PRICES.items() if name != "armor_rules"}
    with pytest.raises(KeyError, match="armor_rules"):
        make_statement(prod, "busy", LOADS["busy"], fewer)


def test_every_price_is_used_and_dated(graphs: dict[str, Graph]) -> None:
    for price in PRICES.values():
        assert date(2026, 1, 1) <= price.read
        assert price.source.startswith("https://cloud.google.com/")
    assert any(price.seen for price in PRICES.values())
    used = {line.price for graph in graphs.values() for line in bill(graph, "busy").lines}
    sizes = {name for name in PRICES if name.startswith(("redis_", "machine_"))}  # a stack has one of them
    optional = {"nat_gateways", "disks", "snapshots"}  # of a self-run Neo4j
    assert PRICES.keys() - used <= sizes | optional


def test_assumptions_name_what_exists() -> None:
    """A renamed topic would silently fall back to the default."""
    topics = {topic.name for topic in NAMED.topics}
    functions = {function.name for function in NAMED.functions}
    subscriptions = {entry.name for entry in NAMED.subscriptions if entry.filter}
    for load in LOADS.values():
        assert load.messages.keys() - {"default"} <= topics
        assert (load.requests.keys() | load.request_seconds.keys()) - {"default"} <= functions
        assert load.filtered.keys() - {"default"} <= subscriptions


@pytest.mark.parametrize(("cron", "runs"), [("*/5 * * * *", 8760), ("15 2 * * *", 31), ("0 0 1 * *", 1)])
def test_schedules_are_counted(cron: str, runs: int) -> None:
    assert count_runs(cron) == pytest.approx(runs, abs=1)


def test_the_table_can_be_read(prod: Graph) -> None:
    found = bill(prod, "busy")
    text = render(found)
    assert f"{found.usd:,.2f}" in text.splitlines()[-4]
    assert f"{found.standing_usd:,.2f}" in text
    assert all(line.price in text for line in found.lines)
    assert "run_cpu *" in text
    assert max(len(line) for line in text.splitlines()) <= 130


def test_the_command_says_what_it_wants(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == main(["moon"]) == main(["dev", "heavy"]) == 2
    assert "STACK: dev, staging, prod; LOAD: idle, busy" in capsys.readouterr().err
