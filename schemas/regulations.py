"""Regulations: what is kept of a request about a person's data, in the words of Segment's Public API.

Source: https://docs.segmentapis.com/tag/Deletion-and-Suppression. Reading a request is `agents.privacy.regulations`'s.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class RegulationType(StrEnum):
    """What is to be done."""

    SUPPRESS_AND_DELETE = "SUPPRESS_AND_DELETE"
    SUPPRESS_ONLY = "SUPPRESS_ONLY"
    UNSUPPRESS = "UNSUPPRESS"
    DELETE_ONLY = "DELETE_ONLY"

    @property
    def deletes(self) -> bool:
        """Whether the job `forget` has something to do."""
        return self in (RegulationType.SUPPRESS_AND_DELETE, RegulationType.DELETE_ONLY)

    @property
    def suppresses(self) -> bool:
        """Whether events of the person are dropped from now on."""
        return self in (RegulationType.SUPPRESS_AND_DELETE, RegulationType.SUPPRESS_ONLY)


class Status(StrEnum):
    """Where a regulation stands (of Segment's list, those that occur here)."""

    INITIALIZED = "INITIALIZED"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"


class StoreState(StrEnum):
    """Where one store stands."""

    DONE = "DONE"
    LATER = "LATER"
    FAILED = "FAILED"


class StoreReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was done in one store over all runs: numbers and reasons, nothing of the person."""

    state: StoreState
    deleted: int = 0
    reason: str = ""


class Regulation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One regulation as it is kept. Everything that names a person is gone once it is FINISHED.

    `scanned` is when a run began that has read a bucket whole, so that the next one reads only what came since.
    """

    id: str
    regulation_type: RegulationType
    subject_type: str
    created_at: datetime
    overall_status: Status
    subjects: int
    subject_ids: list[str] = []
    found_ids: list[str] = []
    found_work: list[str] = []
    runs: int = 0
    finished_at: datetime | None = None
    report: dict[str, StoreReport] = {}
    scanned: dict[str, datetime] = {}
