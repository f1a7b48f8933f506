"""The program as its users run it, on a home of its own, with and without a running hub."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.real_hub import AGENTHUB, RealHub, wait_for

CALCULATOR = [sys.executable, "-m", "agenthub.demo.calculator"]


@pytest.fixture
def environment(tmp_path):
    user = tmp_path / "user"
    user.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "HOME": str(user)}


@pytest.fixture
def hub(tmp_path, environment):
    return RealHub(tmp_path / "home", environment)


def spawn(hub, *words, **more):
    return subprocess.Popen(
        [str(AGENTHUB), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=hub.environment, **more,
    )  # fmt: skip


def ask(hub, method, path, body=None):
    token = (hub.home / "admin-token").read_text().strip()
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(hub.url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_demos_call_prints_five_where_nothing_runs_and_nothing_was_set(hub):
    words = ["call", "calculator", "add", "--arg", "a=2", "--arg", "b=3"]
    hub.command(*words, code=1)
    assert not hub.home.exists(), "where no hub ever was, a call makes none"
    with hub:
        pass
    assert hub.command(*words) == "5\n"


def test_a_server_is_added_called_and_removed_whether_a_hub_runs_or_not(hub):
    added = hub.command("add", "sums", "--env", "SECRET=canary", "--", *CALCULATOR)
    assert added.startswith("Saved sums (stdio). ok: ")
    assert hub.command("call", "sums", "add", "--arg", "a=1", "--arg", "b=1") == "2\n"
    with hub:
        assert hub.servers()["sums"]["health"] in {"ok", "starting"}
        assert hub.command("call", "sums", "add", "--arg", "a=2", "--arg", "b=3") == "5\n"
        hub.command("call", "sums", "divide", "--arg", "a=2", "--arg", "b=0", code=1)
        assert "canary" not in hub.command("list", "--json")
        hub.command("add", "more", "--", *CALCULATOR)
        hub.command("disable", "sums")
        hub.command("breaker", "open", "more", "--reason", "a look")
    assert set(hub.servers()) == {"sums", "more"}
    assert hub.servers()["sums"]["config"]["enabled"] is False
    (row,) = json.loads(hub.command("breaker", "list", "--json"))["circuit_breakers"][:1]
    assert (row["endpoint"], row["state"]) == ("more", "forced_open")
    hub.command("remove", "sums")
    assert set(hub.servers()) == {"more"}


def test_sick_servers_are_kept_and_explained(hub):
    with hub:
        for name, words in {
            "nowhere": ["--", "no-such-program-1a2b"],
            "crash": ["--", sys.executable, "-c", "import no_such_module"],
            "refused": ["--url", "http://127.0.0.1:9/mcp"],
            "silent": ["--", "sleep", "100"],
        }.items():
            assert ". sick: " in hub.command("add", name, *words)
        told = hub.command("doctor", code=1)
    for words in (
        "`no-such-program-1a2b` is not on PATH. ",
        "exited with code 1",
        "  | ModuleNotFoundError: No module named 'no_such_module'",
        "nothing listens on 127.0.0.1:9. ",
        "does not answer. ",
        "4 of 4 servers are sick.",
    ):
        assert words in told


def test_what_import_takes_from_a_file_answers(hub, tmp_path):
    file = tmp_path / "mcp.json"
    entry = {"command": sys.executable, "args": ["-m", "agenthub.demo.calculator"]}
    file.write_text(json.dumps({"mcpServers": {"Sums": entry, "old": {"type": "sse"}}}))
    assert "would add" in hub.command("import", str(file), "--dry-run")
    assert "sums: added. ok: " in hub.command("import", str(file))
    assert hub.command("call", "sums", "add", "--arg", "a=2", "--arg", "b=3") == "5\n"


def test_a_key_that_connect_wrote_opens_the_tools_and_no_more(hub, environment):
    with hub:
        hub.command("connect", "claude-code", "--write")
        file = Path(environment["HOME"]) / ".claude.json"
        entry = json.loads(file.read_text())["mcpServers"]["agenthub"]
        assert file.stat().st_mode & 0o777 == 0o600
        assert "unchanged" in hub.command("connect", "claude-code", "--write", "--json")

        def status(method, path):
            request = urllib.request.Request(hub.url + path, None, entry["headers"], method=method)
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                error.close()
                return error.code

        assert entry["url"] == hub.url + "/mcp"
        assert status("GET", "/api/tools") == 200
        assert status("GET", "/api/keys") == 403
        keys = json.loads(hub.command("key", "list", "--json"))["keys"]
        (mine,) = [row for row in keys if row["name"] == "claude-code"]
        assert mine["scopes"] == ["tools", "read"]
        hub.command("key", "revoke", mine["id"])
        assert status("GET", "/api/tools") == 401


def test_a_hundred_creates_of_one_name_at_once_make_one(hub):
    """G6: exactly one 201, 99 409, no 5xx; with the real catalog and the real database."""
    with hub:
        body = {"name": "one", "url": "http://127.0.0.1:9/mcp"}
        with ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(lambda _: ask(hub, "POST", "/api/endpoints", body), range(100)))
        codes = [status for status, _ in answers]
        assert (codes.count(201), codes.count(409)) == (1, 99)
        assert set(hub.servers()) == {"one"}


def test_commands_and_a_hub_that_starts_or_stops_wait_for_one_another(hub):
    hub.command("add", "sums", "--", *CALCULATOR)
    early = spawn(hub, "list", "--json")
    serving = spawn(hub, "serve", "--port", "0", "--no-demo")
    try:
        assert set(hub.servers()) == {"sums"}
        wait_for((hub.home / "hub.json").exists)
    finally:
        serving.terminate()
        assert set(hub.servers()) == {"sums"}, "while it stops, too"
        _, said = serving.communicate(timeout=20)
    assert serving.returncode == 0, said
    listed, complaint = early.communicate(timeout=20)
    assert b"sums" in listed, complaint


def test_many_commands_at_once_take_their_turns(hub):
    names = [f"s{number}" for number in range(6)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: hub.command("add", name, "--url", "http://127.0.0.1:9/"), names))
    assert set(hub.servers()) == set(names)


def test_ctrl_c_ends_a_command_and_its_servers(hub):
    hub.command("add", "silent", "--no-limit", "--", "sleep", "987654")
    looking = spawn(hub, "doctor", start_new_session=True)
    wait_for(lambda: "987654" in _processes())
    os.killpg(looking.pid, signal.SIGINT)
    _, said = looking.communicate(timeout=20)
    assert looking.returncode == 130
    assert b"Traceback" not in said
    wait_for(lambda: "987654" not in _processes())


def _processes():
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return listed.stdout


def test_a_wrong_file_of_settings_names_line_and_key(hub):
    hub.home.mkdir(mode=0o700)
    (hub.home / "agenthub.yaml").write_text("server:\n  prot: 1\n")
    ended = spawn(hub, "list")
    _, said = ended.communicate(timeout=20)
    assert ended.returncode == 1
    assert b"agenthub.yaml:2: server.prot: unknown key; did you mean port?" in said
