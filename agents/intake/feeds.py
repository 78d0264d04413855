"""What each folder of the landing bucket feeds: events, products, prices, signals, weather, tickets, mapped files, spills.

Owns which feed reads an object, and the rows that its records become; a bad record becomes a row of invalid_events.
Deliberately publishes nothing: ingestion.py does. Guide: docs/feeds.md.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, cast

import msgspec

from agents.errors import Poison
from agents.intake.enrichment import enrich
from agents.intake.files import ENDINGS, Record, is_readable, unflatten
from agents.intake.mapping import Mapper, gather
from agents.intake.refusal import Refusal
from agents.intake.segment import NEWEST, OLDEST, Received, build_row, read_message, to_json_text, to_snake_case
from agents.intake.verdicts import make_invalid, to_refusal
from agents.tools.landing import Landing
from schemas.feed import (
    REQUIRED,
    Feed,
    FeedError,
    Field,
    File,
    Ticket,
    find_shipped,
    list_columns,
    list_fields,
    parse,
    walk_fields,
)
from schemas.messages import derive_id
from schemas.rows import Failure, Interaction, InvalidEvent, MarketSignal, ObservedWeather, ProductUpdate

MAPPING_FILE = "mapping.yaml"
MAPPING_BYTES = 100_000
Json = dict[str, Any]
Row = Interaction | InvalidEvent | ProductUpdate | MarketSignal | ObservedWeather
Build = Callable[[Json, Received], Row]
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Which object its records are of."""

    url: str
    generation: int
    received_at: datetime


@dataclass(kw_only=True)
class Yield:
    """What some records gave; `accepted`, `refused` and `skipped` count records, not rows."""

    rows: list[Row]
    accepted: int = 0
    refused: int = 0
    skipped: int = 0


class FileFeed(Protocol):
    """What turns an object's records into rows."""

    form: File
    needed_columns: Collection[str]

    def gather(self, records: Iterable[Record]) -> Iterator[list[Record]]:
        """Records in the lists that become a row together."""
        ...

    def read(self, records: list[Record], origin: Origin) -> Yield:
        """The rows of one list; a bad record becomes an InvalidEvent."""
        ...


class PlainFeed:
    """Records that are messages of ours as they stand."""

    form = File()
    needed_columns: Collection[str] = ()

    def __init__(self, build: Build, source: str) -> None:
        self._build, self._source = build, source

    def gather(self, records: Iterable[Record]) -> Iterator[list[Record]]:
        """Each alone."""
        return ([record] for record in records)

    def read(self, records: list[Record], origin: Origin) -> Yield:
        """One row each."""
        given = Yield(rows=[])
        for record in records:
            received = _receive(record, origin, self._source)
            try:
                if record.refusal:
                    raise record.refusal
                given.rows.append(self._build(_as_object(record.value), received))
                given.accepted += 1
            except Exception as error:  # noqa: BLE001  # whatever one record does to its feed, the file goes on
                given.rows.append(make_invalid(record.value, to_refusal(error), received))
                given.refused += 1
        return given


class MappedFeed:
    """Records that a mapping turns into messages of ours."""

    def __init__(self, feed: Feed, source: str, needed_columns: Collection[str]) -> None:
        self.form, self.needed_columns = feed.file, needed_columns
        self._mapper, self._source = Mapper(feed), source
        self._build = _BUILDERS[feed.kind]

    def gather(self, records: Iterable[Record]) -> Iterator[list[Record]]:
        """By the mapping's `group_by`, else each alone."""
        return gather(records, self._mapper)

    def read(self, records: list[Record], origin: Origin) -> Yield:
        """One row of all good records; each bad one by itself."""
        given, good, parts = Yield(rows=[]), list[Record](), list[Json]()
        for record in records:
            try:
                if record.refusal:
                    raise record.refusal
                row = _as_object(record.value)
                if self._mapper.is_skipped(row):
                    given.skipped += 1
                    continue
                parts.append(self._mapper.read_row(row, record.line, is_further=bool(parts)))
                good.append(record)
            except Exception as error:  # noqa: BLE001  # as above
                self._refuse(record, error, origin, given)
        if not good:
            return given
        try:
            received = _receive(good[0], origin, self._source)
            given.rows.append(self._build(self._mapper.join_rows(parts), received))
            given.accepted += len(good)
        except Exception as error:  # noqa: BLE001  # as above
            for record in good:
                self._refuse(record, error, origin, given)
        return given

    def _refuse(self, record: Record, error: Exception, origin: Origin, given: Yield) -> None:
        received = _receive(record, origin, self._source)
        given.rows.append(make_invalid(self._mapper.remove_declared(record.value), to_refusal(error), received))
        given.refused += 1


def find_feed(name: str, landing: Landing, bucket: str) -> FileFeed:
    """The feed of an object, by its folder.

    Raises:
        Poison: no feed for the folder, an ending that nobody reads, or a mapping that is missing or wrong.
    """
    folder, _, rest = name.partition("/")
    source = f"gs://{bucket}"
    if folder == "feeds":
        feed_name, _, file_name = rest.partition("/")
        _require_ending(file_name)
        feed = load_mapping(feed_name, landing)
        return MappedFeed(feed, feed.source, {column for _, column in list_columns(feed)})
    _require_ending(name)
    if folder in _PLAIN:
        return PlainFeed(_PLAIN[folder], source)
    if folder in _BUILDERS:
        return MappedFeed(own_feed(folder), source, [name for name in REQUIRED[folder] if " or " not in name])
    raise Poison(f"{name}: no feed reads the folder {folder!r}; there are {', '.join(FOLDERS)}")


def load_mapping(name: str, landing: Landing) -> Feed:
    """The mapping of a feed: the one that came with the deployment, else the one that lies beside the files.

    Raises:
        Poison: there is none, or it is wrong; the message lists every problem.
    """
    path = f"feeds/{name}/{MAPPING_FILE}"
    try:
        if shipped := find_shipped(name):
            return shipped
        with landing.open(path) as stream:
            text = stream.read(MAPPING_BYTES + 1)
        if len(text) > MAPPING_BYTES:
            raise FeedError(f"{path}: a mapping may have {MAPPING_BYTES:,} bytes")
        return parse(text, name, path)
    except FileNotFoundError:
        raise Poison(f"feed {name!r} has no mapping: upload {path}, or add schemas/feeds/{name}.yaml") from None
    except FeedError as error:
        raise Poison(f"the mapping of feed {name!r} is wrong:\n{error}") from error


@functools.cache
def own_feed(kind: str) -> Feed:
    """The mapping of files that have our own columns already: each field is the column of its name."""
    fields = {name: Field(column=name) for name in list_fields(kind) if not name.endswith("*")}
    return Feed(name=kind, description="our own columns", kind=cast("Any", kind), fields=fields, source="")


def _require_ending(name: str) -> None:
    if not is_readable(name):
        raise Poison(f"{name}: the ending must be one of {', '.join(ENDINGS)} (+ .gz)")


def _receive(record: Record, origin: Origin, source: str) -> Received:
    element = f"[{record.end.element}]" if record.end.element else ""
    return Received(
        source=source,
        received_at=origin.received_at,
        origin=f"{origin.url}#{record.line}{element}",
        seed=f"{origin.url}#{origin.generation}@{record.end.offset}",
    )


def _as_object(raw: object) -> Json:
    if not isinstance(raw, dict):
        raise Refusal(Failure.NOT_AN_OBJECT, f"a record must be an object, not {type(raw).__name__}")
    return cast("Json", raw)


def _read_event(given: Json, received: Received) -> Row:
    message = unflatten(given)
    return enrich(read_message(message, received), message, received.clues)


def _read_spill(given: Json, received: Received) -> Row:
    del received  # the rows were complete when collect spilled them
    if "interaction" in given:
        return build_row(Interaction, _as_object(given["interaction"]))
    return build_row(InvalidEvent, _as_object(given.get("invalid")))


def _build_event(values: Json, received: Received) -> Row:
    row = nest_values(values, Interaction)
    _require_person(row)
    _require_time(row.get("event_timestamp"), "event_timestamp", received)
    row.setdefault("event_id", derive_id(received.source, received.seed or ""))
    name = str(row.get("event_type", ""))
    row["event_type"] = to_snake_case(name)
    row.setdefault("event_name", name)
    row |= {"source": received.source, "received_at": received.received_at}
    return enrich(build_row(Interaction, row), {}, received.clues)


def _build_product(values: Json, received: Received) -> Row:
    return build_row(ProductUpdate, {"updated_at": received.received_at, **values})


def _build_price(values: Json, received: Received) -> Row:
    _require(values, REQUIRED["prices"])
    return _build_product(values, received)


def _build_signal(values: Json, received: Received) -> Row:
    row = nest_values(values, MarketSignal)
    row.setdefault("signal_id", derive_id(received.seed or "", received.source))
    row.setdefault("observed_at", received.received_at)
    return build_row(MarketSignal, row)


def _build_weather(values: Json, received: Received) -> Row:
    _require(values, REQUIRED["weather"])
    place = (values["latitude"], values["longitude"], values["observed_at"].isoformat(), received.source)
    return build_row(
        ObservedWeather, {"observation_id": derive_id(*map(str, place)), "source": received.source, **values}
    )


def _build_ticket(values: Json, received: Received) -> Row:
    """A change of a ticket as an event of its person: so it is related, resolved, suppressed and deleted like the rest."""
    ticket = build_row(Ticket, values)
    _require_person(values)
    _require_time(ticket.at, "at", received)
    told = ("ticket_id", "status", "subject", "text", "satisfaction", "priority", "channel")
    properties = {key: value for key in told if (value := getattr(ticket, key)) is not None}
    return build_row(
        Interaction,
        {
            "event_id": derive_id("ticket", received.source, ticket.ticket_id, ticket.status, ticket.at.isoformat()),
            "event_type": f"support_ticket_{to_snake_case(ticket.status)}",
            "event_name": f"Support Ticket {ticket.status}",
            "event_timestamp": ticket.at,
            "user_id": ticket.user_id,
            "anonymous_id": ticket.anonymous_id,
            "products": [{"product_id": ticket.product_id}] if ticket.product_id else [],
            "properties": msgspec.json.encode(properties).decode(),
            "source": received.source,
            "received_at": received.received_at,
        },
    )


def nest_values(values: Json, kind: type[msgspec.Struct]) -> Json:
    """Dotted names as nested objects, and objects of JSON columns as their text."""
    row = unflatten({key: dict(value) if isinstance(value, dict) else value for key, value in values.items()})  # pyright: ignore[reportUnknownArgumentType]  # JSON
    for name in _json_columns(kind):
        if name in row:
            row[name] = to_json_text(row[name])
    return row


@functools.cache
def _json_columns(kind: type[msgspec.Struct]) -> list[str]:
    return [name for name, type_ in walk_fields(kind) if type_ == "json"]


def _require(values: Json, names: Iterable[str]) -> None:
    for name in names:
        if values.get(name) is None:
            raise Refusal(Failure.MISSING_FIELD, f"{name} must be there and not empty")


def _require_person(values: Json) -> None:
    if not (values.get("user_id") or values.get("anonymous_id")):
        raise Refusal(Failure.MISSING_FIELD, "user_id or anonymous_id must be there and not empty")


def _require_time(time: datetime | None, name: str, received: Received) -> None:
    """History may not silently become today's, which is what a live client's wrong clock becomes."""
    if time is None:
        raise Refusal(Failure.MISSING_FIELD, f"{name} must be there and not empty")
    if not received.received_at - OLDEST < time < received.received_at + NEWEST:
        raise Refusal(
            Failure.WRONG_TYPE,
            f"{name} is {time:%Y-%m-%d}; BigQuery takes streamed rows of the last ten years up to now"
            " (a mapping may move old data with shift_days)",
        )


_PLAIN: dict[str, Build] = {"events": _read_event, "spill": _read_spill}
_BUILDERS: dict[str, Build] = {
    "events": _build_event,
    "products": _build_product,
    "prices": _build_price,
    "signals": _build_signal,
    "weather": _build_weather,
    "tickets": _build_ticket,
}
FOLDERS = sorted({*_PLAIN, *_BUILDERS, "feeds"})
