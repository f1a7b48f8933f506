"""Commands run in this process, against the real REST application of a hub for tests."""

import asyncio
import fcntl
import io
import json
import os
import socket
import sys
import threading
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2
import uvicorn
from support.rest_hub import ADMIN, Gate, RestHub

import agenthub.app
from agenthub.app.in_process import Flow
from agenthub.cli.ending import run
from agenthub.cli.root import root
from agenthub.inbound.rest import create_rest
from agenthub.tasks import Tasks

TOKEN = "admin-token-of-the-tests"


class Ended(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        return True


class Door:
    """`composition.OfflineDoor` of a hub for tests."""

    def __init__(self, app):
        self._app = app
        self.asked = []

    async def request(self, method, path, body):
        self.asked.append((method, path))
        transport = httpx2.ASGITransport(app=self._app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub.test") as client:
            headers = {"content-type": "application/json"} if body else {}
            answer = await client.request(method, path, content=body, headers=headers)
        return answer.status_code, answer.content

    def follow(self, path):
        self.asked.append(("GET", path))
        return Flow(self._app, path, Tasks())


class HubModule:
    """Stands for `agenthub.app`; remembers how it was used."""

    def __init__(self):
        # What belongs to the real package is imported from where it is.
        self.__name__, self.__path__ = agenthub.app.__name__, agenthub.app.__path__
        self.__spec__ = agenthub.app.__spec__
        self.hub = RestHub()
        self.gate = Gate(create_rest(self.hub))
        self.door = Door(self.gate)
        self.opened = []
        self.options = []
        self.code = 0
        self.error = None

    def serve(self, options):
        self.options.append(("serve", options))
        return self.code

    def stdio(self, options, view):
        self.options.append(("stdio", options, view))
        return self.code

    @asynccontextmanager
    async def offline(self, home, connect):
        self.opened.append((home, connect))
        if self.error is not None:
            raise self.error
        yield self.door


class Cli:
    """`cli("list", "--json")` runs the command and gives how it ended."""

    def __init__(self, monkeypatch, home, module):
        self.home = home
        self.module = module
        self.hub = module.hub
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments, stdin="", terminal=False):
        out, err = (Terminal(), Terminal()) if terminal else (io.StringIO(), io.StringIO())
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            code = run(root, [str(argument) for argument in arguments])
        return Ended(code, out.getvalue(), err.getvalue())


@contextmanager
def listening(app, home: Path):
    """The application behind a real socket, and the files that a running hub leaves."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=asyncio.run, args=[server.serve([listener])])
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with running(home, url):
                yield url
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive()


@contextmanager
def running(home: Path, url):
    """The files of a hub that runs in this process, as they are while it does."""
    home.mkdir(mode=0o700, exist_ok=True)
    facts = {"pid": os.getpid(), "url": url, "started_at": 0}
    for name, text in (("hub.json", json.dumps(facts)), ("admin-token", TOKEN)):
        put_private(home / name, text)
    with held(home):
        yield


@contextmanager
def held(home: Path, name="hub.lock"):
    """A hub has this home."""
    home.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(home / name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)


def put_private(file: Path, text):
    file.unlink(missing_ok=True)
    file.touch(0o600)
    file.write_text(text)


class Bearer:
    """The application, for who has a token: the admin's, or a key that is not revoked."""

    def __init__(self, module):
        self._module = module
        self.tokens = []

    async def __call__(self, scope, receive, send):
        headers = dict(scope["headers"])
        token = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        self.tokens.append(token)
        rows = self._module.hub.keys.rows
        alive = any(row.id in token and not row.revoked for row in rows.values())
        known = token == TOKEN or (token.endswith("the-secret") and alive)
        self._module.gate.caller = ADMIN if known else None
        await self._module.gate(scope, receive, send)
