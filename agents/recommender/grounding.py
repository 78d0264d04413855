"""Whether a reason is true, as far as that can be checked: every claim of a model's must be in the evidence handed over.

The model cites ids of evidence; beside that its words are read. A reason may hold names and numbers of what it cites and of
the product itself, the plain words of its language (wording.yaml), and nothing else. A word that claims something (bought,
popular, you ordered) needs evidence of that kind, about the names in the same sentence. Strict on purpose: what is refused
wrongly costs a template, what is believed wrongly costs a customer. Pure; knows no model and no store.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from agents.prompts import ChosenProduct
from agents.recommender.items import Item, Link, ProductName, Relation, Touch
from agents.recommender.wording import Wording, split_words

_SENTENCE = re.compile(r"(?<=[.!?。])\s+")
_OPEN, _CLOSE, _FIRST = "\ue000", "\ue001", 0xE100  # Unicode's private use: no reason holds them
_NAME = re.compile(f"{_OPEN}(.){_CLOSE}")
_DOUBLE = re.compile(f"{_CLOSE}\\s+{_OPEN}")
_ENDS = '"\u201d\u2019\u00bb\u300d\u300f'
_QUOTED = re.compile(f'["\u201c\u2018\u00ab\u300c\u300e]([^{_ENDS}{_OPEN}]{{2,}})[{_ENDS}]')
_LEADING = frozenset({Relation.BOUGHT.value, Relation.VIEWED.value, Relation.THEN.value, Relation.ALIKE.value})
_CURRENCY = re.compile(r"[£$€₩¥%]|\d\s*원")


class Evidence(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One fact with the id by which it is cited. `kind`: product, touch, or the relation that leads to `product_id`."""

    id: str
    kind: str
    text: str
    product_id: str
    names: list[str] = []
    count: int = 0
    touch: str = ""


def gather_evidence(items: Sequence[Item], recent: Sequence[ProductName]) -> list[Evidence]:
    """All that a reason may rest on: the candidates, what leads to each, and what the person did."""
    found: list[Evidence] = []
    for place, item in enumerate(items, start=1):
        found.append(
            Evidence(id=f"c{place}", kind="product", text=item.name, product_id=item.product_id, names=[item.name])
        )
        found += [
            Evidence(
                id=f"c{place}.{number}",
                kind=link.relation.value,
                text=link.describe(item.name),
                product_id=item.product_id,
                names=[name for name in (link.from_name, item.name) if name],
                count=link.count,
            )
            for number, link in enumerate(item.links or [Link(relation=Relation.TASTE, count=0)], start=1)
        ]
    for place, product in enumerate(recent, start=1):
        found.append(
            Evidence(
                id=f"r{place}",
                kind="touch",
                text=f"{product.touch.value}: {product.name}",
                product_id=product.product_id,
                names=[product.name],
                touch=product.touch.value,
            )
        )
    return found


def find_problem(chosen: ChosenProduct, items: Sequence[Item], evidence: Sequence[Evidence], wording: Wording) -> str:
    """What is wrong with a model's choice, or nothing."""
    item = next((item for item in items if item.product_id == chosen.product_id), None)
    if item is None:
        return f"product {chosen.product_id!r:.80} is not among the candidates"
    known = {fact.id: fact for fact in evidence}
    strange = [name for name in chosen.evidence if name not in known]
    if strange:
        return f"evidence {strange[0]!r:.80} was not handed over; cite ids such as {next(iter(known))!r}"
    cited = [known[name] for name in chosen.evidence]
    astray = [fact for fact in cited if fact.kind != "touch" and fact.product_id != item.product_id]
    if astray:
        return f"evidence {astray[0].id!r} is about another product"
    if not any(fact.kind != "touch" for fact in cited):
        return f"the reason rests on nothing about {item.product_id!r:.80}"
    return _Reading(item=item, cited=cited, wording=wording).find_problem(chosen.reason)


@dataclass
class _Reading:
    """Reads one reason, sentence by sentence."""

    item: Item
    cited: list[Evidence]
    wording: Wording
    names: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        found = {name for fact in self.cited for name in fact.names} | {self.item.name}
        self.names = sorted(found, key=lambda name: -len(split_words(name)))

    def find_problem(self, reason: str) -> str:
        """What is wrong with the words, or nothing."""
        # Before the text is cut into sentences: a name may hold a full stop.
        for place, name in enumerate(self.names):
            pattern = re.compile(rf"(?<!\w){re.escape(name)}(?![A-Za-z0-9])", re.IGNORECASE)
            reason = pattern.sub(f" {_OPEN}{chr(_FIRST + place)}{_CLOSE} ", reason)
        for sentence in _SENTENCE.split(reason):
            problem = self._find_problem(sentence)
            if problem:
                return problem
        return ""

    def _find_problem(self, sentence: str) -> str:
        mentioned = {self.names[ord(found) - _FIRST] for found in _NAME.findall(sentence)}
        rest = _NAME.sub(" ", sentence)
        if _DOUBLE.search(sentence):
            return "two names stand side by side"
        if quoted := _QUOTED.search(sentence):
            return f"{quoted[1]!r:.80} is no name in the evidence cited"
        if money := _CURRENCY.search(rest):
            return f"{money[0]!r} speaks of money or shares, of which there is no evidence"
        problem = next(self._find_strange(split_words(rest)), "")
        return problem or next(self._find_unfounded(rest, mentioned), "")

    def _find_strange(self, words: list[str]) -> Iterator[str]:
        for place, word in enumerate(words):
            number = int(word) if word.isdecimal() else self.wording.find_number(word)
            if number is not None:
                unit = words[place + 1] if place + 1 < len(words) else ""
                if not self._is_counted(number, unit):
                    yield f"the number {word!r} is not in the evidence cited"
            elif not self.wording.is_plain(word) and not self._is_unit(word):
                yield f"the word {word!r:.40} is in no evidence cited; use the names as they stand, and plain words"

    def _is_unit(self, word: str) -> bool:
        return any(self.wording.counts_as(unit, word) for unit in self.wording.units)

    def _is_counted(self, number: int, unit: str) -> bool:
        return any(
            (fact.count == number or (fact.kind == Relation.POPULAR.value and number == 90))
            and self.wording.counts_as(fact.kind, unit)
            for fact in self.cited
        )

    def _find_unfounded(self, rest: str, mentioned: set[str]) -> Iterator[str]:
        """Claims of a sentence without evidence of their kind, and names that no claim's evidence has."""
        supports: list[Evidence] = []
        if owned := self.wording.find_own(rest):
            shown = [fact for fact in self.cited if fact.kind == "touch" and _shows(fact, owned)]
            supports += [fact for fact in shown if not mentioned or mentioned & set(fact.names)]
            if not supports:
                yield f"that the person {owned} this is in no evidence cited"
        related: list[set[str]] = []
        for claim, word in self.wording.find_claims(self.wording.drop_own(rest)):
            fits = [fact for fact in self.cited if _supports(fact, claim)]
            if not fits:
                yield f"{word!r} is claimed, and no evidence cited is of the kind {claim!r}"
            if claim in _LEADING:
                related.append({name for fact in fits for name in fact.names})
            elif claim != "crowd":  # that there were others says nothing about what they did
                supports += fits
        # Which name belongs to which claim nobody can tell, so with two claims every name needs evidence of both.
        named = {name for fact in supports for name in fact.names}.union(set.intersection(*related) if related else ())
        if not supports and not related:
            named = {name for fact in self.cited for name in fact.names}
        unfounded = mentioned - {self.item.name} - named
        if unfounded:
            yield f"what is said of {min(unfounded)!r:.80} is in no evidence cited"


def _supports(fact: Evidence, claim: str) -> bool:
    if claim == "crowd":
        return fact.kind in set(Relation) - {Relation.ALIKE}  # nobody did anything
    return fact.kind == claim or (
        claim == Relation.BOUGHT.value and fact.kind == Relation.POPULAR.value and fact.count > 0
    )


def _shows(fact: Evidence, owned: str) -> bool:
    return owned != Touch.ORDERED.value or fact.touch == Touch.ORDERED.value
