"""Names that clients can live with: T2, and field reports of truncated and colliding names."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.alias import SAFE, SPEC, STYLES, alias, digest, is_alias

FITS = {SAFE: r"[A-Za-z0-9_-]{1,64}", SPEC: r"[A-Za-z0-9_.-]{1,128}"}
ODD = st.text("ab_-.2zA/ü", min_size=1, max_size=200)
FULL = ODD | ODD.map(lambda name: alias(name, SAFE)) | ODD.map(lambda name: alias(name, SPEC))


@pytest.mark.parametrize(
    ("full", "safe", "spec"),
    [
        ("git__status", "git__status", "git__status"),
        ("git__log.one", "git__log_one--" + digest("git__log.one"), "git__log.one"),
        ("a" * 64, "a" * 64, "a" * 64),
        ("a" * 65, "a" * 50 + "--" + digest("a" * 65), "a" * 65),
        ("a" * 129, "a" * 50 + "--" + digest("a" * 129), "a" * 114 + "--" + digest("a" * 129)),
    ],
)
def test_a_name_is_changed_only_where_it_does_not_fit(full, safe, spec):
    assert (alias(full, SAFE), alias(full, SPEC)) == (safe, spec)


def test_the_same_over_versions_and_machines():
    assert alias("git__log.oneline", SAFE) == "git__log_oneline--own5bxg7e24i"


@given(full=FULL, style=st.sampled_from(STYLES))
def test_what_is_shown_fits_the_client(full, style):
    assert re.fullmatch(FITS[style], alias(full, style))


@given(one=FULL, other=FULL, first=st.sampled_from(STYLES), second=st.sampled_from(STYLES))
def test_two_tools_never_have_one_name(one, other, first, second):
    if one != other:
        assert alias(one, first) != alias(other, second)


@given(full=FULL)
def test_what_looks_like_an_alias_is_one(full):
    """So an alias is never read as the name of a tool that is really called so."""
    for style in STYLES:
        shown = alias(full, style)
        assert is_alias(shown) == (shown != full)


@pytest.mark.parametrize(
    "name", ["", "--", "a--b", "--abcdefghijk", "x--abcdefghijk1", "x-_abcdefghijkl"]
)
def test_other_names_are_no_aliases(name):
    assert not is_alias(name)


def test_a_tool_that_is_called_like_anothers_alias_gets_one_of_its_own():
    stolen = alias("git__log.oneline", SAFE)
    assert is_alias(alias(stolen, SAFE))
    assert alias(stolen, SAFE) != stolen
