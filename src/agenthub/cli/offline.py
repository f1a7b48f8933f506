"""The hub of a home that nobody runs: opened in this process for one command, without listening."""

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agenthub.cli.composition import OfflineDoor, app
from agenthub.cli.ending import Failed
from agenthub.cli.remote import find_hub
from agenthub.cli.requests import Answer, Request, Requests
from agenthub.cli.terminal import progress
from agenthub.domain.errors import StorageFailed
from agenthub.outbound.home import holder, secure_home
from agenthub.tasks import Tasks

QUEUE_S = 120.0
"""How long a command waits for others like it: a hundred at once take their turns."""
SETTLE_S = 15.0
"""How long it waits for a hub that starts, or stops: ten seconds to drain, five to close."""


class OfflineHub:
    """`requests.Requests` on a hub in this process."""

    def __init__(self, runner: asyncio.Runner, door: OfflineDoor) -> None:
        self._runner = runner
        self._door = door

    @property
    def url(self) -> str | None:
        return None

    def send(self, request: Request) -> Answer:
        return self.send_all([request])[0]

    def send_all(self, requests: Sequence[Request]) -> list[Answer]:
        return self._runner.run(self._send_all(requests))

    def follow(self, path: str, after: int) -> Generator[bytes]:
        del after  # The connection is a queue in this process, which is never lost.
        flow = self._door.follow(path)
        try:
            while piece := self._runner.run(flow.next()):
                yield piece
        finally:
            self._runner.run(flow.close())

    async def _send_all(self, requests: Sequence[Request]) -> list[Answer]:
        return list(await asyncio.gather(*(self._send(request) for request in requests)))

    async def _send(self, request: Request) -> Answer:
        body = b"" if request.body is None else json.dumps(request.body).encode()
        try:
            async with asyncio.timeout(request.patience_s):
                return Answer(*await self._door.request(request.method, request.path, body))
        except TimeoutError:
            raise Failed(f"No answer within {request.patience_s:g} s.") from None


@contextmanager
def offline_hub(home: Path, connect: Sequence[str] | None) -> Generator[Requests]:
    """The hub of this home, or the one that was started while this command waited its turn."""
    secure_home(home)
    with _turn(home):
        running = _settled(home)
        if running is not None:
            yield running
            return
        with asyncio.Runner() as runner:
            opened = _Opened(home, connect)
            try:
                door = runner.run(opened.open())
            except StorageFailed:
                # A hub may have taken the home between the look and the opening.
                running = _settled(home) if holder(home) is not None else None
                if running is None:
                    raise
                door = None
            if door is None:
                assert running is not None
                yield running
                return
            try:
                yield OfflineHub(runner, door)
            finally:
                runner.run(opened.close())


class _Opened:
    """Holds the hub open in one task: what opens it must close it."""

    def __init__(self, home: Path, connect: Sequence[str] | None) -> None:
        self._home = home
        self._connect = connect
        self._over = asyncio.Event()
        self._tasks = Tasks()
        self._holding: asyncio.Task[object] | None = None

    async def open(self) -> OfflineDoor:
        ready: asyncio.Future[OfflineDoor] = asyncio.get_running_loop().create_future()
        self._holding = self._tasks.start(self._hold(ready), "offline hub")
        return await ready

    async def close(self) -> None:
        self._over.set()
        if self._holding is not None:
            await self._holding

    async def _hold(self, ready: asyncio.Future[OfflineDoor]) -> None:
        try:
            async with app().offline(self._home, self._connect) as door:
                ready.set_result(door)
                await self._over.wait()
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)


def _settled(home: Path) -> Requests | None:
    """The hub that runs with this home; one that starts or stops is waited for."""
    end = time.monotonic() + SETTLE_S
    with progress("Waiting for the hub"):
        while (running := find_hub(home)) is None and holder(home) is not None:
            if time.monotonic() > end:
                break
            time.sleep(0.05)
    return running


@contextmanager
def _turn(home: Path) -> Generator[None]:
    """One such command at a time; the others wait."""
    lock = os.open(home / "cli.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + QUEUE_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Failed(f"Another agenthub command has {home} for too long.") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(lock)
