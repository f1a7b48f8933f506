"""The composition root, as the command line uses it: loaded only by commands that need a hub."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from agenthub.settings import Options


class OfflineDoor(Protocol):
    """The REST door of a hub that does not listen."""

    async def request(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body. `path` with its query; with the rights of the admin token."""
        ...

    def follow(self, path: str) -> "Flow":
        """The bytes of a stream's body."""
        ...


class Flow(Protocol):
    """A stream of the REST door."""

    async def next(self) -> bytes:
        """The next piece; empty at its end."""
        ...

    async def close(self) -> None: ...


class App(Protocol):
    """`agenthub.app`."""

    def serve(self, options: "Options") -> int:
        """Run the hub until it is told to stop; returns the exit code."""
        ...

    def stdio(self, options: "Options", view: str | None) -> int:
        """Run the hub, or one view, for one client on stdin and stdout; returns the exit code."""
        ...

    def offline(
        self, home: Path, connect: Sequence[str] | None
    ) -> AbstractAsyncContextManager[OfflineDoor]:
        """Open the hub of this home in this process, without listening.

        Connects the named servers (None: all) and waits until each has answered or failed,
        at most a few seconds. Raises StorageFailed if another hub has the home.
        """
        ...


def app() -> App:
    return cast("App", import_module("agenthub.app"))
