"""Brings one object of the landing bucket to its topics: in constant memory, restartable, once however often it is notified.

Owns the order in which things become durable: messages are acknowledged by Pub/Sub, then the checkpoint moves behind them.
So a killed reading goes on from its checkpoint, and what it had published beyond it is published again with the same ids.
A file that one request cannot end is handed on: the checkpoint is saved, then the notification published again.
Why so: docs/decisions/2026-11-20-file-progress.md. Rows are feeds.py's, forms of files files.py's.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from agents.errors import Poison, TryAgain
from agents.intake.feeds import MAPPING_FILE, FileFeed, Origin, Row, Yield, find_feed, load_mapping
from agents.intake.files import Place, Record, read_records
from agents.intake.outgoing import make_messages
from agents.intake.suppression import suppression_list
from agents.intake.unpacking import Broken
from agents.tools import metrics
from agents.tools.bulk import CALL_SECONDS, Bulk
from agents.tools.bus import Outgoing
from agents.tools.landing import Landing
from agents.tools.progress import Checkpoint, File, FileProgress, LandedObject, LeaseLost, Verdict
from agents.tools.weather import WeatherObservation, WeatherStore
from schemas.rows import Interaction, MarketSignal, ObservedWeather, ProductUpdate, encode

CHUNK_RECORDS = 1000
CHUNK_BYTES = 2_000_000  # whichever comes first; it bounds what is held of long records
CHUNKS_UNDER_WAY = 4
SAVE_SECONDS = 2.0  # between checkpoints: a fraction of a lease, and what a crash repeats
HISTORY = timedelta(days=1)  # an older event is told, not acted upon
NOTIFICATIONS = "landing-objects"
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What an ingestion talks to."""

    landing: Landing
    bulk: Bulk
    progress: FileProgress
    weather: WeatherStore


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One notification of an object; `again` is the message that hands it on. `seconds`: how long it may be worked at."""

    landed: LandedObject
    message_id: str
    again: Outgoing
    seconds: float = 300.0


@dataclass(kw_only=True)
class _Chunk:
    """Messages of consecutive records; `end` is the checkpoint behind them."""

    messages: dict[str, list[Outgoing]] = field(default_factory=dict[str, list[Outgoing]])
    weather: list[WeatherObservation] = field(default_factory=list[WeatherObservation])
    records: int = 0
    size: int = 0
    futures: list[Future[None]] = field(default_factory=list[Future[None]])
    end: Checkpoint = field(default_factory=Checkpoint)


class Ingestion:
    """One object under one lease."""

    def __init__(self, file: File, ports: Ports, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._ports, self._clock = file, ports, clock
        self._read = file.checkpoint  # how far the reading is; the file's own checkpoint is how far Pub/Sub has it
        self._under_way: deque[_Chunk] = deque()
        self._saved_at = clock()

    def run(self, feed: FileFeed, seconds: float) -> bool:
        """Publish what the object has behind its checkpoint; False when time was up before its end.

        Raises:
            Broken: the file is damaged here; what came before is published and saved.
            LeaseLost: another delivery took it over.
        """
        deadline = self._clock() + seconds
        try:
            for chunk in self._read_chunks(feed):
                self._send(chunk)
                if self._clock() - self._saved_at > SAVE_SECONDS:
                    self._save()
                if chunk.records and self._clock() > deadline:
                    self._settle(0)
                    return False
        except Broken:
            self._settle(0)
            raise
        self._settle(0)
        return True

    @property
    def file(self) -> File:
        """How far it is, everything before it durable."""
        return self._file

    def _read_chunks(self, feed: FileFeed) -> Iterator[_Chunk]:
        landed, start = self._landed, self._read
        origin = Origin(url=landed.url, generation=landed.generation, received_at=datetime.now(UTC))
        chunk = _Chunk()
        if known := suppression_list():
            known.refresh()
        with self._ports.landing.open(landed.name, landed.generation) as stream:
            place = Place(start.offset, start.line, start.element)
            records = read_records(landed.name, stream, feed.form, place, feed.needed_columns)
            try:
                for group in feed.gather(records):
                    self._add(chunk, group, feed.read(group, origin))
                    if chunk.records >= CHUNK_RECORDS or chunk.size >= CHUNK_BYTES:
                        yield chunk
                        chunk = _Chunk()
            except Broken:
                yield chunk
                raise
        yield chunk

    @property
    def _landed(self) -> LandedObject:
        return LandedObject(bucket=self._file.bucket, name=self._file.name, generation=self._file.generation)

    def _add(self, chunk: _Chunk, group: list[Record], given: Yield) -> None:
        known = suppression_list()
        for row in known.keep_others(given.rows) if known else given.rows:
            for topic, message in make_file_messages(row):
                chunk.messages.setdefault(topic, []).append(message)
                chunk.size += len(message.data)
            if isinstance(row, ObservedWeather):
                chunk.weather.append(_to_observation(row))
        chunk.records += len(group)
        (offset, line, element), before = group[-1].end, self._read
        chunk.end = self._read = Checkpoint(
            offset=offset,
            line=line,
            element=element,
            accepted=before.accepted + given.accepted,
            refused=before.refused + given.refused,
            skipped=before.skipped + given.skipped,
        )

    def _send(self, chunk: _Chunk) -> None:
        for topic, messages in chunk.messages.items():
            chunk.futures += self._ports.bulk.send(topic, messages)
        chunk.messages = {}
        if chunk.records:
            self._under_way.append(chunk)
        self._settle(CHUNKS_UNDER_WAY)

    def _settle(self, leave: int) -> None:
        """Wait for the oldest chunks, until so many are left."""
        while len(self._under_way) > leave:
            chunk = self._under_way[0]
            for future in chunk.futures:
                future.result(timeout=2 * CALL_SECONDS)
            if chunk.weather:
                self._ports.weather.remember(chunk.weather)
            self._under_way.popleft()
            self._file = msgspec.structs.replace(self._file, checkpoint=chunk.end)

    def _save(self) -> None:
        self._file = self._ports.progress.save(self._file)
        self._saved_at = self._clock()


def ingest_object(notice: Notice, ports: Ports) -> Checkpoint:
    """Publish every record of an object that is not published yet; how far it is now.

    Raises:
        Poison: no feed for the folder, an unknown ending, a wrong mapping, or a damaged file (what came before the damage
            is published).
        TryAgain: another delivery of the same notification is at work.
    """
    landed = notice.landed
    if landed.name.endswith("/"):  # how consoles show a folder
        return Checkpoint()
    folder, _, rest = landed.name.partition("/")
    if folder == "feeds" and rest.endswith(f"/{MAPPING_FILE}"):
        load_mapping(rest.removesuffix(f"/{MAPPING_FILE}"), ports.landing)  # told now if wrong, not with the first file
        return Checkpoint()
    feed = find_feed(landed.name, ports.landing, landed.bucket)
    claim = ports.progress.take(landed, notice.message_id)
    if claim.verdict is Verdict.BUSY:
        raise TryAgain(f"{landed.url} is being read by an earlier delivery of this message")
    if claim.verdict is not Verdict.HELD:
        log.info("%s: notified again; it is %s", landed.url, "done" if claim.file.is_done else "at work elsewhere")
        return claim.file.checkpoint
    return _ingest_held(feed, claim.file, notice, ports)


def _ingest_held(feed: FileFeed, file: File, notice: Notice, ports: Ports) -> Checkpoint:
    url, ingestion, began = notice.landed.url, Ingestion(file, ports), time.monotonic()
    try:
        ended = ingestion.run(feed, notice.seconds)
    except LeaseLost as error:
        raise TryAgain(str(error)) from error
    except FileNotFoundError:
        log.warning("%s is gone: deleted or replaced before its end was read", url)
        ended = True
    except Broken as error:
        _release(ingestion, ports)
        done = ingestion.file.checkpoint
        kept = f"what came before is kept: {done.accepted} accepted, {done.refused} refused, up to line {done.line}"
        raise Poison(f"{url}: {error}; {kept}") from error
    except BaseException:
        _release(ingestion, ports)
        raise
    seconds = time.monotonic() - began
    if ended:
        done = ports.progress.save(msgspec.structs.replace(ingestion.file, is_done=True)).checkpoint
        counts = (done.accepted, done.refused, done.skipped)
        log.info("%s: %d accepted, %d refused, %d left out; the last part took %.1f s", url, *counts, seconds)
        if notice.landed.name.startswith("spill/"):
            metrics.count("events_recovered", done.accepted)
        return done
    _release(ingestion, ports)
    for future in ports.bulk.send(NOTIFICATIONS, [notice.again]):
        future.result(timeout=2 * CALL_SECONDS)
    done = ingestion.file.checkpoint
    log.info("%s: handed on after %.1f s at line %d, %d accepted", url, seconds, done.line, done.accepted)
    return done


def make_file_messages(row: Row) -> list[tuple[str, Outgoing]]:
    """The messages that a row of a file becomes: (topic, message)."""
    match row:
        case ProductUpdate():
            return [("product-updates", Outgoing(data=encode(row)))]
        case MarketSignal():
            return [("market-signals", Outgoing(data=encode(row)))]
        case ObservedWeather():
            return [("weather-observations", Outgoing(data=encode(row)))]
        case Interaction() if row.received_at - row.event_timestamp > HISTORY:
            first, *rest = make_messages(row)
            told = msgspec.structs.replace(first[1], attributes={**first[1].attributes, "historical": "true"})
            return [(first[0], told), *rest]
        case _:
            return make_messages(row)


def _to_observation(row: ObservedWeather) -> WeatherObservation:
    return WeatherObservation(
        latitude=row.latitude,
        longitude=row.longitude,
        observed_at=row.observed_at,
        condition=row.condition,
        temperature_celsius=row.temperature_celsius,
    )


def _release(ingestion: Ingestion, ports: Ports) -> None:
    """Let the next delivery begin at once; where that fails, it waits for the lease's end."""
    try:
        ports.progress.save(ingestion.file, hold=False)
    except Exception:  # whatever it is, the reason to stop is the one to tell
        log.warning("%s: its lease was not given back", ingestion.file.name, exc_info=True)
