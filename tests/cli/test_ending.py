import os
import subprocess
import sys

import click
import pytest

from agenthub.cli.ending import BROKEN_PIPE, FAILED, INTERRUPTED, Failed, run
from agenthub.domain.errors import BadSetting


def command(what):
    @click.group()
    @click.option("--debug", is_flag=True)
    def root(debug):
        pass

    @root.command()
    def go():
        return what()

    return root


def raising(error):
    def raise_it():
        raise error

    return command(raise_it)


def test_a_command_that_returns_a_number_ends_with_it():
    assert run(command(lambda: 3), ["go"]) == 3
    assert run(command(lambda: None), ["go"]) == 0


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Failed("No.\nReally"), "error: No. Really\n"),
        (BadSetting("f:3: server.port: expected a number"),
         "error: f:3: server.port: expected a number\n"),
        (FileNotFoundError(2, "No such file", "/x"), "error: /x: No such file\n"),
        (OSError(28, "No space left"), "error: No space left\n"),
        (ExceptionGroup("in a task", [ExceptionGroup("below", [Failed("No.")])]), "error: No.\n"),
        (ValueError("odd \x1b[31m"),
         "error: ValueError: odd �[31m (a bug; `agenthub --debug …` shows where)\n"),
    ],
)  # fmt: skip
def test_what_went_wrong_is_one_line_and_never_a_traceback(capsys, error, text):
    assert run(raising(error), ["go"]) == FAILED
    assert capsys.readouterr().err == text


def test_debug_shows_where_a_bug_is():
    with pytest.raises(ValueError, match="odd"):
        run(raising(ValueError("odd")), ["--debug", "go"])
    assert run(raising(ValueError("odd")), ["go"]) == FAILED


def test_wrong_usage_is_two_and_shows_the_usage(capsys):
    assert run(command(lambda: 0), ["go", "--no"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Usage: agenthub go")
    assert "error: No such option" in shown
    assert run(raising(click.UsageError("odd")), ["go"]) == 2


def test_nothing_to_do_shows_the_help(capsys):
    assert run(command(lambda: 0), []) == 2
    assert "Usage: agenthub [OPTIONS] COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_ends_quietly(capsys, error):
    assert run(raising(error), ["go"]) == INTERRUPTED
    assert capsys.readouterr().err.strip() == ""


def test_a_command_that_ends_the_program_does(capsys):
    with pytest.raises(SystemExit):
        run(raising(SystemExit(0)), ["go"])


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_reader_that_went_away_ends_it_quietly(size):
    """Written at once, or when Python flushes what is left."""
    code = (
        "import sys, click\nfrom agenthub.cli.ending import run\n"
        f"@click.command()\ndef go():\n    print('x' * {size})\n"
        "sys.exit(run(go, []))"
    )
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (BROKEN_PIPE, b"")
