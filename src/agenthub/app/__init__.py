"""The composition root: what the command line runs. Each part is loaded when it is needed."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agenthub.app.in_process import Door
    from agenthub.settings import Options


def serve(options: "Options") -> int:
    """Run the hub until it is told to stop; returns the exit code."""
    from agenthub.app.serving import run  # noqa: PLC0415

    return run(options)


def stdio(options: "Options", view: str | None = None) -> int:
    """Run the hub, or one view, for one client on stdin and stdout; returns the exit code."""
    from agenthub.app.one_client import run  # noqa: PLC0415

    return run(options, view)


def offline(home: Path, connect: Sequence[str] | None) -> AbstractAsyncContextManager["Door"]:
    """Open the hub of this home in this process, without listening.

    Connects the named servers (None: all) and waits until each has answered or failed, at most a
    few seconds. Raises StorageFailed if another hub has the home.
    """
    from agenthub.app.in_process import open_offline  # noqa: PLC0415

    return open_offline(home, connect)
