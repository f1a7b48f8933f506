"""A real listener on loopback, around a hub of fakes and one tiny hot door; and a raw client."""

import asyncio
import json
from contextlib import asynccontextmanager

from msgspec import structs
from support.rest_hub import RestHub
from support.stdio_hub import RealClock
from uvicorn import Config
from uvicorn.server import ServerState

from agenthub.inbound.gate import Gate
from agenthub.inbound.listener import Listener
from agenthub.inbound.web import Web
from agenthub.keys import KeyRing
from agenthub.outbound.issuer import Issuer
from agenthub.settings import AuthSettings, LimitSettings, ServerSettings, Settings
from agenthub.settings.issuers import terms_of
from agenthub.tasks import Tasks

ADMIN_TOKEN = "the-admin-token"
SECRET = b"s" * 32
JSON = "Content-Type: application/json"


class KeyStore:
    def __init__(self):
        self.rows = {}
        self.error = None

    async def put_key(self, row):
        if self.error is not None:
            raise self.error
        self.rows[row.id] = row


class HotDoors:
    """`/mcp` answers what it was sent; `/mcp/hold` waits; `/mcp/stream` begins and waits."""

    def __init__(self):
        self.seen = []
        self.held = []
        self.gone = []
        self.bug = None

    def __call__(self, path):
        if path != "/mcp" and not path.startswith("/mcp/"):
            return None
        return self.serve

    def serve(self, exchange):
        request = exchange.request
        self.seen.append(request)
        if self.bug is not None:
            self.bug(exchange)
        if request.path in {"/mcp/hold", "/mcp/stream"}:
            self.held.append(exchange)
            exchange.closed = lambda: self.gone.append(exchange)
            if request.path == "/mcp/stream":
                exchange.begin(200, [(b"content-type", b"text/event-stream")])
            return
        shown = {
            "method": request.method,
            "path": request.path,
            "query": request.query.decode(),
            "caller": exchange.caller.id,
            "size": len(request.body),
            "body": request.body[:100].decode("latin-1"),
        }
        exchange.answer(200, json.dumps(shown).encode())


class EdgeHub(RestHub):
    def __init__(self, settings):
        super().__init__()
        self.settings = settings
        self.clock = RealClock()
        self.key_store = KeyStore()
        self.tasks = Tasks()
        self.issuers = [
            Issuer(
                terms_of(name, one, settings.server.public_url), one.algorithms, one.jwks_url,
                self.clock, self.tasks,
            )
            for name, one in settings.auth.issuers.items()
        ]  # fmt: skip
        self.keys = KeyRing([], SECRET, ADMIN_TOKEN, self.key_store, self.clock, self.issuers)


def settings(*, anonymous=False, host="127.0.0.1", port=0, server=(), **limits):
    return Settings(
        server=structs.replace(ServerSettings(host=host, port=port), **dict(server)),
        auth=AuthSettings(anonymous_loopback=anonymous),
        limits=LimitSettings(**limits),
    )


class StockListener:
    """The fallback: the same application under uvicorn's own protocol class."""

    def __init__(self, hub, hot):
        self.hub = hub
        self.hot = hot
        self.state = ServerState()
        self.server = None

    async def start(self):
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(self.made, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        gate = Gate(self.hub.settings, self.hub.keys, port)
        self.config = Config(
            Web(self.hub, gate, self.hot), http="httptools", ws="none", lifespan="off",
            log_config=None, access_log=False,
        )  # fmt: skip
        self.config.load()
        return port

    def made(self):
        made = self.config.http_protocol_class(
            config=self.config, server_state=self.state, app_state={}
        )
        made.access_log = False
        return made

    async def close(self, drain_ms):
        del drain_ms
        self.server.close()
        for connection in list(self.state.connections):
            connection.transport.abort()
        for task in list(self.state.tasks):
            task.cancel()
        if self.state.tasks:
            await asyncio.wait(self.state.tasks, timeout=5)


class House:
    """The listener, its doors, and clients of it."""

    def __init__(self, made, listener=Listener):
        self.hub = EdgeHub(made)
        self.doors = HotDoors()
        self.listener = listener(self.hub, self.doors)
        self.port = 0

    @property
    def host(self):
        return f"Host: 127.0.0.1:{self.port}"

    def head(self, line="POST /mcp HTTP/1.1", *headers, key=ADMIN_TOKEN, host=None, body=b""):
        """A whole request as bytes; `{}`-free, so that a test can write anything."""
        lines = [line, self.host if host is None else host]
        if key is not None:
            lines.append(f"Authorization: Bearer {key}")
        lines.extend(headers)
        if body:
            lines += [f"Content-Length: {len(body)}", JSON]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    @asynccontextmanager
    async def client(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        try:
            yield Client(reader, writer)
        finally:
            writer.transport.abort()

    async def ask(self, data):
        """One connection, these bytes, the first answer."""
        async with self.client() as client:
            return await client.ask(data)


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    def __getitem__(self, name):
        return self.headers.get(name)


class Client:
    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def ask(self, data, *, head_only=False):
        await self.send(data)
        return await self.answer(head_only=head_only)

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, head_only=False, seconds=5):
        async with asyncio.timeout(seconds):
            head = await self.reader.readuntil(b"\r\n\r\n")
            line, *lines = head[:-4].split(b"\r\n")
            headers = {}
            for one in lines:
                name, _, value = one.decode("latin-1").partition(": ")
                assert name.lower() not in headers, name
                headers[name.lower()] = value
            status = int(line.split()[1])
            if head_only or status in {100, 204, 304}:
                return Answer(status, headers, b"")
            if headers.get("transfer-encoding") == "chunked":
                return Answer(status, headers, await self._chunks())
            if "content-length" not in headers:
                return Answer(status, headers, await self.reader.read())
            size = int(headers["content-length"])
            return Answer(status, headers, await self.reader.readexactly(size))

    async def chunk(self):
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n"
        return data

    async def _chunks(self):
        parts = []
        while data := await self.chunk():
            parts.append(data)
        return b"".join(parts)

    async def ended(self, seconds=5):
        """What came before the end of the connection, however it ended."""
        async with asyncio.timeout(seconds):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


@asynccontextmanager
async def open_house(*, drain_ms=0, made=None, listener=Listener, **more):
    house = House(made or settings(**more), listener)
    house.port = await house.listener.start()
    try:
        yield house
    finally:
        await house.listener.close(drain_ms)
