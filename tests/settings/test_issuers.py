"""Issuers in the settings: what they may be, and how a wrong one is told."""

import pytest

from agenthub.domain.caller import KeyTerms, Scope
from agenthub.domain.endpoint_check import is_safe
from agenthub.domain.errors import BadSetting
from agenthub.domain.tool_set import ToolSet
from agenthub.settings import load
from agenthub.settings.issuers import IssuerSettings, terms_of

GOOD = """\
server: {public_url: https://hub.example.com/}
auth:
  issuers:
    work:
      issuer: https://login.example.com/realms/main
      audiences: [api://hub]
      scopes: {tools: [mcp]}
"""


def loaded(tmp_path, text):
    file = tmp_path / "agenthub.yaml"
    file.write_text(text)
    return load(file, {})


def test_an_issuer_of_the_file_becomes_terms(tmp_path):
    settings = loaded(tmp_path, GOOD)
    terms = terms_of("work", settings.auth.issuers["work"], settings.server.public_url)
    assert terms.hub == "https://hub.example.com"
    assert terms.audiences == {"api://hub"}
    assert terms.scopes == {
        Scope.TOOLS: {"mcp"}, Scope.READ: {"agenthub:read"}, Scope.ADMIN: {"agenthub:admin"},
        Scope.LLM: {"agenthub:llm"},
        Scope.INGEST: {"agenthub:ingest"},
    }  # fmt: skip


def test_callers_of_an_issuer_may_be_limited_as_keys_are(tmp_path):
    limits = "{tools: {allow: [git__*], deny: [git__push]}, views: [research], search: auto}"
    text = GOOD.replace("{tools: [mcp]}", "{tools: [mcp], admin: []}\n      limits: " + limits)
    settings = loaded(tmp_path, text)
    terms = terms_of("work", settings.auth.issuers["work"], settings.server.public_url)
    assert terms.limits == KeyTerms(ToolSet(("git__*",), ("git__push",)), ("research",), "auto")
    assert terms.scopes[Scope.ADMIN] == frozenset()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("https://login.example.com/realms/main", "http://login.example.com",
         "agenthub.yaml:5: auth.issuers.work.issuer: expected an https address"),
        ("server: {public_url: https://hub.example.com/}", "server: {}",
         "auth.issuers.work.issuer: expected server.public_url beside it"),
        ("scopes: {tools: [mcp]}", "scopes: {tool: [mcp]}",
         "auth.issuers.work.scopes: expected only admin, ingest, llm, read, tools, got 'tool'"),
        ("scopes: {tools: [mcp]}", "algorithms: [none]",
         "auth.issuers.work.algorithms: expected some of RS256"),
        ("scopes: {tools: [mcp]}", "algorithms: [HS256]", "got 'HS256'"),
        ("scopes: {tools: [mcp]}", "algorithms: []", "at least one"),
        ("scopes: {tools: [mcp]}", "limits: {search: maybe}",
         "work.limits: expected search: expected `on`, `off` or `auto`, got 'maybe'"),
        ("scopes: {tools: [mcp]}", "limits: {tools: {read_only: true}}",
         "work.limits: expected `scopes: {admin: []}` beside it"),
        ("scopes: {tools: [mcp]}", "limits: {tool: {}}", "tool"),
        ("scopes: {tools: [mcp]}", "jwks_url: file:///etc/keys",
         "work.jwks_url: expected an https"),
        ("https://hub.example.com/", "http://hub.example.com/",
         "agenthub.yaml:1: server.public_url: expected an https address"),
        ("      issuer: https://login.example.com/realms/main\\n", "",
         "agenthub.yaml:5: auth.issuers.work: expected issuer, which is needed"),
    ],
)  # fmt: skip
def test_a_wrong_issuer_names_its_line_its_key_and_what_was_expected(tmp_path, old, new, words):
    text = GOOD.replace(old.replace("\\n", "\n"), new)
    assert text != GOOD
    with pytest.raises(BadSetting) as caught:
        loaded(tmp_path, text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://a.example.com", True), ("http://localhost:80/x", True), ("http://[::1]/", True),
        ("http://127.0.0.1.example.com", False), ("https://", False), ("ftp://localhost", False),
        ("https://user:pw@a.example.com", False), ("https://a.example.com/#x", False),
        ("http://[::1", False), ("", False),
    ],
)  # fmt: skip
def test_what_is_read_over_the_network_comes_by_tls(url, safe):
    assert is_safe(url) is safe
    assert IssuerSettings("https://a.example.com").algorithms
