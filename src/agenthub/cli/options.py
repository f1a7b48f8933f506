"""Options that many commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def home_option(command: Command) -> Command:
    """`--home DIR`: gives a folder, the default one included."""
    return click.option(
        "--home",
        type=click.Path(file_okay=False, path_type=Path),
        callback=_home,
        metavar="DIR",
        help="The hub's folder; else $AGENTHUB_HOME, else the platform's data folder.",
    )(command)


def json_option(command: Command) -> Command:
    """`--json`: the same facts for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def _home(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path:
    del ctx, parameter
    if value is not None:
        return value.expanduser().absolute()
    from agenthub.settings import default_home  # noqa: PLC0415 - 60 ms, when help is asked for

    return default_home()
