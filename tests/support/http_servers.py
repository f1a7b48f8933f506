"""HTTP servers that behave as a script says, byte for byte, on loopback."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import msgspec
from msgspec import Raw, json
from support.stdio_hub import RealClock, Receiver, Watcher

from agenthub.domain.endpoint import Endpoint, Timeouts
from agenthub.domain.outcome import Cause, Reply
from agenthub.domain.span import SECOND
from agenthub.outbound.http_connection import HttpLimits
from agenthub.outbound.mcp_http import HttpUpstream
from agenthub.outbound.oauth_tokens import TokenSource
from agenthub.ports import Outgoing
from agenthub.tasks import Tasks

if TYPE_CHECKING:
    from ssl import SSLContext

MODERN = "2026-07-28"


class Request(msgspec.Struct):
    verb: str
    target: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    connection: int
    """Its number, from 1."""

    @property
    def message(self) -> dict[str, Any]:
        return json.decode(self.body) if self.body else {}

    @property
    def method(self) -> str:
        return self.message.get("method", "")

    @property
    def id(self) -> Any:
        return self.message.get("id")

    @property
    def tool(self) -> str:
        return self.message["params"]["name"]

    @property
    def arguments(self) -> dict[str, Any]:
        return self.message["params"].get("arguments", {})


class Peer:
    """The server's end of one connection, and all that can be done with it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(
        self,
        status: int = 200,
        body: bytes = b"",
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        if kind:
            lines.append(f"Content-Type: {kind}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def json(self, value: Any, status: int = 200, **headers: str) -> None:
        names = {name.replace("_", "-"): text for name, text in headers.items()}
        await self.answer(status, json.encode(value), headers=names)

    async def result(self, request: Request, value: Any, **headers: str) -> None:
        await self.json({"jsonrpc": "2.0", "id": request.id, "result": value}, **headers)

    async def error(
        self, request: Request, code: int, status: int = 200, data: Any = None, **headers: str
    ) -> None:
        error = {"code": code, "message": f"error {code}"} | ({"data": data} if data else {})
        await self.json({"jsonrpc": "2.0", "id": request.id, "error": error}, status, **headers)

    async def stream(self) -> None:
        """The head of a stream of events."""
        await self.raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )

    async def chunk(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def event(self, value: Any) -> None:
        await self.chunk(b"event: message\ndata: " + json.encode(value) + b"\n\n")

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


Script = Callable[[Request, Peer], Awaitable[None]]


class FaultServer:
    """Each request goes to the script; what it does not answer stays unanswered."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.connections = 0
        self.open = 0
        """Connections that are open now."""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.tls: SSLContext | None = None

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def listen(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, reuse_address=True, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As if its process died."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def count(self, method: str) -> int:
        return sum(request.method == method for request in self.requests)

    def calls(self) -> list[Request]:
        return [request for request in self.requests if request.method == "tools/call"]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self.open += 1
        self._writers.add(writer)
        peer = Peer(reader, writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while not reader.at_eof():
                request = await _read(reader, number)
                self.requests.append(request)
                await self.script(request, peer)
        self._writers.discard(writer)
        self.open -= 1
        writer.close()


async def _read(reader: asyncio.StreamReader, number: int) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    verb, target, _ = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(verb, target, headers, body, number)


DISCOVERED = {
    "resultType": "complete",
    "supportedVersions": [MODERN],
    "capabilities": {"tools": {}},
    "instructions": "be kind",
    "ttlMs": 0,
    "cacheScope": "private",
    "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "fault", "version": "1"}},
}


def modern(call: Script | None = None, discovered: dict[str, Any] | None = None) -> Script:
    """A modern server whose `tools/call` is scripted; by default it echoes."""

    async def script(request: Request, peer: Peer) -> None:
        if request.method == "server/discover":
            await peer.result(request, discovered or DISCOVERED)
        elif call is not None and request.method == "tools/call":
            await call(request, peer)
        else:
            await echo(request, peer)

    return script


async def echo(request: Request, peer: Peer) -> None:
    if request.method != "tools/call":
        await peer.error(request, -32601, 404)
        return
    text = str(request.arguments.get("text", request.tool))
    await peer.result(request, {"content": [{"type": "text", "text": text}]})


class Legacy:
    """A server of 2025: `initialize`, a session, and whatever `call` does."""

    def __init__(
        self,
        call: Script = echo,
        *,
        refusal: Script | None = None,
        capabilities: dict[str, Any] | None = None,
        stream: Script | None = None,
        sessions: bool = True,
    ) -> None:
        self.call = call
        self.refusal = refusal
        self.capabilities = {"tools": {}} if capabilities is None else capabilities
        self.stream = stream
        self.sessions = sessions
        self.session = 0
        self.alive: set[str] = set()
        self.posted: list[dict[str, Any]] = []
        """Notifications and answers."""

    async def __call__(self, request: Request, peer: Peer) -> None:
        session = request.headers.get("mcp-session-id")
        if request.verb == "POST" and request.method == "initialize":
            await self._initialize(request, peer)
        elif request.method == "server/discover" or (self.sessions and session is None):
            await (self.refusal or no_session)(request, peer)
        elif self.sessions and session not in self.alive:
            await peer.answer(
                404, b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"x"}}'
            )
        elif request.verb == "DELETE":
            self.alive.discard(session or "")
            await peer.answer(200, kind="")
        elif request.verb == "GET":
            if self.stream is None:
                await peer.answer(405, kind="")
            else:
                await self.stream(request, peer)
        elif request.id is None or not request.method:
            self.posted.append(request.message)
            await peer.answer(202, kind="")
        else:
            await self.call(request, peer)

    async def _initialize(self, request: Request, peer: Peer) -> None:
        self.session += 1
        headers = {"Mcp_Session_Id": f"s{self.session}"} if self.sessions else {}
        self.alive.add(f"s{self.session}")
        result = {
            "protocolVersion": "2025-06-18",
            "capabilities": self.capabilities,
            "serverInfo": {"name": "old", "version": "1"},
        }
        await peer.result(request, result, **headers)


async def hang(request: Request, peer: Peer) -> None:
    """No answer, until the client goes."""
    await peer.reader.read(1)


async def no_session(request: Request, peer: Peer) -> None:
    """As the Python SDK 1.30 says it."""
    error = {"code": -32600, "message": "Bad Request: Missing session ID"}
    await peer.json({"jsonrpc": "2.0", "id": "server-error", "error": error}, 400)


def outgoing(tool: str, meta: dict | None = None, seconds: float = 10, **arguments) -> Outgoing:
    return Outgoing(
        method="tools/call",
        name=tool,
        params={"arguments": Raw(json.encode(arguments))},
        meta={key: Raw(json.encode(value)) for key, value in (meta or {}).items()},
        deadline=RealClock().now() + int(seconds * SECOND),
    )


class HttpHouse:
    """One HTTP upstream with all it needs; `async with` ends everything."""

    def __init__(
        self,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        connect_ms: int = 5_000,
        idle_ms: int = 60_000,
        connections: int | None = None,
        declared: bytes = b"{}",
        tokens: TokenSource | None = None,
        **limits: int,
    ) -> None:
        self.clock = RealClock()
        self.watcher = Watcher()
        self.tasks = Tasks()
        self.endpoint = Endpoint(
            "house",
            url=url,
            headers=headers or {},
            timeouts=Timeouts(connect_ms=connect_ms, idle_ms=idle_ms),
        )
        self.upstream = HttpUpstream(
            self.endpoint, self.watcher, self.clock, self.tasks, HttpLimits(**limits), declared,
            tokens,
        )  # fmt: skip
        if connections is not None:
            self.upstream._pool._size = connections

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.upstream.close()
        await self.tasks.close()

    async def up(self) -> Self:
        self.upstream.start()
        await self.watcher.until("connected")
        return self

    def send(self, asked: Outgoing, seconds: float = 10):
        """An attempt on its way, which is cancelled at its deadline, as the gateway does."""
        receiver = Receiver()
        attempt = self.upstream.send(asked, receiver)
        assert not receiver.reply.done(), "finished from inside send"
        timer = asyncio.get_running_loop().call_later(seconds, attempt.cancel, Cause.DEADLINE)
        receiver.reply.add_done_callback(lambda _: timer.cancel())
        return receiver, attempt

    def begin(self, tool: str, meta: dict | None = None, seconds: float = 10, **arguments):
        return self.send(outgoing(tool, meta, seconds, **arguments), seconds)

    async def call(
        self, tool: str, meta: dict | None = None, seconds: float = 10, **arguments
    ) -> Reply:
        receiver, _ = self.begin(tool, meta, seconds, **arguments)
        return await asyncio.wait_for(receiver.reply, seconds + 5)


async def ask(call: Script, meta: dict | None = None, **options: int) -> Reply:
    """What becomes of one call to a modern server that answers so."""
    async with FaultServer(modern(call)) as server, HttpHouse(server.url, **options) as house:
        await house.up()
        return await house.call("tool", meta)
