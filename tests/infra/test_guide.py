"""The operator's guide says what is: each command names things that exist, by their right names."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from policy.record import PROGRAM, record_stack

from schemas import topology, warehouse
from schemas.rows import Interaction, encode
from tests.infra.cli_reference import REFERENCE, find_calls

ROOT = PROGRAM.parent
GUIDE = (ROOT / "docs" / "operating.md").read_text("utf-8")
COMMANDS = [line.strip()[2:] for line in GUIDE.splitlines() if line.strip().startswith("$ ")]
NAMED = topology.load()
PROGRAMS = {"bq", "cd", "curl", "cypher-shell", "export", "for", "gcloud", "git", "make", "pulumi"}
ASSIGNS = re.compile(r"^[A-Z_]+=")
SERVICES = {entry.name for entry in NAMED.functions}
JOBS = {job.name.replace("_", "-") for job in NAMED.jobs}
NOW = datetime(2026, 11, 20, tzinfo=UTC)
SUBSCRIPTIONS = {entry.name for entry in NAMED.subscriptions}


def find(pattern: str) -> set[str]:
    """What a pattern's group finds in the commands."""
    return {match[1] for command in COMMANDS for match in re.finditer(pattern, command)}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_can_be_typed(command: str) -> None:
    """Quotes are closed, and the program is one that step 1 asked for, or a file of this repository."""
    program = shlex.split(command)[0]
    assert (
        program in PROGRAMS
        or ASSIGNS.match(program)
        or program.endswith(("/.venv/bin/python", "/.venv/bin/pytest"))
        or program.startswith(".venv/")
    )


def test_configuration_keys_exist() -> None:
    schema = yaml.safe_load((PROGRAM / "Pulumi.yaml").read_text("utf-8"))["config"]
    line = yaml.safe_load((PROGRAM / "perimeter" / "Pulumi.yaml").read_text("utf-8"))["config"]
    keys = find(r"pulumi(?: -C pulumi)? config set (?:--secret )?((?:gcp|argo):\S+)")
    assert find(r"config set (?:--path ')?(argo-perimeter:\w+)") == line.keys()
    # The second is optional and secret, which Pulumi's schema cannot say.
    assert keys - {"gcp:project", "argo:google_client_secret"} <= schema.keys()
    required = {name for name, entry in schema.items() if "default" not in entry}
    assert required <= keys, "the first deployment must set every key that has no default"
    assert set(re.findall(r"`(argo:\w+)`", GUIDE)) <= schema.keys()


def test_every_secret_is_filled_and_explained() -> None:
    names = {secret.name for secret in NAMED.secrets}
    loops = {tuple(words.split()) for words in find(r"for CALLER in (.*?); do")}
    assert [set(loop) for loop in loops] == [set(NAMED.callers("llm"))], "every loop is over every caller"
    added = find(r"gcloud secrets versions add ([^\s;]+)") - {"llm-key-$CALLER"}
    assert added | {topology.key_secret("llm", caller) for loop in loops for caller in loop} == names
    assert all(f"| `{name}` |" in GUIDE for name in names)
    assert find(r"--secret=([^\s)]+)") - {"llm-key-$CALLER"} <= names


def test_names_in_commands_are_the_topologys() -> None:
    assert find(r"pubsub subscriptions (?:pull|ack|describe|modify-push-config) (\S+)") <= SUBSCRIPTIONS
    assert find(r"pubsub topics publish (\S+)") <= {topic.name for topic in NAMED.topics}
    assert find(r"run services (?:logs read|describe) (\S+)") <= SERVICES
    assert find(r"run jobs execute (\S+)") | find(r"--job=(\S+)") <= JOBS
    buckets = {bucket.name for bucket in NAMED.buckets} | {"pulumi"}
    assert find(r"gs://\$PROJECT-(\w+)") <= buckets
    known = {table.name for table in warehouse.tables()} | {view.name for view in warehouse.views()}
    assert find(r"\bargo\.(\w+)") <= known
    assert set(find(r"REGION=(\S+)")) == {NAMED.region}


def test_files_targets_and_modules_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in find(r"^make (\S+)"):
        assert f"\n{target}:" in makefile
    for path in find(r"--config=(\S+)") | find(r"-f (\S+\.cypher)"):
        assert (ROOT / path).is_file(), path
    for module in find(r"python -m (\S+)"):
        assert importlib.util.find_spec(module) is not None, module
    for path in re.findall(r"`((?:schemas|pulumi|docs)/[\w./-]+)`", GUIDE):
        assert (ROOT / path).exists(), path


def test_an_archived_row_can_be_sent_again() -> None:
    """The guide turns the archive's lines into what the folder `spill` takes; so does `collect` when it spills."""
    from agents.intake.feeds import FOLDERS
    from agents.intake.storing import make_line

    assert "spill" in FOLDERS
    (script,) = find(r"sed '([^']+)'")
    assert script == 's/^/{"interaction":/; s/$/}/'
    row = Interaction(event_id="e", event_type="page", event_timestamp=NOW, received_at=NOW, source="s")
    assert make_line(encode(row), is_refused=False) == b'{"interaction":' + encode(row) + b"}\n"


def test_targets_match_components() -> None:
    """`--target` with a wrong pattern does nothing, and says so nowhere."""
    for module, name in re.findall(r"--target '\*\*argo:(\w+):(\w+)\*\*'", GUIDE):
        assert hasattr(importlib.import_module(f"infra.{module}"), name)


def test_alerts_of_the_guide_are_the_programs() -> None:
    from infra.alarms import derive_alarms

    rows = set(re.findall(r"^\| ([A-Z][^|]+?) \| ", GUIDE.partition("## Incidents")[2], re.MULTILINE))
    titles = {alarm.title.removesuffix(" (95th percentile)") for alarm in derive_alarms(NAMED)}
    assert rows == titles


def find_output_lines() -> list[str]:
    """The lines that a stack's outputs tell an operator to type."""
    outputs = record_stack("prod").outputs
    made: list[str] = [
        *outputs["try_first"],
        *outputs["secrets_to_fill"].values(),
        *outputs["api_keys_to_make"].values(),
    ]
    return made


def test_every_command_and_flag_of_googles_programs_exists() -> None:
    """Found here: `gcloud builds approve`, which exists in beta only, in the middle of somebody's first release to prod."""
    known: dict[str, list[str]] = json.loads(REFERENCE.read_text("utf-8"))["commands"]
    calls = [*find_calls([*COMMANDS, *find_output_lines()])]
    assert len(calls) > 60
    for path, flags in calls:
        words = path.split()
        ends = [" ".join(words[:count]) for count in range(len(words), 1, -1)]
        command = next((name for name in ends if name in known), "")
        assert command, f"no such command: {path}"
        allowed = {*known[command], *known[words[0]]}
        # bq's flags are read with and without "no", and come before or after its command.
        wrong = [flag for flag in flags if flag not in allowed and flag.replace("--no", "--", 1) not in allowed]
        assert wrong == [], f"{command} knows no {wrong}"


@pytest.mark.parametrize(
    ("line", "path", "flags"),
    [
        ("gcloud run jobs execute replay --wait", "gcloud run jobs execute replay", ["--wait"]),
        (
            "pulumi config set x \"$(gcloud projects describe p --format='value(a)')\"",
            "gcloud projects describe p",
            ["--format"],
        ),
        ("bq head --max_rows=10 argo.t", "bq head", ["--max_rows"]),
    ],
)
def test_calls_are_found_where_they_are(line: str, path: str, flags: list[str]) -> None:
    assert list(find_calls([line])) == [(path, flags)]


def test_links_lead_somewhere() -> None:
    chapters = {line[3:].lower().replace(" ", "-") for line in GUIDE.splitlines() if line.startswith("## ")}
    assert set(re.findall(r"\]\(#([\w-]+)\)", GUIDE)) <= chapters
    assert Path(ROOT / "docs" / "operating.md").stat().st_size > 0
