"""The device, system and browser behind a User-Agent, each where the client did not say it itself."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from schemas.rows import Device, Interaction

if TYPE_CHECKING:
    from agents.intake.enrichment.clues import Clues

COLUMN = "device"
AFTER: tuple[str, ...] = ()
USER_AGENT_CHARACTERS = 512  # the longest honest ones have 300
_DESKTOPS = frozenset(["Windows", "Mac OS X", "Linux", "Ubuntu", "Chrome OS", "Fedora", "Debian", "FreeBSD", "OpenBSD"])
_PHONES = frozenset(["iOS", "Android", "Windows Phone", "KaiOS", "HarmonyOS", "BlackBerry OS"])
_NOTHING = Device()


def fill(row: Interaction, clues: Clues) -> Device | None:
    """The device with what its User-Agent tells."""
    given = row.device or _NOTHING
    user_agent = given.user_agent or clues.user_agent
    if not user_agent or (given.type and given.os and given.browser and given.user_agent):
        return None
    return _complete(given, user_agent)


@lru_cache(maxsize=8192)
def _complete(given: Device, user_agent: str) -> Device:
    told = read_user_agent(user_agent)
    return msgspec.structs.replace(
        given,
        type=given.type or told.type,
        os=given.os or told.os,
        browser=given.browser or told.browser,
        user_agent=user_agent,
    )


@lru_cache(maxsize=8192)
def read_user_agent(user_agent: str) -> Device:
    """Type (mobile, tablet, desktop, bot), system and browser; what the text does not tell is absent."""
    from ua_parser import parse  # 0.2 s, and 0.4 s for its rules: once, with the first event

    found = parse(user_agent[:USER_AGENT_CHARACTERS])
    system = found.os.family if found.os else None
    family = found.device.family if found.device else ""
    brand = (found.device.brand or "") if found.device else ""
    if system is None and "Windows NT" in user_agent:
        system = "Windows"
    return Device(
        type=_classify(user_agent, system, family, brand),
        os=system,
        browser=found.user_agent.family if found.user_agent else None,
    )


def _classify(user_agent: str, system: str | None, family: str, brand: str) -> str | None:
    if family == "Spider":
        return "bot"
    if "Tablet" in brand or "iPad" in family or "Tablet" in user_agent:
        return "tablet"
    if system == "Android" and "Mozilla" in user_agent and "Mobile" not in user_agent:
        return "tablet"  # https://developer.chrome.com/docs/multidevice/user-agent: a phone says Mobile
    if system in _PHONES:
        return "mobile"
    return "desktop" if system in _DESKTOPS else None
