"""A function is told in the cloud what it is told on the laptop, by the same names, and only what it needs."""

from __future__ import annotations

import ssl
from urllib.parse import parse_qs, urlsplit

import pytest
from infra.blackboard import _write_url  # pyright: ignore[reportPrivateUsage] -- the URL's form is the contract
from infra.naming import account_id, url_variable
from policy.graph import Graph
from policy.rules_identity import find_variables
from pulumi_gcp.memorystore.outputs import (
    InstanceEndpoint,
    InstanceEndpointConnection,
    InstanceEndpointConnectionPscAutoConnection,
    InstanceManagedServerCa,
    InstanceManagedServerCaCaCert,
)

from agents.tools.settings import read_settings
from emulators import environment
from schemas import topology

NAMED = topology.load()
STORES = {"graph": "NEO4J_URI", "blackboard": "REDIS_URL", "mail": "SMTP_HOST", "models": "ARGO_DEFAULT_MODEL"}


def told(graph: Graph) -> dict[str, dict[str, str]]:
    """The variables of each function and job by its name in the topology."""
    found = {
        entry.get("name"): {variable["name"]: variable["value"] for variable in find_variables(entry)}
        for entry in graph.of("cloudrunv2/Service", "cloudrunv2/Job")
    }
    return {access.name: found[access.name.replace("_", "-")] for access in (*NAMED.functions, *NAMED.jobs)}


def test_the_code_can_read_what_it_is_told(graph: Graph) -> None:
    """A misspelt variable would only show when the function needs it."""
    for name, variables in told(graph).items():
        access = NAMED.access(name)
        settings = read_settings({**variables, "K_SERVICE": name})
        assert settings.project == graph.project
        assert bool(settings.neo4j_uri) == ("graph" in access.stores)
        assert bool(settings.redis_url) == ("blackboard" in access.stores)
        assert bool(settings.smtp_host) == ("mail" in access.stores)
        assert bool(settings.llm_url) == ("llm" in access.calls)
        assert bool(settings.collect_url) == ("collect" in access.calls)


def test_nobody_is_told_more_than_it_needs(graph: Graph) -> None:
    for name, variables in told(graph).items():
        access = NAMED.access(name)
        for store, variable in STORES.items():
            assert (variable in variables) == (store in access.stores), (name, variable)
        urls = {variable for variable in variables if variable.startswith("ARGO_") and variable.endswith("_URL")}
        assert urls == {url_variable(callee) for callee in access.calls}


def test_no_emulator_and_no_reserved_variable_reaches_the_cloud(graph: Graph) -> None:
    """Cloud Run refuses PORT and K_SERVICE; an emulator's variable would silence the real service."""
    for variables in told(graph).values():
        assert not {"PORT", "K_SERVICE", "K_REVISION", "SECRET_MANAGER_ENDPOINT"} & variables.keys()
        assert not any(name.endswith("_EMULATOR_HOST") for name in variables)


def test_who_may_ask_for_anybody_is_the_topologys(graph: Graph) -> None:
    """A shop's backend that is kept out for want of a variable; or a function that trusts whom nobody named."""
    for name, variables in told(graph).items():
        clients = [one.name for one in NAMED.clients if name in one.calls]
        emails = [f"{account_id('client', one)}@{graph.project}.iam.gserviceaccount.com" for one in clients]
        assert variables.get("ARGO_TRUSTED_CALLERS", "") == ",".join(emails)
    assert {one for client in NAMED.clients for one in client.calls} == {"recommend"}


def test_addresses_have_the_laptops_names() -> None:
    assert all(url_variable(entry.name) == environment.url_variable(entry.name) for entry in NAMED.functions)


def test_only_who_needs_the_network_is_in_it(graph: Graph) -> None:
    for entry in graph.of("cloudrunv2/Service"):
        access = NAMED.access(entry.get("name"))
        interfaces = entry.get("template.vpcAccess.networkInterfaces") or [{"tags": []}]
        wanted = {"argo-blackboard"} if "blackboard" in access.stores else set[str]()
        inside = [name for name in access.calls if NAMED.function(name).keyed is None]  # API Gateway is outside
        assert set(interfaces[0]["tags"]) == (wanted | {"argo-calls"} if inside else wanted)


def make_url(port: int | None, *certificates: str) -> str:
    def connect(kind: str, address: str) -> InstanceEndpointConnection:
        return InstanceEndpointConnection(
            psc_auto_connection=InstanceEndpointConnectionPscAutoConnection(
                connection_type=kind, ip_address=address, port=port
            )
        )

    connections = [connect("CONNECTION_TYPE_READER", "10.8.1.3"), connect("CONNECTION_TYPE_PRIMARY", "10.8.1.2")]
    authority = InstanceManagedServerCa(ca_certs=[InstanceManagedServerCaCaCert(certificates=list(certificates))])
    return _write_url([InstanceEndpoint(connections=connections)], [authority])


def test_the_redis_client_reads_the_address_as_meant() -> None:
    """redis-py must take the certificate from the URL, with its line breaks, and insist on it."""
    from redis import Redis
    from redis.connection import SSLConnection

    certificate = "-----BEGIN CERTIFICATE-----\nMIIB+/=\n-----END CERTIFICATE-----"
    pool = Redis.from_url(make_url(None, certificate, certificate)).connection_pool
    given = pool.connection_kwargs
    assert pool.connection_class is SSLConnection
    assert (given["host"], given["port"], given["db"]) == ("10.8.1.2", 6379, 0)
    assert given["ssl_ca_data"] == f"{certificate}\n{certificate}"
    connection = SSLConnection(**given)
    assert connection.cert_reqs == ssl.CERT_REQUIRED
    assert connection.check_hostname is False


def test_the_address_names_the_primary() -> None:
    url = urlsplit(make_url(6380, "x"))
    assert (url.scheme, url.hostname, url.port) == ("rediss", "10.8.1.2", 6380)
    assert parse_qs(url.query)["ssl_ca_data"] == ["x"]


@pytest.mark.parametrize(
    "name", ["act", "agent-creative-content", "sync_graph", "a" * 63, "agent-with-a-very-long-name"]
)
def test_account_ids_fit_google(name: str) -> None:
    found = account_id("start", name)
    assert 6 <= len(found) <= 30
    assert found.replace("-", "").isalnum()
    assert found == found.lower()
    assert not found.endswith("-")


def test_long_account_ids_stay_different() -> None:
    assert account_id("fn", "agent-" + "x" * 40) != account_id("fn", "agent-" + "x" * 41)
