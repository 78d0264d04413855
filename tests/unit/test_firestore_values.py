"""The pure parts of the Firestore server: the order of values, field paths, names, implicit order."""

import itertools
import math
import random

import pytest

from emulators.firestore.fields import delete_field, get_field, parse_field_path, project_document, set_field
from emulators.firestore.messages import Value, micros_of, new_document, new_value, timestamp_of
from emulators.firestore.names import parse_database, parse_document, parse_parent
from emulators.firestore.queries import Ordering, complete_order
from emulators.firestore.values import encode_name, encode_number, encode_value, invert_key
from emulators.statuses import StatusError

ROOT = "projects/p/databases/(default)/documents"


def array(*items: Value) -> Value:
    """Builds an array value."""
    return new_value(array_value={"values": items})


def integer(number: int) -> Value:
    """Builds an integer value."""
    return new_value(integer_value=number)


def text(content: str) -> Value:
    """Builds a text value."""
    return new_value(string_value=content)


def mapping(**fields: Value) -> Value:
    """Builds a map value."""
    return new_value(map_value={"fields": fields})


ASCENDING = [
    new_value(null_value=0),
    new_value(boolean_value=False),
    new_value(boolean_value=True),
    new_value(double_value=math.nan),
    new_value(double_value=-math.inf),
    integer(-(2**63)),
    integer(-1),
    new_value(double_value=-0.5),
    integer(0),
    new_value(double_value=5e-324),
    new_value(double_value=0.5),
    integer(2**53),
    integer(2**53 + 1),
    new_value(double_value=float(2**53 + 2)),
    integer(2**63 - 1),
    new_value(double_value=float(2**63)),
    new_value(double_value=math.inf),
    new_value(timestamp_value=timestamp_of(-1)),
    new_value(timestamp_value=timestamp_of(0)),
    new_value(timestamp_value=timestamp_of(1)),
    text(""),
    text("\x00"),
    text("\x00a"),
    text("a"),
    text("a\x00"),
    text("ab"),
    text("é"),
    text("\uffff"),
    text("😀"),
    new_value(bytes_value=b""),
    new_value(bytes_value=b"\x00"),
    new_value(bytes_value=b"\x00\x00"),
    new_value(bytes_value=b"\xff"),
    new_value(reference_value=f"{ROOT}/a/__id-1__"),
    new_value(reference_value=f"{ROOT}/a/__id2__"),
    new_value(reference_value=f"{ROOT}/a/0"),
    new_value(reference_value=f"{ROOT}/a/0/b/c"),
    new_value(reference_value=f"{ROOT}/a!/0"),
    new_value(geo_point_value={"latitude": -1, "longitude": 2}),
    new_value(geo_point_value={"latitude": 1, "longitude": -2}),
    new_value(geo_point_value={"latitude": 1, "longitude": 2}),
    array(),
    array(integer(1)),
    array(integer(1), integer(0)),
    array(integer(2)),
    array(text("a")),
    mapping(__type__=text("__vector__"), value=array(integer(9))),
    mapping(__type__=text("__vector__"), value=array(integer(1), integer(2))),
    mapping(),
    mapping(a=integer(1)),
    mapping(a=integer(1), b=integer(0)),
    mapping(a=integer(2)),
    mapping(b=integer(0)),
]


def test_keys_sort_as_firestore_sorts() -> None:
    """Prevents any pair of values from comparing the wrong way round, ascending or descending."""
    keys = [encode_value(value) for value in ASCENDING]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    inverted = [invert_key(key) for key in keys]
    assert inverted == sorted(inverted, reverse=True)


def test_no_key_is_a_prefix_of_another() -> None:
    """Prevents composite orders and cursors, which join keys, from mixing fields up."""
    keys = [encode_value(value) for value in ASCENDING]
    for left, right in itertools.permutations(keys, 2):
        assert not right.startswith(left)


def test_numbers_compare_exactly() -> None:
    """Prevents big integers from being rounded to the doubles beside them."""
    chance = random.Random(20261120)
    numbers: list[int | float] = [0, 0.5, -0.5, 2**53, float(2**53), -(2**63), float(-(2**63))]
    numbers += [chance.randint(-(2**63), 2**63 - 1) for _ in range(100)]
    numbers += [float(n) for n in numbers] + [chance.uniform(-10, 10) for _ in range(50)]
    for left, right in itertools.product(numbers, repeat=2):
        assert (encode_number(left) < encode_number(right)) == (left < right)
        assert (encode_number(left) == encode_number(right)) == (left == right)


def test_equal_values_of_different_form() -> None:
    """Prevents 3 and 3.0, or the two zeros, from being told apart."""
    assert encode_number(3) == encode_number(3.0)
    assert encode_number(0.0) == encode_number(-0.0) == encode_number(0)


def test_times_are_cut_to_microseconds() -> None:
    """Prevents a time from changing on its way through the store."""
    for micros in [0, 1, 999_999, 1_000_000, -1, 1_795_162_259_043_734]:
        assert micros_of(timestamp_of(micros)) == micros
    exact = timestamp_of(5)
    exact.nanos += 999
    assert micros_of(exact) == 5


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("a", ("a",)),
        ("a.b_1._c", ("a", "b_1", "_c")),
        ("`a.b`.c", ("a.b", "c")),
        ("`1`", ("1",)),
        (r"`a\`b\\c`.d", ("a`b\\c", "d")),
        ("`naïve ✓`", ("naïve ✓",)),
        ("__name__", ("__name__",)),
    ],
)
def test_field_path(path: str, segments: tuple[str, ...]) -> None:
    """Prevents a quoted or escaped name from being split or kept with its quotes."""
    assert parse_field_path(path) == segments


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "1a", "a-b", "`a", "a`", "``", "`a`b", "a b", "é"])
def test_bad_field_path(path: str) -> None:
    """Prevents a path that the cloud refuses from being taken."""
    with pytest.raises(StatusError, match="Invalid property path"):
        parse_field_path(path)


def test_fields_are_set_and_deleted_in_place() -> None:
    """Prevents a nested change from touching its neighbours."""
    document = new_document(name=f"{ROOT}/a/b", fields={"a": mapping(b=integer(1), c=integer(2)), "n": integer(3)})
    set_field(document.fields, ("a", "b"), integer(10))
    set_field(document.fields, ("x", "y", "z"), text("new"))
    set_field(document.fields, ("n", "below"), integer(4))
    delete_field(document.fields, ("a", "c"))
    delete_field(document.fields, ("a", "nothing", "here"))
    expected = {
        "a": mapping(b=integer(10)),
        "n": mapping(below=integer(4)),
        "x": mapping(y=mapping(z=text("new"))),
    }
    assert document == new_document(name=f"{ROOT}/a/b", fields=expected)
    assert get_field(document.fields, ("a", "b", "c")) is None
    assert project_document(document, [("x",), ("nothing",)]) == new_document(
        name=f"{ROOT}/a/b", fields={"x": expected["x"]}
    )


def test_names_split() -> None:
    """Prevents a document from landing in another collection."""
    name = parse_document(f"{ROOT}/a/b/c/__id7__")
    assert (name.database, name.collection, name.document_id) == ("projects/p/databases/(default)", "a/b/c", "__id7__")
    assert parse_parent(ROOT).join("c") == "c"
    assert parse_parent(f"{ROOT}/a/b").join("c") == "a/b/c"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ROOT,
        f"{ROOT}/",
        f"{ROOT}/a",
        f"{ROOT}/a/",
        f"{ROOT}/a//b/c",
        f"{ROOT}/a/.",
        f"{ROOT}/__a__/b",
        "a/b/c/d/e/f/g",
    ],
)
def test_bad_document_name(name: str) -> None:
    """Prevents a name that the cloud refuses from being taken."""
    with pytest.raises(StatusError):
        parse_document(name)


@pytest.mark.parametrize(
    "name", ["", "projects/p", "projects/p/databases/", "projects/p/databases/d/documents", "x/p/databases/d"]
)
def test_bad_database_name(name: str) -> None:
    """Prevents a request that names no database from making one."""
    with pytest.raises(StatusError):
        parse_database(name)


def test_name_order_is_by_segment() -> None:
    """Prevents a collection's range from taking in a neighbour whose name starts alike."""
    names = [
        f"{ROOT}/{path}" for path in ["a/__id5__", "a/b", "a/b/c/d", "a/bb", "a\x00/__id-9223372036854775808__", "a!/b"]
    ]
    assert sorted(names, key=encode_name) == names


def test_implicit_order() -> None:
    """Prevents the order of a query without a full order from differing between runs, or from the cloud's."""
    up, down = Ordering(("x",), is_descending=False), Ordering(("x",), is_descending=True)
    name = ("__name__",)
    assert complete_order([], []) == (Ordering(name, is_descending=False),)
    assert complete_order([down], []) == (down, Ordering(name, is_descending=True))
    assert complete_order([], [("y",), ("x",)]) == (
        up,
        Ordering(("y",), is_descending=False),
        Ordering(name, is_descending=False),
    )
    assert complete_order([down], [("x",), name])[-1] == Ordering(name, is_descending=True)
    assert complete_order([Ordering(name, is_descending=False), up], []) == (Ordering(name, is_descending=False),)
