"""A hot door behind any ASGI server: the same callbacks, written out by a coroutine.

The fallback for a uvicorn whose protocol class ours no longer fits: slower, and nothing else
(architecture, "The MCP data path").
"""

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from agenthub.domain.caller import Caller
from agenthub.inbound import rejection as no
from agenthub.inbound.exchange import Headers, HotDoor, Request
from agenthub.inbound.rejection import PROBLEM_JSON
from agenthub.inbound.turn import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message, Receive, Send

log = logging.getLogger(__name__)

BACKLOG_LOW = 16 * 1024
"""Bytes at which a door that had to wait may go on."""


class AsgiExchange:
    """`exchange.Exchange`; what the door writes is kept until `pump` has sent it."""

    def __init__(self, request: Request, caller: Caller) -> None:
        self.request = request
        self.caller = caller
        self.closed: Callable[[], None] | None = None
        self.drained: Callable[[], None] | None = None
        self.is_begun = False
        self.is_done = False
        self._messages: deque[Message] = deque()
        self._more = asyncio.Event()
        self._backlog = 0

    @property
    def backlog(self) -> int:
        return self._backlog

    def answer(self, status: int, body: bytes, headers: Headers = ()) -> None:
        if self.is_done:
            return
        own = list(headers)
        if body and all(name.lower() != b"content-type" for name, _ in own):
            own.append((b"content-type", b"application/json"))
        if status not in {204, 304}:
            own.append((b"content-length", str(len(body)).encode()))
        self.begin(status, own)
        self._end(b"" if self.request.method == "HEAD" else body)

    def begin(self, status: int, headers: Headers) -> None:
        if self.is_done:
            return
        assert not self.is_begun, "An answer was begun already"
        lines_of(headers)
        self.is_begun = True
        self._put({"type": "http.response.start", "status": status, "headers": list(headers)})

    def write(self, data: bytes) -> None:
        if self.is_done or not data:
            return
        assert self.is_begun, "Nothing was begun"
        self._put({"type": "http.response.body", "body": data, "more_body": True})

    def end(self) -> None:
        if not self.is_done:
            assert self.is_begun, "Nothing was begun"
            self._end(b"")

    def fail(self, request_id: str) -> None:
        """The door has a bug."""
        if self.is_begun:
            self.is_done = True
            self._more.set()
        else:
            headers = [*no.BUG.headers, (b"content-type", PROBLEM_JSON)]
            self.answer(no.BUG.status, no.BUG.body(request_id), headers)

    def gone(self) -> None:
        """The client went; the door hears of it once."""
        if not self.is_done:
            self.is_done = True
            self._messages.clear()
            self._more.set()
            closed, self.closed, self.drained = self.closed, None, None
            if closed is not None:
                closed()

    async def pump(self, send: "Send") -> None:
        """Send what the door writes until it has ended."""
        while self._messages or not self.is_done:
            if not self._messages:
                self._more.clear()
                await self._more.wait()
                continue
            message = self._messages.popleft()
            await send(message)
            before = self._backlog
            self._backlog = after = before - len(message.get("body", b""))
            if after <= BACKLOG_LOW < before and self.drained is not None:
                self.drained()

    async def watch(self, receive: "Receive") -> None:
        """Hear of the client's going."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone()

    def _end(self, body: bytes) -> None:
        self._put({"type": "http.response.body", "body": body, "more_body": False})
        self.is_done = True

    def _put(self, message: "Message") -> None:
        self._messages.append(message)
        self._backlog += len(message.get("body", b""))
        self._more.set()


async def serve(
    door: HotDoor, exchange: AsgiExchange, receive: "Receive", send: "Send", request_id: str
) -> None:
    """Let the door answer. Ends when it has, or when the client has gone."""
    try:
        door(exchange)
    except Exception:
        log.exception("A request failed", extra={"request_id": request_id})
        exchange.fail(request_id)
    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(exchange.watch(receive))
            await exchange.pump(send)
            watching.cancel()
    finally:
        exchange.gone()
