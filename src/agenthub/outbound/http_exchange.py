"""One request over HTTP and its answer: a JSON body, or a stream of events that ends in one.

    waiting ──begin──► sent ──head──► JSON body ──────────────────► reply
       │                 │     └────► events: notifications, …, answer ► reply
       └── unreached     └── lost, timed out, too large, no MCP ────► reply

Who asked hears of the reply once (`_tell`). An answer counts only if it has this exchange's id,
by value and type (F15).
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from msgspec import UNSET, Struct, structs

from agenthub.domain.outcome import Ending, Reply, Written
from agenthub.domain.span import Nanoseconds
from agenthub.outbound import mcp_message as wire
from agenthub.outbound.flood import BREATH_LINES, LINE_SPAN, MINUTE, STREAM_LINES
from agenthub.outbound.http_answer import explain, media_type, retry_after_ms
from agenthub.outbound.http_connection import Connection, HttpLimits
from agenthub.outbound.mcp_message import Message
from agenthub.ports import Clock
from agenthub.wire.sse import SseParser

REFUSAL_BYTES = 64 * 1024
"""Read of an answer that is no success; what is longer is judged by its status alone."""


class ExchangeOwner(Protocol):
    """What an exchange needs of its server."""

    clock: Clock
    limits: HttpLimits
    patience: Nanoseconds

    def mint_loss(self) -> int:
        """A new number for one lost connection."""
        ...

    def lost(self) -> None:
        """A connection was lost: see whether another one can be had (R6)."""
        ...

    def ask(self, exchange: "Exchange") -> None:
        """Send it on some connection, if there is room."""
        ...


class Exchange(Struct, kw_only=True, eq=False):
    """Implements `http_connection.Asker`; subclasses say what is sent and who hears the reply.

    A struct, because one is made for each attempt, and most of what it may need it never does.
    """

    id: int
    patience: Nanoseconds
    _owner: ExchangeOwner
    connection: Connection | None = None
    reply: Reply | None = None
    done: bool = False
    status: int = 0
    headers: Mapping[bytes, bytes] = {}
    _parts: list[bytes] = []
    _size: int = 0
    _lines: int = 0
    """Of its stream."""
    _lines_max: int = STREAM_LINES
    _is_json: bool = False
    _sse: SseParser | None = None
    _again: bool = False
    """Whether it was sent a second time, because the first time not a byte left."""
    _paused: bool = False
    """Whether who asked does not keep up."""

    # ---------------------------------------------------------------- for subclasses

    def request(self) -> bytes:
        """The whole request. Called when a connection is there."""
        raise NotImplementedError

    def _tell(self, reply: Reply) -> None:
        raise NotImplementedError

    def _notified(self, message: Message) -> None:
        """A notification on its own stream."""

    def _asked(self, message: Message, message_id: int | str) -> None:
        """A request of the server's, on its own stream."""

    def _other(self, kind: bytes, data: bytes) -> None:
        """An event that is no message."""

    # ---------------------------------------------------------------- from the pool

    @property
    def written(self) -> Written:
        return self._left()

    def _left(self) -> Written:
        """How much of the request has left this process."""
        connection = self.connection
        if connection is None or not connection.sent:
            return Written.NONE
        return Written.ALL if connection.flushed else Written.PARTIAL

    def begin(self, connection: Connection) -> bool:
        """Take the connection and send. False: it is not wanted any more."""
        if self.done:
            return False
        try:
            data = self.request()
        except ValueError as wrong:
            detail = f"the request cannot be written: {str(wrong)[:200]}"
            reply = Reply(Ending.PROTOCOL, Written.NONE, detail=detail)
            asyncio.get_running_loop().call_soon(self.finish, reply)
            return False
        self.connection = connection
        connection.send(self, data)
        if self._paused:
            connection.pause()
        return True

    def finish(self, reply: Reply) -> None:
        """Tell the end, once."""
        if not self.done:
            self.done = True
            if self._parts:
                self._parts.clear()
            self._tell(reply)

    # ---------------------------------------------------------------- from the connection

    @property
    def decided(self) -> bool:
        return self.reply is not None

    def answered(self, headers: Mapping[bytes, bytes], body: bytes) -> None:
        self.status, self.headers, self._is_json = 200, headers, True
        self._hear(body)
        self.finish(self.reply or self._no_answer())

    def headed(self, status: int, headers: dict[bytes, bytes]) -> None:
        self.status, self.headers = status, headers
        encoding = headers.get(b"content-encoding")
        if encoding is not None and encoding.strip().lower() not in {b"identity", b""}:
            self._decide(Ending.PROTOCOL, "the answer is compressed, which was not asked for")
            return
        kind = media_type(headers)
        if status < 300 and kind == b"text/event-stream":
            self._sse = SseParser(self._owner.limits.event_bytes)
            return
        self._is_json = kind == b"application/json"
        length = headers.get(b"content-length", b"")
        if status < 300 and length.isdigit() and int(length) > self._owner.limits.response_bytes:
            self._decide_too_large()

    def fed(self, data: bytes) -> None:
        if self.reply is not None:
            return
        self._size += len(data)
        if self._sse is not None:
            self._feed_events(self._sse, data)
        elif self._size <= (
            self._owner.limits.response_bytes if self.status < 300 else REFUSAL_BYTES
        ):
            self._parts.append(data)
        elif self.status < 300:
            self._decide_too_large()
        else:
            self._decide_by_status()

    def over(self) -> None:
        reply = self.reply or self._read_whole()
        if self.connection is not None and not self.connection.flushed:
            reply = structs.replace(reply, written=Written.PARTIAL)
        self.finish(reply)

    def broke(self, ending: Ending, detail: str) -> None:
        if self.done:
            return
        connection, written = self.connection, self.written
        untouched = connection is not None and not connection.sent and not connection.heard
        if ending is Ending.LOST and untouched and not self._again:
            # The peer had closed it, as peers do with idle ones, and the write itself failed: not
            # a byte has left, so nobody can have run it. Any other loss stays a loss: a request
            # that has left may have been read, however idle its connection was (R28).
            self._again, self.connection = True, None
            self._owner.ask(self)
            return
        if self.reply is None:
            loss = 0
            if ending is Ending.LOST:
                loss = self._owner.mint_loss()
                self._owner.lost()
            self.reply = Reply(ending, written, status=self.status, loss=loss, detail=detail)
        self.finish(self.reply)

    # ---------------------------------------------------------------- reading

    def _decide(self, ending: Ending, detail: str) -> None:
        self.reply = Reply(ending, status=self.status, detail=detail)

    def _decide_too_large(self) -> None:
        self._decide(
            Ending.TOO_LARGE, f"the answer is over {self._owner.limits.response_bytes:,} bytes"
        )

    def _decide_by_status(self) -> None:
        self.reply = Reply(
            Ending.STATUS,
            status=self.status,
            retry_after_ms=retry_after_ms(self.headers, self._owner.clock.wall()),
            detail=explain(self.status, self.headers).problem,
        )

    def _feed_events(self, parser: SseParser, data: bytes) -> None:
        lines = data.count(b"\n") + data.count(b"\r")
        self._lines += lines
        began = self._owner.clock.now() if lines > BREATH_LINES else None
        for event in parser.feed(data):
            if event.data and event.kind in {b"", b"message"}:
                self._hear(event.data)
            else:
                self._other(event.kind, event.data)
            if self.reply is not None or self.done:
                return
        if began is not None:
            self._take_breath(lines, began)
        if parser.overflowed:
            limit = self._owner.limits.event_bytes
            self._decide(Ending.TOO_LARGE, f"an event of the answer is over {limit:,} bytes")
        elif self._size > self._owner.limits.stream_bytes:
            limit = self._owner.limits.stream_bytes
            self._decide(Ending.TOO_LARGE, f"the answer's stream is over {limit:,} bytes")
        elif self._lines > self._lines_max:
            detail = f"the answer's stream is a flood: over {self._lines_max:,} lines"
            self._decide(Ending.TOO_LARGE, detail)

    def _take_breath(self, lines: int, began: Nanoseconds) -> None:
        """Read on after a while in which others have the loop: three times as long as this took."""
        connection, clock = self.connection, self._owner.clock
        if connection is not None and not self._paused:
            connection.pause()
            span = max(lines * LINE_SPAN, 3 * (clock.now() - began))
            clock.after(span, lambda: self._read_on(connection))

    def _read_on(self, connection: Connection) -> None:
        if connection.asker is self and not self._paused:
            connection.resume()

    def _read_whole(self) -> Reply:
        """The message is over, and nothing was decided on the way."""
        if self._sse is not None:
            detail = "the stream ended without an answer"
            return Reply(
                Ending.LOST, status=self.status, loss=self._owner.mint_loss(), detail=detail
            )
        if self.status >= 300:
            return self._read_refusal()
        if self._is_json and self._parts:
            self._hear(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
            if self.reply is not None:
                return self.reply
        return self._no_answer()

    def _no_answer(self) -> Reply:
        detail = f"HTTP {self.status} without an answer"
        if (kind := media_type(self.headers)) and not self._is_json:
            detail = f"HTTP {self.status} with {kind.decode('latin-1')[:64]!r} is no answer"
        return Reply(Ending.PROTOCOL, status=self.status, detail=detail)

    def _read_refusal(self) -> Reply:
        """An error status: with a JSON-RPC error of this exchange in it, or alone."""
        self._decide_by_status()
        assert self.reply is not None
        message = wire.parse(b"".join(self._parts)) if self._is_json and self._parts else None
        if message is None or not message.error or not self._is_mine(message):
            return self.reply
        said = wire.reply_of(message, b"".join(self._parts), self.status)
        if said.ending is not Ending.ERROR:
            return self.reply
        return structs.replace(said, retry_after_ms=self.reply.retry_after_ms)

    def _is_mine(self, message: Message) -> bool:
        """An error before the id was read has none; here it can only be about this request."""
        if message.id is UNSET or message.id is None:
            return True
        return type(message.id) is int and message.id == self.id

    def _hear(self, raw: bytes) -> None:
        reply = wire.plain_reply(raw, self.id, self.status)
        if reply is None:
            self._hear_any(raw)
        else:
            self._take(reply)

    def _take(self, reply: Reply) -> None:
        self.reply = reply

    def _hear_any(self, raw: bytes) -> None:
        message = wire.parse(raw)
        if message is None:
            self._decide(Ending.PROTOCOL, "the answer is no JSON-RPC message")
        elif not message.method:
            if type(message.id) is int and message.id == self.id:
                self._take(wire.reply_of(message, raw, self.status))
            else:
                self._decide(Ending.PROTOCOL, "the answer has another id than the request")
        elif not wire.is_utf8(raw):
            self._decide(Ending.PROTOCOL, "the answer is not UTF-8")
        elif message.id is UNSET or message.id is None:
            self._notified(message)
        else:
            self._asked(message, message.id)


class Endless(Exchange, kw_only=True):
    """A stream of events that is to stay open."""

    _since: Nanoseconds = 0
    """When the minute began whose lines are counted."""

    def fed(self, data: bytes) -> None:
        super().fed(data)
        if self._sse is not None:
            # It has no end, so its size says nothing; how much comes in a minute does. What is no
            # such stream is an answer, and bounded as any.
            self._size = 0
        now = self._owner.clock.now()
        if now - self._since > MINUTE:
            self._since, self._lines = now, 0
