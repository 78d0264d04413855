"""Contract: what is stored comes back as it was, and sorts as Firestore sorts."""

import datetime
import math

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.firestore_v1.vector import Vector

from tests.contract.firestore_servers import client, list_ids, read_fields, root, server

__all__ = ["client", "root", "server"]  # fixtures

DAY = datetime.datetime(2026, 11, 20, 12, 30, 15, 123456, tzinfo=datetime.UTC)


def test_every_type_comes_back_as_it_was(root: firestore.CollectionReference) -> None:
    """Prevents a type from being lost or turned into its neighbour (an integer into a double)."""
    fields: dict[str, object] = {
        "null": None,
        "yes": True,
        "int": 2**62 + 1,
        "whole double": 3.0,
        "minus infinity": -math.inf,
        "text": "naïve ✓ \x00",
        "bytes": b"\x00\xff",
        "time": DAY,
        "place": firestore.GeoPoint(47.37, -8.54),
        "reference": root.document("other"),
        "list": [1, 1.5, "a", None, {"b": [True]}],
        "map": {"a.b": {"c`d": {}}},
        "empty list": [],
        "vector": Vector([1.0, 2.5]),
    }
    root.document("all").set(fields)
    stored = read_fields(root.document("all").get())
    assert stored == fields
    assert isinstance(stored["whole double"], float)
    assert isinstance(stored["int"], int)


def test_nan_is_stored(root: firestore.CollectionReference) -> None:
    """Prevents NaN from being refused or changed, which equality alone would not show."""
    root.document("nan").set({"v": math.nan})
    value = read_fields(root.document("nan").get())["v"]
    assert isinstance(value, float)
    assert math.isnan(value)


def test_values_sort_across_types(root: firestore.CollectionReference) -> None:
    """Prevents an order that differs from the cloud's wherever a field holds mixed types."""
    ordered: list[tuple[str, object]] = [
        ("null", None),
        ("false", False),
        ("true", True),
        ("nan", math.nan),
        ("minus-inf", -math.inf),
        ("minus-one", -1),
        ("zero", 0.0),
        ("three", 3),
        ("three-and-half", 3.5),
        ("big-double", float(2**62)),
        ("big-int", 2**62 + 1),
        ("time", DAY),
        ("later", DAY + datetime.timedelta(microseconds=1)),
        ("empty", ""),
        ("A", "A"),
        ("a", "a"),
        ("e-acute", "é"),
        ("emoji", "😀"),
        ("bytes-empty", b""),
        ("bytes-0", b"\x00"),
        ("bytes-0-ff", b"\x00\xff"),
        ("ref-numeric", root.document("__id7__")),
        ("ref-a", root.document("a")),
        ("ref-a-below", root.document("a").collection("b").document("c")),
        ("south", firestore.GeoPoint(-1, 5)),
        ("north", firestore.GeoPoint(1, 2)),
        ("list-empty", []),
        ("list-1", [1]),
        ("list-1-2", [1, 2]),
        ("list-2", [2]),
        ("vector-short", Vector([9.0])),
        ("vector-long", Vector([1.0, 2.0])),
        ("map-empty", {}),
        ("map-a1", {"a": 1}),
        ("map-a1-b1", {"a": 1, "b": 1}),
        ("map-a2", {"a": 2}),
        ("map-b0", {"b": 0}),
    ]
    names = [name for name, _ in ordered]
    for name, value in reversed(ordered):
        root.document(name).set({"v": value})
    root.document("absent").set({"w": 1})
    assert list_ids(root.order_by("v")) == names
    assert list_ids(root.order_by("v", direction=firestore.Query.DESCENDING)) == names[::-1]


def test_document_ids_sort_as_names(root: firestore.CollectionReference) -> None:
    """Prevents pages in an order that no cursor fits."""
    ids = ["__id-5__", "__id10__", "A", "Z", "a", "a!", "aa", "é"]
    for document_id in reversed(ids):
        root.document(document_id).set({})
    assert list_ids(root) == ids


def test_integer_equals_double(root: firestore.CollectionReference) -> None:
    """Prevents a filter on 3 from missing 3.0."""
    root.document("i").set({"v": 3})
    root.document("d").set({"v": 3.0})
    root.document("s").set({"v": "3"})
    assert list_ids(root.where(filter=FieldFilter("v", "==", 3.0))) == ["d", "i"]
    assert list_ids(root.where(filter=FieldFilter("v", "in", [3]))) == ["d", "i"]


@pytest.mark.parametrize(
    "fields",
    [{"__x__": 1}, {"x" * 1501: 1}, {"x": [[1]]}, {"x": firestore.GeoPoint(91, 0)}, {"x": "y" * 1_048_600}],
    ids=["reserved", "long-name", "nested-array", "latitude", "too-big"],
)
def test_what_may_not_be_stored(root: firestore.CollectionReference, fields: dict[str, object]) -> None:
    """Prevents code that works on a laptop and is refused in the cloud."""
    with pytest.raises(exceptions.InvalidArgument):
        root.document("bad").set(fields)
    assert not root.document("bad").get().exists


def test_bad_ids_are_refused(client: firestore.Client, root: firestore.CollectionReference) -> None:
    """Prevents documents under names that the cloud would refuse."""
    for document_id in [".", "..", "__x__", "x" * 1501]:
        with pytest.raises(exceptions.InvalidArgument):
            root.document(document_id).set({})
    with pytest.raises(exceptions.InvalidArgument):
        client.document("__reserved__/a").set({})
    with pytest.raises(exceptions.InvalidArgument):
        client.document("a//b/c").get()


def test_databases_and_projects_are_apart(root: firestore.CollectionReference, request: pytest.FixtureRequest) -> None:
    """Prevents one project's or database's data from showing in another."""
    running = request.getfixturevalue("server")
    elsewhere = [running.client(database="second"), running.client(project="argo-other")]
    root.document("a").set({"v": 0})
    for number, other in enumerate(elsewhere, start=1):
        document = other.collection(root.id).document("a")
        assert not document.get().exists
        document.set({"v": number})
        assert document.get().get("v") == number
        other.close()
    assert root.document("a").get().get("v") == 0
