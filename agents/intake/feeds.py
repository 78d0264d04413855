"""What each folder of the landing bucket feeds: events, products, signals, and the spill that collect leaves behind.

A feed turns one record into rows; publishing in chunks keeps memory constant, whatever the file's size.
"""

from __future__ import annotations

import itertools
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any, cast

import msgspec

from agents.errors import Poison
from agents.intake import files
from agents.intake.enrichment import enrich
from agents.intake.messages import read_text, read_time
from agents.intake.outgoing import make_messages
from agents.intake.refusal import Refusal
from agents.intake.segment import Received, build_row, read_message, read_money
from agents.intake.verdicts import make_invalid, to_refusal
from agents.tools.bus import Bus, Outgoing
from agents.tools.landing import Landing
from schemas.messages import derive_id
from schemas.rows import Failure, Interaction, InvalidEvent, MarketSignal, ProductUpdate, encode

CHUNK = 500  # records in flight; also the publisher's batch size
FILE_ACK_SECONDS = 60.0  # a chunk may wait longer than a client's request
Json = dict[str, Any]
Messages = list[tuple[str, Outgoing]]
Feed = Callable[[object, Received], Messages]
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LandedObject:
    """One finished object of the landing bucket."""

    bucket: str
    name: str
    generation: int


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a file gave."""

    accepted: int
    refused: int


def ingest_object(landed: LandedObject, landing: Landing, bus: Bus) -> Counts:
    """Publish every record of an object; handling it again publishes the same ids again.

    Raises:
        Poison: no feed for the folder, an unknown ending, or a damaged file (what came before the damage is published).
    """
    feed = find_feed(landed.name)
    if not files.is_readable(landed.name):
        raise Poison(
            f"gs://{landed.bucket}/{landed.name}: the ending must be one of {', '.join(files.ENDINGS)} (+ .gz)"
        )
    try:
        stream: IO[bytes] = landing.open(landed.name, landed.generation)
    except FileNotFoundError:
        log.info("%s is gone: deleted or replaced before it was read", landed.name)
        return Counts(accepted=0, refused=0)
    with stream:
        return _publish_records(landed, files.read_records(landed.name, stream), feed, bus)


def find_feed(name: str) -> Feed:
    """The feed of an object, by its folder."""
    folder = name.partition("/")[0]
    if folder not in FEEDS:
        raise Poison(f"{name}: no feed reads the folder {folder!r}; there are {', '.join(sorted(FEEDS))}")
    return FEEDS[folder]


def _publish_records(landed: LandedObject, records: Iterator[files.Record], feed: Feed, bus: Bus) -> Counts:
    base = Received(source=f"gs://{landed.bucket}", received_at=datetime.now(UTC))
    accepted = refused = 0
    while chunk := _take(landed, records):
        futures: list[Future[str]] = []
        for record in chunk:
            origin = f"gs://{landed.bucket}/{landed.name}#{record.line}"
            messages, good = _read_record(record, feed, msgspec.structs.replace(base, origin=origin))
            accepted, refused = accepted + good, refused + (not good)
            futures += [bus.send(topic, message) for topic, message in messages]
        for future in futures:
            future.result(timeout=FILE_ACK_SECONDS)
    log.info("%s: %d accepted, %d refused", landed.name, accepted, refused)
    return Counts(accepted=accepted, refused=refused)


def _take(landed: LandedObject, records: Iterable[files.Record]) -> list[files.Record]:
    try:
        return list(itertools.islice(records, CHUNK))
    except (EOFError, OSError, zlib.error) as error:
        if isinstance(error, ConnectionError | TimeoutError):
            raise
        raise Poison(f"gs://{landed.bucket}/{landed.name} is damaged: {error}") from error


def _read_record(record: files.Record, feed: Feed, received: Received) -> tuple[Messages, bool]:
    try:
        if record.refusal:
            raise record.refusal
        return feed(record.value, received), True
    except Exception as error:  # noqa: BLE001  # whatever one line does to its feed, the file goes on
        return make_messages(make_invalid(record.value, to_refusal(error), received)), False


def _feed_event(raw: object, received: Received) -> Messages:
    return make_messages(enrich(read_message(raw, received), raw, received.clues))


def _feed_product(raw: object, received: Received) -> Messages:
    given = _as_object(raw)
    stock = given.get("in_stock")
    values = {
        **{key: read_text(given, key) for key in ("product_id", "name", "category", "brand", "currency")},
        "price": read_money(given, "price"),
        "updated_at": read_time(given, "updated_at") or received.received_at,
        "in_stock": stock.lower() in ("true", "1", "yes") if isinstance(stock, str) else stock,
    }
    return [("product-updates", Outgoing(data=encode(build_row(ProductUpdate, values))))]


def _feed_signal(raw: object, received: Received) -> Messages:
    given = _as_object(raw)
    value = read_money(given, "value")
    values = {
        "signal_id": read_text(given, "signal_id") or derive_id(received.origin or "", received.source),
        **{key: read_text(given, key) for key in ("kind", "product_id", "category", "source")},
        "observed_at": read_time(given, "observed_at") or received.received_at,
        "value": None if value is None else float(value),
        "data": msgspec.json.encode(given["data"]).decode() if given.get("data") else None,
    }
    return [("market-signals", Outgoing(data=encode(build_row(MarketSignal, values))))]


def _feed_spill(raw: object, received: Received) -> Messages:
    del received  # the rows were complete when collect spilled them
    given = _as_object(raw)
    if "interaction" in given:
        return make_messages(build_row(Interaction, _as_object(given["interaction"])))
    return make_messages(build_row(InvalidEvent, _as_object(given.get("invalid"))))


def _as_object(raw: object) -> Json:
    if not isinstance(raw, dict):
        raise Refusal(Failure.NOT_AN_OBJECT, f"a record must be an object, not {type(raw).__name__}")
    return cast("Json", raw)


FEEDS: dict[str, Feed] = {
    "events": _feed_event,
    "products": _feed_product,
    "signals": _feed_signal,
    "spill": _feed_spill,
}
