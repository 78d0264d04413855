"""The plan of a laptop cloud: everything that the topology names runs, and no process is told what it must not know."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from emulators import processes
from emulators.environment import (
    OWNED,
    Credentials,
    Settings,
    base_environment,
    find_external,
    read_exports,
    render_exports,
    url_variable,
)
from emulators.plan import Plan, make_plan
from emulators.ports import HOST, PortError, Ports, is_free
from emulators.services import Kind, ServicesError
from emulators.setup import LEAST_BACKOFF_SECONDS, check_values, describe_subscription
from emulators.state import Health, Phase, State, Status, read_state, tail, write_private, write_state
from schemas import topology

TOPOLOGY = topology.load()


@pytest.fixture
def ports() -> Iterator[Ports]:
    taken = Ports({})
    yield taken
    taken.close()


def make_settings(directory: Path, **environ: str) -> Settings:
    return Settings(directory=directory, root=Path.cwd(), topology=topology.PATH, environ={"PATH": "/bin", **environ})


def plan(directory: Path, ports: Ports, **environ: str) -> Plan:
    return make_plan(make_settings(directory, **environ), TOPOLOGY, ports)


class TestPlan:
    def test_every_function_of_the_topology_runs_as_in_its_container(self, tmp_path: Path, ports: Ports) -> None:
        """Prevents: a function added to the topology that never starts on a laptop."""
        services = {service.name: service for service in plan(tmp_path, ports).services}
        for function in TOPOLOGY.functions:
            service = services[function.name]
            assert service.kind is Kind.FUNCTION
            assert service.environment["FUNCTION_TARGET"] == function.target
            assert service.environment["K_SERVICE"] == function.name
            assert "functions_framework.aio:app" in service.command

    def test_everything_listens_on_loopback_at_its_own_port(self, tmp_path: Path, ports: Ports) -> None:
        """Prevents: a laptop that serves its stores to the network, or two services at one address."""
        endpoints = [service.endpoint for service in plan(tmp_path, ports).services if service.endpoint]
        assert len(endpoints) == len(set(endpoints)) > len(TOPOLOGY.functions)
        assert all(HOST in endpoint for endpoint in endpoints)

    def test_local_env_has_every_variable_that_was_promised(self, tmp_path: Path, ports: Ports) -> None:
        """Prevents: a client that cannot be pointed at the cloud by local.env alone."""
        promised = """GOOGLE_CLOUD_PROJECT GOOGLE_APPLICATION_CREDENTIALS PUBSUB_EMULATOR_HOST FIRESTORE_EMULATOR_HOST
            STORAGE_EMULATOR_HOST BIGQUERY_EMULATOR_HOST SECRET_MANAGER_ENDPOINT GOOGLE_GEMINI_BASE_URL NEO4J_URI
            NEO4J_USERNAME NEO4J_PASSWORD NEO4J_DATABASE REDIS_URL SMTP_HOST SMTP_PORT ARGO_DATASET ARGO_COLLECT_URL
            ARGO_RECOMMEND_URL ARGO_LLM_URL ARGO_MAILBOX_URL ARGO_WRITE_KEY"""
        local = plan(tmp_path, ports).local
        assert not set(promised.split()) - local.keys()
        assert all(local[name] for name in promised.split())

    @pytest.mark.parametrize("secret", ["NEO4J_PASSWORD", "GEMINI_API_KEY", "GOOGLE_API_KEY", "ARGO_WRITE_KEY"])
    def test_no_function_is_told_a_secret_of_the_shell(self, tmp_path: Path, ports: Ports, secret: str) -> None:
        """Prevents: code that works on a laptop because the developer's shell had a secret."""
        made = plan(tmp_path, ports, **{secret: "do-not-tell"})
        functions = [service for service in made.services if service.kind in (Kind.FUNCTION, Kind.WORKER)]
        assert not [service.name for service in functions if "do-not-tell" in service.environment.values()]
        assert "do-not-tell" not in made.environment.values()

    def test_a_real_model_key_goes_to_secret_manager_and_the_stand_in_leaves_the_way(
        self, tmp_path: Path, ports: Ports
    ) -> None:
        """Prevents: a real key sent to the stand-in, or scripted answers sold as the model's."""
        made = plan(tmp_path, ports, GEMINI_API_KEY="real", GOOGLE_GEMINI_BASE_URL="http://old")
        assert made.credentials.secret_values({})["gemini-api-key"] == "real"
        assert "GOOGLE_GEMINI_BASE_URL" not in made.environment.keys() | made.local.keys()

    def test_a_running_store_is_used_and_neither_started_nor_stopped(self, tmp_path: Path, ports: Ports) -> None:
        """Prevents: a second Pub/Sub beside the one that the developer runs."""
        made = plan(tmp_path, ports, PUBSUB_EMULATOR_HOST="127.0.0.1:8085", NEO4J_URI="bolt://db:7687")
        services = {service.name: service for service in made.services}
        assert (services["pubsub"].kind, services["pubsub"].command) == (Kind.OUTSIDE, ())
        assert (services["graph"].kind, services["graph"].command) == (Kind.OUTSIDE, ())
        assert made.environment["PUBSUB_EMULATOR_HOST"] == "127.0.0.1:8085"
        assert (made.environment["NEO4J_URI"], made.environment["NEO4J_DATABASE"]) == ("bolt://db:7687", "neo4j")

    def test_an_address_of_an_earlier_cloud_is_not_the_users_choice(self) -> None:
        """Prevents: `up` in a shell with an old local.env waits for stores that are gone."""
        environ = {"PUBSUB_EMULATOR_HOST": "a:1", "REDIS_URL": "redis://b:2", OWNED: "pubsub firestore"}
        assert find_external(environ) == {"redis": "redis://b:2"}

    def test_a_password_in_an_address_is_not_shown(self, tmp_path: Path, ports: Ports) -> None:
        """Prevents: a password in the table that `status` prints, though the functions need it."""
        made = plan(tmp_path, ports, REDIS_URL="redis://user:hidden@db:6380/1")
        shown = {service.name: service.endpoint for service in made.services}["redis"]
        assert shown == "redis://db:6380/1"
        assert made.environment["REDIS_URL"] == "redis://user:hidden@db:6380/1"

    def test_an_address_that_is_none_is_named(self, tmp_path: Path, ports: Ports) -> None:
        """Prevents: a typing error in a variable that shows as a crash."""
        with pytest.raises(ServicesError, match="PUBSUB_EMULATOR_HOST='8085'"):
            plan(tmp_path, ports, PUBSUB_EMULATOR_HOST="8085")

    def test_the_graphs_password_is_in_a_private_file_and_not_on_the_command_line(
        self, tmp_path: Path, ports: Ports
    ) -> None:
        """Prevents: a password that every user of the machine sees in `ps`."""
        made = plan(tmp_path, ports)
        password = made.credentials.graph_password
        assert not [s.name for s in made.services if any(password in word for word in s.command)]
        arguments = tmp_path / "data" / "graph" / "arguments"
        assert password in arguments.read_text()
        assert arguments.stat().st_mode & 0o077 == 0

    def test_loopback_does_not_go_through_a_proxy(self, tmp_path: Path) -> None:
        """Prevents: a laptop behind a proxy on which no service reaches another."""
        told = base_environment(make_settings(tmp_path, HTTPS_PROXY="http://proxy:3128", NO_PROXY="intranet"))
        assert told["NO_PROXY"].split(",") == ["intranet", HOST, "localhost"]

    def test_a_secret_of_the_topology_without_a_value_is_named(self) -> None:
        """Prevents: a secret added to the topology that no laptop has."""
        values = Credentials().secret_values(TOPOLOGY.callers("llm"))
        check_values(values, (secret.name for secret in TOPOLOGY.secrets))
        with pytest.raises(KeyError, match="brand-new"):
            check_values(values, ["brand-new"])

    def test_each_caller_of_the_gateway_has_a_key_of_its_own(self) -> None:
        """Prevents: agents that nobody can tell apart, and one leaked key that is everybody's."""
        values = Credentials().secret_values(TOPOLOGY.callers("llm"))
        holders = json.loads(values["llm-agent-keys"])
        assert {"agent-recommendation", "agent-security-guardian", "recommend"} <= set(holders.values())
        assert holders == {values[f"llm-key-{name}"]: name for name in TOPOLOGY.callers("llm")}


URLS = {url_variable(function.name): f"http://127.0.0.1:{n}" for n, function in enumerate(TOPOLOGY.functions)}


class TestSubscriptions:
    @pytest.mark.parametrize("subscription", TOPOLOGY.subscriptions, ids=lambda s: s.name)
    def test_a_subscription_is_as_the_topology_says(self, subscription: topology.Subscription) -> None:
        """Prevents: a filter, path, dead letter or retry that only the cloud has."""
        body = describe_subscription(subscription, "p", URLS)
        assert body["filter"] == subscription.filter
        assert body["retry_policy"]["minimum_backoff"] <= timedelta(seconds=LEAST_BACKOFF_SECONDS)
        if subscription.push:
            url = URLS[url_variable(subscription.push.function)]
            assert body["push_config"] == {"push_endpoint": url + subscription.push.path}
            assert body["ack_deadline_seconds"] == subscription.ack_deadline_seconds
        else:
            assert "push_config" not in body
        native = subscription.bigquery or subscription.storage
        assert ("dead_letter_policy" in body) == bool(subscription.dead_letter and not native)


class TestPorts:
    def test_two_clouds_never_share_a_port(self) -> None:
        """Prevents: two clouds that start at the same moment and take each other's ports."""
        first, second = Ports({}), Ports({})
        try:
            mine, theirs = ({ports.take(f"s{n}") for n in range(50)} for ports in (first, second))
        finally:
            first.close()
            second.close()
        assert len(mine) == len(theirs) == 50
        assert not mine & theirs

    def test_a_fixed_port_is_taken_or_named(self) -> None:
        """Prevents: a fixed port that is silently replaced by another."""
        with socket.socket() as other:
            other.bind((HOST, 0))
            other.listen()
            taken = other.getsockname()[1]
            ports = Ports({"ARGO_PORT_PUBSUB": str(taken), "ARGO_PORT_REDIS": "x"})
            with pytest.raises(PortError, match=f"ARGO_PORT_PUBSUB={taken}"):
                ports.take("pubsub")
            with pytest.raises(PortError, match="ARGO_PORT_REDIS='x'"):
                ports.take("redis")
            ports.close()
        assert is_free(taken)
        fixed = Ports({"ARGO_PORT_AGENT_USER_CONTEXT": str(taken), "ARGO_PORT_REDIS": str(taken)})
        assert fixed.take("agent-user-context") == taken
        with pytest.raises(PortError, match="taken by ARGO_PORT_AGENT_USER_CONTEXT"):
            fixed.take("redis")
        fixed.close()


class TestFiles:
    def test_exports_survive_any_value(self, tmp_path: Path) -> None:
        """Prevents: a value with a space, quote or dollar that a shell reads otherwise."""
        values = {"A": "plain", "B": "with 'quotes' and $HOME and `x`", "C": "", "D": "a=b"}
        path = tmp_path / "local.env"
        write_private(path, render_exports(values))
        assert read_exports(path) == values
        command = [
            "sh",
            "-c",
            f'. "{path}"; exec "{sys.executable}" -c "import json,os; print(json.dumps(dict(os.environ)))"',
        ]
        seen = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        assert values.items() <= seen.items()

    def test_a_recycled_process_id_is_not_taken_for_the_supervisor(self, tmp_path: Path) -> None:
        """Prevents: `down` after a reboot kills somebody else's process."""
        me = os.getpid()
        state = State(pid=me, created=processes.created_at(me), root=".")
        write_state(tmp_path, state)
        assert (read_state(tmp_path) or state).is_alive
        write_state(tmp_path, msgspec.structs.replace(state, created=state.created - 60))
        found = read_state(tmp_path)
        assert found is not None
        assert not found.is_alive

    def test_a_cloud_is_healthy_only_when_everything_is(self) -> None:
        """Prevents: `status` exits 0 with something down."""
        services = {"a": Health(status=Status.UP), "setup": Health(status=Status.DONE)}
        state = State(pid=1, created=1.0, root=".", phase=Phase.READY, services=services)
        assert state.is_healthy
        for status in (Status.DOWN, Status.RESTARTING, Status.STARTING, Status.WAITING):
            services["a"].status = status
            assert not state.is_healthy
        services["a"].status = Status.UP
        state.phase = Phase.BROKEN
        assert not state.is_healthy

    def test_an_unreadable_state_is_no_state(self, tmp_path: Path) -> None:
        """Prevents: `up` fails for ever over a file of another version."""
        (tmp_path / "state.json").write_text('{"pid": "x"}')
        assert read_state(tmp_path) is None

    def test_a_tail_is_the_end(self, tmp_path: Path) -> None:
        """Prevents: an error message that shows a log's first lines."""
        path = tmp_path / "x.log"
        path.write_text("".join(f"{n}\n" for n in range(100)))
        assert tail(path, 3) == "97\n98\n99\n"
        assert tail(tmp_path / "none.log") == ""
