import sys

import pytest
from support.cli_hub import Cli, HubModule, Terminal


@pytest.fixture
def user_home(tmp_path, monkeypatch):
    """The user's folder, with nothing in it and nothing of the real one in sight."""
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME",
                 "COPILOT_HOME", "NO_COLOR", "COLUMNS"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch, user_home):
    """A folder where a hub has been."""
    folder = tmp_path / "hub-home"
    folder.mkdir(mode=0o700)
    (folder / "hub.lock").touch(0o600)
    monkeypatch.setenv("AGENTHUB_HOME", str(folder))
    return folder


@pytest.fixture
def module(monkeypatch):
    module = HubModule()
    monkeypatch.setitem(sys.modules, "agenthub.app", module)
    return module


@pytest.fixture
def cli(monkeypatch, home, module):
    return Cli(monkeypatch, home, module)


@pytest.fixture
def hub(module):
    return module.hub


@pytest.fixture
def terminal(monkeypatch):
    """Call it in the test: stdout and stderr are a terminal then."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def attach():
        out, err = Terminal(), Terminal()
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        return out, err

    return attach
