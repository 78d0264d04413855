"""Owns the static types of the protobuf messages that documents and writes are made of.

The official client ships these messages as proto-plus classes; the server works on the protobuf messages below
them, which are built at run time, carry no types, and are several times faster. The protocols here describe
them. Requests and responses are in `requests.py`; no behaviour lives in either.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar, cast

from google.cloud.firestore_v1.types import document as document_types
from google.cloud.firestore_v1.types import write as write_types
from google.protobuf.timestamp_pb2 import Timestamp as TimestampMessage

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Message(Protocol):
    """What every protobuf message can do, as far as it is used here."""

    def HasField(self, field_name: str) -> bool: ...  # noqa: N802 - protobuf's own name
    def WhichOneof(self, oneof_group: str) -> str | None: ...  # noqa: N802 - protobuf's own name
    def SerializeToString(self, *, deterministic: bool = False) -> bytes: ...  # noqa: N802 - protobuf's own name
    def ByteSize(self) -> int: ...  # noqa: N802 - protobuf's own name


class Repeated(Sequence[T]):
    """A repeated field; a class because a protocol cannot extend Sequence. Nobody makes one."""


class Builder(Protocol[T_co]):
    """A message class: called with the fields' values, it makes a message; FromString parses one."""

    def __call__(self, **fields: object) -> T_co: ...
    def FromString(self, data: bytes) -> T_co: ...  # noqa: N802 - protobuf's own name


class Timestamp(Message, Protocol):
    seconds: int
    nanos: int


class LatLng(Message, Protocol):
    latitude: float
    longitude: float


class FieldMap(Protocol):
    """A map from field name to value; indexing a name that is absent creates it."""

    def __getitem__(self, name: str) -> "Value": ...
    def __delitem__(self, name: str) -> None: ...
    def __contains__(self, name: str) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def get(self, name: str) -> "Value | None": ...


class MapValue(Message, Protocol):
    fields: FieldMap


class ArrayValue(Message, Protocol):
    values: Repeated["Value"]


class Value(Message, Protocol):
    boolean_value: bool
    integer_value: int
    double_value: float
    timestamp_value: Timestamp
    string_value: str
    bytes_value: bytes
    reference_value: str
    geo_point_value: LatLng
    array_value: ArrayValue
    map_value: MapValue

    def CopyFrom(self, other: "Value") -> None: ...  # noqa: N802 - protobuf's own name


class Document(Message, Protocol):
    name: str
    fields: FieldMap
    create_time: Timestamp
    update_time: Timestamp

    def MergeFrom(self, other: "Document") -> None: ...  # noqa: N802 - protobuf's own name


class DocumentMask(Message, Protocol):
    field_paths: Repeated[str]


class Precondition(Message, Protocol):
    exists: bool
    update_time: Timestamp


class FieldTransform(Message, Protocol):
    field_path: str
    set_to_server_value: int
    increment: Value
    maximum: Value
    minimum: Value
    append_missing_elements: ArrayValue
    remove_all_from_array: ArrayValue


class DocumentTransform(Message, Protocol):
    document: str
    field_transforms: Repeated[FieldTransform]


class Write(Message, Protocol):
    update: Document
    delete: str
    transform: DocumentTransform
    update_mask: DocumentMask
    update_transforms: Repeated[FieldTransform]
    current_document: Precondition


class WriteResult(Message, Protocol):
    update_time: Timestamp
    transform_results: Repeated[Value]


def builder_of(wrapper: object, kind: type[T]) -> Builder[T]:
    """Returns the protobuf class below a proto-plus class, typed as the protocol that describes it."""
    del kind  # only names the type
    make_class = getattr(wrapper, "pb")  # noqa: B009 - proto-plus is untyped here; keep the border in one place
    return cast("Builder[T]", make_class())


new_timestamp = cast("Builder[Timestamp]", TimestampMessage)
new_value = builder_of(document_types.Value, Value)
new_array = builder_of(document_types.ArrayValue, ArrayValue)
new_document = builder_of(document_types.Document, Document)
new_write = builder_of(write_types.Write, Write)
new_write_result = builder_of(write_types.WriteResult, WriteResult)


def timestamp_of(micros: int) -> Timestamp:
    """Builds a Timestamp from microseconds since the epoch."""
    seconds, rest_us = divmod(micros, 1_000_000)
    return new_timestamp(seconds=seconds, nanos=rest_us * 1000)


def micros_of(timestamp: Timestamp) -> int:
    """Returns microseconds since the epoch; the rest of the nanoseconds is cut off, as Firestore does."""
    return timestamp.seconds * 1_000_000 + timestamp.nanos // 1000
