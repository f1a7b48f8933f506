"""The ASGI application: everything but the hot paths; and those too, where uvicorn is all there is.

gate ─► /healthz, /readyz ─► probes           raw ASGI
     ─► /mcp…             ─► the hot doors     through an adapter (asgi_exchange)
     ─► the rest          ─► REST              FastAPI, loaded by the first request that needs it

Source: attacks A04, A05, A09, A49; CVE-2026-48710 (nothing here is decided on `request.url`).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agenthub.domain.caller import Caller
from agenthub.inbound import rejection as no
from agenthub.inbound.asgi_exchange import AsgiExchange, serve
from agenthub.inbound.callback import CallbackDoor
from agenthub.inbound.challenge import WELL_KNOWN, Challenge, MetadataDoor
from agenthub.inbound.client_document import ClientDocumentDoor
from agenthub.inbound.edge import SAFE_HEADERS
from agenthub.inbound.exchange import HotDoor, Request
from agenthub.inbound.gate import Gate, Need
from agenthub.inbound.rejection import PROBLEM_JSON, Rejection
from agenthub.inbound.rest import create_rest
from agenthub.inbound.rest.health import HealthDoor
from agenthub.inbound.sign_in import SIGN_IN, SignInDoor
from agenthub.wire.oauth_client import CALLBACK, DOCUMENT

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from agenthub.hub import Hub

log = logging.getLogger(__name__)


class Web:
    """The application. `gate` is the listener's: one for both transports."""

    def __init__(self, hub: "Hub", gate: Gate, hot: Callable[[str], HotDoor | None]) -> None:
        self._hub = hub
        self._gate = gate
        self._hot = hot
        self._probes: ASGIApp = HealthDoor(hub.health)
        self._callback: ASGIApp = CallbackDoor(hub.sign_ins)
        self._document: ASGIApp = ClientDocumentDoor(hub.settings)
        self._sign_in: ASGIApp = SignInDoor(hub)
        self._metadata: ASGIApp = MetadataDoor(Challenge(hub.settings))
        self._rest: ASGIApp | None = None
        self._loading = asyncio.Lock()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        assert scope["type"] == "http", scope["type"]
        request_id = self._hub.ids()
        send = _Sender(send)
        try:
            await self._serve(scope, receive, send, request_id)
        except Exception:
            log.exception("A request failed", extra={"request_id": request_id})
            if send.is_begun:
                raise
            await _refuse(send, no.BUG, request_id)

    async def _serve(
        self, scope: "Scope", receive: "Receive", send: "Send", request_id: str
    ) -> None:
        headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        target: bytes = scope.get("raw_path") or scope["path"].encode("latin-1", "replace")
        peer = scope["client"][0] if scope.get("client") else ""
        verdict = self._gate.check(scope["method"], target, headers, peer)
        if isinstance(verdict, Rejection):
            await _refuse(send, verdict, request_id)
            return
        body = await self._read(receive)
        if isinstance(body, Rejection):
            await _refuse(send, body, request_id)
            return
        if body is None:
            return
        path, caller = verdict.address.path, verdict.caller
        door = self._hot(path)
        if door is not None:
            request = Request(scope["method"], path, scope["query_string"], headers, body)
            exchange = AsgiExchange(request, caller)
            await serve(door, exchange, receive, send, request_id)
            return
        if path.startswith(WELL_KNOWN):
            app = self._metadata
        elif path == CALLBACK:
            app = self._callback
        elif path == DOCUMENT:
            app = self._document
        elif path == SIGN_IN:
            app = self._sign_in
        elif verdict.address.need is Need.NOTHING:
            app = self._probes
        else:
            app = await self._loaded()
        await app(_admitted(scope, caller, request_id), _Replay(body, receive), send)

    async def _read(self, receive: "Receive") -> bytes | Rejection | None:
        """The whole body; None if the client went."""
        limits = self._hub.settings.limits
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(limits.body_timeout_ms / 1000):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > limits.body_bytes:
                        return no.TOO_LARGE
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            return no.SLOW

    async def _loaded(self) -> "ASGIApp":
        """REST. FastAPI takes a good part of a second to load, and calls go on meanwhile."""
        async with self._loading:
            if self._rest is None:
                self._rest = await asyncio.to_thread(create_rest, self._hub)
        return self._rest


class _Sender:
    """Adds what every answer has."""

    def __init__(self, send: "Send") -> None:
        self._send = send
        self.is_begun = False

    async def __call__(self, message: "Message") -> None:
        if message["type"] == "http.response.start":
            self.is_begun = True
            own = list(message.get("headers", []))
            names = {name.lower() for name, _ in own}
            safe = [header for header in SAFE_HEADERS if header[0] not in names]
            message = {**message, "headers": own + safe}
        await self._send(message)


class _Replay:
    """`receive` for a request whose body was read: gives it once, then waits for the end."""

    def __init__(self, body: bytes, receive: "Receive") -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> "Message":
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._receive()


def _admitted(scope: "Scope", caller: Caller, request_id: str) -> "Scope":
    state: dict[str, Any] = {**scope.get("state", {}), "caller": caller, "request_id": request_id}
    return {**scope, "state": state}


async def _refuse(send: "Send", refusal: Rejection, request_id: str) -> None:
    body = refusal.body(request_id)
    headers = [
        *refusal.headers,
        (b"content-type", PROBLEM_JSON),
        (b"content-length", str(len(body)).encode()),
    ]
    if refusal.close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
