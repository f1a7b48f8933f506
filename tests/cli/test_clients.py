from pathlib import Path

import pytest

from agenthub.cli.clients import CLIENTS, Place, token_of

LINUX = Place(Path("/home/me"), {}, "linux")
HEADERS = {"Authorization": "Bearer secret"}


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_each_client_has_a_file_of_the_users_and_says_what_to_do(client):
    assert client.file(LINUX).is_relative_to("/home/me")
    assert client.after
    started = client.by_command("agenthub", ["stdio"])
    assert (started["command"], started["args"]) == ("agenthub", ["stdio"])
    assert token_of(started) == ""
    if client.by_url is not None:
        entry = client.by_url("http://hub/mcp", HEADERS)
        assert "http://hub/mcp" in entry.values()
        assert token_of(entry) == "secret"


def test_variables_and_the_platform_move_the_files():
    moved = {
        "CLAUDE_CONFIG_DIR": "/c",
        "COPILOT_HOME": "/p",
        "CODEX_HOME": "/x",
        "XDG_CONFIG_HOME": "/g",
    }
    place = Place(Path("/home/me"), moved, "linux")
    files = {name: str(CLIENTS[name].file(place)) for name in CLIENTS}
    assert files["claude-code"] == "/c/.claude.json"
    assert files["copilot"] == "/p/mcp-config.json"
    assert files["codex"] == "/x/config.toml"
    assert files["vscode"] == "/g/Code/User/mcp.json"
    mac = Place(Path("/Users/me"), moved, "darwin")
    assert CLIENTS["vscode"].file(mac) == Path(
        "/Users/me/Library/Application Support/Code/User/mcp.json"
    )


@pytest.mark.parametrize(
    "entry", [None, [], {}, {"headers": []}, {"headers": {"Authorization": 5}},
              {"headers": {"Authorization": "Basic x"}}],
)  # fmt: skip
def test_an_entry_without_a_key_has_none(entry):
    assert token_of(entry) == ""
