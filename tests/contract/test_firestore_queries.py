"""Contract: filters, implicit orders, cursors, projections, collection groups, aggregations, lists."""

import math

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.aggregation import AggregationQuery
from google.cloud.firestore_v1.base_aggregation import AggregationResult
from google.cloud.firestore_v1.base_query import And, FieldFilter, Or
from google.cloud.firestore_v1.types import document as document_messages
from google.cloud.firestore_v1.types import query as query_messages

from tests.contract.firestore_servers import FirestoreServer, client, list_ids, read_fields, root, run_raw, server

__all__ = ["client", "root", "server"]  # fixtures

Filter = FieldFilter | And | Or
DOCUMENTS: dict[str, dict[str, object]] = {
    "a": {"x": 1, "y": 1, "z": 1, "tags": ["p", "q"], "m": {"k.k": 1}},
    "b": {"x": 1, "y": 2, "tags": ["q"]},
    "c": {"x": 2, "y": 1, "z": 1, "tags": [], "m": {"k.k": 2}},
    "d": {"x": 2, "y": 2, "z": 3, "tags": "q"},
    "e": {"x": 3, "y": 1, "z": None, "tags": [None, math.nan, 1]},
    "f": {"y": 1, "z": math.nan},
    "g": {"x": "3", "y": 3, "z": "s"},
}
MATCHES: dict[str, tuple[Filter, list[str]]] = {
    "equal": (FieldFilter("x", "==", 1), ["a", "b"]),
    "nested": (FieldFilter("m.`k.k`", "==", 2), ["c"]),
    "less stays in its type": (FieldFilter("x", "<", 3), ["a", "b", "c", "d"]),
    "at most": (FieldFilter("x", "<=", 2), ["a", "b", "c", "d"]),
    "greater stays in its type": (FieldFilter("x", ">", 1), ["c", "d", "e"]),
    "at least": (FieldFilter("x", ">=", 3), ["e"]),
    "text range": (FieldFilter("x", ">=", ""), ["g"]),
    "range without NaN": (FieldFilter("z", "<", 2), ["a", "c"]),
    "unequal needs the field and no null": (FieldFilter("z", "!=", 1), ["f", "d", "g"]),
    "unequal orders by its field": (FieldFilter("x", "!=", 1), ["c", "d", "e", "g"]),
    "in": (FieldFilter("x", "in", [2, "3", 9]), ["c", "d", "g"]),
    "in without null": (FieldFilter("z", "in", [1, None]), ["a", "c"]),
    "not in": (FieldFilter("x", "not-in", [1, 3]), ["c", "d", "g"]),
    "not in null": (FieldFilter("x", "not-in", [1, None]), []),
    "array contains": (FieldFilter("tags", "array_contains", "q"), ["a", "b"]),
    "array contains any": (FieldFilter("tags", "array_contains_any", ["p", 1, None]), ["a", "e"]),
    "null": (FieldFilter("z", "==", None), ["e"]),
    "not null": (FieldFilter("z", "!=", None), ["f", "a", "c", "d", "g"]),
    "NaN": (FieldFilter("z", "==", math.nan), ["f"]),
    "not NaN": (FieldFilter("z", "!=", math.nan), ["a", "c", "d", "g"]),
    "and": (And([FieldFilter("x", "==", 2), FieldFilter("y", "==", 1)]), ["c"]),
    "or": (Or([FieldFilter("x", "==", 1), FieldFilter("y", "==", 3)]), ["a", "b", "g"]),
    "or of ranges needs every ordered field": (
        Or([FieldFilter("x", ">", 2), FieldFilter("y", ">", 1)]),
        ["b", "d", "e", "g"],
    ),
    "and of or": (
        And([Or([FieldFilter("x", "==", 1), FieldFilter("x", "==", 3)]), FieldFilter("y", "==", 1)]),
        ["a", "e"],
    ),
    "two ranges": (And([FieldFilter("y", ">", 1), FieldFilter("x", ">", 0)]), ["b", "d"]),
}


@pytest.fixture
def filled(client: firestore.Client, root: firestore.CollectionReference) -> firestore.CollectionReference:
    """The documents that most tests here query."""
    batch = client.batch()
    for name, fields in DOCUMENTS.items():
        batch.set(root.document(name), fields)
    batch.commit()
    return root


@pytest.mark.parametrize("name", MATCHES)
def test_filter(filled: firestore.CollectionReference, name: str) -> None:
    """Prevents a query from finding other documents, or another order, than in the cloud."""
    condition, expected = MATCHES[name]
    assert list_ids(filled.where(filter=condition)) == expected


def test_filter_on_the_name(filled: firestore.CollectionReference) -> None:
    """Prevents __name__ from being taken for a field."""
    assert list_ids(filled.where(filter=FieldFilter("__name__", ">=", filled.document("f")))) == ["f", "g"]
    chosen = [filled.document("g"), filled.document("a")]
    assert list_ids(filled.where(filter=FieldFilter("__name__", "in", chosen))) == ["a", "g"]


def test_orders(filled: firestore.CollectionReference) -> None:
    """Prevents ties from falling differently than by the implicit name, in the last direction."""
    down = firestore.Query.DESCENDING
    assert list_ids(filled.order_by("y")) == ["a", "c", "e", "f", "b", "d", "g"]
    assert list_ids(filled.order_by("y", direction=down)) == ["g", "d", "b", "f", "e", "c", "a"]
    assert list_ids(filled.order_by("x").order_by("y", direction=down)) == ["b", "a", "d", "c", "e", "g"]
    ranged = filled.where(filter=FieldFilter("x", ">", 1))
    assert list_ids(ranged.order_by("y", direction=down)) == ["d", "e", "c"]


def test_windows(filled: firestore.CollectionReference) -> None:
    """Prevents pages from overlapping or losing documents."""
    by_name = filled.order_by("__name__")
    assert list_ids(by_name.limit(2)) == ["a", "b"]
    assert list_ids(by_name.offset(5)) == ["f", "g"]
    assert list_ids(by_name.offset(2).limit(2)) == ["c", "d"]
    assert [s.id for s in filled.order_by("y").limit_to_last(3).get()] == ["b", "d", "g"]


def test_names_descending(server: FirestoreServer, filled: firestore.CollectionReference) -> None:
    """Prevents "the last ones" by name from being the wrong ones."""
    backwards = filled.order_by("__name__", direction=firestore.Query.DESCENDING).limit(2)
    if server.name == "google":
        # DIFFERENCE, see the README: the cloud serves this once its index exists; Google's emulator never does.
        with pytest.raises(exceptions.FailedPrecondition, match="descending key scans"):
            list_ids(backwards)
        return
    assert list_ids(backwards) == ["g", "f"]
    assert [s.id for s in filled.order_by("__name__").limit_to_last(2).get()] == ["f", "g"]


CURSORS: dict[str, tuple[str, list[str], list[str], list[str]]] = {
    # name: by value in x, the same descending, by the snapshot of "c" in x
    "start_at": ("start_at", ["c", "d", "e", "g"], ["d", "c", "b", "a"], ["c", "d", "e", "g"]),
    "start_after": ("start_after", ["e", "g"], ["b", "a"], ["d", "e", "g"]),
    "end_at": ("end_at", ["a", "b", "c", "d"], ["g", "e", "d", "c"], ["a", "b", "c"]),
    "end_before": ("end_before", ["a", "b"], ["g", "e"], ["a", "b"]),
}


@pytest.mark.parametrize("method", CURSORS)
def test_cursor(filled: firestore.CollectionReference, method: str) -> None:
    """Prevents a cursor from including what it must leave out, or the other way round."""
    name, by_value, descending, by_snapshot = CURSORS[method]
    up = filled.order_by("x")
    down = filled.order_by("x", direction=firestore.Query.DESCENDING)
    assert list_ids(getattr(up, name)({"x": 2})) == by_value
    assert list_ids(getattr(down, name)({"x": 2})) == descending
    assert list_ids(getattr(up, name)(filled.document("c").get())) == by_snapshot
    unordered = getattr(filled.where(filter=FieldFilter("y", "<", 9)), name)(filled.document("c").get())
    full = ["a", "c", "e", "f", "b", "d", "g"]
    position = full.index("c")
    expected = {
        "start_at": full[position:],
        "start_after": full[position + 1 :],
        "end_at": full[: position + 1],
        "end_before": full[:position],
    }
    assert list_ids(unordered) == expected[name]


def test_select(filled: firestore.CollectionReference) -> None:
    """Prevents a projection from sending the fields it left out."""
    snapshots = list(filled.order_by("__name__").select(["y", "m.`k.k`"]).limit(2).stream())
    assert [read_fields(snapshot) for snapshot in snapshots] == [{"y": 1, "m": {"k.k": 1}}, {"y": 2}]
    assert [read_fields(s) for s in filled.select(["__name__"]).limit(1).stream()] == [{}]


def test_collection_group(client: firestore.Client, root: firestore.CollectionReference) -> None:
    """Prevents a group query from missing depths or taking in other collections."""
    group = f"{root.id}_group"
    below = root.document("a").collection(group)
    paths = [
        below.document("1"),
        root.document("b").collection(group).document("2"),
        client.collection(group).document("3"),
    ]
    for number, document in enumerate(paths):
        document.set({"n": number})
    below.document("1").collection("other").document("4").set({"n": 9})
    found = [snapshot.reference.path for snapshot in client.collection_group(group).order_by("n").stream()]
    assert found == [document.path for document in paths]
    start = FieldFilter("__name__", ">", below.document("1"))
    after = [s.reference.path for s in client.collection_group(group).where(filter=start).stream()]
    assert after == [paths[1].path, paths[2].path]
    assert list_ids(below) == ["1"]


def test_lists(client: firestore.Client, root: firestore.CollectionReference) -> None:
    """Prevents documents that only have collections below them from being forgotten when listing."""
    root.document("real").set({})
    root.document("missing").collection("sub").document("x").set({})
    root.document("real").collection("one").document("x").set({})
    root.document("real").collection("two").document("x").set({})
    assert [document.id for document in root.list_documents(page_size=1)] == ["missing", "real"]
    assert list_ids(root) == ["real"]
    assert [collection.id for collection in root.document("real").collections()] == ["one", "two"]
    assert root.id in [collection.id for collection in client.collections()]
    root.document("real").collection("two").document("x").delete()
    assert [collection.id for collection in root.document("real").collections()] == ["one"]


def aggregate(query: object) -> dict[str, object]:
    """Returns an aggregation's values by alias."""
    assert isinstance(query, AggregationQuery)  # the client annotates its builders with less than they return
    rows: list[list[AggregationResult]] = list(query.get())  # pyright: ignore[reportAssignmentType] - a list of rows, annotated as one of results
    return {str(result.alias): result.value for row in rows for result in row}


def test_aggregations(filled: firestore.CollectionReference) -> None:
    """Prevents totals that differ from the cloud's: text is no number, and a sum leaves out who lacks the field."""
    assert aggregate(filled.count(alias="n")) == {"n": 7}
    assert aggregate(filled.sum("x", alias="s")) == {"s": 9}
    assert aggregate(filled.avg("x", alias="v")) == {"v": 1.8}
    both = filled.where(filter=FieldFilter("x", "<=", 2)).count(alias="n").sum("y", alias="s").avg("z", alias="v")
    assert aggregate(both) == {"n": 3, "s": 4, "v": 5 / 3}
    assert aggregate(filled.limit(2).count(alias="n")) == {"n": 2}
    assert aggregate(filled.order_by("x").count(alias="n")) == {"n": 6}
    assert aggregate(filled.sum("nothing", alias="s")) == {"s": 0}
    assert aggregate(filled.avg("nothing", alias="v")) == {"v": 0.0}, "what the client makes of null"


def test_sum_leaves_integers_when_it_must(root: firestore.CollectionReference) -> None:
    """Prevents a big sum from wrapping round."""
    root.document("a").set({"v": 2**63 - 1})
    root.document("b").set({"v": 5})
    assert aggregate(root.sum("v", alias="s")) == {"s": float(2**63)}


def test_count_up_to(client: firestore.Client, filled: firestore.CollectionReference) -> None:
    """Prevents a bounded count from counting on."""
    count = query_messages.StructuredAggregationQuery.Aggregation.Count(up_to={"value": 3})
    counted = query_messages.StructuredAggregationQuery.Aggregation(count=count, alias="n")
    counting = query_messages.StructuredAggregationQuery(structured_query=_select(filled), aggregations=[counted])
    parent = f"projects/{client.project}/databases/(default)/documents"
    api = client._firestore_api  # pyright: ignore[reportPrivateUsage] - see above
    responses = api.run_aggregation_query(request={"parent": parent, "structured_aggregation_query": counting})
    assert [response.result.aggregate_fields["n"].integer_value for response in responses] == [3]


def _select(root: firestore.CollectionReference) -> query_messages.StructuredQuery:
    selector = query_messages.StructuredQuery.CollectionSelector(collection_id=root.id)
    return query_messages.StructuredQuery(from_=[selector])


def _where(
    root: firestore.CollectionReference, op: int, value: document_messages.Value
) -> query_messages.StructuredQuery:
    query = _select(root)
    field = query_messages.StructuredQuery.FieldReference(field_path="z")
    query.where = query_messages.StructuredQuery.Filter(
        field_filter=query_messages.StructuredQuery.FieldFilter(field=field, op=op, value=value)
    )
    return query


def test_null_and_nan_equal_nothing(client: firestore.Client, filled: firestore.CollectionReference) -> None:
    """Prevents other clients' plain comparisons with null or NaN from matching here and not in the cloud."""
    null = document_messages.Value(null_value=0)
    nan = document_messages.Value(double_value=math.nan)
    equal, unequal, contains = 5, 6, 7
    for op in [equal, unequal, contains]:
        assert run_raw(client, _where(filled, op, null)) == []
    assert run_raw(client, _where(filled, equal, nan)) == []
    assert run_raw(client, _where(filled, unequal, nan)) == ["f", "a", "c", "d", "g"]


def test_refused_queries(client: firestore.Client, filled: firestore.CollectionReference) -> None:
    """Prevents queries that the cloud refuses from passing on a laptop."""
    one = document_messages.Value(integer_value=1)
    too_many = query_messages.Cursor(values=[one, one])
    refused = [
        filled.where(filter=FieldFilter("x", "in", [])),
        filled.where(filter=FieldFilter("x", "in", list(range(31)))),
        filled.where(filter=FieldFilter("x", "not-in", list(range(11)))),
        filled.limit(-1),
    ]
    for query in refused:
        with pytest.raises(exceptions.InvalidArgument):
            list_ids(query)
    cursored = _select(filled)
    cursored.start_at = too_many
    with pytest.raises(exceptions.InvalidArgument):
        run_raw(client, cursored)
    with pytest.raises(exceptions.InvalidArgument):
        run_raw(client, _where(filled, 0, one))
