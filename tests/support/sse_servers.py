"""Servers that speak HTTP+SSE of 2024-11-05 as a script says, on loopback."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import json
from support.http_servers import FaultServer, HttpHouse, Peer, Request

from agenthub.outbound.http_connection import HttpLimits
from agenthub.outbound.mcp_http import HttpUpstream
from agenthub.outbound.mcp_sse import SseUpstream
from agenthub.outbound.mcp_url import Found, UrlUpstream
from agenthub.tasks import Tasks

ENDPOINT = "/messages?session=s"
Act = Callable[["SseServer", Request], Awaitable[None]]


class SseServer(FaultServer):
    """One stream at a time; `async with`. `call`: what it does with a tools/call."""

    def __init__(
        self,
        call: Act | None = None,
        *,
        events: tuple[bytes, ...] = (f"event: endpoint\ndata: {ENDPOINT}\n\n".encode(),),
        refusal: int = 404,
        capabilities: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(self._answer)
        self.call = call or echo
        self.events = events
        self.refusal = refusal
        self.capabilities = capabilities or {"tools": {}}
        self.status = 202
        """Of the answer to a POST."""
        self.tasks = Tasks()
        self.streams: list[Peer] = []
        self.answers: list[dict[str, Any]] = []
        """Responses of the client."""
        self.answered = asyncio.Event()

    async def stop(self) -> None:
        await self.tasks.close()
        await super().stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/sse"

    @property
    def stream(self) -> Peer:
        return self.streams[-1]

    def heard(self, method: str) -> list[Request]:
        """What was posted to the address that the server said."""
        return [one for one in self.requests if one.target == ENDPOINT and one.method == method]

    async def say(self, message: Any) -> None:
        await self.stream.event(message)

    async def result(self, request: Request, value: Any) -> None:
        await self.say({"jsonrpc": "2.0", "id": request.id, "result": value})

    async def _answer(self, request: Request, peer: Peer) -> None:
        if request.verb == "GET":
            await peer.stream()
            self.streams.append(peer)
            for event in self.events:
                await peer.chunk(event)
            await asyncio.Event().wait()
        elif request.target != ENDPOINT:
            await peer.answer(self.refusal, b"Cannot POST", "text/html")
        else:
            await peer.answer(self.status, b"Accepted", "text/plain")
            if self.status == 202:
                self.tasks.start(self._take(request), "a message")

    async def _take(self, request: Request) -> None:
        if request.method == "initialize":
            await self.result(
                request,
                {
                    "protocolVersion": "2024-11-05",
                    "capabilities": self.capabilities,
                    "serverInfo": {"name": "old", "version": "1"},
                },
            )
        elif request.method in {"ping", "logging/setLevel"}:
            await self.result(request, {})
        elif request.method == "tools/call":
            await self.call(self, request)
        elif not request.method:
            self.answers.append(request.message)
            self.answered.set()


class HoldingServer(SseServer):
    """Takes no message with one of these methods before it is `released`."""

    def __init__(self, call: Act | None, *methods: str) -> None:
        super().__init__(call)
        self.methods = methods
        self.held: list[Request] = []
        self.released = asyncio.Event()

    async def _answer(self, request: Request, peer: Peer) -> None:
        if request.target == ENDPOINT and request.method in self.methods:
            self.held.append(request)
            await self.released.wait()
        await super()._answer(request, peer)


async def echo(server: SseServer, request: Request) -> None:
    words = json.encode(request.arguments).decode()
    await server.result(request, {"content": [{"type": "text", "text": words}]})


async def silent(server: SseServer, request: Request) -> None:
    """Never answers."""


class UrlHouse(HttpHouse):
    """As HttpHouse, but the transport is found out."""

    def __init__(self, url: str, *, found: Found | None = None, **options: Any) -> None:
        declared = options.get("declared", b"{}")
        limits = {k: v for k, v in options.items() if k.endswith("_bytes")}
        super().__init__(url, **options)
        bounds = HttpLimits(**limits)
        self.found = found or Found()
        facts = (self.clock, self.tasks, bounds, declared, options.get("tokens"))
        self.upstream = UrlUpstream(
            lambda watcher: HttpUpstream(self.endpoint, watcher, *facts),
            lambda watcher: SseUpstream(self.endpoint, watcher, *facts),
            self.watcher, self.found, self.tasks,
        )  # fmt: skip
