import io
import sys

from agenthub.cli.terminal import note, one_line, paint, plain, progress, width


def test_what_a_terminal_would_obey_is_taken_out():
    """A47."""
    assert plain("a\x1b[31mb\x07\x9b\u202e\u2066c\td\n") == "a�[31mb����c\td\n"
    assert one_line("a\n b\r\x1bc") == "a b �c"


def test_only_a_terminal_that_wants_colours_gets_them(terminal, monkeypatch):
    terminal()
    assert paint("ok", "green") == "\x1b[32mok\x1b[0m"
    assert paint("ok", "") == "ok"
    assert paint("ok", "green", io.StringIO()) == "ok"
    monkeypatch.setenv("TERM", "dumb")
    assert paint("ok", "green") == "ok"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("ok", "green") == "ok"


def test_a_pipe_is_as_wide_as_it_needs(terminal, monkeypatch):
    terminal()
    monkeypatch.setenv("COLUMNS", "33")
    assert width(sys.stdout) == 33
    assert width(io.StringIO()) is None


def test_progress_is_for_who_looks_and_goes_when_it_is_done(terminal, monkeypatch):
    out, err = terminal()
    with progress("Looking\nat it"):
        assert err.getvalue() == "Looking at it …"
    assert err.getvalue().endswith("\r\x1b[K")
    assert out.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress("Looking"):
        assert sys.stderr.getvalue() == ""


def test_a_note_is_one_line_beside_the_output(terminal):
    out, err = terminal()
    note("a\nb")
    assert (out.getvalue(), err.getvalue()) == ("", "a b\n")
