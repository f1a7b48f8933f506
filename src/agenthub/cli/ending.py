"""How a command ends: an exit code, and at most one line on stderr; never a traceback.

0 done · 1 it could not be done · 2 wrong usage · 130 Ctrl-C · 141 the reader went away
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import click

from agenthub.cli.terminal import one_line, paint

FAILED = 1
INTERRUPTED = 128 + signal.SIGINT
BROKEN_PIPE = 128 + signal.SIGPIPE


class Failed(Exception):
    """It could not be done; the text says why, in one line, and what to do."""


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """Run it and return the exit code."""
    debug = _asked_for_debug(arguments)
    try:
        code = _run(command, arguments)
        sys.stdout.flush()
    except click.ClickException as error:
        _show(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as ended:
        # Click makes a 1 of a broken pipe, and ends shell completion by another.
        if ended.code == FAILED:
            return _reader_gone()
        raise
    except Exception as error:  # the outermost one: nobody sees a traceback
        if debug:
            raise
        _tell(error)
        return FAILED
    return code


def _run(command: click.Command, arguments: Sequence[str]) -> int:
    result = command.main(list(arguments), prog_name="agenthub", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _reader_gone() -> int:
    # Python flushes stdout once more at its end, which must not fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return BROKEN_PIPE


def _show(error: click.ClickException) -> None:
    """Wrong usage: the usage, then what is wrong."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    if isinstance(error, click.UsageError) and error.ctx is not None:
        print(error.ctx.get_usage(), file=sys.stderr)
    hint = ""
    if isinstance(error, click.NoSuchOption) and error.ctx and error.ctx.info_name == "add":
        hint = " The options of a server's own command come after `--`."
    _say(error.format_message() + hint)


def _tell(error: Exception) -> None:
    while isinstance(error, ExceptionGroup):
        # A task group wraps what ended it; who runs a command wants to know that alone.
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    if _is_expected(error):
        text = str(error)
    elif isinstance(error, OSError) and error.strerror:
        text = _said(error)
    else:
        text = f"{type(error).__name__}: {error} (a bug; `agenthub --debug …` shows where)"
    _say(text)


def _said(error: OSError) -> str:
    if not error.filename:
        return str(error.strerror)
    from agenthub.outbound.disk import why  # noqa: PLC0415 - most commands end well

    return f"{error.filename}: {why(error, Path(str(error.filename)))}"


def _say(text: str) -> None:
    print(f"{paint('error:', 'red', sys.stderr)} {one_line(text)}", file=sys.stderr)


def _is_expected(error: Exception) -> bool:
    if isinstance(error, Failed):
        return True
    from agenthub.domain.errors import HubError  # noqa: PLC0415 - most commands end well

    return isinstance(error, HubError)


def _asked_for_debug(arguments: Sequence[str]) -> bool:
    """Whether `--debug` stands before the command, where it belongs to agenthub itself."""
    for argument in arguments:
        if argument == "--debug":
            return True
        if not argument.startswith("-"):
            return False
    return False
