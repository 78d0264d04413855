"""Finds moments: runs every file of schemas/bigquery/moments and tells which cases are new.

Owns how a row becomes a moment. A case has one id for ever, so telling it twice is harmless; what is in the warehouse
already is left out only to save work. What to do about a moment is a playbook's business.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from agents.tools.bus import Bus, Outgoing, send_all
from agents.tools.warehouse import Record, Warehouse
from schemas.messages import derive_id
from schemas.rows import Moment, encode
from schemas.warehouse import Query

TOPIC = "moments"
KNOWN = "SELECT DISTINCT moment_id FROM argo.moments WHERE moment_id IN UNNEST(@moment_ids)"

log = logging.getLogger(__name__)


class MomentError(ValueError):
    """A moment's SQL does not return what a moment needs; the message names the file and the column."""


def detect(queries: list[Query], warehouse: Warehouse, bus: Bus, now: datetime) -> int:
    """Publish every new case of every moment; how many. One moment's broken SQL does not keep the others from running.

    Raises:
        ExceptionGroup: what went wrong, after every other moment was done.
    """
    count, problems = 0, list[Exception]()
    for query in queries:
        try:
            found = list(_find_moments(query, warehouse, now))
            new = _leave_out_known(found, warehouse)
            send_all(bus, TOPIC, [_to_message(moment) for moment in new])
        except Exception as error:  # noqa: BLE001 -- raised below, with all the others'
            log.error("moment %s: %s: %s", query.name, type(error).__name__, error)
            problems.append(error)
            continue
        log.info("moment %s: %d cases, %d new", query.name, len(found), len(new))
        count += len(new)
    if problems:
        raise ExceptionGroup(f"{len(problems)} of {len(queries)} moments failed", problems)
    return count


def _find_moments(query: Query, warehouse: Warehouse, now: datetime) -> Iterator[Moment]:
    for row in warehouse.query(query.query):
        missing = [name for name in ("user_id", "case_id") if not row.get(name)]
        if missing:
            raise MomentError(f"schemas/bigquery/moments/{query.name}.sql returned a row without {missing[0]}")
        yield Moment(
            moment_id=derive_id(query.name, row["case_id"]),
            kind=query.name,
            user_id=row["user_id"],
            detected_at=now,
            data=_encode_row(row),
        )


def _leave_out_known(moments: list[Moment], warehouse: Warehouse) -> list[Moment]:
    """The moments that are not in the warehouse, each once."""
    if not moments:
        return []
    by_id = {moment.moment_id: moment for moment in moments}
    known = {row["moment_id"] for row in warehouse.query(KNOWN, {"moment_ids": list(by_id)})}
    return [moment for moment_id, moment in by_id.items() if moment_id not in known]


def _to_message(moment: Moment) -> Outgoing:
    return Outgoing(data=encode(moment), attributes={"kind": moment.kind, "momentId": moment.moment_id})


def _encode_row(row: Record) -> str:
    return msgspec.json.encode({name: _to_plain(value) for name, value in row.items()}).decode()


def _to_plain(value: Any) -> Any:
    """A value of a row as JSON has it: times as RFC 3339, exact numbers as numbers."""
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, datetime | date) else value
