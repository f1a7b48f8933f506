import json
import stat
import sys
import tomllib

import pytest
from support.cli_hub import Bearer, listening

from agenthub.cli import own_file

BEARER = {"Authorization": "Bearer ah_k0_the-secret"}
URL = "http://127.0.0.1:8787/mcp"
FILES = {
    "claude-code": ".claude.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".config/Code/User/mcp.json",
    "copilot": ".copilot/mcp-config.json",
    "codex": ".codex/config.toml",
    "gemini": ".gemini/settings.json",
    "windsurf": ".codeium/windsurf/mcp_config.json",
    "zed": ".config/zed/settings.json",
}
ENTRIES = {
    "claude-code": {"mcpServers": {"agenthub": {"type": "http", "url": URL, "headers": BEARER}}},
    "cursor": {"mcpServers": {"agenthub": {"url": URL, "headers": BEARER}}},
    "vscode": {"servers": {"agenthub": {"type": "http", "url": URL, "headers": BEARER}}},
    "copilot": {
        "mcpServers": {
            "agenthub": {"type": "http", "url": URL, "headers": BEARER, "tools": ["*"]},
        }
    },
    "codex": {"mcp_servers": {"agenthub": {"url": URL, "http_headers": BEARER}}},
    "gemini": {"mcpServers": {"agenthub": {"httpUrl": URL, "headers": BEARER}}},
    "windsurf": {"mcpServers": {"agenthub": {"serverUrl": URL, "headers": BEARER}}},
    "zed": {"context_servers": {"agenthub": {"url": URL, "headers": BEARER}}},
}


@pytest.fixture(autouse=True)
def linux(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")


def read(file):
    return (tomllib if file.suffix == ".toml" else json).loads(file.read_text())


def mode(file):
    return stat.S_IMODE(file.stat().st_mode)


@pytest.mark.parametrize("client", FILES)
def test_each_client_gets_the_entry_that_it_reads(cli, user_home, hub, client):
    printed = cli("connect", client)
    assert printed.code == 0
    snippet = (tomllib if client == "codex" else json).loads(printed.out)
    assert snippet == ENTRIES[client]
    file = user_home / FILES[client]
    assert f"This belongs into {file}" in printed.err
    assert not file.exists()

    hub.keys.rows.clear()
    written = cli("connect", client, "--write")
    assert (written.code, read(file)) == (0, ENTRIES[client])
    assert f"Wrote agenthub into {file}." in written.out
    assert mode(file) == 0o600
    assert list(file.parent.iterdir()) == [file], "nothing was there, so nothing is backed up"


def test_the_key_is_the_clients_own_and_opens_tools_and_lists_only(cli, hub):
    cli("connect", "cursor")
    (row,) = hub.keys.rows.values()
    assert (row.name, row.scopes, row.endpoints) == ("cursor", ("tools", "read"), None)


def test_a_face_is_one_server_and_so_is_its_key(cli, hub):
    printed = cli("connect", "cursor", "--face", "calculator")
    (name,) = json.loads(printed.out)["mcpServers"]
    assert name == "agenthub-calculator"
    assert json.loads(printed.out)["mcpServers"][name]["url"] == f"{URL}/calculator"
    (row,) = hub.keys.rows.values()
    assert (row.name, row.endpoints) == ("cursor calculator", ("calculator",))


SSE = "http://127.0.0.1:8787/sse"


@pytest.mark.parametrize(
    ("client", "entry"),
    [
        ("claude-code", {"type": "sse", "url": SSE, "headers": BEARER}),
        ("cursor", {"url": SSE, "headers": BEARER}),
        ("vscode", {"type": "sse", "url": SSE, "headers": BEARER}),
        ("copilot", {"type": "sse", "url": SSE, "headers": BEARER, "tools": ["*"]}),
        ("gemini", {"url": SSE, "headers": BEARER}),
        ("windsurf", {"serverUrl": SSE, "headers": BEARER}),
    ],
)
def test_a_client_of_the_older_transport_gets_its_address(cli, client, entry):
    assert cli("connect", client, "--sse", "--json").json["entry"] == entry
    one = cli("connect", client, "--sse", "--face", "calculator", "--json").json["entry"]
    assert f"{SSE}/calculator" in one.values()


@pytest.mark.parametrize("client", ["codex", "zed", "claude-desktop"])
def test_a_client_that_does_not_know_the_older_transport_gets_no_such_address(cli, hub, client):
    refused = cli("connect", client, "--sse")
    assert (refused.code, "SSE" in refused.err.upper()) == (2, True)
    assert hub.keys.rows == {}


def test_a_face_that_is_no_server_is_refused_before_a_key_is_made(cli, hub):
    refused = cli("connect", "cursor", "--face", "nothing")
    assert refused.code == 1
    assert "no server named 'nothing'" in refused.err
    assert hub.keys.rows == {}


def test_everything_else_in_the_file_stays_and_what_was_there_is_kept_beside(cli, user_home):
    file = user_home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    before = '{\n    // my servers\n    "mcpServers": {"git": {"command": "uvx"}, },\n}\n'
    file.write_text(before)
    file.chmod(0o644)
    written = cli("connect", "cursor", "--write", "--json").json
    text = file.read_text()
    assert "// my servers" in text
    assert '"git": {"command": "uvx"}, }' in text
    assert text.count("agenthub") == 1
    assert mode(file) == 0o600, "it holds a key now"
    (backup,) = [other for other in file.parent.iterdir() if other != file]
    assert written["backup"] == str(backup)
    assert (backup.read_text(), mode(backup)) == (before, 0o600)


def test_codex_keeps_its_other_tables_and_remarks(cli, user_home):
    file = user_home / ".codex" / "config.toml"
    file.parent.mkdir()
    before = (
        'model = "x" # mine\n\n[mcp_servers.agenthub]\nurl = "http://old/"\n\n'
        '[mcp_servers.agenthub.env]\nA = "b"\n\n# git\n[mcp_servers.git]\ncommand = "uvx"\n'
    )
    file.write_text(before)
    assert cli("connect", "codex", "--write").code == 0
    text = file.read_text()
    assert text.startswith('model = "x" # mine\n\n[mcp_servers.agenthub]\nurl = "http://127')
    assert text.endswith('\n\n# git\n[mcp_servers.git]\ncommand = "uvx"\n')
    assert read(file)["mcp_servers"]["agenthub"] == ENTRIES["codex"]["mcp_servers"]["agenthub"]


def test_written_twice_it_stays_as_it_is(cli, user_home, hub):
    cli("connect", "cursor", "--write")
    file = user_home / ".cursor" / "mcp.json"
    before = file.read_text()
    again = cli("connect", "cursor", "--write", "--json")
    assert (again.json["status"], again.json["key_id"]) == ("unchanged", None)
    assert (file.read_text(), len(hub.keys.rows)) == (before, 1)
    assert "has it already" in cli("connect", "cursor", "--write").out
    assert list(file.parent.iterdir()) == [file]


def test_a_key_that_was_revoked_is_replaced(cli, user_home, hub):
    cli("connect", "cursor", "--write")
    cli("key", "revoke", "k0")
    cli("connect", "cursor", "--write")
    entry = read(user_home / ".cursor" / "mcp.json")["mcpServers"]["agenthub"]
    assert entry["headers"] == {"Authorization": "Bearer ah_k1_the-secret"}
    assert [row.revoked for row in hub.keys.rows.values()] == [True, False]


@pytest.mark.parametrize("token", ["of-another-hub", "ah_k7_x"])
def test_a_key_of_another_hub_is_replaced(cli, user_home, hub, token):
    file = user_home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    headers = {"Authorization": f"Bearer {token}"}
    file.write_text(json.dumps({"mcpServers": {"agenthub": {"url": URL, "headers": headers}}}))
    cli("connect", "cursor", "--write")
    assert read(file) == ENTRIES["cursor"]


def test_a_running_hub_is_asked_whether_the_key_is_good(cli, user_home, hub, home, module):
    with listening(Bearer(module), home) as url:
        first = cli("connect", "cursor", "--write", "--json").json
        assert first["entry"]["url"] == f"{url}/mcp"
        assert cli("connect", "cursor", "--write", "--json").json["status"] == "unchanged"
        cli("key", "revoke", "k0")
        third = cli("connect", "cursor", "--write")
        assert len(hub.keys.rows) == 2
        assert "No hub runs" not in third.err


def test_the_address_is_what_the_hub_will_have_or_what_is_said(cli, home):
    (home / "agenthub.yaml").write_text("server: {host: '::', port: 9000}\n")

    def shown(*more):
        return cli("connect", "cursor", "--json", *more).json["entry"]["url"]

    assert shown() == "http://[::1]:9000/mcp"
    assert shown("--url", "https://hub.example.org/mcp/") == "https://hub.example.org/mcp"
    assert "No hub runs with this home now" in cli("connect", "cursor").err


@pytest.mark.parametrize("arguments", [["claude-desktop"], ["cursor", "--stdio"]])
def test_a_client_that_starts_its_servers_needs_no_key(cli, hub, home, module, arguments):
    entry = cli("connect", *arguments, "--json").json["entry"]
    assert entry["command"].endswith(("agenthub", "python", "python3", "python3.11"))
    assert entry["args"][-3:] == ["stdio", "--home", str(home)]
    assert (hub.keys.rows, module.opened) == ({}, [])
    refused = cli("connect", *arguments, "--face", "calculator")
    assert (refused.code, "--face" in refused.err) == (2, True)


def test_without_a_program_beside_python_the_module_is_started(cli, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    entry = cli("connect", "claude-desktop", "--json").json["entry"]
    assert entry["args"][:3] == ["-m", "agenthub", "stdio"]


def test_a_stdio_entry_leaves_the_files_mode(cli, user_home):
    file = user_home / ".config" / "Claude" / "claude_desktop_config.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    file.chmod(0o644)
    cli("connect", "claude-desktop", "--write")
    assert mode(file) == 0o644
    assert "agenthub" in read(file)["mcpServers"]


@pytest.mark.parametrize(
    ("client", "text", "words"),
    [
        ("cursor", "{", "not JSON"),
        ("cursor", "[]", "expected a JSON object"),
        ("cursor", '{"mcpServers": []}', "mcpServers: expected an object"),
        ("cursor", b"\xff", "expected UTF-8"),
        ("codex", "[", "not TOML"),
        ("codex", 'mcp_servers = { git = { command = "x" } }', "by hand"),
    ],
)
def test_a_file_that_cannot_be_read_stays_and_no_key_is_left(cli, user_home, hub, client, text,
                                                             words):  # fmt: skip
    file = user_home / FILES[client]
    file.parent.mkdir(parents=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = file.read_bytes()
    refused = cli("connect", client, "--write")
    assert (refused.code, words in refused.err) == (1, True)
    assert file.read_bytes() == before
    assert all(row.revoked for row in hub.keys.rows.values())
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_is_told(cli, user_home, hub):
    (user_home / ".cursor").write_text("a file")
    refused = cli("connect", "cursor", "--write")
    assert (refused.code, "cannot be" in refused.err) == (1, True)
    assert all(row.revoked for row in hub.keys.rows.values())


def test_a_client_that_is_not_known_is_wrong_usage(cli):
    refused = cli("connect", "emacs")
    assert refused.code == 2
    assert "cursor" in refused.err


def test_a_mac_keeps_its_files_elsewhere(cli, monkeypatch, user_home):
    monkeypatch.setattr(sys, "platform", "darwin")
    file = cli("connect", "claude-desktop", "--json").json["file"]
    assert file == str(
        user_home / "Library" / "Application Support" / "Claude" / "claude_desktop_config.json"
    )


def test_variables_move_a_clients_folder(cli, monkeypatch, tmp_path):
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert cli("connect", "codex", "--json").json["file"] == str(tmp_path / "codex/config.toml")
    assert cli("connect", "zed", "--json").json["file"] == str(
        tmp_path / "config" / "zed" / "settings.json"
    )


def test_a_link_stays_a_link(cli, user_home, tmp_path):
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    (user_home / ".claude.json").symlink_to(real)
    cli("connect", "claude-code", "--write")
    assert (user_home / ".claude.json").is_symlink()
    assert "agenthub" in read(real)["mcpServers"]


def test_a_file_that_its_program_changes_meanwhile_is_left(cli, user_home, monkeypatch):
    file = user_home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    file.write_text("{}")
    write = own_file._write

    def write_slowly(path, data, mode):
        write(path, data, mode)
        file.write_text('{"new": 1}')

    monkeypatch.setattr(own_file, "_write", write_slowly)
    refused = cli("connect", "cursor", "--write")
    assert (refused.code, "try again" in refused.err) == (1, True)
    assert read(file) == {"new": 1}
