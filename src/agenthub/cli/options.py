"""Options that many commands share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from agenthub.cli.ending import Failed

Command = TypeVar("Command", bound=Callable[..., Any])


HOME_FILES: Final = ("hub.lock", "agenthub.db", "agenthub.yaml")
"""One of these is in every home: where a hub ran, and where one is configured."""


def home_option(command: Command) -> Command:
    """`--home DIR`: gives a hub's folder, the default one included. Raises Failed for another."""
    return _option(_used)(command)


def new_home_option(command: Command) -> Command:
    """`--home DIR`, for what sets up a hub: its folder need not be there yet."""
    return _option(_home)(command)


def json_option(command: Command) -> Command:
    """`--json`: the same facts for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def _option(callback: Callable[..., Path]) -> Callable[[Command], Command]:
    return click.option(
        "--home",
        type=click.Path(file_okay=False, path_type=Path),
        callback=callback,
        metavar="DIR",
        help="The hub's folder; else $AGENTHUB_HOME, else the platform's data folder.",
    )


def _used(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path:
    home = _home(ctx, parameter, value)
    if not any((home / name).exists() for name in HOME_FILES):
        variable = "$AGENTHUB_HOME" if os.environ.get("AGENTHUB_HOME") else "the default"
        by = variable if value is None else "--home"
        raise Failed(
            f"There is no hub in {home} ({by}); `agenthub serve` or `agenthub add` makes one there."
        )
    return home


def _home(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path:
    del ctx, parameter
    if value is not None:
        return value.expanduser().absolute()
    from agenthub.settings import default_home  # noqa: PLC0415 - 60 ms, when help is asked for

    return default_home()
