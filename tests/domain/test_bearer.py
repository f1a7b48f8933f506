"""Access tokens of an authorization server: what their claims open."""

import pytest

from agenthub.domain.bearer import FARTHEST, LEEWAY, SCOPES_MAX, BadToken, Terms, lend
from agenthub.domain.caller import Scope
from agenthub.domain.span import SECOND

NOW = 1_800_000_000
TEN_YEARS = 315_360_000
"""In seconds."""
TERMS = Terms(
    "work",
    "https://login.example.com",
    "https://hub.example.com",
    frozenset({"api://hub"}),
    {
        Scope.TOOLS: frozenset({"agenthub:tools", "mcp"}),
        Scope.READ: frozenset({"agenthub:read"}),
        Scope.ADMIN: frozenset({"agenthub:admin"}),
    },
)


def claims(**other):
    made = {
        "iss": "https://login.example.com", "aud": "https://hub.example.com/mcp", "sub": "anna",
        "exp": NOW + 300, "iat": NOW, "scope": "openid agenthub:tools",
    }  # fmt: skip
    return {name: value for name, value in {**made, **other}.items() if value is not None}


def lent(**other):
    return lend(claims(**other), TERMS, NOW * SECOND)


def test_a_good_token_makes_a_caller_until_it_ends():
    found = lent()
    assert found.caller.id == "oauth:work:anna"
    assert found.caller.scopes == {Scope.TOOLS}
    assert found.caller.endpoints is None
    assert found.ends == (NOW + 300) * SECOND + LEEWAY


@pytest.mark.parametrize(
    ("audience", "endpoints"),
    [
        ("https://hub.example.com", None),
        ("https://hub.example.com/", None),
        ("https://hub.example.com/mcp", None),
        ("api://hub", None),
        (["other", "api://hub"], None),
        ("https://hub.example.com/mcp/git", {"git"}),
        (
            ["https://hub.example.com/mcp/git", "https://hub.example.com/mcp/time", 7],
            {"git", "time"},
        ),
    ],
)
def test_the_audience_says_which_servers_a_token_opens(audience, endpoints):
    assert lent(aud=audience).caller.endpoints == endpoints


@pytest.mark.parametrize(
    "audience",
    [
        None, "", "https://hub.example.com.evil.com", "https://hub.example.com/mcp/",
        "https://hub.example.com/mcp/git/x", "https://other.example.com/mcp", 7, {}, [], [None],
        "https://hub.example.com/api", "HTTPS://hub.example.com",
    ],
)  # fmt: skip
def test_a_token_for_somebody_else_opens_nothing(audience):
    with pytest.raises(BadToken, match="aud"):
        lent(aud=audience)


@pytest.mark.parametrize("issuer", [None, "https://login.example.com/", "https://evil.com", 7])
def test_a_token_of_another_issuer_opens_nothing(issuer):
    with pytest.raises(BadToken, match="iss"):
        lent(iss=issuer)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exp", NOW - 61), ("exp", None), ("exp", "soon"), ("exp", True), ("exp", -1),
        ("exp", FARTHEST + 1), ("nbf", NOW + 61), ("iat", NOW + 61), ("nbf", "x"),
        ("exp", float("nan")), ("exp", float("inf")),
    ],
)  # fmt: skip
def test_a_token_out_of_its_time_opens_nothing(name, value):
    with pytest.raises(BadToken, match=name):
        lent(**{name: value})


@pytest.mark.parametrize(
    ("times", "wrong"),
    [
        ({"exp": NOW - TEN_YEARS}, "exp"), ({"nbf": NOW + TEN_YEARS}, "nbf"),
        ({"iat": NOW + TEN_YEARS}, "iat"), ({"exp": NOW + TEN_YEARS, "nbf": NOW + 61}, "nbf"),
    ],
)  # fmt: skip
def test_a62_no_leeway_makes_up_for_ten_years(times, wrong):
    with pytest.raises(BadToken, match=wrong):
        lent(**times)


def test_clocks_may_differ_by_a_minute():
    assert lent(exp=NOW - 59, iat=NOW + 59, nbf=NOW + 59.5)


@pytest.mark.parametrize("subject", [7, "a\nb", "x" * 201, ""])
def test_a_token_without_a_plain_name_opens_nothing(subject):
    with pytest.raises(BadToken, match="sub"):
        lent(sub=subject)


def test_a_program_is_known_by_its_client_id():
    assert lent(sub=None, client_id="robot").caller.id == "oauth:work:robot"


@pytest.mark.parametrize(
    ("said", "scopes"),
    [
        ({"scope": "mcp agenthub:read"}, {Scope.TOOLS, Scope.READ}),
        ({"scope": None, "scp": ["agenthub:admin", 7]}, {Scope.ADMIN}),
        ({"scope": None, "scp": "agenthub:read"}, {Scope.READ}),
        ({"scope": None}, set()),
        ({"scope": "tools admin"}, set()),
    ],
)
def test_scopes_are_those_that_the_settings_name(said, scopes):
    assert lent(**said).caller.scopes == scopes


@pytest.mark.parametrize("said", [7, ["x"] * (SCOPES_MAX + 1), {"a": 1}])
def test_scopes_that_are_no_words_open_nothing(said):
    with pytest.raises(BadToken, match="scope"):
        lent(scope=said)
