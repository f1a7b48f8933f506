"""What a key opens."""

import pytest

from agenthub.domain.caller import Caller, KeyTerms, Reach, Scope, check_terms, reach_of
from agenthub.domain.errors import BadSetting
from agenthub.domain.tool_set import EVERYTHING, ToolSet
from agenthub.domain.view import View

WEB = View("web", allow=("web__*",), search="auto")
DOCS = View("docs", allow=("docs__*",))
VIEWS = {"web": WEB, "docs": DOCS}


def caller(search="off", **terms):
    reach = reach_of(KeyTerms(**terms), VIEWS)
    return Caller("anna", frozenset({Scope.TOOLS}), None, reach, search)


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        ([], []),
        ([Scope.TOOLS], [Scope.TOOLS]),
        ([Scope.READ], [Scope.READ]),
        ([Scope.TOOLS, Scope.READ], [Scope.TOOLS, Scope.READ]),
        ([Scope.ADMIN], list(Scope)),
    ],
)
def test_a_scope_opens_itself_and_admin_opens_all(scopes, may):
    caller = Caller("anna", frozenset(scopes))
    assert [scope for scope in Scope if caller.may(scope)] == may


def test_without_a_list_every_endpoint_is_seen():
    assert Caller("anna", frozenset()).sees("files")


def test_with_a_list_only_those_on_it():
    caller = Caller("anna", frozenset({Scope.ADMIN}), frozenset({"files"}))
    assert caller.sees("files")
    assert not caller.sees("mail")
    assert not Caller("anna", frozenset(), frozenset()).sees("files")


def test_terms_that_limit_nothing_are_no_limit():
    assert reach_of(KeyTerms(search="on", names="spec"), VIEWS) is None
    assert not caller().is_limited
    assert caller().sees_view("any")


def test_a_tool_set_limits_the_servers_that_are_seen_too():
    limited = caller(tools=ToolSet(("files__*",)))
    assert limited.is_limited
    assert (limited.sees("files"), limited.sees("git")) == (True, False)
    assert limited.sees_view("any")
    assert Caller("a", frozenset(), frozenset({"git"}), limited.reach).sees("files") is False


def test_views_are_all_that_a_key_for_them_may_touch():
    limited = caller(views=("web", "docs", "gone"))
    assert [limited.sees(name) for name in ("web", "docs", "git")] == [True, True, False]
    assert [limited.sees_view(name) for name in ("web", "gone", "x")] == [True, False, False]
    assert limited.reach.admits("docs__read", reads=False)
    assert not limited.reach.admits("git__log", reads=False)


def test_views_and_a_tool_set_both_count():
    limited = caller(views=("web",), tools=ToolSet(deny=("*__write",), read_only=True))
    assert limited.reach.admits("web__get", reads=True)
    assert not limited.reach.admits("web__get", reads=False)
    assert not limited.reach.admits("web__write", reads=True)


def test_a_key_for_views_that_are_gone_touches_nothing():
    limited = caller(views=("gone",))
    assert not limited.sees("web")
    assert not limited.reach.admits("web__get", reads=True)


def test_within_a_view_nobody_touches_more_than_it_shows():
    inside = caller().within(WEB)
    assert inside.reach == Reach(EVERYTHING, {"web": WEB.tools})
    assert (inside.id, inside.sees("web"), inside.sees("docs")) == ("anna", True, False)


def test_within_a_view_a_key_keeps_its_own_limits():
    inside = caller(tools=ToolSet(deny=("web__write",)), views=("web", "docs")).within(WEB)
    assert inside.reach.admits("web__get", reads=False)
    assert not inside.reach.admits("web__write", reads=False)
    assert not inside.reach.admits("docs__read", reads=False)


@pytest.mark.parametrize(
    ("key", "view", "both"),
    [("off", "off", "off"), ("off", "auto", "auto"), ("on", "auto", "on"), ("auto", "on", "on")],
)
def test_search_is_as_the_key_or_the_view_wants_it_whoever_wants_more(key, view, both):
    assert caller(search=key).within(View("v", allow=("*",), search=view)).search == both


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        (KeyTerms(ToolSet(("a b",))), "tools.allow: expected names"),
        (KeyTerms(ToolSet(deny=("a b",))), "tools.deny: expected names"),
        (KeyTerms(search="x"), "search: expected"),
        (KeyTerms(team="t" * 1000), "team: expected at most"),
        (KeyTerms(names="x"), "names: expected `safe` or `spec`, got 'x'"),
    ],
)
def test_terms_that_cannot_be_are_refused_naming_the_key(terms, words):
    with pytest.raises(BadSetting) as refused:
        check_terms(terms)
    assert str(refused.value).startswith(words)
