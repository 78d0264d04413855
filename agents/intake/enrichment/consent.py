"""Consent and do-not-track: the one place that says what is respected and how (for people: docs/privacy.md).

- `DNT: 1` and `Sec-GPC: 1` are the person's own word in every request. Either counts as a refusal of marketing, even where
  the event says otherwise, and nothing is filled in about the device, the place or the weather.
- `context.consent.categoryPreferences` (Segment's consent object): a category by one of the names below counts as its
  column; all categories are kept as they came. `context.consent.analytics` and `.marketing` say it directly and come first.
- analytics refused: the event is kept as the client sent it (the client decides what it sends), and nothing is filled in.
- Absent means never asked. Who was never asked has not agreed to marketing (docs/decisions/2026-11-20-consent.md).
"""

from __future__ import annotations

from typing import Any

import msgspec

from agents.intake.enrichment.clues import Clues
from schemas.rows import Consent

CATEGORIES = {
    "analytics": frozenset(["analytics", "performance", "statistics", "measurement"]),
    "marketing": frozenset(["marketing", "advertising", "targeting", "ads"]),
}
Json = dict[str, Any]


def read_preferences(preferences: Json) -> Json:
    """What categoryPreferences say about our columns. Of several categories of one column, one refusal is a refusal."""
    known = {name.strip().lower(): answer for name, answer in preferences.items() if isinstance(answer, bool)}
    found: Json = {}
    for column, names in CATEGORIES.items():
        answers = [known[name] for name in names if name in known]
        if answers:
            found[column] = all(answers)
    return found


def decide(stated: Consent | None, clues: Clues) -> Consent | None:
    """The consent that counts: what the event states, under what the person's own browser says."""
    if not (clues.do_not_track or clues.global_privacy_control):
        return stated
    return msgspec.structs.replace(
        stated or Consent(),
        marketing=False,
        do_not_track=clues.do_not_track or None,
        global_privacy_control=clues.global_privacy_control or None,
    )


def is_refused(consent: Consent | None) -> bool:
    """Whether nothing may be filled in."""
    return consent is not None and bool(
        consent.analytics is False or consent.do_not_track or consent.global_privacy_control
    )
