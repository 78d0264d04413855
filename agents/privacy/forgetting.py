"""Carries regulations out: each store in turn, again and again until nothing is left, with a report that names nobody.

Everything that is needed to go on is kept in the regulation itself before anything is deleted, so a run may be killed at any
time. A regulation is FINISHED by the first run that finds nothing any more, at the earliest SETTLE after it was asked for:
until then events may be on their way that collect took before it knew. Then its ids are removed too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from agents.privacy.files import erase_lines
from agents.privacy.messages import erase_held, erase_keys
from agents.privacy.nodes import erase_nodes
from agents.privacy.person import Person, digest, join
from agents.privacy.stores import Erased, Stores
from agents.privacy.tables import erase_rows, find_others, find_work
from agents.tools.regulations import Regulations
from agents.tools.suppressions import Suppressions
from schemas.regulations import Regulation, RegulationType, Status, StoreReport, StoreState

# Longer than Pub/Sub's longest backoff, collect's copy of the list, and the archive's batches.
SETTLE = timedelta(minutes=10)
log = logging.getLogger(__name__)
Pass = tuple[str, Callable[[], Erased]]


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where regulations are, and who must know who is suppressed."""

    regulations: Regulations
    suppressions: Suppressions


def accept(regulation: Regulation, desk: Desk) -> None:
    """Record a new regulation; what it says about suppression holds from now on."""
    if regulation.regulation_type.suppresses:
        for one in regulation.subject_ids:
            desk.regulations.suppress([digest(one)], digest(one), regulation.created_at)
    if regulation.regulation_type is RegulationType.UNSUPPRESS:
        for one in regulation.subject_ids:
            desk.regulations.unsuppress(digest(one))
    finished = regulation.overall_status is Status.FINISHED
    desk.regulations.save(msgspec.structs.replace(regulation, subject_ids=[]) if finished else regulation)
    publish_list(desk)


def publish_list(desk: Desk) -> None:
    """Bring collect's copy of the suppression list up to date."""
    desk.suppressions.publish(desk.regulations.list_suppressed())


def carry_out(desk: Desk, stores: Stores, now: datetime) -> list[Regulation]:
    """One run over everything that is open; each as it stands now."""
    publish_list(desk)
    return [_carry_one(regulation, desk, stores, now) for regulation in desk.regulations.list_open()]


def _carry_one(regulation: Regulation, desk: Desk, stores: Stores, now: datetime) -> Regulation:
    try:
        regulation = _find(regulation, desk, stores, now)
    except Exception as error:
        log.exception("regulation %s: nobody knows yet who that is", regulation.id)
        report = {"warehouse": _fail(regulation.report.get("warehouse"), error)}
        return _save(desk, regulation, overall_status=Status.FAILED, report={**regulation.report, **report})
    found_anything = False
    report, scanned = dict(regulation.report), dict(regulation.scanned)
    for name, erase in _list_passes(regulation, stores):
        if name.startswith("warehouse") and _has_failed(report, "graph"):
            continue  # the graph's part has to ask the warehouse which events are theirs
        try:
            erased = erase()
        except Exception as error:
            log.exception("regulation %s: %s failed", regulation.id, name)
            report[name] = _fail(report.get(name), error)
            continue
        found_anything |= any(erased.deleted.values())
        report |= _add(name, report, erased)
        if name in stores.buckets and not erased.later:
            scanned[name] = now
    done = not found_anything and all(one.state is StoreState.DONE for one in report.values())
    failed = any(one.state is StoreState.FAILED for one in report.values())
    regulation = msgspec.structs.replace(regulation, report=report, scanned=scanned, runs=regulation.runs + 1)
    if done and now - regulation.created_at >= SETTLE:
        return _save(
            desk,
            regulation,
            overall_status=Status.FINISHED,
            finished_at=now,
            subject_ids=[],
            found_ids=[],
            found_work=[],
        )
    return _save(desk, regulation, overall_status=Status.FAILED if failed else Status.RUNNING)


def _find(regulation: Regulation, desk: Desk, stores: Stores, now: datetime) -> Regulation:
    """Who that is, kept before anything is deleted; asked again with every run, for what has come since."""
    others = find_others(regulation.subject_ids, stores.warehouse)
    if regulation.regulation_type.suppresses and others:
        for one, subject in others.items():
            desk.regulations.suppress([digest(one)], digest(subject), now)
        publish_list(desk)
    ids = join(regulation.subject_ids, others)
    return _save(
        desk,
        regulation,
        overall_status=Status.RUNNING,
        found_ids=list(join(regulation.found_ids, ids)),
        found_work=list(join(regulation.found_work, find_work(ids, stores.warehouse))),
    )


def _list_passes(regulation: Regulation, stores: Stores) -> Iterator[Pass]:
    """Each store's part, by its name in the report; the warehouse's last, because others ask it."""
    person = Person(ids=tuple(regulation.found_ids), work=tuple(regulation.found_work))
    yield "firestore", lambda: Erased(deleted=stores.documents.delete_of(person.ids, person.work))
    yield "redis", lambda: erase_keys(person, stores.keys)
    for name, held in stores.held.items():
        yield name, lambda held=held: erase_held(person, held)
    for name, bucket in stores.buckets.items():
        yield name, lambda name=name, bucket=bucket: erase_lines(person, bucket, regulation.scanned.get(name))
    yield "graph", lambda: erase_nodes(person, stores.graph, stores.warehouse)
    yield "warehouse", lambda: erase_rows(person, stores.warehouse)


def _add(name: str, report: dict[str, StoreReport], erased: Erased) -> dict[str, StoreReport]:
    """The store's entries after a pass: one for itself, or one for each of its parts, with the sums of all runs."""
    news: dict[str, StoreReport] = {}
    for part in sorted({*erased.deleted, *erased.later}):
        key = f"{name}.{part}"
        before = report.get(key, StoreReport(state=StoreState.DONE))
        state = StoreState.LATER if part in erased.later else StoreState.DONE
        count = before.deleted + erased.deleted.get(part, 0)
        news[key] = StoreReport(state=state, deleted=count, reason=erased.later.get(part, ""))
    report.pop(name, None)  # an earlier failure of the store as a whole
    return news


def _fail(before: StoreReport | None, error: Exception) -> StoreReport:
    """The entry of a store that failed. Its error may quote values, so only its name is kept."""
    return StoreReport(
        state=StoreState.FAILED, deleted=before.deleted if before else 0, reason=f"{type(error).__name__}; tried again"
    )


def _has_failed(report: dict[str, StoreReport], name: str) -> bool:
    return name in report and report[name].state is StoreState.FAILED


def _save(desk: Desk, regulation: Regulation, **changes: object) -> Regulation:
    regulation = msgspec.structs.replace(regulation, **changes)
    desk.regulations.save(regulation)
    return regulation
