import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.wire.definition import (
    LINE_MAX,
    LINES_MAX,
    annotations,
    canonical,
    check_members,
    diff,
    digest,
)

BASE = {"name": "x", "inputSchema": {"type": "object"}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "y"}, {"description": "d"}, {"inputSchema": {"type": "object", "a": 1}},
        {"outputSchema": {"type": "object"}}, {"annotations": {"readOnlyHint": True}},
        {"title": "t"}, {"icons": [1]},
    ],
)  # fmt: skip
def test_all_that_a_tool_promises_is_in_the_digest_and_in_the_text(change):
    assert digest(BASE) != digest(BASE | change)
    assert canonical(BASE) != canonical(BASE | change)
    assert diff(canonical(BASE), canonical(BASE | change))


def test_order_meta_and_nothing_are_not_in_it():
    one = {"name": "x", "title": "t"}
    other = {"title": "t", "_meta": {"a": 1}, "description": None, "name": "x"}
    assert (digest(one), canonical(one)) == (digest(other), canonical(other))


@given(st.dictionaries(st.sampled_from(["name", "description", "inputSchema", "icons"]), JSON))
def test_the_text_that_is_kept_has_the_same_digest(tool):
    assert digest(json.loads(canonical(tool))) == digest(tool)


@pytest.mark.parametrize("key", ["Description", "NAME", "inputschema", "Icons"])
def test_a_member_that_others_may_read_as_a_promise_is_refused(key):
    with pytest.raises(ValueError, match="looks like"):
        check_members(BASE | {key: "x"})
    check_members(BASE | {"_meta": {}, "x": 1, "execution": {}})


@pytest.mark.parametrize("tool", [{}, {"annotations": None}, {"annotations": [1]}])
def test_annotations_that_are_none(tool):
    assert annotations(tool) == annotations(json.dumps(tool).encode()) == {}


def test_annotations_of_a_kept_definition():
    assert annotations(b'{"annotations":{"readOnlyHint":true}}') == {"readOnlyHint": True}


# ---------------------------------------------------------------- comparing


def test_a_difference_is_shown_by_lines():
    before = canonical(BASE | {"description": "Adds.\nTwo numbers."})
    after = canonical(BASE | {"description": "Adds.\nAnd mails them.", "title": "t"})
    assert diff(before, after).splitlines() == [
        "--- approved", "+++ now", "@@ -1,6 +1,7 @@", " name: x", " description: Adds.",
        "-  Two numbers.", "+  And mails them.", " inputSchema: {", '     "type": "object"', "   }",
        "+title: t",
    ]  # fmt: skip


def test_without_the_approved_definition_all_is_new():
    lines = diff(b"", canonical({"name": "x"})).splitlines()
    assert lines[2:] == ["@@ -0,0 +1 @@", "+name: x"]


def test_what_nobody_would_see_is_seen_in_a_difference():
    shown = diff(canonical(BASE), canonical(BASE | {"description": "a\u200b\u202e\x1b[2J\rb"}))
    assert "+description: a\\u200b\\u202e\\u001b[2J\\u000db" in shown


def test_what_is_cut_off_is_a_difference_still():
    long = "x" * LINE_MAX
    shown = diff(canonical({"name": "x", "title": long + "aa"}),
                 canonical({"name": "x", "title": long + "ab"}))  # fmt: skip
    assert len(shown) < 3 * LINE_MAX
    assert "SHA-256" in shown
    many = "\n" * 100_000
    shown = diff(canonical({"title": many + "a"}), canonical({"title": many + "b"}))
    assert len(shown.splitlines()) < LINES_MAX
    assert "more lines, SHA-256" in shown


@given(JSON, JSON)
def test_there_is_a_difference_exactly_if_the_digests_differ(one, other):
    before, after = {"name": "x", "icons": one}, {"name": "x", "icons": other}
    assert bool(diff(canonical(before), canonical(after))) == (digest(before) != digest(after))
