import json

import pytest

from agenthub.domain.endpoint import Endpoint
from agenthub.domain.errors import StorageFailed

SERVERS = {
    "mcpServers": {
        "git": {"command": "uvx", "args": ["mcp-server-git"], "env": {"TOKEN": "canary"}},
        "docs": {"url": "https://docs.test/mcp?key=canary"},
        "old": {"type": "sse", "url": "http://old.test/sse"},
        "odd": {"type": "ws", "url": "ws://odd.test/"},
        "bad": {"command": "x", "env": {"LD_PRELOAD": "/x.so"}},
        "off": {"command": "y", "disabled": True},
    }
}


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "mcp.json"
    file.write_text("// mine\n" + json.dumps(SERVERS))
    return file


@pytest.fixture
def finds(hub):
    async def test(name, seconds):
        hub.catalog.tested.append((name, seconds))
        if name == "docs":
            return {"ok": False, "problem": "port refused"}
        return {"ok": True, "tools_count": 2}

    hub.catalog.test = test


def statuses(ended):
    return {line["name"]: line["status"] for line in ended.json["servers"]}


def test_what_it_will_add_is_shown_and_a_dry_run_adds_nothing(cli, hub, file, module, home):
    before = file.read_bytes()
    ended = cli("import", file, "--dry-run")
    assert ended.code == 0
    lines = {line.split()[0]: line for line in ended.out.splitlines()}
    assert lines["git"].split()[1:] == ["would", "add", "uvx", "mcp-server-git"]
    assert "would add   https://docs.test/mcp?key=••••" in lines["docs"]
    assert "would add   http://old.test/sse" in lines["old"]
    assert "unreadable  the hub knows no type 'ws'" in lines["odd"]
    assert "unreadable  env.LD_PRELOAD: it would load" in lines["bad"]
    assert "off: switched off there, so here too." in ended.err
    assert set(hub.catalog.all) == {"calculator", "other"}
    assert module.opened == [(home, [])]
    assert file.read_bytes() == before


def test_each_server_is_added_looked_at_and_told_of(cli, hub, file, finds, module, home):
    before = file.read_bytes()
    ended = cli("import", file)
    assert ended.code == 0
    said = ended.out.splitlines()
    assert "git: added. ok: 2 tools" in said
    assert "docs: added. sick: port refused." in said
    assert "off: added, off." in said
    assert said[-1] == "4 of 6 servers added."
    assert hub.catalog.all["git"].endpoint == Endpoint(
        "git", command=("uvx", "mcp-server-git"), env={"TOKEN": "canary"}
    )
    assert sorted(hub.catalog.tested) == [("docs", 5), ("git", 5), ("old", 5)]
    assert module.opened[0][1] == ["git", "docs", "old", "odd", "bad", "off"]
    assert file.read_bytes() == before


def test_secrets_are_not_shown(cli, file, finds):
    for ended in (cli("import", file, "--dry-run"), cli("import", file)):
        assert "canary" not in ended.out + ended.err


def test_json_shows_no_secret_either(cli, file, finds):
    dry = cli("import", file, "--dry-run", "--json")
    assert statuses(dry) == {
        "git": "would-add", "docs": "would-add", "old": "would-add", "odd": "unreadable",
        "bad": "unreadable",
        "off": "would-add",
    }  # fmt: skip
    done = cli("import", file, "--json")
    assert statuses(done)["git"] == "added"
    assert done.json["servers"][0]["test"] == {"ok": True, "tools_count": 2}
    assert "canary" not in dry.out + done.out


def test_a_server_that_is_there_stays_unless_it_may_be_replaced(cli, hub, file, finds):
    cli("import", file)
    hub.catalog.all["git"].endpoint = Endpoint("git", command=("mine",))
    again = cli("import", file)
    assert (again.code, "git: a server of this name is there" in again.err) == (0, True)
    assert hub.catalog.all["git"].endpoint.command == ("mine",)
    assert statuses(cli("import", file, "--dry-run", "--replace", "--json"))["git"] == (
        "would-replace"
    )
    assert "git: replaced. ok" in cli("import", file, "--replace").out
    assert hub.catalog.all["git"].endpoint.command == ("uvx", "mcp-server-git")


def test_one_that_the_hub_refuses_holds_up_no_other(cli, hub, file, finds):
    add = hub.catalog.add

    async def refusing(endpoint):
        if endpoint.name == "git":
            raise StorageFailed("The disk is full")
        return await add(endpoint)

    hub.catalog.add = refusing
    ended = cli("import", file)
    assert ended.code == 1
    assert "git: refused: The disk is full (storage_failed)." in ended.out
    assert "docs" in hub.catalog.all


def test_a_file_of_nothing_but_unreadable_servers_looks_at_none(cli, hub, tmp_path, finds):
    file = tmp_path / "f.json"
    file.write_text('{"mcpServers": {"a": 5}}')
    ended = cli("import", file)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "0 of 1 servers added.")
    assert hub.catalog.tested == []


def test_an_entry_that_leads_back_to_this_hub_is_not_added(cli, hub, tmp_path, finds, user_home):
    """As `connect --write` leaves it: importing the same file must not make a circle."""
    cli("connect", "cursor", "--write")
    ended = cli("import", user_home / ".cursor" / "mcp.json", "--json")
    assert statuses(ended) == {"agenthub": "unreadable"}
    assert ended.json["servers"][0]["record"] == {}
    assert set(hub.catalog.all) == {"calculator", "other"}


def test_codex_keeps_its_servers_in_toml(cli, hub, tmp_path, finds):
    file = tmp_path / "config.toml"
    file.write_text('[mcp_servers.git]\ncommand = "uvx"\nargs = ["mcp-server-git"]\n')
    assert cli("import", file).code == 0
    assert hub.catalog.all["git"].endpoint.command == ("uvx", "mcp-server-git")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("f.json", b"{", "f.json:1: not JSON"),
        ("f.json", b"{}\n\xff", "f.json:2: expected UTF-8"),
        ("f.json", b"{}", "found no servers"),
        ("f.json", b"5", "expected a JSON object"),
        ("f.toml", b"[", "f.toml: not TOML"),
        ("none/f.json", None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(cli, tmp_path, module, name, data, words):
    file = tmp_path / name
    if data is not None:
        file.write_bytes(data)
    refused = cli("import", file)
    assert (refused.code, words in refused.err) == (1, True)
    assert module.opened == []


def test_a_file_that_is_too_large_is_told(cli, file, monkeypatch):
    from agenthub.cli import imports

    monkeypatch.setattr(imports, "SIZE_MAX", 10)
    assert "expected at most 10 bytes" in cli("import", file).err
