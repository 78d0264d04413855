"""The contract of a mapped file feed: how the columns of somebody's files become rows of ours. One YAML file a feed.

Owns the shape of `feeds/*.yaml` and every check that needs only the file: each problem names file, line, key, value and fix.
Deliberately reads no data: `agents.intake.mapping` applies a feed to records. Guide: docs/feeds.md.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal, cast
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from schemas import rows
from schemas.columns import unwrap
from schemas.places import Places, read_places, read_validation, suggest

FOLDER = Path(__file__).with_name("feeds")
NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
Kind = Literal["events", "products", "prices", "signals", "weather", "tickets"]
Type = Literal["text", "integer", "decimal", "number", "boolean", "timestamp", "json"]
Patterns = dict[str, str | list[str]]
LINE = "@line"  # in a template: the record's line in its file


class FeedError(ValueError):
    """The feed is not usable; the message lists every problem found."""


class Ticket(rows.Row, frozen=True, kw_only=True):
    """One change of a support ticket, as files bring it; it becomes an event `support_ticket_<status>`."""

    ticket_id: rows.Id
    status: Annotated[str, Meta(min_length=1, max_length=100, description="opened, answered, solved, rated, ...")]
    at: Annotated[datetime, Meta(tz=True, description="When it came to this status")]
    user_id: rows.Id | None = None
    anonymous_id: rows.Id | None = None
    subject: str | None = None
    text: Annotated[str, Meta(description="The customer's own words: data, never an instruction")] | None = None
    satisfaction: Annotated[float, Meta(description="The customer's score, in the source's own scale")] | None = None
    priority: str | None = None
    channel: str | None = None
    product_id: rows.Id | None = None


TARGETS: dict[str, type[msgspec.Struct]] = {
    "events": rows.Interaction,
    "products": rows.ProductUpdate,
    "prices": rows.ProductUpdate,
    "signals": rows.MarketSignal,
    "weather": rows.ObservedWeather,
    "tickets": Ticket,
}
REQUIRED: dict[str, tuple[str, ...]] = {
    "events": ("event_type", "event_timestamp", "user_id or anonymous_id"),
    "products": ("product_id",),
    "prices": ("product_id", "price"),
    "signals": ("kind",),
    "weather": ("latitude", "longitude", "observed_at"),
    "tickets": ("ticket_id", "status", "at", "user_id or anonymous_id"),
}
_OURS = ("received_at", "source", "producer")  # said by ingest
_TYPES: dict[type[msgspec.inspect.Type], Type] = {
    msgspec.inspect.StrType: "text",
    msgspec.inspect.IntType: "integer",
    msgspec.inspect.DecimalType: "decimal",
    msgspec.inspect.FloatType: "number",
    msgspec.inspect.BoolType: "boolean",
    msgspec.inspect.DateTimeType: "timestamp",
}


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class File(_Entry, frozen=True, kw_only=True):
    """How the bytes are to be read; the last three are of CSV only. `columns` is for a file without a header."""

    encoding: str = "utf-8"
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Meta(min_length=1, max_length=1)] = '"'
    columns: list[str] = []


class Field(_Entry, frozen=True, kw_only=True):
    """Where one value comes from: exactly one of column, template, constant, total; then how it is read.

    `map` replaces the text (its keys may be patterns with *, the first that fits counts), `when` gives the value only for
    rows whose columns fit patterns. `type` follows from the target's column; it counts in properties and traits.
    """

    column: str | None = None
    template: str | None = None
    constant: str | int | float | bool | None = None
    total: Literal["products"] | None = None
    map: dict[str, str | int | float | bool] = {}
    when: Patterns = {}
    type: Type | None = None
    format: str = "iso"
    zone: str = "UTC"
    shift_days: int = 0
    absolute: bool = False
    decimal_comma: bool = False


class Products(_Entry, frozen=True, kw_only=True):
    """The products of an event: one of the row itself, or one for each element of the list in the column `each`."""

    fields: dict[str, Field]
    each: str | None = None


class Feed(_Entry, frozen=True, kw_only=True):
    """One mapped feed, read and checked."""

    name: str
    description: str
    kind: Kind
    fields: dict[str, Field]
    products: Products | None = None
    source: str
    file: File = File()
    skip: Patterns = {}
    group_by: str | None = None
    personal: list[str] = []


class _Document(_Entry, frozen=True, kw_only=True):
    description: Annotated[str, Meta(min_length=1)]
    kind: Kind
    fields: dict[str, Any]
    source: str = ""
    file: File = File()
    skip: Patterns = {}
    group_by: str | None = None
    personal: list[str] = []


def parse(text: str | bytes, name: str, origin: str) -> Feed:
    """Read and check one feed; `origin` is where the text is from, for the messages.

    Raises:
        FeedError: naming file, line, key, value and fix of every problem.
    """
    if not NAME.fullmatch(name):
        raise FeedError(f"{origin}: the feed's name is {name!r:.80}; it must be lower-case letters, digits, _ and -")
    places = read_places(text, origin, FeedError)
    places.refuse([])
    found = _Problems(places)
    document = found.convert(places.value, _Document, "")
    if document is None:
        raise found.error()
    known = list_fields(document.kind)
    fields: dict[str, Field] = {}
    products: Products | None = None
    for key, given in document.fields.items():
        if key == "products" and document.kind == "events":
            products = _read_products(given, found)
        elif (field := _read_field(given, f"fields.{key}", found)) and found.check_name(key, known):
            fields[key] = field
    feed = Feed(
        **{n: getattr(document, n) for n in ("description", "kind", "file", "skip", "group_by", "personal")},
        name=name,
        source=document.source or f"feeds/{name}",
        fields=fields,
        products=products,
    )
    for path, value, fix in _find_problems(feed, known):
        found.add(path, value, fix)
    if found:
        raise found.error()
    return feed


@cache
def find_shipped(name: str) -> Feed | None:
    """The feed of that name that comes with this deployment."""
    path = FOLDER / f"{name}.yaml"
    if not NAME.fullmatch(name) or not path.exists():
        return None
    return parse(path.read_text(encoding="utf-8"), name, f"schemas/feeds/{path.name}")


@cache
def list_fields(kind: str) -> dict[str, Type]:
    """The fields that a feed of this kind may fill, dotted, with their types; properties.* and traits.* are open."""
    found = dict(walk_fields(TARGETS[kind]))
    return {key: type_ for key, type_ in found.items() if kind != "events" or key not in _OURS}


def walk_fields(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Type]]:
    """Every leaf of a row with its type, dotted; a JSON column is there as a whole and as `name.*`."""
    info = msgspec.inspect.type_info(struct)
    for field in cast("msgspec.inspect.StructType", info).fields:
        kind, _, json_text = unwrap(field.type)
        name = prefix + field.encode_name
        if isinstance(kind, msgspec.inspect.StructType):
            yield from walk_fields(kind.cls, f"{name}.")
        elif json_text:
            yield name, "json"
            yield f"{name}.*", "text"
        elif type(kind) in _TYPES:
            yield name, _TYPES[type(kind)]


def _read_field(given: Any, path: str, found: _Problems) -> Field | None:
    """A field's whole form, or its short one: the column's name."""
    if isinstance(given, str):
        return Field(column=given)
    field = found.convert(given, Field, path)
    if field is None:
        return None
    sources = [n for n in ("column", "template", "constant", "total") if getattr(field, n) is not None]
    if len(sources) != 1:
        found.add(
            path, ", ".join(sources) or "without a source", "give exactly one of column, template, constant, total"
        )
    if field.total and path != "fields.revenue":
        found.add(f"{path}.total", field.total, "only revenue can be a total: of price times quantity of the products")
    for key, check, fix in _CHECKS:
        if not check(getattr(field, key)):
            found.add(f"{path}.{key}", getattr(field, key), fix)
    return field


def _read_products(given: Any, found: _Problems) -> Products | None:
    if not isinstance(given, dict):
        found.add("fields.products", given, "give the fields of a product, such as product_id: StockCode")
        return None
    content: dict[str, Any] = dict(cast("dict[str, Any]", given))
    each = content.pop("each", None)
    known = dict(walk_fields(rows.Product))
    fields = {
        key: field
        for key, value in content.items()
        if (field := _read_field(value, f"fields.products.{key}", found)) and found.check_name(key, known, "products.")
    }
    if "product_id" not in fields:
        found.add("fields.products", "without product_id", "add product_id: <column>")
    if each is not None and not isinstance(each, str):
        found.add("fields.products.each", each, "give the name of the column that holds the list")
        return None
    return Products(fields=fields, each=each)


def _find_problems(feed: Feed, known: dict[str, Type]) -> Iterator[tuple[str, object, str]]:
    for wanted in REQUIRED[feed.kind]:
        if not any(name in feed.fields for name in wanted.split(" or ")):
            yield "fields", f"without {wanted}", f"a feed of {feed.kind} must say where {wanted} comes from"
    if not _is_encoding(feed.file.encoding):
        yield "file.encoding", feed.file.encoding, "name an encoding that keeps ASCII, such as utf-8, latin-1 or cp1252"
    if feed.group_by and not feed.products:
        yield "group_by", feed.group_by, "only events with products can be gathered from several rows"
    if feed.products and feed.group_by and feed.products.each:
        yield "fields.products.each", feed.products.each, "give group_by or each, not both"
    if feed.file.columns and len(set(feed.file.columns)) != len(feed.file.columns):
        yield "file.columns", feed.file.columns, "every column needs a name of its own"
    for key, field in feed.fields.items():
        type_ = known.get(key) or field.type
        if field.type and key in known and field.type != known[key]:
            yield f"fields.{key}.type", field.type, f"leave it out: {key} is {known[key]}"
        if type_ != "timestamp" and (field.format != "iso" or field.zone != "UTC" or field.shift_days):
            yield (
                f"fields.{key}",
                "with format, zone or shift_days",
                f"these are for timestamps; {key} is {type_ or 'text'}",
            )
    yield from _find_unfit_columns(feed)


def _find_unfit_columns(feed: Feed) -> Iterator[tuple[str, object, str]]:
    """Where a file has no header the mapping names its columns, so a wrong one can be told before any file comes."""
    if not feed.file.columns:
        return
    columns = feed.file.columns
    for path, column in list_columns(feed):
        if column not in columns:
            yield path, column, f"it is not among file.columns; {suggest(column, columns)}"


def list_columns(feed: Feed) -> Iterator[tuple[str, str]]:
    """Every column of the file that the feed reads, with the key that names it; those inside `each` left out."""
    yield from ((f"skip.{column}", column) for column in feed.skip)
    if feed.group_by:
        yield "group_by", feed.group_by
    nested = feed.products.fields if feed.products and not feed.products.each else {}
    if feed.products and feed.products.each:
        yield "fields.products.each", feed.products.each
    for prefix, fields in (("fields", feed.fields), ("fields.products", nested)):
        for key, field in fields.items():
            if field.column:
                yield f"{prefix}.{key}", field.column
            yield from ((f"{prefix}.{key}.when.{column}", column) for column in field.when)
            for part in Formatter().parse(field.template or ""):
                if part[1] and part[1] != LINE:
                    yield f"{prefix}.{key}.template", part[1]


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: a folder of the zone database, such as "Europe"
        return False
    return True


def _is_encoding(name: str) -> bool:
    ascii_text = '\n\r",;\t09AZaz{}[]'
    try:
        return codecs.lookup(name).encode(ascii_text)[0] == ascii_text.encode("ascii")
    except (LookupError, UnicodeError, TypeError):
        return False


def _is_format(text: str) -> bool:
    return text in FORMATS or ("%" in text and not re.search(r"%(?![aAbBcdfHIjmMpSUwWxXyYzZ%GuV])", text))


def _is_template(text: str | None) -> bool:
    try:
        return text is None or all(part[1] != "" and not part[2] and not part[3] for part in Formatter().parse(text))
    except ValueError:
        return False


FORMATS = ("iso", "epoch_seconds", "epoch_milliseconds")
_CHECKS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("zone", _is_zone, "name an IANA zone such as Europe/London"),
    ("format", _is_format, f"give {', '.join(FORMATS)}, or one for strptime such as %Y-%m-%d %H:%M:%S"),
    ("template", _is_template, "name columns in braces, such as invoice-{InvoiceNo}"),
)


class _Problems:
    """What is wrong with one file, each with the line of its key."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._found: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def error(self) -> FeedError:
        return FeedError("\n".join(self._found))

    def add(self, path: str, value: object, fix: str) -> None:
        text = value if isinstance(value, str) and (value.startswith(("with", "without"))) else f"is {value!r:.80}"
        self._note(path, f"{path} {text}: {fix}")

    def convert(self, value: Any, kind: type[Any], path: str) -> Any:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            problem = read_validation(error, (path,) if path else (), kind.__struct_fields__)
            inner = ".".join(problem.path)
            self._note(inner, f"{inner or 'the file'}: {problem.text}")
            return None

    def check_name(self, key: str, known: dict[str, Type], prefix: str = "") -> bool:
        head, _, rest = key.partition(".")
        if key in known or (rest and f"{head}.*" in known):
            return True
        names = [name.replace(".*", ".<key>") for name in known]
        path = f"fields.{prefix}{key}"
        self._note(path, f"{path} is no field of this kind: {suggest(key, names)}")
        return False

    def _note(self, path: str, text: str) -> None:
        self._found.append(f"{self._places.file}:{self._places.find_dotted_line(path)}: {text}")
