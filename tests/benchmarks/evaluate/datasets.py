"""Reads a data set: one of shared/data by name, or any path to events as NDJSON or CSV, or to a published split.

A file of events may hold ARGO's rows, Segment's messages, or a table with a column each for person, product and (where there
are any) type, time, quantity, visit, category, under the names below. A folder with train.txt and test.txt (either gzipped;
a line is `user item item ...`) is a published split. What a line lacks is counted and said.
"""

from __future__ import annotations

import gzip
import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from agents.intake.files import Place, is_readable, read_records
from agents.intake.segment import to_snake_case
from agents.recommender.training.collecting import KIND_OF_TYPE, Touch, collect_events
from agents.recommender.training.events import ORDERED, Events
from schemas.feed import File

ROOT = Path(__file__).resolve().parents[3]
# Beside the repository, or beside the folder of its worktrees.
_PLACES = [up / "shared" / "data" for up in ROOT.parents]
SHARED = next((path for path in _PLACES if path.is_dir()), _PLACES[0])
NAMED = {
    "online-retail": "online-retail/online_retail.csv.gz",
    "rees46-slice": "rees46-slice/2019-10-01_00h-03h.csv.gz",
    "gowalla-lightgcn": "gowalla-lightgcn",
}
PERSON = (
    "person_id",
    "user_id",
    "userId",
    "CustomerID",
    "Customer ID",
    "visitorid",
    "user",
    "anonymous_id",
    "anonymousId",
)
PRODUCT = ("product_id", "productId", "sku", "StockCode", "itemid", "item_id", "itemId", "item", "movieId")
TIME = (
    "event_timestamp",
    "timestamp",
    "originalTimestamp",
    "event_time",
    "InvoiceDate",
    "time",
    "received_at",
    "unixtime",
)
KIND = ("event_type", "event", "behavior", "behavior_type", "event_name")
QUANTITY = ("quantity", "Quantity")
VISIT = ("session_id", "sessionId", "user_session", "InvoiceNo", "Invoice", "order_id", "session")
CATEGORY = ("category", "category_code", "category_id", "categoryid")
NAME = ("name", "Description", "product_name", "title", "item_name")
BRAND = ("brand",)
PLACE = ("country", "Country")
NO_TIME = "no readable time"
Json = dict[str, Any]


class Unusable(ValueError):
    """There is nothing to evaluate on; the message says what is missing and what would do."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Events to train on; `held_out` is the published test part (over the same ids), None where a split is still to be made.

    `left_out` counts lines that are no touch of a product by a person, by reason.
    """

    name: str
    events: Events
    held_out: Events | None = None
    left_out: dict[str, int] = field(default_factory=dict[str, int])


def find_data(name: str) -> Path:
    """The path of a data set: a known name, or a path.

    Raises:
        Unusable: nothing is there.
    """
    path = SHARED / NAMED[name] if name in NAMED else Path(name)
    if not path.exists():
        known = ", ".join(NAMED)
        raise Unusable(
            f"DATA={name}: {path} does not exist; give {known}, a file of events, or a folder with train.txt"
        )
    return path


def read_data(name: str) -> DataSet:
    """The data set of that name or path.

    Raises:
        Unusable: nothing is there, or no line of it is a touch of a product by a person.
    """
    path = find_data(name)
    title = name if name in NAMED else path.name.split(".")[0]
    if path.is_dir():
        return _read_split(path, title)
    if not is_readable(path.name):
        raise Unusable(f"{path} must end in .ndjson, .jsonl, .json, .csv or .tsv (or one of these and .gz)")
    left_out: Counter[str] = Counter()
    events = collect_events(_read_touches(path, left_out))
    if not len(events):
        why = ", ".join(f"{count} lines: {reason}" for reason, count in left_out.items()) or "it is empty"
        raise Unusable(
            f"{path} has no touch of a product by a person ({why}); columns that are known: {PERSON + PRODUCT}"
        )
    if not events.timed:  # then it is no lack of single lines
        del left_out[NO_TIME]
    return DataSet(name=title, events=events, left_out=dict(left_out))


def _read_split(folder: Path, name: str) -> DataSet:
    """Train and test over one numbering."""
    train, test = (next(iter(sorted(folder.glob(f"{side}.txt*"))), None) for side in ("train", "test"))
    if not train or not test:
        raise Unusable(f"{folder} must have train.txt and test.txt (either may end in .gz)")
    known = list(_read_lists(train))
    both = collect_events(itertools.chain(known, _read_lists(test)))
    in_train = np.arange(len(both)) < len(known)
    return DataSet(name=name, events=both.select(in_train), held_out=both.select(~in_train))


def _read_lists(path: Path) -> Iterator[Touch]:
    with _open(path) as stream:
        for line in stream:
            person, *items = line.split()
            for item in items:
                yield Touch(person.decode(), item.decode(), ORDERED)


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _read_touches(path: Path, left_out: Counter[str]) -> Iterator[Touch]:
    with _open(path) as stream:
        for record in read_records(path.name, stream, File(), Place()):
            if not isinstance(record.value, dict):
                left_out["not readable"] += 1
                continue
            row = cast("Json", record.value)
            touches, reason = read_row(row)
            if reason or any(math.isnan(touch.seconds) for touch in touches):
                left_out[reason or NO_TIME] += 1
            yield from touches


def read_row(row: Json) -> tuple[list[Touch], str]:
    """The touches of one row, or why there are none."""
    properties, context = _nested(row, "properties"), _nested(row, "context")
    person = _first(row, PERSON)
    if not person:
        return [], "no person"
    kind = _read_kind(row)
    if kind is None:
        return [], "not a view, an addition or an order"
    session = _first(row, VISIT) or _first(properties, VISIT) or _first(context, VISIT)
    seconds = read_seconds(_first(row, TIME))
    place = _first(row, PLACE) or _first(_nested(row, "location") or _nested(context, "location"), PLACE)
    touches: list[Touch] = []
    for product in _list_products(row, properties):
        quantity = _read_number(_first(product, QUANTITY))
        if quantity > 0 and (name := _first(product, PRODUCT)):
            category, title, brand = (_first(product, names) for names in (CATEGORY, NAME, BRAND))
            touches.append(Touch(person, name, kind, seconds, quantity, session, category, title, brand, place))
    return touches, "" if touches else "no product, or none of it"


def read_seconds(text: str) -> float:
    """Seconds since the epoch of ISO 8601 or of a number of (milli)seconds; NaN for anything else. No zone is UTC."""
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        return number / 1000 if number > 1e11 else number
    try:
        moment = datetime.fromisoformat(text.replace(" UTC", "+00:00"))
    except ValueError:
        return math.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _read_kind(row: Json) -> int | None:
    name = _first(row, KIND)
    if not name:
        return ORDERED  # a list of purchases, ratings or visits to places says no type
    return KIND_OF_TYPE.get(to_snake_case(name))


def _list_products(row: Json, properties: Json) -> list[Json]:
    for holder in (row, properties):
        products = holder.get("products")
        if isinstance(products, list) and products:
            return [cast("Json", product) for product in cast("list[object]", products) if isinstance(product, dict)]
    return [properties if _first(properties, PRODUCT) else row]


def _nested(row: Json, name: str) -> Json:
    value = row.get(name)
    return cast("Json", value) if isinstance(value, dict) else {}


def _first(row: Json, names: tuple[str, ...]) -> str:
    return next((str(row[name]) for name in names if row.get(name) not in (None, "")), "")


def _read_number(text: str) -> float:
    try:
        return float(text) if text else 1.0
    except ValueError:
        return 1.0
