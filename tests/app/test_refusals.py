"""What a start says when it cannot be: one sentence, an exit code, no traceback."""

import os
import re
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.serve_hub import SERVE, config, environment, serving, until

from agenthub.outbound.home import only_hub


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def refusal(home, *options, env=None, code=1, before=None):
    """What a start said, which cannot be."""
    done = subprocess.run(
        [*SERVE, "--home", home, "--port", "0", *options],
        capture_output=True, timeout=20, check=False, env=environment(**(env or {})),
        preexec_fn=before,
    )  # fmt: skip
    said = done.stderr.decode(errors="surrogateescape")
    assert done.returncode == code, said
    *others, line = said.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\S+ (INFO|WARNING|ERROR) |Usage: ", o) for o in others)
    assert "Traceback" not in said
    assert line.startswith("error: ")
    assert len(line) < 500
    return line.removeprefix("error: ")


def test_a_port_that_is_taken(home):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        words = refusal(home, "--port", str(port))
    assert f"127.0.0.1:{port} is in use" in words
    assert "--port" in words
    assert not (home / "hub.json").exists()


def test_an_address_of_another_machine(home):
    assert "192.0.2.1" in refusal(home, "--host", "192.0.2.1")


def test_callers_without_a_key_from_anywhere(home):
    words = refusal(home, "--host", "0.0.0.0", env={"AGENTHUB__AUTH__ANONYMOUS_LOOPBACK": "true"})
    assert "auth.anonymous_loopback" in words


def test_a_home_in_use(home):
    with serving(home, "--no-demo") as hub:
        words = refusal(home)
        assert words.startswith(f"Another hub (process {hub.pid}) runs with {home}")
        assert hub.ask("GET", "/readyz")[0] == 200


def test_a_home_that_is_a_file(home):
    home.write_text("")
    refusal(home, code=2)


def test_a_home_that_others_may_write_in(home):
    home.mkdir()
    home.chmod(0o777)
    assert f"chmod 700 {home}" in refusal(home)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_a_home_that_may_not_be_written_in(tmp_path):
    tmp_path.chmod(0o500)
    assert "Permission denied" in refusal(tmp_path / "home")


def test_a_home_on_a_read_only_filesystem():
    if not os.access("/proc/self", os.R_OK):
        pytest.skip("no /proc here")
    assert "cannot be used" in refusal("/proc/self/home")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"servr: {}\n", ":1: servr: unknown key; did you mean server?"),
        (b"server:\n  port: many\n", ":2: server.port: expected an integer"),
        (b"endpoints:\n  a: {url: x, command: [y]}\n", ":2: endpoints.a"),
        (b"a: [\n", "agenthub.yaml:"),
        (b"demo: \xff\xfe\n", "agenthub.yaml"),
        (b"\0", "agenthub.yaml"),
        (
            b"endpoints: {a: {command: [x], fallbacks: [b]}, b: {command: [x], fallbacks: [a]}}",
            "fallback",
        ),
    ],
)
def test_a_wrong_file(home, text, words):
    config(home, "")
    (home / "agenthub.yaml").write_bytes(text)
    assert words in refusal(home)
    assert not (home / "admin-token").exists() or b"fallbacks" in text


def test_a_file_that_is_not_there(home, tmp_path):
    assert str(tmp_path / "no.yaml") in refusal(home, "--config", str(tmp_path / "no.yaml"))


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_file_that_is_none(home, tmp_path, make):
    make(tmp_path / "odd.yaml")
    assert "odd.yaml" in refusal(home, "--config", str(tmp_path / "odd.yaml"))


def test_a_wrong_variable(home):
    words = refusal(home, env={"AGENTHUB__LIMITS__DRAIN_MS": "soon"})
    assert words.startswith("AGENTHUB__LIMITS__DRAIN_MS: limits.drain_ms: expected an integer")


def test_a_loose_token(home):
    with serving(home, "--no-demo") as hub:
        hub.stop()
    (home / "admin-token").chmod(0o644)
    assert "Other users may read" in refusal(home)


def test_a_database_of_the_future(home):
    with serving(home, "--no-demo") as hub:
        hub.stop()
    with closing(sqlite3.connect(home / "agenthub.db")) as db:
        db.execute("PRAGMA user_version = 99")
    assert "written by a newer AgentHub" in refusal(home)


def full_disk():
    """No file may grow: a full disk, as far as this process and its children can tell."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def test_a_full_disk(home):
    assert refusal(home, before=full_disk) == f"{home}/hub.lock cannot be written: File too large."


def test_a_hub_whose_disk_fills_goes_on_says_so_and_heals(home):
    """F47's small sibling: calls need no disk."""
    with serving(home) as hub:
        hub.until_well("calculator")
        database = next(pid for pid in hub.family() if is_database(pid))
        _, hard = resource.prlimit(database, resource.RLIMIT_FSIZE)
        resource.prlimit(database, resource.RLIMIT_FSIZE, (0, hard))
        new = {"name": "new", "command": [sys.executable]}
        status, problem = hub.ask("POST", "/api/endpoints", new)
        assert (status, problem["code"]) == (503, "storage_failed")
        assert [e["name"] for e in hub.get("/api/endpoints")["endpoints"]][-1] == "flaky"
        assert hub.call("calculator", "add", a=2, b=3) == (200, "5")
        until(lambda: hub.ask("GET", "/readyz")[1]["status"] == "degraded", what="the news")
        assert "nothing can be written" in hub.get("/api/check")["reasons"][0]
        resource.prlimit(database, resource.RLIMIT_FSIZE, (hard, hard))
        assert hub.ask("POST", "/api/endpoints", new)[0] == 201
        hub.stop()
    with closing(sqlite3.connect(home / "agenthub.db")) as db:
        assert db.execute("SELECT name, outcome FROM call").fetchall() == [("add", "ok")]


def is_database(pid):
    return b"database.py" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_home_whose_name_is_not_utf_8_works(tmp_path):
    home = os.fsencode(tmp_path) + b"/\xff\n\x1b[31m"
    with serving(os.fsdecode(home), log=tmp_path / "odd") as hub:
        hub.until_well("calculator")
        assert hub.call("calculator", "add", a=2, b=3) == (200, "5")
        assert hub.stop() == 0
        assert "\x1b" not in hub.words()


def test_a_stale_lock_and_a_stale_address_do_not_matter(home):
    home.mkdir(mode=0o700)
    with only_hub(home):
        pass
    (home / "hub.json").write_text('{"pid": 1, "url": "http://127.0.0.1:1"}')
    (home / "hub.json").chmod(0o600)
    with serving(home, "--no-demo") as hub:
        assert hub.ask("GET", "/readyz")[0] == 200


def test_the_program_is_the_same_by_its_own_name(tmp_path):
    program = shutil.which("agenthub", path=Path(sys.executable).parent)
    assert program is not None
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("agenthub 0.")
