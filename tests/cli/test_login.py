import json
import webbrowser

import pytest
from msgspec import structs
from support.cli_hub import listening

from agenthub.admission import SignInState, SignOut
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


def lines(ended):
    return [json.loads(line) for line in ended.out.splitlines()]


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
    assert ended.err == "error: calculator has no `oauth` in its record.\n"
    assert opened == []
    assert "no server named 'nothing'" in running("login", "nothing").err


def test_the_hub_must_be_running(cli, opened):
    ended = cli("login", "calculator")
    assert ended.code == 1
    assert "start it with `agenthub serve`" in ended.err
    assert opened == []


def test_until_when_it_lasts_and_what_it_lacks_is_told_where_it_is_known(running, opened):
    running.hub.sign_ins.states = [
        SignInState(False, "", signed_in=True, ends_s=1_700_000_000, wanted=("a", "b"))
    ]
    out = running("login", "calculator").out
    assert "Signed in to calculator until 2023-11-1" in out
    assert out.endswith("; it lacks scopes: a b.\n")


def test_a_program_gets_the_address_first_and_then_how_it_ended(running, opened):
    running.hub.sign_ins.states = [
        SignInState(True, "x"),
        SignInState(False, "", signed_in=True, renews=True, scopes=("a",)),
    ]
    ended = running("login", "calculator", "--json", "--no-browser")
    begun, done = lines(ended)
    assert (ended.code, ended.err) == (0, "")
    assert begun == {"name": "calculator", "url": URL}
    assert (done["name"], done["signed_in"], done["renews"]) == ("calculator", True, True)
    running.hub.sign_ins.states = states((False, "the sign-in failed: no"))
    ended = running("login", "calculator", "--json", "--no-browser")
    assert ended.code == 1
    assert lines(ended)[1]["problem"] == "the sign-in failed: no"


@pytest.mark.parametrize(
    ("done", "words"),
    [
        (SignOut(True, True, ""), "Signed out of calculator; its tokens are revoked."),
        (
            SignOut(True, False, "it cannot be."),
            "Signed out of calculator. Its tokens are removed, but not revoked: it cannot be.",
        ),
        (SignOut(False, False, ""), "Nobody was signed in to calculator."),
    ],
)
def test_a_sign_out_says_what_became_of_the_tokens(running, done, words):
    running.hub.sign_ins.signed_out = done
    ended = running("logout", "calculator")
    assert (ended.code, ended.out) == (0, f"{words}\n")
    shown = running("logout", "calculator", "--json").json
    assert shown == {"name": "calculator", **structs.asdict(done)}


def test_a_sign_out_needs_no_running_hub(cli, module, home):
    assert cli("logout", "calculator").code == 0
    assert cli.hub.sign_ins.ended == ["calculator"]
    assert module.opened == [(home, ["calculator"])]


def test_a_sign_out_that_cannot_be_says_why(running):
    running.hub.sign_ins.error = InvalidParams("the hub signs in to calculator by itself")
    ended = running("logout", "calculator")
    assert ended.code == 1
    assert ended.err == "error: the hub signs in to calculator by itself.\n"
    assert "no server named 'nothing'" in running("logout", "nothing").err
