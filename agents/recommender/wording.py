"""The words of reasons by language: templates, and what a model's words claim (wording.yaml). Pure but for its own file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import msgspec

from agents.recommender.items import Link
from schemas.places import read_places

PATH = Path(__file__).with_name("wording.yaml")
DEFAULT = "en"
# A run of letters of one script, or of digits: 'JUMBO와' is two words, because Korean writes its particles without a space.
_WORD = re.compile(r"\d+(?:,\d{3})*|[가-힣]+|[^\W\d_가-힣]+")
_ENDING_LETTERS = 5  # of a Korean word after its stem


class WordingError(ValueError):
    """The wording is not usable; the message names file, line, key and fix."""


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    templates: dict[str, str]
    claims: dict[str, list[str]]
    own: dict[str, list[str]]
    units: dict[str, list[str]]
    numbers: dict[str, int]
    words: str


@dataclass(frozen=True)
class Wording:
    """One language."""

    section: _Section
    carries_endings: bool

    def write(self, link: Link | None) -> str:
        """The template's reason for a link; without one, that of taste."""
        if link is None:
            return self.section.templates["taste"]
        kind = link.relation.value
        if link.relation == "popular" and not link.count:
            kind = "listed"
        if link.relation == "alike" and not link.from_name:
            kind = "alike_own"
        return self.section.templates[kind].format(name=link.from_name, count=link.count)

    def write_known(self) -> str:
        """The reason for a product that the person looked at themselves."""
        return self.section.templates["known"]

    @property
    def units(self) -> Mapping[str, list[str]]:
        """Kind of evidence -> what its count counts."""
        return self.section.units

    def find_number(self, word: str) -> int | None:
        """What a number written as a word is worth."""
        return self.section.numbers.get(word)

    def counts_as(self, kind: str, word: str) -> bool:
        """Whether evidence of a kind counts what the word says."""
        stems = self.section.units.get(kind, [])
        if self.carries_endings:  # a counter is one syllable, with a particle at most: 21명이
            return any(word.startswith(stem) and len(word) - len(stem) <= 2 for stem in stems)
        return word in stems

    def is_plain(self, word: str) -> bool:
        """Whether a word may stand in any reason, or is a claim, which is checked as such."""
        return self._begins(word, self._plain)

    def find_own(self, text: str) -> str:
        """What a text says that the person did: "ordered", "touched", or nothing."""
        return next((what for what, pattern in self._own.items() if pattern.search(text)), "")

    def drop_own(self, text: str) -> str:
        """The text without what it says of the person: that claims nothing about others."""
        for pattern in self._own.values():
            text = pattern.sub(" ", text)
        return text

    def find_claims(self, text: str) -> Iterator[tuple[str, str]]:
        """(kind of evidence needed, the word that claims it)."""
        for word in split_words(text):
            for kind, words in self.section.claims.items():
                if self._begins(word, words):
                    yield kind, word

    def _begins(self, word: str, stems: list[str]) -> bool:
        if not self.carries_endings:
            return word in stems
        return any(
            word == stem or (len(stem) > 1 and word.startswith(stem) and len(word) - len(stem) <= _ENDING_LETTERS)
            for stem in stems
        )

    @cached_property
    def _plain(self) -> list[str]:
        return [*self.section.words.split(), *(word for words in self.section.claims.values() for word in words)]

    @cached_property
    def _own(self) -> dict[str, re.Pattern[str]]:
        return {what: re.compile("|".join(found), re.IGNORECASE) for what, found in self.section.own.items()}


def split_words(text: str) -> list[str]:
    """The words of a text in lower case; a number without its commas."""
    return [found.replace(",", "").casefold() for found in _WORD.findall(text)]


@cache
def load() -> dict[str, Wording]:
    """Every language by its ISO 639 code; WordingError, with the line, when the file has not the shape."""
    content = read_places(PATH.read_text(encoding="utf-8"), PATH.name, WordingError).convert(dict[str, _Section])
    return {code: Wording(section, carries_endings=code == "ko") for code, section in content.items()}


def find_language(language: str) -> str:
    """The language in which a person is written to: theirs when there is wording for it, else English."""
    return language if language in load() else DEFAULT
