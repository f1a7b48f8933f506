"""MCP over stdin and stdout, for clients that start their servers: one client, both eras.

    first message      the process speaks, for its life
    ──────────────────────────────────────────────────────────────────────────────────
    `initialize`       the old era: one session
    any with `_meta`   the new era: each request says how it is meant

Requests run beside one another, and answers come as they are ready. A client that does not read
is not read either. At the end of input what runs is finished, within the time that a stop may
take. A line is a message; nothing but messages is ever written.

Source: MCP specification 2026-07-28 and 2025-11-25, "stdio"; "Versioning, Backward Compatibility".
"""

import asyncio
import contextlib
from typing import Final

import msgspec

from agenthub.domain.call import Era
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.errors import HubError
from agenthub.domain.outcome import Cause
from agenthub.domain.view import view_of
from agenthub.hub import Hub
from agenthub.inbound.mcp.door import McpDoor
from agenthub.inbound.mcp.news.subscriptions import Subscription, Subscriptions
from agenthub.inbound.mcp.said import check_meta, said_in
from agenthub.inbound.mcp.terms import (
    CANCELLED,
    INVALID_REQUEST,
    LISTEN,
    METHOD_NOT_FOUND,
    SUPPORTED,
    VERSION_KEY,
    Context,
)
from agenthub.inbound.mcp.transport.channel import ChannelReplies, LegacyChannel
from agenthub.inbound.mcp.transport.legacy import LegacyDoor
from agenthub.inbound.mcp.transport.pipe import PipeReader, PipeWriter
from agenthub.inbound.mcp.transport.request import check_version
from agenthub.wire.jsonrpc import (
    InvalidRequest,
    Kind,
    Message,
    error_message,
    notification,
    read_message,
    result_message,
)
from agenthub.wire.strict_json import BadJson

STDIO: Final = Caller("stdio", frozenset({Scope.TOOLS, Scope.READ}))
"""Whoever could start this process could also have read the admin token."""


GIVE_UP_MS: Final = 1_000
"""How long what was cancelled may take to say so."""


class StdioDoor:
    """Serves the client at the other end of two file descriptors.

    `face`: one server's name, `v/` and a view's, or None for all.
    """

    def __init__(self, hub: Hub, face: str | None = None, stdin: int = 0, stdout: int = 1) -> None:
        self._hub = hub
        self._face = face
        self._limits = hub.settings.limits
        self._reader = PipeReader(stdin, self._limits.body_bytes)
        self._writer = PipeWriter(stdout, self._drained)
        self._door = McpDoor(hub)
        self._subscriptions = Subscriptions(hub, self._door)
        context = Context(STDIO, face, Era.LEGACY, door="stdio")
        self._old = LegacyChannel(self, LegacyDoor(self._door, self._subscriptions), context)
        self._running = self._old.running
        self._is_modern = False
        self._listening: dict[bytes, Subscription] = {}
        self._open: set[ChannelReplies] = set()
        self._idle = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def run(self) -> None:
        """Until the client ends its input, or this is cancelled."""
        try:
            while lines := await self._reader.lines():
                for line in lines:
                    self._take(line)
                await self._room.wait()
            if self._old.session is not None:
                self._old.session.questions.give_up()
            await self._finish(self._limits.drain_ms)
        finally:
            self._subscriptions.close()
            self._door.close()
            self._running.cancel_all(Cause.SHUTDOWN)
            await self._finish(GIVE_UP_MS)
            self._old.leave()
            await self._writer.close()

    async def _finish(self, span_ms: int) -> None:
        """Let what runs end, within this time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(span_ms / 1000):
                while self._open:
                    self._idle.clear()
                    await self._idle.wait()

    # ------------------------------------------------------------ writing

    def write(self, message: bytes) -> None:
        """One message, on one line."""
        if b"\n" in message or b"\r" in message:
            message = msgspec.json.format(message, indent=-1)
        self._writer.write(message + b"\n")
        if self.is_full:
            self._room.clear()

    @property
    def is_full(self) -> bool:
        return self._writer.backlog > self._limits.client_buffer_bytes

    def _drained(self) -> None:
        if not self.is_full or self._writer.broken:
            self._room.set()
            for subscription in list(self._listening.values()):
                subscription.resume()
            self._old.resume()

    def news_ended(self) -> None:
        """The client may still ask for other things."""

    def began(self, message_id: bytes, replies: ChannelReplies) -> None:
        """A request is under way."""
        self._running.add(message_id, replies)
        self._open.add(replies)

    def ended(self, message_id: bytes, replies: ChannelReplies) -> None:
        self._running.discard(message_id, replies)
        self._open.discard(replies)
        self._idle.set()

    # ------------------------------------------------------------ reading

    def _take(self, line: bytes | None) -> None:
        if line is None:
            words = f"A line is over {self._limits.body_bytes} bytes"
            self.write(error_message(None, INVALID_REQUEST, words))
            return
        try:
            message = read_message(line)
        except (BadJson, InvalidRequest) as error:
            self._old.refuse(getattr(error, "message_id", None), error)
            return
        if not self._is_modern and self._old.session is None:
            # The first message that says so decides the era.
            self._is_modern = VERSION_KEY in message.meta or message.method == "server/discover"
        if not self._is_modern:
            self._old.take(message, {"size_bytes": len(line)})
        elif message.kind is Kind.REQUEST:
            self._take_modern(message, len(line))
        elif message.method == CANCELLED:
            self._cancel(message)

    # ------------------------------------------------------------ the new era

    def _take_modern(self, message: Message, size: int) -> None:
        if message.method == "initialize":
            words = "This process speaks 2026-07-28 since its first message"
            data = {"supported": list(SUPPORTED)}
            self.write(error_message(message.id, METHOD_NOT_FOUND, words, data))
            return
        try:
            check_meta(message)
            check_version(message)
            caller = self.caller()
        except HubError as error:
            self._old.refuse(message.id, error)
            return
        said = said_in(message)
        context = Context(
            caller, self._face, Era.MODERN, said.capabilities, said.client_info, b"", "stdio", None,
            size,
        )  # fmt: skip
        if message.method == LISTEN:
            self._listen(message, context)
            return
        replies = ChannelReplies(self, message.id)
        passage = self._door.request(message, context, replies)
        if passage is not None:
            replies.attend(passage)

    def caller(self) -> Caller:
        """The client, as it is at this face. Raises UnknownTarget: the view has gone."""
        view = view_of(self._face)
        return STDIO if view is None else STDIO.within(self._hub.catalog.views.get(view))

    def _listen(self, message: Message, context: Context) -> None:
        feed = StdioFeed(self, message.id)
        try:
            opened = self._subscriptions.listen(message, context, feed)
        except HubError as error:
            self._old.refuse(message.id, error)
            return
        if old := self._listening.pop(message.id, None):
            old.drop()
        self._listening[message.id] = opened

    def _cancel(self, message: Message) -> None:
        wanted = bytes(message.params.get("requestId", b""))
        self._running.cancel(wanted)
        if subscription := self._listening.pop(wanted, None):
            subscription.drop()


class StdioFeed:
    """`subscriptions.Feed` among all other messages."""

    def __init__(self, door: StdioDoor, message_id: bytes) -> None:
        self._door = door
        self._id = message_id

    @property
    def full(self) -> bool:
        return self._door.is_full

    def notify(self, method: str, params: bytes) -> None:
        self._door.write(notification(method, params))

    def end(self, result: bytes) -> None:
        self._door.write(result_message(self._id, result))
