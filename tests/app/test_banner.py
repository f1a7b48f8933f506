"""What `serve` shows: a ready entry, commands that can be copied, and no more secrets than said."""

import io
import json
import os
import shlex
import sys
from pathlib import Path

import pytest

from agenthub.app import banner as module
from agenthub.app.banner import Facts, banner, show

KEY = "ah_1_" + "5" * 64


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """As in a shell whose folder is a clone."""
    monkeypatch.delenv("AGENTHUB_HOME", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [".venv/bin/agenthub", "serve"])


def facts(**other):
    given = {
        "url": "http://127.0.0.1:8787",
        "home": Path("/srv/hub"),
        "key": KEY,
        "servers": 3,
        "demo_pid": 4711,
    }
    return Facts(**(given | other))


def entry(text):
    return json.loads(text[text.index("{\n") : text.rindex("\n}") + 2])


def trials(text):
    lines = text.partition("To try it")[2].splitlines()
    return [line.strip() for line in lines[1::2]]


def test_the_entry_is_ready_for_a_client():
    text = banner(facts(), colour=False)
    assert entry(text) == {
        "mcpServers": {
            "agenthub": {
                "type": "http",
                "url": "http://127.0.0.1:8787/mcp",
                "headers": {"Authorization": f"Bearer {KEY}"},
            }
        }
    }
    assert "shown this once" in text


def test_later_starts_show_no_secret_and_say_how_to_get_one():
    text = banner(facts(key=""), colour=False)
    assert KEY not in text
    assert "shown this once" not in text
    assert ".venv/bin/agenthub connect CLIENT --home /srv/hub" in text
    assert entry(text)["mcpServers"]["agenthub"]["headers"] == {
        "Authorization": "Bearer ${AGENTHUB_KEY}"
    }


def test_it_says_where_the_admin_token_lies():
    assert "The admin token is in /srv/hub/admin-token." in banner(facts(), colour=False)


def test_the_three_commands_can_be_copied_into_another_terminal():
    """It has neither this environment nor, perhaps, the program on its PATH."""
    home = Path("/srv/my hub's")
    call, kill, look = trials(banner(facts(home=home), colour=False))
    tail = ["--home", str(home)]
    assert shlex.split(call) == [
        ".venv/bin/agenthub", "call", "calculator", "add", "--arg", "a=2", "--arg", "b=3", *tail,
    ]  # fmt: skip
    assert kill.startswith("kill -9 4711; .venv/bin/agenthub call calculator add --arg a=20")
    assert shlex.split(look) == [".venv/bin/agenthub", "check", *tail]


def test_the_usual_home_is_not_named(monkeypatch):
    monkeypatch.setattr(module, "default_home", lambda: Path("/srv/hub"))
    assert trials(banner(facts(), colour=False))[-1] == ".venv/bin/agenthub check"
    monkeypatch.setenv("AGENTHUB_HOME", "/srv/hub")
    assert trials(banner(facts(), colour=False))[-1].endswith("check --home /srv/hub")


def test_a_program_on_the_path_is_called_by_its_name(monkeypatch, tmp_path):
    program = tmp_path / "bin" / "agenthub"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(sys, "argv", [str(program), "serve"])
    assert trials(banner(facts(), colour=False))[-1].startswith("agenthub check")
    monkeypatch.setattr(sys, "argv", ["/opt/other/agenthub", "serve"])
    assert trials(banner(facts(), colour=False))[-1].startswith("/opt/other/agenthub check")
    monkeypatch.setattr(sys, "argv", ["/x/agenthub/__main__.py", "serve"])
    assert trials(banner(facts(), colour=False))[-1].startswith(
        f"{sys.executable} -m agenthub check"
    )


def test_without_the_demo_there_is_nothing_to_try():
    text = banner(facts(demo_pid=None, servers=1), colour=False)
    assert "To try it" not in text
    assert text.startswith("AgentHub listens on http://127.0.0.1:8787 with 1 server.\n")


class Terminal(io.StringIO):
    def isatty(self):
        return True


class TestStream:
    def test_a_terminal_gets_colours_and_a_pipe_none(self, monkeypatch):
        terminal, pipe = Terminal(), io.StringIO()
        show(facts(), terminal)
        show(facts(), pipe)
        assert "\x1b[1mhttp://" in terminal.getvalue()
        assert "\x1b" not in pipe.getvalue()
        monkeypatch.setenv("NO_COLOR", "1")
        plain = Terminal()
        show(facts(), plain)
        assert plain.getvalue() == pipe.getvalue()

    def test_a_reader_that_went_away_harms_nobody(self):
        reading, writing = os.pipe()
        os.close(reading)
        stream = os.fdopen(writing, "w")
        show(facts(), stream)
        stream.close()

    def test_a_home_that_is_not_utf_8_can_be_shown(self):
        home = Path(os.fsdecode(b"/srv/\xff\x1b[31m"))
        banner(facts(home=home), colour=False).encode()
