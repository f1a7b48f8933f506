import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.errors import BadSetting
from agenthub.domain.tool_set import EVERYTHING, GLOBS_MAX, ToolSet, check_globs

NAME = st.text("abc_.-?*", min_size=1, max_size=8)


def test_everything_is_everything():
    assert EVERYTHING.admits("files__read", reads=False)
    assert EVERYTHING.admits("agenthub://files/file:///a", reads=True)
    assert EVERYTHING.touches("files")


@pytest.mark.parametrize(
    ("glob", "name", "fits"),
    [
        ("files__read", "files__read", True),
        ("files__read", "files__read2", False),
        ("files__read", "xfiles__read", False),
        ("files__*", "files__a__b", True),
        ("files__r?ad", "files__road", True),
        ("files__r?ad", "files__rad", False),
        ("files__a.c", "files__abc", False),
        ("Files__*", "files__a", False),
        ("*__search", "web__search", True),
        ("agenthub://files/*", "agenthub://files/file:///a\nb", True),
        ("files__*", "agenthub://files/x", False),
    ],
)
def test_a_glob_is_the_whole_name(glob, name, fits):
    assert ToolSet((glob,)).admits(name, reads=False) is fits


def test_what_is_denied_is_not_allowed():
    tools = ToolSet(("files__*", "git__*"), ("*__write*",))
    assert tools.admits("git__log", reads=False)
    assert not tools.admits("git__write", reads=False)
    assert not tools.admits("web__get", reads=False)


def test_who_may_only_read_may_touch_what_changes_nothing():
    tools = ToolSet(read_only=True)
    assert tools.admits("a__b", reads=True)
    assert not tools.admits("a__b", reads=False)
    assert not ToolSet(("c__*",), read_only=True).admits("a__b", reads=True)


def test_no_globs_allow_nothing():
    assert not ToolSet(()).admits("", reads=True)
    assert not ToolSet(()).touches("a")


@pytest.mark.parametrize(
    ("glob", "touched"),
    [
        ("files__read", True), ("files__*", True), ("f*", True), ("*", True), ("?iles__x", True),
        ("agenthub://files/*", True), ("agenthub://*", True), ("file", False), ("files", False),
        ("files2__x", False), ("git__*", False), ("agenthub://git/*", False), ("filesx*", False),
    ],
)  # fmt: skip
def test_a_set_knows_which_servers_it_is_about(glob, touched):
    assert ToolSet((glob,)).touches("files") is touched


@given(glob=NAME, name=NAME)
def test_a_server_with_something_in_the_set_is_touched(glob, name):
    tools = ToolSet((glob,))
    if tools.admits(f"a__{name}", reads=False):
        assert tools.touches("a")


@pytest.mark.parametrize("glob", ["", "a b", "[ab]", "ä", "a\n", "x" * 513])
def test_what_is_no_glob_is_refused(glob):
    with pytest.raises(BadSetting, match="allow: expected names"):
        check_globs("allow", (glob,))


def test_globs_are_not_without_end():
    check_globs("deny", ("a*",) * GLOBS_MAX)
    with pytest.raises(BadSetting, match="deny: expected at most 1000 globs, got 1001"):
        check_globs("deny", ("a",) * (GLOBS_MAX + 1))


def test_no_glob_takes_long():
    """A32: `*a*a*…` looks at each character once for each star."""
    tools = ToolSet(("*a" * 200 + "b",))
    before = time.process_time()
    assert not tools.admits("a" * 10_000, reads=False)
    assert time.process_time() - before < 2
