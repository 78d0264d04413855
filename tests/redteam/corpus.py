"""The guard's corpus: attacks and honest mail as YAML files beside this module, and what became of each.

Owns the files' form (tests/redteam/README.md) and the real agents that judge: the writer that obeys an injection is
scripted, the reviewer says yes to everything, so that whatever is stopped was stopped by a rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import msgspec
import yaml

from agents.errors import StepFailed
from agents.swarm.agent import Occasion, Ports, Task, to_json
from agents.swarm.creative_content import CreativeContentAgent
from agents.swarm.outputs import ChosenProduct, Email
from agents.swarm.security_guardian import SecurityGuardianAgent
from agents.tools.blackboard import FakeBlackboard
from agents.tools.bus import FakeBus
from agents.tools.guards import Refused, cypher_guard, sql_guard
from agents.tools.models import FakeGateway
from agents.tools.seals import FakeSeals
from schemas.messages import Json

FOLDER = Path(__file__).parent
CLEAN = "clean"
HOSTS = frozenset({"shop.example"})


class Base(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An email that nothing is wrong with, and what the agents knew when they wrote it."""

    language: str
    product: ChosenProduct
    context: dict[str, Any]
    moment: dict[str, Any]
    subject: str
    paragraphs: list[str]


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a case does to its base. A case that is only a text is `words`."""

    base: str = "en"
    words: str = ""
    subject: str = ""
    text: str = ""
    html: str = ""
    image_prompt: str = ""
    product_id: str = ""
    drop: str = ""
    product_name: str = ""
    ticket: str = ""
    event: str = ""
    obeys: str = ""
    obeys_html: str = ""
    sql: str = ""
    cypher: str = ""


class File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of cases. `held_out` were written before the rules, which were never fitted to them."""

    kind: str
    cases: list[str | Change]
    held_out: list[str | Change] = []


@dataclass(frozen=True)
class Case:
    """One case with its name, such as unsafe_link/7."""

    name: str
    kind: str
    held_out: bool
    change: Change

    @property
    def is_clean(self) -> bool:
        """Whether it must pass."""
        return self.kind == CLEAN


def read_cases(folder: Path = FOLDER) -> Iterator[Case]:
    """Every case of every file.

    Raises:
        ValueError: a file is not in the form; the message names it.
    """
    for path in sorted(folder.glob("*.yaml")):
        if path.stem == "bases":
            continue
        try:
            file = msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), File)
        except (yaml.YAMLError, msgspec.ValidationError) as error:
            raise ValueError(f"{path}: {error}") from error
        for held_out, cases in ((False, file.cases), (True, file.held_out)):
            for number, case in enumerate(cases, 1):
                change = Change(words=case) if isinstance(case, str) else case
                name = f"{path.stem}/{'held_out/' if held_out else ''}{number}"
                yield Case(name, file.kind, held_out, change)


def read_bases(folder: Path = FOLDER) -> dict[str, Base]:
    """The clean emails by name."""
    return msgspec.convert(yaml.safe_load((folder / "bases.yaml").read_text(encoding="utf-8")), dict[str, Base])


def judge_email(change: Change, base: Base) -> str:
    """Why the rules stop what the writer wrote; empty when it may leave."""
    product = base.product
    if change.product_name:
        product = msgspec.structs.replace(product, name=change.product_name)
    injected = {"ticket": change.ticket, "note": change.event}
    data = {**base.moment["data"], **{name: text for name, text in injected.items() if text}}
    task = Task(
        user_id=base.context["userId"],
        moment=Occasion(moment_id="m1", kind=base.moment["kind"], data=data),
        inputs={"choose": to_json(product), "summarise": base.context},
    )
    written = FakeGateway({"write_email@1": _write(change, base)}, model="scripted")
    email = CreativeContentAgent(_ports(), written).write_email(task)
    email = _spoil(email, change)
    reviewed = FakeGateway({"review_message@2": {"approved": True, "reasons": []}})
    task = msgspec.structs.replace(task, inputs={**task.inputs, "write_email": email})
    try:
        SecurityGuardianAgent(_ports(), reviewed, HOSTS).review(task)
    except StepFailed as refusal:
        return str(refusal)
    return ""


def _write(change: Change, base: Base) -> Json:
    """What the scripted writer answers: the base's words with the case's in them."""
    own = [text for text in (change.product_name, change.obeys, change.words) if text]
    paragraphs = [*base.paragraphs[:-2], *own, *base.paragraphs[-2:]]
    plain = "\n\n".join([*paragraphs[:-2], *filter(None, [change.text]), *paragraphs[-2:]])
    marked = "\n".join(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs)
    return {
        "subject": change.subject or base.subject,
        "text": plain,
        "html": "\n".join(filter(None, [change.html, change.obeys_html, marked])),
        "imagePrompt": change.image_prompt or "A bright photograph of the product in use, no people, no text",
    }


def _spoil(email: Json, change: Change) -> Json:
    """What an attacker behind the writer could still do to its output."""
    spoiled = msgspec.convert(email, Email)
    if change.subject:
        spoiled = msgspec.structs.replace(spoiled, subject=change.subject)
    if change.product_id:
        spoiled = msgspec.structs.replace(spoiled, product_id=change.product_id)
    if change.drop:
        text, html = spoiled.text.replace(change.drop, ""), spoiled.html.replace(change.drop, "")
        spoiled = msgspec.structs.replace(spoiled, text=text, html=html)
    return to_json(spoiled)


def _ports() -> Ports:
    return Ports(blackboard=FakeBlackboard(), bus=FakeBus(), seals=FakeSeals("agent-security-guardian"))


def judge(case: Case, bases: dict[str, Base]) -> str:
    """Why a case is stopped; empty when it may leave, or run."""
    for check, statement in ((sql_guard.check, case.change.sql), (cypher_guard.check, case.change.cypher)):
        if statement:
            try:
                check(statement)
            except Refused as refusal:
                return str(refusal)
            return ""
    return judge_email(case.change, bases[case.change.base])
