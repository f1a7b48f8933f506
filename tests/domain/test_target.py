"""Names that lead back to where they came from, and who stands in for whom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.endpoint import Endpoint
from agenthub.domain.endpoint_check import check_name
from agenthub.domain.errors import BadSetting
from agenthub.domain.target import (
    check_fallbacks,
    check_unlike,
    fallback_order,
    is_tool_name,
    join,
    join_uri,
    owner,
    split,
    split_uri,
    without_gone,
)


def is_name(text):
    try:
        check_name(text)
    except BadSetting:
        return False
    return True


endpoints = st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,8}[a-z0-9-])?", fullmatch=True).filter(is_name)


@pytest.mark.parametrize("name", ["a", "read_file", "A.b-c_9", "x" * 128, "__", "."])
def test_a_tool_may_be_called(name):
    assert is_tool_name(name)


@pytest.mark.parametrize(
    "name", ["", "x" * 129, "a/b", "a b", "a\n", "\na", "é", "a\u202eb", "a:b", "../x"]
)
def test_a_tool_may_not_be_called(name):
    """A18."""
    assert not is_tool_name(name)


@given(endpoints, st.text(min_size=1, max_size=20))
def test_a_joined_name_is_split_again(endpoint, name):
    assert split(join(endpoint, name)) == (endpoint, name)


@given(endpoints, st.text(min_size=1, max_size=20))
def test_a_joined_uri_is_split_again(endpoint, uri):
    assert split_uri(join_uri(endpoint, uri)) == (endpoint, uri)


@given(endpoints, endpoints, st.text("_ab", min_size=1), st.text("_ab", min_size=1))
def test_no_server_can_claim_the_name_of_anothers_tool(one, other, name, name_there):
    """A31."""
    if one != other:
        assert join(one, name) != join(other, name_there)


def test_names_look_like_this():
    assert join("files", "read_file") == "files__read_file"
    assert join("files", "__x") == "files____x"
    assert split("files____x") == ("files", "__x")
    assert join_uri("files", "file:///a?b#c") == "agenthub://files/file:///a?b#c"


def test_a_template_may_be_expanded_before_or_after():
    template = "file:///{path}"
    expanded = join_uri("files", template).replace("{path}", "a/b")
    assert split_uri(expanded) == ("files", template.replace("{path}", "a/b"))


@pytest.mark.parametrize("name", ["", "plain", "files__", "__tool", "a_b"])
def test_what_was_not_joined_is_not_split(name):
    assert split(name) is None


@pytest.mark.parametrize(
    "uri",
    ["", "file:///a", "agenthub:", "agenthub://", "agenthub://files", "agenthub://files/",
     "agenthub:///x", "AGENTHUB://files/x"],
)  # fmt: skip
def test_a_foreign_uri_is_not_split(uri):
    assert split_uri(uri) is None


# ---------------------------------------------------------------- fallbacks


def test_a_fallback_that_is_gone_is_left_out():
    endpoint = Endpoint("a", url="http://localhost", fallbacks=("b", "c", "d"))
    assert without_gone(endpoint, {"d", "b"}).fallbacks == ("b", "d")
    assert without_gone(endpoint, {"b", "c", "d"}) is endpoint


def servers(*twins, **fallbacks):
    """Endpoints by name: `servers("a.fallback", a="b c")`."""
    found = {
        name: Endpoint(name, url="http://localhost", fallbacks=tuple(others.split()))
        for name, others in fallbacks.items()
    }
    return found | {name: Endpoint(name, url="http://localhost") for name in twins}


@pytest.mark.parametrize(
    "fallbacks",
    [
        {},
        {"a": ""},
        {"a": "b", "b": ""},
        {"a": "b c", "b": "c", "c": ""},
        {"a": "b", "b": "c", "c": "d", "d": ""},
    ],
)
def test_fallbacks_are_accepted(fallbacks):
    check_fallbacks(servers(**fallbacks))


@pytest.mark.parametrize(
    ("fallbacks", "problem"),
    [
        ({"a": "b"}, "'a' names 'b', which is not there"),
        ({"a": "a"}, "expected no circle, got a → a"),
        ({"a": "b", "b": "a"}, "expected no circle, got a → b → a"),
        ({"a": "b", "b": "c", "c": "d", "d": "b"}, "expected no circle, got a → b → c → d → b"),
        ({"a": "b", "b": "c", "c": "d", "d": "e", "e": ""}, "at most 3 in a row"),
    ],
)
def test_fallbacks_are_refused(fallbacks, problem):
    with pytest.raises(BadSetting, match=f"^fallbacks: .*{problem}"):
        check_fallbacks(servers(**fallbacks))


def test_the_order_is_twin_then_names_then_theirs():
    found = servers("a.fallback", "b.fallback", a="b c", b="d", c="e d", d="", e="")
    assert fallback_order(found, "a") == ("a.fallback", "b", "c", "b.fallback", "d", "e")


def test_who_has_no_fallback_has_none():
    assert fallback_order(servers(a=""), "a") == ()


def test_what_is_not_there_is_passed_over():
    assert fallback_order(servers(a="gone b", b=""), "a") == ("b",)


def test_nobody_stands_in_for_himself_even_in_a_circle():
    found = servers(a="b", b="c a", c="a b")
    assert fallback_order(found, "a") == ("b", "c")


def test_a_chain_is_followed_three_steps():
    found = servers(a="b", b="c", c="d", d="e", e="")
    assert fallback_order(found, "a") == ("b", "c", "d")


# ---------------------------------------------------------------- names that look alike


@pytest.mark.parametrize(
    ("name", "other"),
    [("a-b", "a_b"), ("file0", "fileo"), ("mail1", "maill"), ("farm", "farrn"), ("w3", "vv3"),
     ("rn0_1", "mo-l")],
)  # fmt: skip
def test_a_name_that_looks_like_another_is_refused(name, other):
    for one, two in ((name, other), (other, name)):
        with pytest.raises(BadSetting, match="looks like"):
            check_unlike(one, ["x", two])


@given(endpoints, endpoints)
def test_a_name_is_like_itself_and_like_no_other_that_differs_in_more(one, other):
    check_unlike(one, [one])
    check_unlike(one, [other + "-x" * (len(one) + 3)])


@pytest.mark.parametrize("other", ["gita", "gi", "got", "", "git.fallback"])
def test_names_that_differ_are_fine(other):
    check_unlike("git", [other])


def test_a_twin_belongs_to_its_server():
    assert (owner("git.fallback"), owner("git")) == ("git", "git")
