"""Plans one whole laptop cloud from the topology: stores, setup, functions, workers, and what each of them is told.

Pure but for the choice of free ports and the graph's folder; nothing is started here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from emulators import graph
from emulators.environment import (
    OWNED,
    PROJECT,
    Credentials,
    Settings,
    base_environment,
    find_external,
    make_credentials,
    name_owned,
    url_variable,
)
from emulators.identity import ACCOUNTS
from emulators.ports import HOST, Ports
from emulators.probes import Answers, Ends, Says
from emulators.services import Kind, Service, module_command, plan_stores
from schemas.topology import Function, Topology, account_email

NATIVE_READY = "native ready"
SCHEDULER_READY = "scheduler ready"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole cloud; `environment` is what functions and jobs get, `local` what a user's shell gets.

    `accounts` are service account files to be written, with their emails: a function that speaks for an agent has one of
    its own, by which the others know it (`agents.tools.seals`); all others share the laptop's.
    """

    services: list[Service]
    accounts: dict[Path, str]
    environment: dict[str, str] = field(repr=False)
    local: dict[str, str] = field(repr=False)
    credentials: Credentials = field(repr=False)

    def find_endpoint(self, name: str) -> str:
        """A service's address; KeyError when there is no such service."""
        return {service.name: service.endpoint for service in self.services}[name]


def make_plan(settings: Settings, topology: Topology, ports: Ports) -> Plan:
    """Plans the cloud of a topology.

    Raises:
        PortError, ServicesError: naming the variable to change.
    """
    own_graph = "graph" not in find_external(settings.environ)
    credentials = make_credentials(settings.environ, own_graph=own_graph)
    smtp_port = ports.take("smtp")
    storage_api_port = ports.take("bigquery-grpc")
    stores = plan_stores(settings, ports, credentials, smtp_port, storage_api_port)
    function_ports = {function.name: ports.take(function.name) for function in topology.functions}

    addresses = {store.name: store.endpoint for store in stores} | {"smtp": str(smtp_port)}
    addresses["bigquery-grpc"] = f"{HOST}:{storage_api_port}"
    shared = {"ARGO_DATASET": topology.dataset, **_name_addresses(settings, addresses)}
    shared |= {url_variable(name): f"http://{HOST}:{port}" for name, port in function_ports.items()}
    if "links" in function_ports:  # what messages lead people to; in the cloud its public name
        shared["ARGO_MESSAGE_LINKS"] = shared[url_variable("links")]
    base = base_environment(settings)
    environment = base | shared
    speakers = {agent.function for agent in topology.agents}
    functions = [
        _plan_function(
            settings,
            environment | (_name_account(settings, function.name) if function.name in speakers else {}),
            function,
            function_ports[function.name],
        )
        for function in topology.functions
    ]
    accounts = {_account_path(settings, name): account_email(PROJECT, name) for name in sorted(speakers)}
    services = [replace(store, environment=environment | dict(store.environment)) for store in stores]
    secrets = {"NEO4J_PASSWORD": credentials.graph_password}
    services += [_plan_setup(settings, environment | secrets), *functions, *_plan_workers(settings, environment)]
    local = {name: base[name] for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS")}
    local |= shared | secrets
    local |= {"ARGO_MAILBOX_URL": addresses["mailbox"], "ARGO_WRITE_KEY": credentials.write_key}
    local |= {  # for gcloud and bq: without these bq asks for a login, and for --api and --project_id
        "CLOUDSDK_CORE_PROJECT": base["GOOGLE_CLOUD_PROJECT"],
        "CLOUDSDK_AUTH_ACCESS_TOKEN": "laptop",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_BIGQUERY": f"{addresses['bigquery']}/",
    }
    local |= {OWNED: name_owned(store.name for store in stores if store.kind is Kind.STORE)}
    return Plan(services=services, accounts=accounts, environment=environment, local=local, credentials=credentials)


def _account_path(settings: Settings, function: str) -> Path:
    return settings.directory / ACCOUNTS / f"{function}.json"


def _name_account(settings: Settings, function: str) -> dict[str, str]:
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(_account_path(settings, function))}


def _name_addresses(settings: Settings, addresses: Mapping[str, str]) -> dict[str, str]:
    environ, external = settings.environ, find_external(settings.environ)
    own_graph = "graph" not in external
    variables = {
        "PUBSUB_EMULATOR_HOST": addresses["pubsub"],
        "FIRESTORE_EMULATOR_HOST": addresses["firestore"],
        "STORAGE_EMULATOR_HOST": addresses["storage"],
        "BIGQUERY_EMULATOR_HOST": addresses["bigquery"],
        "BIGQUERY_STORAGE_ENDPOINT": addresses["bigquery-grpc"],
        "SECRET_MANAGER_ENDPOINT": addresses["secretmanager"],
        "GOOGLE_GEMINI_BASE_URL": addresses["gemini"],
        "ARGO_IDENTITY_CERTS_URL": f"{addresses['identity']}/certs",
        "FIREBASE_AUTH_EMULATOR_HOST": addresses["identity"].removeprefix("http://"),
        "ARGO_TRUSTED_CALLERS": f"laptop@{PROJECT}.iam.gserviceaccount.com",
        "NEO4J_URI": external.get("graph", addresses["graph"]),
        "NEO4J_USERNAME": graph.USER if own_graph else environ.get("NEO4J_USERNAME", "neo4j"),
        "NEO4J_DATABASE": graph.DATABASE if own_graph else environ.get("NEO4J_DATABASE", "neo4j"),
        "REDIS_URL": external.get("redis", addresses["redis"]),
        "SMTP_HOST": HOST,
        "SMTP_PORT": addresses["smtp"],
    }
    if environ.get("GEMINI_API_KEY"):  # the real model serves
        del variables["GOOGLE_GEMINI_BASE_URL"]
    return variables


def _plan_setup(settings: Settings, environment: Mapping[str, str]) -> Service:
    files = {"topology": settings.topology, "secrets": settings.directory / "secrets.json"}
    return Service(
        name="setup",
        kind=Kind.TASK,
        note="topics, tables, buckets, constraints, secrets",
        command=module_command("emulators.setup", **files),
        environment=environment,
        probe=Ends(),
    )


def _plan_function(settings: Settings, environment: Mapping[str, str], function: Function, port: int) -> Service:
    """The same command line as in the container image."""
    server = ("-m", "uvicorn", "functions_framework.aio:app", "--host", HOST, "--port", str(port), "--no-access-log")
    own = {
        "FUNCTION_TARGET": function.target,
        "FUNCTION_SOURCE": "functions/main.py",
        "K_SERVICE": function.name,
        "PORT": str(port),
        "ARGO_AUDIENCE": f"http://{HOST}:{port}",
    }
    if function.public:  # whoever calls it may play the load balancer: nothing but this machine can
        own["ARGO_BEHIND_LOAD_BALANCER"] = "true"
    return Service(
        name=function.name,
        kind=Kind.FUNCTION,
        endpoint=f"http://{HOST}:{port}",
        note=function.description,
        command=(sys.executable, *server),
        environment={**environment, **own},
        directory=settings.root,
        # The framework loads the function on the first request: 404 says that it could, 500 that it could not.
        probe=Answers(port=port, path="/robots.txt", status=404, broken_status=500),
    )


def _plan_workers(settings: Settings, environment: Mapping[str, str]) -> list[Service]:
    native = Service(
        name="native",
        kind=Kind.WORKER,
        note="BigQuery and Cloud Storage subscriptions",
        command=module_command("emulators.native", topology=settings.topology),
        environment=environment,
        probe=Says(text=NATIVE_READY),
        after_setup=True,
    )
    if not settings.schedule:
        return [native]
    scheduler = Service(
        name="scheduler",
        kind=Kind.WORKER,
        note="jobs by their cron lines, in UTC",
        command=module_command("emulators.scheduler", topology=settings.topology, root=settings.root),
        environment=environment,
        probe=Says(text=SCHEDULER_READY),
        after_setup=True,
    )
    return [native, scheduler]
