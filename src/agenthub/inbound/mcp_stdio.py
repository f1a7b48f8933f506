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
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import structs

from agenthub.domain.call import Era
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.errors import HubError, InvalidParams
from agenthub.domain.outcome import Cause
from agenthub.domain.view import view_of
from agenthub.hub import Hub
from agenthub.inbound.mcp import McpDoor
from agenthub.inbound.mcp_legacy import LegacyDoor
from agenthub.inbound.mcp_questions import Questions, withdrawal
from agenthub.inbound.mcp_request import check_version
from agenthub.inbound.mcp_said import check_meta, said_in
from agenthub.inbound.mcp_session import RunningRequests, Session, read_initialize
from agenthub.inbound.mcp_terms import (
    CANCELLED,
    INVALID_REQUEST,
    LISTEN,
    METHOD_NOT_FOUND,
    SUPPORTED,
    VERSION_KEY,
    Answered,
    Context,
    UnderWay,
)
from agenthub.inbound.pipe import PipeReader, PipeWriter
from agenthub.inbound.subscriptions import Subscription, Subscriptions
from agenthub.wire.jsonrpc import (
    InvalidRequest,
    Kind,
    Message,
    error_message,
    notification,
    read_message,
    request_message,
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
        self._legacy = LegacyDoor(self._door, self._subscriptions)
        self._era: Era | None = None
        self._session: Session | None = None
        self._running = RunningRequests()
        self._listening: dict[bytes, Subscription] = {}
        self._open: set[StdioReplies] = set()
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
            if self._session is not None:
                self._session.questions.give_up()
            await self._finish(self._limits.drain_ms)
        finally:
            self._subscriptions.close()
            self._door.close()
            self._running.cancel_all(Cause.SHUTDOWN)
            await self._finish(GIVE_UP_MS)
            if self._session is not None:
                self._legacy.leave(self._session)
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
            if self._session is not None and self._session.stream is not None:
                self._session.stream.resume()

    def began(self, message_id: bytes, replies: "StdioReplies") -> None:
        """A request is under way."""
        self._running.add(message_id, replies)
        self._open.add(replies)

    def ended(self, message_id: bytes, replies: "StdioReplies") -> None:
        self._running.discard(message_id, replies)
        self._open.discard(replies)
        self._idle.set()

    def _error(
        self, message_id: bytes | None, code: int, words: str, data: Mapping[str, Any] | None = None
    ) -> None:
        self.write(error_message(message_id, code, words, data))

    def _refuse(self, message_id: bytes | None, error: HubError) -> None:
        error.request_id = error.request_id or self._hub.ids()
        self._error(message_id, error.code, str(error), error.data())

    # ------------------------------------------------------------ reading

    def _take(self, line: bytes | None) -> None:
        if line is None:
            self._error(None, INVALID_REQUEST, f"A line is over {self._limits.body_bytes} bytes")
            return
        try:
            message = read_message(line)
        except (BadJson, InvalidRequest) as error:
            self._refuse(getattr(error, "message_id", None), error)
            return
        if self._era is None:
            self._decide(message)
        if message.kind is Kind.RESPONSE:
            if self._session is not None:
                self._session.questions.answer(message)
            return
        if self._session is not None:
            self._take_legacy(self._session, message, len(line))
        elif message.kind is Kind.NOTIFICATION:
            if message.method == CANCELLED:
                self._cancel(message)
        elif self._era is Era.MODERN:
            self._take_modern(message, len(line))
        else:
            self._take_early(message)

    def _decide(self, message: Message) -> None:
        """The first message that says so decides the era."""
        if VERSION_KEY in message.meta or message.method == "server/discover":
            self._era = Era.MODERN

    def _take_early(self, message: Message) -> None:
        """Before the era is known."""
        if message.method == "initialize":
            self._begin(message)
        elif message.method == "ping":
            self.write(result_message(message.id, b"{}"))
        else:
            words = "Begin with `initialize`, or say the protocol's version in `_meta`"
            self._refuse(message.id, InvalidParams(words))

    # ------------------------------------------------------------ the new era

    def _take_modern(self, message: Message, size: int) -> None:
        if message.method == "initialize":
            words = "This process speaks 2026-07-28 since its first message"
            self._error(message.id, METHOD_NOT_FOUND, words, {"supported": list(SUPPORTED)})
            return
        try:
            check_meta(message)
            check_version(message)
            caller = self._caller()
        except HubError as error:
            self._refuse(message.id, error)
            return
        said = said_in(message)
        context = Context(
            caller, self._face, Era.MODERN, said.capabilities, said.client_info, b"", "stdio", None,
            size,
        )  # fmt: skip
        if message.method == LISTEN:
            self._listen(message, context)
            return
        replies = StdioReplies(self, message.id)
        passage = self._door.request(message, context, replies)
        if passage is not None:
            replies.attend(passage)

    def _caller(self) -> Caller:
        """The client, as it is at this face. Raises UnknownTarget: the view has gone."""
        view = view_of(self._face)
        return STDIO if view is None else STDIO.within(self._hub.catalog.views.get(view))

    def _listen(self, message: Message, context: Context) -> None:
        feed = StdioFeed(self, message.id)
        try:
            opened = self._subscriptions.listen(message, context, feed)
        except HubError as error:
            self._refuse(message.id, error)
            return
        if old := self._listening.pop(message.id, None):
            old.drop()
        self._listening[message.id] = opened

    def _cancel(self, message: Message) -> None:
        wanted = bytes(message.params.get("requestId", b""))
        self._running.cancel(wanted)
        if subscription := self._listening.pop(wanted, None):
            subscription.drop()

    # ------------------------------------------------------------ the old era

    def _begin(self, message: Message) -> None:
        try:
            caller = self._caller()
            facts = read_initialize(message, caller, self._face)
        except HubError as error:
            self._refuse(message.id, error)
            return
        session = self._session = Session(facts, caller, "stdio")
        session.running = self._running
        self._era = Era.LEGACY
        self.write(result_message(message.id, self._legacy.welcome(session)))

    def _take_legacy(self, session: Session, message: Message, size: int) -> None:
        if message.kind is Kind.NOTIFICATION:
            if message.method == "notifications/initialized" and session.stream is None:
                session.stream = self._subscriptions.stream(
                    session.context, session.subscribed, StdioFeed(self, b"")
                )
            self._legacy.notification(session, message)
            return
        if message.method == "initialize":
            self._error(message.id, INVALID_REQUEST, "This session is initialized already")
            return
        try:
            session.context = structs.replace(session.context, caller=self._caller())
        except HubError as error:
            self._refuse(message.id, error)
            return
        replies = StdioReplies(self, message.id, session.questions)
        passage = self._legacy.request(session, message, replies, {"size_bytes": size})
        if passage is not None:
            replies.attend(passage)


class StdioReplies:
    """`Replies` to one request."""

    def __init__(
        self, door: StdioDoor, message_id: bytes, questions: Questions | None = None
    ) -> None:
        self._door = door
        self._id = message_id
        self._questions = questions
        """Of the session, in the old era: what the client was asked."""
        self._passage: UnderWay | None = None
        self._over = False
        self._unwanted = False

    def attend(self, passage: UnderWay) -> None:
        """The call is under way, or over already."""
        if not self._over:
            self._passage = passage
            self._door.began(self._id, self)

    def result(self, raw: bytes) -> None:
        self._finish(result_message(self._id, raw))

    def error(self, code: int, message: str, data: Mapping[str, Any] | bytes | None = None) -> None:
        self._finish(error_message(self._id, code, message, data))

    def notify(self, method: str, params: bytes) -> None:
        if not self._door.is_full:
            self._door.write(notification(method, params))

    def ask(self, method: str, params: bytes, answered: Answered) -> bool:
        if self._questions is None:
            return False
        question_id = self._questions.put(self, answered)
        self._door.write(request_message(question_id, method, params))
        return True

    def follow(self, under_way: UnderWay) -> None:
        self._passage = under_way

    def cancel(self, cause: Cause) -> None:
        """Whoever cancels a request hears no more of it."""
        self._unwanted = cause is Cause.CLIENT
        assert self._passage is not None, "only what is under way is listed anywhere"
        self._passage.cancel(cause)

    def _finish(self, message: bytes) -> None:
        self._over = True
        if self._questions:
            for question_id in self._questions.forget(self):
                self._door.write(notification(CANCELLED, withdrawal(question_id)))
        if not self._unwanted:
            self._door.write(message)
        self._door.ended(self._id, self)


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
        if self._id:
            self._door.write(result_message(self._id, result))
