"""Reads requests about a person's data and shapes the answers, in the words of Segment's Public API. Pure.

Source: https://docs.segmentapis.com/tag/Deletion-and-Suppression. Its types *_INTERNAL differ from their namesakes only in
that no destination is told; there are no destinations here, so they are the same.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

from schemas.regulations import Regulation, RegulationType, Status

MAX_SUBJECTS = 5000  # as published
MAX_BYTES = 200_000  # of all ids together: a regulation is one document, and Firestore's may have 1 MiB

SYNONYMS = {
    "SUPPRESS_WITH_DELETE": RegulationType.SUPPRESS_AND_DELETE,
    "SUPPRESS_WITH_DELETE_INTERNAL": RegulationType.SUPPRESS_AND_DELETE,
    "DELETE_INTERNAL": RegulationType.DELETE_ONLY,
}


class Invalid(ValueError):
    """What is asked cannot be done; the message says what to fix (HTTP 422)."""


class Asked(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The body of a request."""

    regulation_type: str
    subject_type: str
    subject_ids: Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=256)]], msgspec.Meta(min_length=1)]


def read_request(body: bytes, regulation_id: str, now: datetime) -> Regulation:
    """The regulation that a request asks for.

    Raises:
        Invalid: naming the key, its value and what it may be.
    """
    try:
        asked = msgspec.json.decode(body, type=Asked)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"{error}; send regulationType, subjectType and subjectIds") from error
    kind = SYNONYMS.get(asked.regulation_type) or next(
        (one for one in RegulationType if one == asked.regulation_type), None
    )
    if kind is None:
        known = ", ".join([*RegulationType, *SYNONYMS])
        raise Invalid(f"regulationType is {asked.regulation_type!r:.60}; it must be one of {known}")
    if asked.subject_type != "USER_ID":
        raise Invalid(f"subjectType is {asked.subject_type!r:.60}; it must be USER_ID")
    if len(asked.subject_ids) > MAX_SUBJECTS:
        raise Invalid(f"subjectIds has {len(asked.subject_ids)} entries; it may have {MAX_SUBJECTS}")
    ids = sorted(set(asked.subject_ids))
    if sum(len(one.encode()) for one in ids) > MAX_BYTES:
        raise Invalid(f"subjectIds have more than {MAX_BYTES} bytes together; send them in several requests")
    done = not kind.deletes
    return Regulation(
        id=regulation_id,
        regulation_type=kind,
        subject_type=asked.subject_type,
        created_at=now,
        overall_status=Status.FINISHED if done else Status.INITIALIZED,
        finished_at=now if done else None,
        subjects=len(ids),
        subject_ids=ids,
    )


def shape(regulation: Regulation) -> dict[str, Any]:
    """A regulation as callers get it: its report, and nothing that names the person."""
    hidden = ("subjectIds", "foundIds", "foundWork", "scanned")
    plain: dict[str, Any] = msgspec.to_builtins(regulation)
    return {key: value for key, value in plain.items() if key not in hidden}
