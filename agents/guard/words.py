"""The rules of words.yaml, and the words of our own prompts. Pure but for reading these files once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

import msgspec

import agents.prompts
from agents.guard.evidence import Evidence
from agents.guard.reading import fold, list_disguises, squeeze
from schemas.places import read_places

PATH = Path(__file__).with_name("words.yaml")
PROMPT_RUN = 7  # so many words in a row as in a prompt of ours are no accident
# What stands in quotation marks and looks like a product: capitals, or a word for a product behind it.
_QUOTED = re.compile(r"[\"“”「『‘']([^\"“”」』‘’'\n]{3,120})[\"“”」』’'](\s?(?:상품|제품|세트))?")  # noqa: RUF001  # typographic quotation marks
# Instructions whose letters were all set apart; only what no honest words give when their blanks are taken out.
_SQUEEZED = re.compile(
    r"(?:ignore|disregard|forget|override|bypass)(?:all|any|every|the|these|those|your|my|of|previous|prior|above|earlier)+"
    r"(?:instruction|rule|prompt|guideline|command|direction)"
    r"|(?:이전|위의|앞의|모든|지금까지)(?:의)?(?:모든)?(?:지시|명령|지침|규칙)(?:사항)?(?:을|를|은|는)?(?:모두|전부|다)?(?:무시|잊)"
)


class WordsError(ValueError):
    """words.yaml is not usable; the message names the rule and the pattern."""


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    patterns: str
    unless: Literal["discount"] | None = None
    names: bool = False
    disguised: bool = False


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule: its name, its patterns, and when it does not hold."""

    name: str
    patterns: tuple[re.Pattern[str], ...]
    unless: str | None
    names: bool
    disguised: bool

    def breaks(self, text: str) -> bool:
        """Whether a text breaks it."""
        return any(pattern.search(text) for pattern in self.patterns)


def read_rules(text: str) -> list[Rule]:
    """The rules of a file's text.

    Raises:
        WordsError: naming the rule and the pattern.
    """
    entries = read_places(text, PATH.name, WordsError).convert(dict[str, _Entry])
    return [
        Rule(
            name=name,
            patterns=tuple(_compile(name, line) for line in entry.patterns.strip().splitlines()),
            unless=entry.unless,
            names=entry.names,
            disguised=entry.disguised,
        )
        for name, entry in entries.items()
    ]


@cache
def load_rules() -> list[Rule]:
    """The rules of words.yaml."""
    return read_rules(PATH.read_text(encoding="utf-8"))


def find_forbidden_words(plain: str, evidence: Evidence) -> Iterator[str]:
    """The names of the rules that a plain text breaks, as it stands or in disguise."""
    whole = fold(plain)
    nameless = fold(leave_out_names(plain, evidence))
    disguises = [fold(view) for view in list_disguises(plain)]
    for rule in load_rules():
        if rule.unless == "discount" and evidence.discount:
            continue
        if rule.breaks(whole if rule.names else nameless) or (rule.disguised and any(map(rule.breaks, disguises))):
            yield rule.name
    if any(_SQUEEZED.search(squeeze(view)) for view in (whole, *disguises)):
        yield "an instruction to a program"
    if _quotes_prompt(whole):
        yield "words of a prompt"


def find_strange_names(plain: str, evidence: Evidence) -> Iterator[str]:
    """Products that a text names in quotation marks and that nobody told of."""
    told = squeeze(evidence.told)
    for match in _QUOTED.finditer(plain):
        name = match.group(1).rstrip("…. ")
        is_named = len(re.findall(r"\b[A-Z0-9][\w-]*", name)) >= 2 or match.group(2)
        if is_named and squeeze(name) not in told:
            yield "a product that is not in the evidence"


def leave_out_names(plain: str, evidence: Evidence) -> str:
    """The text without the names of known products, so that a name need not be proved; one that breaks a rule stays."""
    for name in evidence.names:
        words = r"\s+".join(re.escape(word) for word in name.split())
        if words and _is_plain_name(name):
            plain = re.sub(rf"(?<!\w){words}(?!\w(?<![가-힣]))", "▢", plain, flags=re.IGNORECASE)
    return plain


@lru_cache(maxsize=10_000)
def _is_plain_name(name: str) -> bool:
    return not any(rule.breaks(fold(name)) for rule in load_rules())


def _compile(name: str, line: str) -> re.Pattern[str]:
    try:
        return re.compile(line.strip(), re.IGNORECASE | re.MULTILINE)
    except re.error as error:
        raise WordsError(f"words.yaml: {name}: {line.strip()!r}: {error}") from error


def _quotes_prompt(text: str) -> bool:
    return any(run in _prompt_runs() for run in _list_runs(text))


@cache
def _prompt_runs() -> frozenset[tuple[str, ...]]:
    files = agents.prompts.FOLDER.glob("*.md")
    return frozenset(run for path in files for run in _list_runs(path.read_text(encoding="utf-8")))


def _list_runs(text: str) -> Iterator[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return (tuple(words[start : start + PROMPT_RUN]) for start in range(len(words) - PROMPT_RUN + 1))
