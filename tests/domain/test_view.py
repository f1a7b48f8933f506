import pytest

from agenthub.domain.errors import BadSetting
from agenthub.domain.view import NAMES_MAX, TEXT_MAX, Renamed, View, check_view, server_of, view_of

FIND = {"find": Renamed("web__search", "Find it.")}


def view(**facts):
    return View(**({"name": "v", "names": FIND} | facts))


def test_a_view_shows_what_it_names_and_what_it_allows_but_for_what_it_denies():
    tools = view(allow=("docs__*",), deny=("docs__w*",)).tools
    assert tools.admits("web__search", reads=False)
    assert tools.admits("docs__read", reads=False)
    assert not tools.admits("docs__write", reads=False)
    assert not tools.admits("web__other", reads=False)
    assert not view(read_only=True).tools.admits("web__search", reads=False)


def test_own_names_lead_to_their_targets_and_back():
    assert view().target_of("find") == "web__search"
    assert view().target_of("docs__x") == "docs__x"
    assert view().own_names() == {"web__search": "find"}


@pytest.mark.parametrize(
    ("face", "server", "of_view"),
    [(None, None, None), ("calc", "calc", None), ("v", "v", None), ("v/x", None, "x")],
)
def test_a_face_is_all_one_server_or_a_view(face, server, of_view):
    assert (server_of(face), view_of(face)) == (server, of_view)


@pytest.mark.parametrize("good", [
    {}, {"names": {}, "allow": ("*",)}, {"search": "auto"}, {"instructions": "x" * TEXT_MAX},
    {"names": {"a" * 64: Renamed("a__b")}},
])  # fmt: skip
def test_a_view_that_can_be_passes(good):
    check_view(view(**good))


@pytest.mark.parametrize(("bad", "words"), [
    ({"name": "A"}, "name: expected 1 to 63"),
    ({"name": "a__b"}, "name: expected"),
    ({"names": {}}, "allow: expected something to show"),
    ({"allow": ("a b",)}, "allow: expected names"),
    ({"deny": ("a b",)}, "deny: expected names"),
    ({"search": "yes"}, "search: expected `on`, `off` or `auto`, got 'yes'"),
    ({"instructions": "x" * (TEXT_MAX + 1)}, "instructions: expected at most"),
    ({"names": {"a" * 65: Renamed("a__b")}}, "names: expected names of 1 to 64"),
    ({"names": {"a.b": Renamed("a__b")}}, "names: expected names of 1 to 64"),
    ({"names": {"ab--abcdefghijkl": Renamed("a__b")}}, "names: expected names of 1 to 64"),
    ({"names": {"x__y": Renamed("a__b")}}, "names.x__y: expected a name without `__`"),
    ({"names": {"x": Renamed("b")}}, "names.x.target: expected `server__tool`, got 'b'"),
    ({"names": {"x": Renamed("a__*")}}, "names.x.target: expected `server__tool`"),
    ({"names": {"x": Renamed("a__?")}}, "names.x.target: expected `server__tool`"),
    ({"names": {"x": Renamed("a__ü")}}, "names.x.target: expected `server__tool`"),
    ({"names": {"x": Renamed("a__b c")}}, "names.x.target: expected `server__tool`"),
    ({"names": {"x": Renamed("a__b"), "y": Renamed("a__b")}}, "names: expected each target once"),
    ({"names": {"x": Renamed("a__b", "x" * (TEXT_MAX + 1))}}, "names.x.description: expected"),
    ({"names": {f"n{n}": Renamed(f"a__{n}") for n in range(NAMES_MAX + 1)}}, "names: expected at"),
])  # fmt: skip
def test_a_view_that_cannot_be_is_refused_naming_the_key(bad, words):
    with pytest.raises(BadSetting) as refused:
        check_view(view(**bad))
    assert str(refused.value).startswith(words)
