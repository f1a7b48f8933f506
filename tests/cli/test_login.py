import webbrowser

import pytest
from support.cli_hub import listening

from agenthub.admission import SignInState
from agenthub.cli import login
from agenthub.domain.errors import InvalidParams

URL = "https://login.test/authorize?state=s"


@pytest.fixture
def opened(monkeypatch):
    """What was opened in a browser."""
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(login, "LOOK_S", 0)
    return opened


@pytest.fixture
def running(cli, home, module):
    """Commands, while a hub runs."""
    with listening(module.gate, home):
        yield cli


def states(*those):
    return [SignInState(*one) for one in those]


def test_a_sign_in_is_waited_for(running, opened):
    running.hub.sign_ins.states = states((True, "x"), (True, "x"), (False, ""))
    ended = running("login", "calculator")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"Sign in at:\n  {URL}\nSigned in to calculator.\n"
    assert opened == [URL]


def test_the_address_alone_will_do(running, opened):
    running.hub.sign_ins.states = states((False, ""))
    assert URL in running("login", "calculator", "--no-browser").out
    assert opened == []


def test_a_sign_in_that_failed_says_why(running, opened):
    running.hub.sign_ins.states = states((True, "x"), (False, "the sign-in failed: no"))
    ended = running("login", "calculator")
    assert ended.code == 1
    assert "Not signed in to calculator: the sign-in failed: no." in ended.err
    assert opened == [URL]


def test_one_that_cannot_begin_says_why(running, opened):
    running.hub.sign_ins.error = InvalidParams("calculator has no `oauth` in its record")
    ended = running("login", "calculator")
    assert ended.code == 1
    assert "has no `oauth` in its record" in ended.err
    assert opened == []


def test_the_hub_must_be_running(cli, opened):
    ended = cli("login", "calculator")
    assert ended.code == 1
    assert "start it with `agenthub serve`" in ended.err
    assert opened == []
