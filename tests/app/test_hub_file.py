"""Finding the hub that runs with a home, and nothing else that has its port or its process id."""

import json
import os
import socket

import pytest

from agenthub.app.hub_file import FILE, Running, announce, find, withdraw
from agenthub.cli.remote import find_hub
from agenthub.outbound.home import only_hub


@pytest.fixture
def url():
    """Of something that listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_hub_that_runs_is_found_by_those_who_look(tmp_path, url):
    with only_hub(tmp_path):
        announce(tmp_path, url, 1_700_000_000)
        assert find(tmp_path) == Running(os.getpid(), url)
        (tmp_path / "admin-token").write_text("x" * 40)
        (tmp_path / "admin-token").chmod(0o600)
        assert find_hub(tmp_path).url == url
        assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
        withdraw(tmp_path)
        assert find(tmp_path) is None
        assert not (tmp_path / FILE).exists()


def test_a_file_that_a_killed_hub_left_finds_nothing(tmp_path, url):
    """Its port may be another program's by now, and its process id too."""
    with only_hub(tmp_path):
        announce(tmp_path, url, 1_700_000_000)
    assert find(tmp_path) is None


def test_a_file_of_another_process_than_the_one_that_runs_finds_nothing(tmp_path, url):
    with only_hub(tmp_path):
        announce(tmp_path, url, 1_700_000_000)
        facts = json.loads((tmp_path / FILE).read_text())
        (tmp_path / FILE).write_text(json.dumps({**facts, "pid": os.getppid()}))
        assert find(tmp_path) is None
        withdraw(tmp_path)
        assert (tmp_path / FILE).exists(), "it is not ours to remove"


def test_a_hub_that_does_not_listen_yet_is_not_found(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with only_hub(tmp_path):
        announce(tmp_path, f"http://127.0.0.1:{port}", 1_700_000_000)
        assert find(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 1}', '{"pid": "1", "url": 2}'])
def test_a_damaged_file_finds_nothing(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    (tmp_path / FILE).chmod(0o600)
    assert find(tmp_path) is None


def test_no_file_finds_nothing(tmp_path):
    assert find(tmp_path) is None
    withdraw(tmp_path)
