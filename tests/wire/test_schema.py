"""Schemas of servers, arguments of clients: neither takes the hub's time (A32, A33)."""

import random
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.wire.schema import (
    BYTES_MAX,
    TEXTS_MAX,
    TIERS,
    UNEXPLAINED,
    WORK_MAX,
    compile_schema,
    inspect,
)

NAMED = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
SLOW_S = 2.0
"""Far above the 50 ms that are promised, on any machine; far below what the attacks would take."""


def patterned(*patterns):
    return {"properties": {f"p{n}": {"pattern": p} for n, p in enumerate(patterns)}}


def noise(size):
    return "".join(random.Random(7).choices("ab", k=size))


def tree(levels, leaf):
    for _ in range(levels):
        leaf = {"c": leaf}
    return leaf


# ---------------------------------------------------------------- arguments


def test_arguments_that_fit_are_no_problem():
    assert compile_schema(NAMED).check({"name": "x", "more": 1}) is None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, '"name" is a required property'),
        ({"name": 7}, 'name: the value is not of type "string"'),
        ([], 'the value is not of type "object"'),
        (None, 'the value is not of type "object"'),
    ],
)
def test_a_problem_says_where_and_what(arguments, problem):
    assert compile_schema(NAMED).check(arguments) == problem


def test_a_place_inside_is_named_by_its_way():
    schema = {"properties": {"a": {"items": {"type": "integer"}}}}
    assert compile_schema(schema).check({"a": [1, "x"]}).startswith("a.1: ")


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"secret": {"type": "integer"}}},
        {"properties": {"secret": {"enum": ["a"]}}},
        {"properties": {"secret": {"pattern": "^a$"}}},
        {"properties": {"secret": {"maxLength": 3}}},
        {"properties": {"secret": {"anyOf": [{"type": "integer"}, {"const": 3}]}}},
        {"properties": {"secret": False}},
        {"not": {"properties": {"secret": True}}},
    ],
)
def test_a_problem_does_not_repeat_the_value(schema):
    """A48."""
    problem = compile_schema(schema).check({"secret": "hunter2hunter2"})
    assert problem is not None
    assert "hunter2" not in problem


def test_a_problem_is_short():
    schema = {"properties": {"a" * 1_000: {"pattern": "^" + "b" * 900 + "$"}}}
    assert len(compile_schema(schema).check({"a" * 1_000: "x"})) < 450


def test_formats_are_notes():
    schema = {"properties": {"at": {"type": "string", "format": "date-time"}}}
    assert compile_schema(schema).check({"at": "tomorrow"}) is None


def test_the_dialect_is_2020_12_unless_it_says_otherwise():
    pair = {"prefixItems": [{"type": "integer"}]}
    assert compile_schema(pair).check(["x"])
    old = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}]}
    assert compile_schema(old).check(["x"])
    assert compile_schema(old).check([1]) is None
    assert compile_schema(old | {"prefixItems": [False]}).check([1]) is None


def test_a_tree_is_checked_to_its_leaves():
    validator = compile_schema({"type": "object", "properties": {"c": {"$ref": "#"}}})
    assert validator.check(tree(60, {})) is None
    assert validator.check(tree(60, 7)) == UNEXPLAINED


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"properties": 7},
        {"pattern": "("},
        {"pattern": 7},
        {"pattern": "a", "allOf": 7},
        {"patternProperties": {"(": {}}},
        {"required": "name"},
        {"$ref": "http://127.0.0.1/x"},
        {"$ref": "#"},
        {"$schema": "http://127.0.0.1/x"},
        {"description": "x" * BYTES_MAX},
    ],
)
def test_what_is_no_schema_is_refused_with_one_line(schema):
    for refuse in (inspect, compile_schema):
        with pytest.raises(ValueError, match=r"^inputSchema: .{5,310}\Z"):
            refuse(schema)


def test_a_good_schema_is_left_as_it_is():
    schema = patterned("^a$") | {"allOf": [{"minProperties": 1}]}
    before = msgspec.json.encode(schema)
    inspect(schema)
    assert msgspec.json.encode(schema) == before


# ---------------------------------------------------------------- patterns


def test_a_pattern_is_held_against_strings_only():
    validator = compile_schema(
        {"properties": {"p": {"pattern": "^a+$", "allOf": [{"minLength": 2}]}}}
    )
    assert validator.check({"p": "aa"}) is None
    assert validator.check({"p": 7}) is None
    assert validator.check({"p": None}) is None
    assert validator.check({"p": "ab"}) == 'p: the value does not match "^a+$"'
    assert validator.check({"p": "a"}) == "p: the value is shorter than 2 characters"


def test_names_are_held_against_patterns_too():
    schema = {"patternProperties": {"^n": {"type": "integer"}}, "additionalProperties": False}
    validator = compile_schema(schema)
    assert validator.check({"n1": 1}) is None
    assert validator.check({"n1": "x"})
    assert validator.check({"m1": 1})


@given(st.from_regex(r"[ab]{0,12}", fullmatch=True))
def test_guarding_a_pattern_does_not_change_its_meaning(text):
    validator = compile_schema({"properties": {"p": {"pattern": "^(ab)*$"}}})
    assert (validator.check({"p": text}) is None) == (text == "ab" * (len(text) // 2))


@pytest.mark.parametrize(
    ("pattern", "tier"),
    [
        ("^[a-z]+$", 0),
        ("^[a-zA-Z0-9_-]{1,128}$", 1),
        ("[ab]{3000}", 2),
        ("[ab]{12000}", 3),
        (r"^(?!.*\.\.)[a-z.]+$", 4),
        (r"^(.)\1$", 4),
    ],
)
def test_the_larger_a_pattern_the_shorter_the_text_it_meets(pattern, tier):
    assert compile_schema(patterned(pattern)).text_max == TIERS[tier].text_max


def test_many_patterns_share_the_time():
    assert compile_schema(patterned("a", "b", "c")).text_max == TIERS[0].text_max // 3


def test_too_many_patterns_are_refused():
    most = TIERS[0].patterns_max
    inspect(patterned(*["a"] * most))
    with pytest.raises(ValueError, match="too many patterns"):
        inspect(patterned(*["a"] * (most + 1)))


def test_a_text_of_exactly_the_length_is_tried_and_a_longer_one_does_not_fit():
    validator = compile_schema(patterned("^a*$"))
    most = validator.text_max
    assert validator.check({"p0": "a" * most}) is None
    problem = f"p0: longer than the {most} characters checked"
    assert validator.check({"p0": "a" * (most + 1)}) == problem


def test_a_text_without_a_pattern_may_be_long_beside_one_with():
    validator = compile_schema(patterned("^a*$"))
    assert validator.check({"p0": "a", "content": "x" * 4_000_000}) is None


def test_texts_that_are_short_but_many_are_too_much():
    validator = compile_schema({"items": {"items": {"pattern": "a"}}})
    text = "a" * (validator.text_max // 2)
    assert validator.check([[text] * 2 * TEXTS_MAX]) is None
    assert validator.check([[text] * (2 * TEXTS_MAX + 1)]) == "they are too large to be checked"


def test_names_that_are_too_long_are_too_much():
    validator = compile_schema({"patternProperties": {"(a+)+$": {"type": "integer"}}})
    assert validator.check({"a" * 1_000: 1}) is None
    assert validator.check({"a" * 1_000_000: 1}) == "they are too large to be checked"


ATTACKS = {
    "nested_repeats": ("(a+)+$", "a" * 60_000 + "b"),
    "alternatives": ("^(a|aa)+$", "a" * 60_000 + "b"),
    "blow_up": ("[ab]*a[ab]{50}c", noise(60_000)),
    "large": ("[ab]*a[ab]{3000}c", noise(2_000)),
    "look_ahead": ("(?=.*b)c", "a" * 2_000),
    "back_reference": (r"^(a|aa)+\1$", noise(2_000)),
    "look_and_repeat": ("(?:(?=.*b)c|a)+$", noise(2_000) + "b"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_pattern_takes_long(attack):
    pattern, text = ATTACKS[attack]
    began = time.perf_counter()
    validator = compile_schema(patterned(pattern))
    assert len(text) <= validator.text_max
    assert validator.check({"p0": text}) is not None
    assert time.perf_counter() - began < SLOW_S


# ---------------------------------------------------------------- work that multiplies


def test_a_problem_in_a_tree_that_branches_is_not_explained():
    """Explaining it would take 2^60 steps, and the memory of the machine on the way."""
    either = [
        {"properties": {"c": {"$ref": "#"}}},
        {"title": "b", "properties": {"c": {"$ref": "#"}}},
    ]
    validator = compile_schema({"type": "object", "anyOf": either})
    began = time.perf_counter()
    assert validator.check(tree(60, 7)) == UNEXPLAINED
    assert validator.check(tree(60, {})) is None
    assert time.perf_counter() - began < SLOW_S


def test_a_problem_in_large_arguments_is_not_explained():
    validator = compile_schema({"items": {"type": "string"}})
    assert validator.check([7] * 400) == '0: the value is not of type "string"'
    assert validator.check([7] * 400_000) == UNEXPLAINED


def test_a_schema_of_many_ways_is_for_small_arguments():
    validator = compile_schema({"items": {"enum": list(range(5_000))}})
    assert validator.check([1] * 900) is None
    assert validator.check([1] * (WORK_MAX // 5_000)) == "they are too large to be checked"


def test_values_are_counted_wherever_they_are():
    validator = compile_schema({"additionalProperties": {"enum": list(range(5_000))}})
    assert validator.check({str(n): 1 for n in range(900)}) is None
    assert validator.check({str(n): 1 for n in range(1_000)}) == "they are too large to be checked"


def test_a_cheap_schema_is_for_arguments_of_any_size():
    assert compile_schema({"items": {"type": "integer"}}).check([1] * 500_000) is None


def test_a_schema_of_exactly_the_most_ways_that_are_cheap():
    at, above = ({"items": {"enum": list(range(n))}} for n in (14, 15))
    assert compile_schema(at).check([1] * 320_000) is None
    assert compile_schema(above).check([1] * 320_000) == "they are too large to be checked"
