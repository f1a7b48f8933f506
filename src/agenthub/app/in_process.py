"""The hub of a home in this process, without listening: for one command of the command line."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from agenthub.app.settling import settled
from agenthub.app.wiring import open_hub
from agenthub.inbound.rest import create_rest
from agenthub.keys import ADMIN
from agenthub.outbound.telemetry import LOG_LEVEL, set_up_log
from agenthub.server import Server
from agenthub.settings import Options
from agenthub.tasks import Tasks

if TYPE_CHECKING:
    from starlette.types import ASGIApp

PIECES_MAX = 100
SETTLE_S = 5.0
"""So long a command waits for servers that neither answer nor fail."""


@asynccontextmanager
async def open_offline(home: Path, connect: Sequence[str] | None) -> AsyncGenerator["Door"]:
    if not logging.getLogger().handlers:
        # A command says itself what it did; in its log stands what went wrong beside that.
        set_up_log(os.environ.get(LOG_LEVEL, "error"))
    async with open_hub(Options(home), brief=True) as opened:
        hub = opened.hub
        wanted = [server for server in hub.catalog.servers() if _wanted(server, connect)]
        for server in wanted:
            server.start()
        door = Door(create_rest(hub), hub.tasks)  # Slow to load; the servers start meanwhile.
        await settled(hub, [server.name for server in wanted], SETTLE_S)
        yield door


class Door:
    """The REST door, with the rights of the admin token."""

    def __init__(self, rest: "ASGIApp", tasks: Tasks) -> None:
        self._rest, self._tasks = rest, tasks

    async def request(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body. `path` with its query."""
        status, parts = 500, list[bytes]()
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if sent:  # The command stays until it has its answer.
                await asyncio.Event().wait()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                parts.append(message.get("body", b""))

        await self._rest(_scope(method, path), receive, send)
        return status, b"".join(parts)

    def follow(self, path: str) -> "Flow":
        """The body of a stream, piece by piece. `path` with its query."""
        return Flow(self._rest, path, self._tasks)


class Flow:
    """A stream of the REST door, while somebody waits for its next piece."""

    def __init__(self, rest: "ASGIApp", path: str, tasks: Tasks) -> None:
        self._rest, self._path, self._tasks = rest, path, tasks
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(PIECES_MAX)
        self._task: asyncio.Task[object] | None = None

    async def next(self) -> bytes:
        """Empty: it is over."""
        if self._task is None:
            self._task = self._tasks.start(self._read(), f"follow {self._path}")
        return await self._pieces.get()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _read(self) -> None:
        async def receive() -> dict[str, Any]:
            return await asyncio.get_running_loop().create_future()

        async def send(message: Any) -> None:
            if message.get("body"):
                await self._pieces.put(message["body"])

        await self._rest(_scope("GET", self._path), receive, send)
        await self._pieces.put(b"")


def _scope(method: str, path: str) -> dict[str, Any]:
    raw, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"offline"), (b"content-type", b"application/json")],
        "client": None,
        "server": None,
        "state": {"caller": ADMIN},
    }


def _wanted(server: Server, connect: Sequence[str] | None) -> bool:
    return server.endpoint.enabled and (connect is None or server.name in connect)
