"""The filter language: what each expression lets through, and what is not an expression.

A filter that lets too much through gives an agent another agent's work; one that parses a typo starves it.
"""

import pytest

from emulators.pubsub.filters import MAX_FILTER_BYTES, FilterError, parse_filter


@pytest.mark.parametrize(
    ("text", "matching", "others"),
    [
        ('attributes.k = "v"', [{"k": "v"}], [{}, {"k": "V"}, {"k": "vv"}, {"K": "v"}]),
        ('attributes.k="v"', [{"k": "v"}], [{}]),
        ('attributes.k != "v"', [{}, {"k": "w"}], [{"k": "v"}]),
        ("attributes:k", [{"k": ""}, {"k": "v"}], [{}, {"kk": "v"}]),
        ('hasPrefix(attributes.k, "ab")', [{"k": "ab"}, {"k": "abc"}], [{}, {"k": "a"}, {"k": "cab"}]),
        ("NOT attributes:k", [{}], [{"k": "v"}]),
        ("-attributes:k", [{}], [{"k": "v"}]),
        ("NOT NOT attributes:k", [{"k": "v"}], [{}]),
        ("- NOT attributes:k", [{"k": "v"}], [{}]),
        ('NOT hasPrefix(attributes.k, "a")', [{}, {"k": "b"}], [{"k": "a"}]),
        ("attributes:a AND attributes:b", [{"a": "", "b": ""}], [{"a": ""}, {"b": ""}, {}]),
        ("attributes:a OR attributes:b", [{"a": ""}, {"b": ""}], [{}]),
        ("attributes:a OR attributes:b OR attributes:c", [{"a": ""}, {"c": ""}], [{}]),
        ("attributes:a AND attributes:b AND attributes:c", [{"a": "", "b": "", "c": ""}], [{"a": "", "b": ""}]),
        # NOT binds tighter than AND.
        ("NOT attributes:a AND attributes:b", [{"b": ""}], [{"a": "", "b": ""}, {}]),
        ("NOT (attributes:a AND attributes:b)", [{}, {"a": ""}], [{"a": "", "b": ""}]),
        ("attributes:a AND (attributes:b OR attributes:c)", [{"a": "", "c": ""}], [{"a": ""}, {"b": "", "c": ""}]),
        ("(attributes:a AND attributes:b) OR attributes:c", [{"c": ""}, {"a": "", "b": ""}], [{"a": ""}]),
        ("((attributes:a))", [{"a": ""}], [{}]),
        ("attributes:iana.org/language_tag", [{"iana.org/language_tag": "en"}], [{}]),
        ('attributes.iana.org/language_tag = "en"', [{"iana.org/language_tag": "en"}], [{}]),
        ('attributes.ce-type = "x"', [{"ce-type": "x"}], [{}]),
        ('attributes."a key" = "x"', [{"a key": "x"}], [{}]),
        ('attributes:"a key"', [{"a key": "x"}], [{}]),
        ('attributes.k = "AND"', [{"k": "AND"}], [{}]),
        ('attributes.k = "a\\"b\\\\c\\n"', [{"k": 'a"b\\c\n'}], [{"k": "a"}]),
        ('attributes.k = "\\x41\\u00e9\\103"', [{"k": "AéC"}], [{}]),
        ('attributes.k = "é)"', [{"k": "é)"}], [{}]),
        ("  attributes:k\n", [{"k": ""}], [{}]),
    ],
)
def test_lets_through_exactly_what_the_expression_says(
    text: str, matching: list[dict[str, str]], others: list[dict[str, str]]
) -> None:
    accepts = parse_filter(text)
    assert [accepts(attributes) for attributes in matching] == [True] * len(matching)
    assert [accepts(attributes) for attributes in others] == [False] * len(others)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "attributes",
        "attributes.k",
        "attributes.k = v",
        "attributes.k = 'v'",
        'attributes.k == "v"',
        'attributes.k > "v"',
        'attributes.k : "v"',
        'attributes.k = "v',
        'attributes.k = "\\q"',
        'attributes.k = "\\UFFFFFFFF"',
        'data = "x"',
        '"x"',
        "attributes:",
        "attributes:AND",
        "attributes:a AND",
        "AND attributes:a",
        "attributes:a attributes:b",
        "attributes:a and attributes:b",
        "NOT",
        "NOTattributes:a",
        "()",
        "(attributes:a",
        "attributes:a)",
        'hasPrefix(attributes.k "p")',
        "hasPrefix(attributes.k)",
        'hasPrefix(attributes:k, "p")',
        'hasprefix(attributes.k, "p")',
        "attributes:a AND attributes:b OR attributes:c",
        "attributes:a; attributes:b",
        f'attributes.k = "{"x" * MAX_FILTER_BYTES}"',
    ],
)
def test_refuses_what_is_not_an_expression(text: str) -> None:
    with pytest.raises(FilterError):
        parse_filter(text)


def test_the_longest_allowed_filter_parses() -> None:
    text = 'attributes.k = "' + "x" * (MAX_FILTER_BYTES - 17) + '"'
    assert len(text) == MAX_FILTER_BYTES
    assert parse_filter(text)({"k": "x" * (MAX_FILTER_BYTES - 17)})


def test_a_refusal_names_the_offending_part() -> None:
    with pytest.raises(FilterError, match="'v'"):
        parse_filter("attributes.k = v")
