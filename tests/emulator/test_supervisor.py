"""The laptop cloud starts whole or not at all, says what is wrong, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, pubsub_v1, storage
from neo4j import GraphDatabase

from emulators.cloud import LaptopCloud
from emulators.environment import PROJECT
from emulators.ports import HOST
from emulators.processes import find_survivors
from emulators.services import REPOSITORY
from emulators.state import Status, read_state
from tests.emulator.cloud import STUB, STUB_FLAGS, stub_cloud

__all__ = ["stub_cloud"]
STORES = {"pubsub", "firestore", "bigquery", "graph", "redis", "storage", "secretmanager", "gemini", "mailbox"}


def run_cli(directory: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emulators", *words, "--dir", str(directory)]
    return subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=90
    )


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def ask_function(cloud: LaptopCloud, name: str) -> dict[str, str]:
    with urllib.request.urlopen(cloud.endpoint(name), timeout=10) as answer:
        return json.load(answer)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Path]:
    """A directory in which a test may leave a cloud in any state; whatever is left ends here."""
    yield tmp_path
    run_cli(tmp_path, "down")


class TestUp:
    def test_every_store_function_and_worker_is_ready(self, stub_cloud: LaptopCloud) -> None:
        """Prevents: `up` says ready while something is not there."""
        state = stub_cloud.state
        assert state.is_healthy
        assert set(state.services) >= STORES | {"identity", "setup", "first", "the-second", "native"}
        result = run_cli(stub_cloud.directory, "status")
        assert result.returncode == 0, result.stdout
        for name, health in state.services.items():
            assert f"{name} " in result.stdout
            assert health.endpoint in result.stdout

    def test_up_again_changes_nothing(self, stub_cloud: LaptopCloud) -> None:
        """Prevents: a second `up` starts a second cloud over the first."""
        before = stub_cloud.state.pid
        result = run_cli(stub_cloud.directory, "up", *STUB_FLAGS)
        assert (result.returncode, stub_cloud.state.pid) == (0, before)
        assert "already up" in result.stdout

    def test_two_supervisors_cannot_share_a_directory(self, stub_cloud: LaptopCloud) -> None:
        """Prevents: a race of two starts ends in two clouds that write one state."""
        result = run_cli(stub_cloud.directory, "run", *STUB_FLAGS)
        assert result.returncode == 1
        assert "already up" in result.stderr
        assert stub_cloud.state.is_healthy

    def test_a_taken_port_is_named_before_anything_starts(self, tmp_path: Path) -> None:
        """Prevents: a port clash that shows as a time-out of some service."""
        with socket.socket() as taken:
            taken.bind((HOST, 0))
            taken.listen()
            port = taken.getsockname()[1]
            result = run_cli(tmp_path, "up", *STUB_FLAGS, ARGO_PORT_FIRST=str(port))
        assert result.returncode == 1
        assert f"ARGO_PORT_FIRST={port}" in result.stderr
        assert not find_survivors(tmp_path)

    def test_a_function_that_cannot_load_is_named_with_its_log_and_all_is_stopped(self, started: Path) -> None:
        """Prevents: a broken function found only by the first event, or a half cloud left running."""
        topology = (STUB / "topology.yaml").read_text().replace("the-second, target: echo", "the-second, target: gone")
        path = started / "topology.yaml"
        path.write_text(topology)
        result = run_cli(started, "up", "--topology", str(path), "--root", str(STUB))
        assert result.returncode == 1
        assert "the-second GET /robots.txt answered 500" in result.stderr
        assert "MissingTargetException" in result.stderr
        assert not find_survivors(started)
        assert run_cli(started, "status").returncode == 3

    def test_an_outside_store_that_is_not_there_is_named_by_its_variable(self, started: Path) -> None:
        """Prevents: a stale REDIS_URL in the shell that looks like a defect of ARGO."""
        result = run_cli(started, "up", *STUB_FLAGS, REDIS_URL="redis://127.0.0.1:1/0")
        assert result.returncode == 1
        assert "REDIS_URL" in result.stderr
        assert not find_survivors(started)


class TestEnvironment:
    def test_local_env_works_in_a_shell_and_is_private(self, stub_cloud: LaptopCloud) -> None:
        """Prevents: values that a shell reads otherwise than Python does, or that other users can read."""
        path = stub_cloud.directory / "local.env"
        program = "import json,os; print(json.dumps(dict(os.environ)))"
        command = ["sh", "-c", f'. "{path}"; exec "{sys.executable}" -c "$0"', program]
        seen = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        assert stub_cloud.env.items() <= seen.items()
        assert path.stat().st_mode & 0o077 == 0
        wanted = {"PUBSUB_EMULATOR_HOST", "NEO4J_PASSWORD", "ARGO_WRITE_KEY", "ARGO_MAILBOX_URL", "ARGO_THE_SECOND_URL"}
        assert wanted <= stub_cloud.env.keys()

    def test_bq_needs_nothing_but_local_env(self, stub_cloud: LaptopCloud) -> None:
        """Prevents: an analyst's own tool that wants a login, a project or an address first."""
        url = f"{stub_cloud.endpoint('bigquery')}/$discovery/rest?version=v2"
        if shutil.which("bq") is None:  # nobody asks for the document then, and only the SDK has it
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(url, timeout=10)
            return
        command = ["bq", "query", "--nouse_legacy_sql", "--format=json", "SELECT COUNT(*) AS n FROM argo.moments"]
        environ = {**os.environ, **stub_cloud.env}
        result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
        assert (result.returncode, result.stdout.strip()) == (0, '[{"n":"0"}]'), result.stdout + result.stderr

    def test_a_function_is_told_what_cloud_run_tells_it_and_no_secret(self, stub_cloud: LaptopCloud) -> None:
        """Prevents: code that works on a laptop because a secret lay in the environment."""
        told = ask_function(stub_cloud, "the-second")
        assert (told["K_SERVICE"], told["FUNCTION_TARGET"]) == ("the-second", "echo")
        assert told["PORT"] == stub_cloud.endpoint("the-second").rpartition(":")[2]
        assert not {"NEO4J_PASSWORD", "ARGO_WRITE_KEY", "GEMINI_API_KEY"} & told.keys()
        assert stub_cloud.env["NEO4J_PASSWORD"] not in told.values()

    def test_no_log_holds_a_secret(self, stub_cloud: LaptopCloud) -> None:
        """Prevents: a password in a log that somebody pastes into an issue."""
        values = json.loads((stub_cloud.directory / "secrets.json").read_text())
        secrets = {stub_cloud.env["NEO4J_PASSWORD"], stub_cloud.env["ARGO_WRITE_KEY"], values["link-signing-keys"]}
        logs = list((stub_cloud.directory / "logs").iterdir())
        assert len(logs) > 10
        for log in logs:
            text = log.read_text(errors="replace")
            assert not [secret for secret in secrets if secret in text], log

    def test_a_job_runs_with_the_clouds_environment(self, stub_cloud: LaptopCloud) -> None:
        """Prevents: a job that talks to another cloud, or whose failure looks like success."""
        result = run_cli(stub_cloud.directory, "job", "tidy_up")
        assert result.returncode == 7
        assert result.stdout.split() == ["tidy_up", "tidy_up", stub_cloud.env["PUBSUB_EMULATOR_HOST"]]
        assert stub_cloud.run_job("tidy_up").returncode == 7


class TestSetup:
    def test_a_second_setup_doubles_nothing_and_follows_a_moved_function(
        self, stub_cloud: LaptopCloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Prevents: pushes to the port of an earlier cloud in a Pub/Sub that outlived it; doubled notifications."""
        for name in ("PUBSUB_EMULATOR_HOST", "STORAGE_EMULATOR_HOST"):
            monkeypatch.setenv(name, stub_cloud.env[name])
        command = [sys.executable, "-m", "emulators.setup", "--topology", str(STUB / "topology.yaml")]
        command += ["--secrets", str(stub_cloud.directory / "secrets.json")]
        environ = {**stub_cloud.state.environment, "NEO4J_PASSWORD": stub_cloud.env["NEO4J_PASSWORD"]}
        home = stub_cloud.env["ARGO_FIRST_URL"]
        for url in ("http://127.0.0.1:1", home):
            moved = {**environ, "ARGO_FIRST_URL": url}
            result = subprocess.run(command, cwd=REPOSITORY, env=moved, capture_output=True, text=True, check=False)
            assert result.returncode == 0, result.stderr
            name = "projects/argo-local/subscriptions/user-interactions-first"
            found = pubsub_v1.SubscriberClient().get_subscription(subscription=name)
            assert found.push_config.push_endpoint == f"{url}/pushed"
        client = storage.Client(project="argo-local", credentials=AnonymousCredentials())
        assert len(list(client.bucket("argo-local-landing").list_notifications())) == 1


class TestDeaths:
    def test_a_killed_function_comes_back_and_gets_what_it_missed(
        self, stub_cloud: LaptopCloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Prevents: events lost because a process died, or a cloud that stays without a function."""
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", stub_cloud.env["PUBSUB_EMULATOR_HOST"])
        publisher = pubsub_v1.PublisherClient()
        restarts = stub_cloud.health("first").restarts
        pid = stub_cloud.kill("first")
        sent = [
            publisher.publish("projects/argo-local/topics/user-interactions", b"{}", kind="push") for _ in range(20)
        ]
        ids = {future.result(10) for future in sent}
        stub_cloud.wait_until_back("first", pid)
        assert stub_cloud.health("first").restarts == restarts + 1

        def has_got_all() -> bool:
            log = stub_cloud.log_tail("first", 1000)
            return all(message_id in log for message_id in ids)

        wait_until(has_got_all, 15, "every message that was pushed while the function was dead")

    def test_a_killed_warehouse_and_graph_come_back_with_everything_that_they_had_answered(
        self, stub_cloud: LaptopCloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Prevents: rows that were acknowledged to Pub/Sub and are gone; a cloud that a minute without BigQuery ends."""
        for name in ("BIGQUERY_EMULATOR_HOST", "NEO4J_URI"):
            monkeypatch.setenv(name, stub_cloud.env[name])
        table, at = f"{PROJECT}.argo.market_signals", "2026-11-20T08:00:00Z"
        rows = [{"signal_id": f"kept-{n}", "kind": "trend", "observed_at": at} for n in range(50)]
        client = bigquery.Client(project=PROJECT, credentials=AnonymousCredentials())
        auth = (stub_cloud.env["NEO4J_USERNAME"], stub_cloud.env["NEO4J_PASSWORD"])
        with GraphDatabase.driver(stub_cloud.env["NEO4J_URI"], auth=auth) as driver:
            driver.execute_query("MERGE (u:User {userId: 'kept'})", database_=stub_cloud.env["NEO4J_DATABASE"])
        assert client.insert_rows_json(table, rows) == []
        pids = {name: stub_cloud.kill(name) for name in ("bigquery", "graph")}
        for name, pid in pids.items():
            stub_cloud.wait_until_back(name, pid)
        assert stub_cloud.state.is_healthy
        count = f"SELECT COUNT(*) AS n FROM `{table}` WHERE STARTS_WITH(signal_id, 'kept-')"
        assert next(iter(client.query(count).result()))["n"] == 50
        with GraphDatabase.driver(stub_cloud.env["NEO4J_URI"], auth=auth) as driver:
            query = "MATCH (u:User {userId: 'kept'}) RETURN count(u) AS n"
            records, _, _ = driver.execute_query(query, database_=stub_cloud.env["NEO4J_DATABASE"])
        assert records[0]["n"] == 1

    def test_a_dead_store_breaks_the_cloud_and_a_dead_supervisor_leaves_nothing(self, started: Path) -> None:
        """Prevents: an empty store under the old address; processes that outlive a SIGKILL of the supervisor."""
        if sys.platform != "linux":
            pytest.fail("only Linux ends children with their parent; on macOS `down` finds them (processes.py)")
        result = run_cli(started, "up", "--no-schedule", *STUB_FLAGS)
        assert result.returncode == 0, result.stderr
        state = read_state(started)
        assert state is not None
        os.kill(state.services["redis"].pid, signal.SIGKILL)
        wait_until(lambda: run_cli(started, "status").returncode == 1, 5, "status says that something is down")
        told = run_cli(started, "status").stdout
        assert "redis was ended by SIGKILL" in told
        assert (read_state(started) or state).services["first"].status is Status.UP

        assert len(find_survivors(started)) > 10
        os.kill(state.pid, signal.SIGKILL)
        wait_until(lambda: not find_survivors(started), 5, "every process has ended with the supervisor")
        assert run_cli(started, "status").returncode == 3
        assert run_cli(started, "down").returncode == 0

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    @pytest.mark.parametrize(("word", "code"), [("run", 0), ("up", 130)])
    def test_an_interrupted_start_leaves_nothing(
        self, started: Path, word: str, code: int, number: signal.Signals
    ) -> None:
        """Prevents: processes left by a Ctrl-C, a `kill` or a closed terminal while the cloud is starting."""
        command = [sys.executable, "-m", "emulators", word, "--dir", str(started), *STUB_FLAGS]
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
        wait_until(lambda: len(find_survivors(started)) > 3, 10, "processes have started")
        process.send_signal(number)
        assert process.wait(15) == code
        assert not find_survivors(started)
        assert read_state(started) is None

    def test_a_cloud_ends_with_the_program_that_holds_it(self, started: Path) -> None:
        """Prevents: a killed test run or demo leaves a whole cloud behind."""
        program = (
            "import pathlib, sys; from emulators.cloud import LaptopCloud; "
            "LaptopCloud(pathlib.Path(sys.argv[1]), flags=tuple(sys.argv[2:])).__enter__()"
        )
        holder = subprocess.Popen([sys.executable, "-c", program, str(started), *STUB_FLAGS], cwd=REPOSITORY)
        wait_until(lambda: len(find_survivors(started)) > 3, 10, "processes have started")
        holder.kill()
        holder.wait()
        wait_until(lambda: not find_survivors(started), 10, "the cloud has ended with its holder")

    def test_down_is_idempotent(self, tmp_path: Path) -> None:
        """Prevents: a clean-up script that fails because there is nothing to clean."""
        for _ in range(2):
            result = run_cli(tmp_path, "down")
            assert (result.returncode, result.stdout) == (0, "not up\n")
