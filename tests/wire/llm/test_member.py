"""One value changes, every other byte stays."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.wire.llm.member import places, with_values
from agenthub.wire.strict_json import BadJson


def test_values_are_found_where_they_stand():
    text = b'{ "a" : 1.50,\n"b\\"c":"x", "d" :[ {"a": 2} ] }'
    found = {name: text[place] for name, place in places(text).items()}
    assert found == {"a": b"1.50", 'b"c': b'"x"', "d": b'[ {"a": 2} ]'}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"{}", b'{"a":1}'),
        (b' { "b": 2 }\n', b' { "b": 2 ,"a":1}\n'),
        (b'{"a":[1.00,  "\\u00e9"],"c":1E5}', b'{"a":1,"c":1E5}'),
        (b'{"c":{"a":7}}', b'{"c":{"a":7},"a":1}'),
    ],
)
def test_a_value_is_replaced_or_added(before, after):
    assert with_values(before, {"a": b"1"}) == after


def test_several_values_are_changed_at_once():
    assert with_values(b'{"b":1,"a":2}', {"a": b"3", "b": b"4", "c": b"5", "d": b"6"}) == (
        b'{"b":4,"a":3,"c":5,"d":6}'
    )


def test_what_is_no_object_has_no_members():
    with pytest.raises(BadJson):
        places(b"[]")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, max_size=5), st.text(), st.sampled_from([None, 1]))
def test_any_object_says_the_same_but_for_that_value(before, name, indent):
    text = json.dumps(before, indent=indent).encode()
    assert json.loads(with_values(text, {name: b'"new"'})) == {**before, name: "new"}
