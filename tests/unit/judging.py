"""What tests ask of the judgement on a request's events: the rows that it kept, and the verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from agents.intake.limits import SEGMENT, Incoming, Limits
from agents.intake.outgoing import Outbox
from agents.intake.segment import Received, read_message
from agents.intake.verdicts import Reader, Verdicts, judge_events
from schemas.rows import Failure, Interaction, InvalidEvent


@dataclass(kw_only=True)
class Judged:
    """`accepted` and `refused` in their order; `verdicts` on what was not accepted."""

    accepted: list[Interaction] = field(default_factory=list[Interaction])
    refused: list[InvalidEvent] = field(default_factory=list[InvalidEvent])
    verdicts: Verdicts = field(default_factory=Verdicts)

    @property
    def failures(self) -> dict[int, Failure]:
        """By the event's place."""
        return {verdict.index: verdict.failure for verdict in self.verdicts.rejected}

    @property
    def outbox(self) -> Outbox:
        """The rows on their way."""
        return pack(*self.accepted, *self.refused)


def judge(raws: Iterable[object], received: Received, read: Reader = read_message, limits: Limits = SEGMENT) -> Judged:
    """The judgement on some events."""
    judged = Judged()

    def keep(row: Interaction | InvalidEvent) -> None:
        if isinstance(row, InvalidEvent):
            judged.refused.append(row)
        else:
            judged.accepted.append(row)

    judged.verdicts = judge_events(Incoming(raws=list(raws), limits=limits), read, received, keep)
    return judged


def pack(*rows: Interaction | InvalidEvent) -> Outbox:
    """An outbox of rows."""
    outbox = Outbox()
    for row in rows:
        outbox.add(row)
    return outbox
