import pytest

from agenthub.domain.view import Renamed, View


def add(cli, *words):
    return cli("view", "add", "web", *words)


def test_a_view_is_made_of_tools_with_and_without_own_names(cli, hub):
    made = add(
        cli, "--tool", "find=arxiv__search", "--tool", "docs__read", "--allow", "web__*",
        "--deny", "web__post", "--describe", "find=Find = search.", "--instructions", "Hi.",
        "--read-only", "--search", "auto",
    )  # fmt: skip
    assert made.out == "Saved the view web: /mcp/v/web.\n"
    assert hub.catalog.views.get("web") == View(
        "web", "Hi.", {"find": Renamed("arxiv__search", "Find = search.")},
        ("web__*", "docs__read"), ("web__post",), True, "auto",
    )  # fmt: skip


def test_views_are_listed_shown_and_removed(cli):
    assert cli("view", "list").out == "No views. `agenthub view add NAME --tool …` makes one.\n"
    add(cli, "--tool", "find=a__b", "--allow", "c__*", "--read-only", "--search", "on")
    lines = [line.split() for line in cli("view", "list").out.splitlines()]
    assert lines == [["NAME", "SHOWS", "SEARCH"], ["web", "find,", "c__*,", "read-only", "on"]]
    (view,) = cli("view", "list", "--json").json["views"]
    assert view == cli("view", "show", "web").json == cli("view", "show", "web", "--json").json
    assert view["names"] == {"find": {"target": "a__b"}}
    assert cli("view", "remove", "web").out == "Removed the view web.\n"
    add(cli, "--allow", "c__*")
    removed = cli("view", "remove", "web", "--json").json
    assert removed == {"name": "web", "status": "removed"}
    refused = cli("view", "show", "web")
    assert (refused.code, "There is no view named 'web'" in refused.err) == (1, True)


def test_a_view_is_put_in_the_place_of_another_only_when_that_is_said(cli, hub):
    add(cli, "--allow", "a__*")
    refused = add(cli, "--allow", "b__*")
    assert (refused.code, "already (conflict). --replace puts this one" in refused.err) == (1, True)
    assert add(cli, "--allow", "b__*", "--replace", "--json").json["allow"] == ["b__*"]
    assert cli("view", "add", "new", "--allow", "c__*", "--replace").code == 0
    assert hub.catalog.views.get("web").allow == ("b__*",)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tool", "=a__b"], "--tool: expected OWN=…, got '=a__b'"),
        (["--tool", "x="], "--tool: expected OWN=…"),
        (["--tool", "git.log"], "--tool: expected [OWN=]SERVER__TOOL, got 'git.log'"),
        (["--tool", "log=git.log"], "--tool: expected [OWN=]SERVER__TOOL, got 'log=git.log'"),
        (["--tool", "x=a__b", "--describe", "y=Z"], "--describe: no --tool y=… is given"),
        (["--describe", "y"], "--describe: expected OWN=…, got 'y'"),
        (["--search", "maybe"], "--search"),
    ],
)
def test_wrong_usage(cli, module, words, said):
    refused = add(cli, *words)
    assert (refused.code, said in refused.err) == (2, True)
    assert module.opened == []


def test_what_the_hub_refuses_is_told(cli):
    refused = add(cli)
    assert (refused.code, "allow: expected something to show" in refused.err) == (1, True)
