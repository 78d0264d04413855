"""The guides are true: what they say is written into a copy of the suite, and works there as it stands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from agents.swarm import playbooks
from agents.swarm.agent import ConversableAgent
from agents.swarm.kit import PromiseBroken, check_promises, make_ports
from schemas import topology
from tests.unit.swarm import OUTPUTS, ScriptedAgent

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(yaml|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _read_blocks(guide: str) -> list[str]:
    return [text for _, text in BLOCK.findall((ROOT / "docs" / guide).read_text(encoding="utf-8"))]


def test_the_sample_agent_is_one_file_and_one_entry(tmp_path: Path) -> None:
    """Prevents: a guide that has grown old, and an agent that needs a change somewhere that nobody mentions."""
    entry, agent, test, playbook = _read_blocks("agents.md")
    for name in ("agents", "schemas"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "schemas" / "topology.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["agents"] += yaml.safe_load(entry)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    (tmp_path / "agents" / "swarm" / "local_weather.py").write_text(agent, encoding="utf-8")
    (tmp_path / "agents" / "playbooks" / "weather_report.yaml").write_text(playbook, encoding="utf-8")
    (tmp_path / "test_local_weather.py").write_text(test, encoding="utf-8")
    for command in (("pytest", "-q", "-p", "no:bqemulator", "test_local_weather.py"), ("agents.swarm.check",)):
        run = subprocess.run(
            [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr


def test_the_sample_playbook_is_right() -> None:
    """Prevents: a guide whose playbook is refused."""
    [text] = _read_blocks("playbooks.md")
    playbooks.parse(text, "greet.yaml", topology.load())


def test_the_guide_has_every_key_of_a_playbook() -> None:
    """Prevents: a policy that exists and that nobody is told of."""
    text = (ROOT / "docs" / "playbooks.md").read_text(encoding="utf-8")
    shapes = (playbooks.Playbook, playbooks.Step, playbooks.Breaker, playbooks.Budget, playbooks.PlaybookAction)
    for shape in shapes:
        missing = [name for name in shape.__struct_fields__ if not re.search(rf"\b{name}\b", text)]
        assert not missing, f"docs/playbooks.md does not mention {missing} of {shape.__name__}"


def test_the_kit_finds_an_agent_that_breaks_a_promise() -> None:
    """Prevents: a kit that passes whatever it is given."""
    agent: ConversableAgent = ScriptedAgent(make_ports("UserContextAgent"), "UserContextAgent", OUTPUTS)
    with pytest.raises(PromiseBroken, match=r"actions\(\) and topology.yaml name the same"):
        check_promises(agent, "summarise")
