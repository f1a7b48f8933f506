import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.cli.arguments import arguments


def one(text, schema, root=None):
    whole = {"properties": {"x": schema}, **(root or {})}
    return arguments([f"x={text}"], whole, {})["x"]


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("2", {"type": "integer"}, 2),
        ("2.0", {"type": "integer"}, 2),
        ("-7", {"type": "number"}, -7),
        ("2.5", {"type": "number"}, 2.5),
        ("1e3", {"type": "number"}, 1000),
        ("9007199254740993", {"type": "integer"}, 9007199254740993),
        ("yes", {"type": "boolean"}, True),
        ("OFF", {"type": "boolean"}, False),
        ("1", {"type": "boolean"}, True),
        ("2", {"type": "string"}, "2"),
        ("true", {"type": "string"}, "true"),
        ("", {"type": "string"}, ""),
        ("a=b", {"type": "string"}, "a=b"),
        ("null", {"type": "null"}, None),
        ("null", {"type": ["string", "null"]}, None),
        ("5", {"type": ["string", "integer"]}, 5),
        ("five", {"type": ["string", "integer"]}, "five"),
        ("1", {"type": ["string", "boolean"]}, True),
        ("maybe", {"type": ["string", "boolean"]}, "maybe"),
        ("True", {"type": ["string", "boolean"]}, "True"),
        ("[1, 2]", {"type": "array"}, [1, 2]),
        ("7", {"type": "array", "items": {"type": "integer"}}, [7]),
        ('{"a": 1}', {"type": "object"}, {"a": 1}),
        ("b", {"enum": ["a", "b"]}, "b"),
        ("2", {"enum": [1, 2]}, 2),
        ("2", {"const": 2}, 2),
        ("2", {"enum": [1, "x"]}, 2),
        ("1.5", {"enum": [1.5]}, 1.5),
        ("true", {"enum": [True]}, True),
        ("null", {"enum": [None]}, None),
        ('{"a": 1}', {"enum": [{"a": 1}]}, {"a": 1}),
        ("5", {"anyOf": [{"type": "string"}, {"type": "integer"}]}, 5),
        ("x", {"anyOf": [{"type": "integer"}, {"type": "null"}, {"type": "string"}]}, "x"),
        ("5", {"oneOf": [{"type": "integer"}]}, 5),
        ("2", {}, 2),
        ("two", {}, "two"),
        ("NaN", {}, "NaN"),
        ("[" * 5000, {}, "[" * 5000),
        ("2", {"type": 5}, 2),
    ],
)
def test_a_text_becomes_what_the_schema_asks_for(text, schema, value):
    made = one(text, schema)
    assert (made, type(made)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "schema", "words"),
    [
        ("two", {"type": "integer"}, "expected an integer, got 'two'"),
        ("2.5", {"type": "integer"}, "expected an integer"),
        ("nan", {"type": "number"}, "expected a number"),
        ("inf", {"type": "number"}, "expected a number"),
        ("maybe", {"type": "boolean"}, "expected a boolean"),
        ("x", {"type": "null"}, "expected a null"),
        ("x", {"type": "object"}, "expected an object as JSON"),
        ("{", {"type": "object"}, "expected an object as JSON: "),
        ("[NaN]", {"type": "array"}, "NaN is no JSON"),
        ("", {"type": "array", "items": {}}, "expected an array as JSON"),
        ("x", {"type": ["integer", "null"]}, "expected integer or null, got 'x'"),
        ("x" * 100, {"type": "integer"}, "x" * 40 + "'"),
    ],
)
def test_a_text_that_does_not_fit_is_wrong_usage_and_says_what_was_expected(text, schema, words):
    with pytest.raises(click.UsageError) as refused:
        one(text, schema)
    assert str(refused.value).startswith("--arg x: ")
    assert words in str(refused.value)


def test_one_name_given_twice_is_a_list():
    schema = {"properties": {"x": {"type": "array", "items": {"type": "integer"}}}}
    assert arguments(["x=1", "x=2"], schema, {}) == {"x": [1, 2]}
    schema = {"properties": {"x": {"type": "string"}}}
    with pytest.raises(click.UsageError, match="given twice"):
        arguments(["x=1", "x=2"], schema, {})


def test_arguments_come_over_what_was_given_as_json():
    assert arguments(["a=1"], {}, {"a": 0, "b": 2}) == {"a": 1, "b": 2}


def test_a_schema_may_refer_to_its_definitions():
    root = {"$defs": {"n/m": {"type": "integer"}}}
    assert one("2", {"$ref": "#/$defs/n~1m"}, root) == 2
    assert one("2", {"anyOf": [{"$ref": "#/$defs/n~1m"}, {"type": "string"}]}, root) == 2


@pytest.mark.parametrize("reference", ["#/properties/x", "#/nowhere", "http://x/", 5])
def test_a_schema_that_refers_to_itself_or_nothing_says_nothing(reference):
    assert one("2", {"$ref": reference}) == 2


@pytest.mark.parametrize("word", ["a", "=1", ""])
def test_a_word_without_a_name_is_wrong_usage(word):
    with pytest.raises(click.UsageError, match="expected NAME=VALUE"):
        arguments([word], {}, {})


@pytest.mark.parametrize("schema", [{"properties": 5}, {"properties": {"x": 5}}])
def test_an_odd_schema_says_nothing(schema):
    assert arguments(["x=2"], schema, {}) == {"x": 2}


@given(st.text(), st.dictionaries(st.text(), st.integers() | st.text()))
def test_a_string_stays_what_it_is(text, base):
    made = arguments([f"x={text}"], {"properties": {"x": {"type": "string"}}}, base)
    assert made == {**base, "x": text}
