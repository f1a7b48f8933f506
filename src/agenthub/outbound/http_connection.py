"""One kept-alive connection to a server: bytes in, bytes out, one exchange at a time.

    idle ──send──► busy ──message over──► idle              (or closed, if it cannot be kept)
                     └─answered, rest not wanted─► draining ──message over──► idle
    any ──lost, garbage, time is over, cancelled──► closed

No task and no timer of its own: callbacks only, and a counter that its pool's sweep moves on. It
goes back to the pool only when the whole message was read *and* the parser has let go of the
bytes, so that nothing of one answer is ever read as another's (F17).
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol, cast

import httptools
from msgspec import Struct

from agenthub.domain.outcome import Ending
from agenthub.domain.span import Nanoseconds
from agenthub.outbound.http_heads import Heads
from agenthub.outbox import Outbox

log = logging.getLogger(__name__)

DRAIN_BYTES = 65_536
"""Read of a message whose answer is already known; beyond it a new connection is cheaper."""
INTERIMS_MAX = 10
"""1xx answers before the real one."""


class HttpLimits(Struct, frozen=True):
    """What bounds an answer (R43), in bytes."""

    response_bytes: int = 10 * 1024 * 1024
    event_bytes: int = 10 * 1024 * 1024
    stream_bytes: int = 64 * 1024 * 1024
    header_bytes: int = 16 * 1024
    headers: int = 100


class Asker(Protocol):
    """Who has the connection: one request and its answer."""

    patience: Nanoseconds
    """How long the server may be silent."""

    @property
    def decided(self) -> bool:
        """The answer is known, whatever more may come."""
        ...

    def answered(self, headers: Mapping[bytes, bytes], body: bytes) -> None:
        """All of a plain answer: 200, JSON. Instead of `headed`, `fed` and `over`."""
        ...

    def headed(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The head of the answer is there; names are in lower case."""
        ...

    def fed(self, data: bytes) -> None:
        """A piece of its body."""
        ...

    def over(self) -> None:
        """It is decided, or the whole message was read. Once; the connection is no longer its."""
        ...

    def broke(self, ending: Ending, detail: str) -> None:
        """It ended before that. Once, instead of `over`."""
        ...


class ConnectionOwner(Protocol):
    @property
    def is_quiet(self) -> bool:
        """Whether no other connection is in use."""
        ...

    def free(self, connection: "Connection") -> None:
        """It can take the next exchange."""
        ...

    def gone(self, connection: "Connection") -> None:
        """It is closed, or as good as. May be told twice."""
        ...


class Connection(asyncio.Protocol):
    """Made by the pool."""

    __slots__ = (
        "_body_to_eof", "_drained", "_ended", "_fault", "_head_size", "_header_count", "_headers",
        "_heads", "_in_body", "_interim", "_interims", "_keep", "_limits", "_moved", "_outbox",
        "_owner", "_parser", "_paused", "_request", "_stalled", "_status", "_transport", "asker",
        "draining", "flushed", "heard", "is_closing", "quiet", "sent",
    )  # fmt: skip

    def __init__(
        self, owner: ConnectionOwner, limits: HttpLimits, heads: Heads, outbox: Outbox
    ) -> None:
        self.asker: Asker | None = None
        self.quiet = 0
        """Sweeps since the last byte came, or since it became idle."""
        self.flushed = True
        """Whether all that was sent has left this process."""
        self.sent = True
        """False: it is not written yet, or the write failed at once, so not a byte of the last
        request has left."""
        self.heard = False
        """Whether any byte of the present answer came."""
        self.draining = False
        self._owner = owner
        self._limits = limits
        self._heads = heads
        self._outbox = outbox
        self._request = b""
        """Until it is written, at the end of the loop's turn."""
        self.is_closing: Callable[[], bool] = _always
        """Whether nothing can be sent any more: the transport's own word, for it is asked often."""
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._head_size = self._header_count = self._drained = self._stalled = self._interims = 0
        self._status = 0
        self._interim = self._ended = self._keep = self._moved = False
        self._body_to_eof = self._in_body = False
        self._paused = False
        self._fault = ""

    # ---------------------------------------------------------------- for the pool and the asker

    @property
    def usable(self) -> bool:
        return not self.is_closing()

    @property
    def paused(self) -> bool:
        return self._paused

    def send(self, asker: Asker, data: bytes) -> None:
        assert self._transport is not None, "sent before it was made"
        self.asker = asker
        self._request = data
        self.quiet = 0
        self.heard = self.flushed = self.sent = False
        if self._owner.is_quiet:
            self.flush()
        else:
            self._outbox.add(self)

    def flush(self) -> None:
        """Write the request, unless it is not wanted any more. Implements `outbox.Writer`."""
        data, self._request = self._request, b""
        transport = self._transport
        if self.asker is None or transport is None or self.is_closing():
            return
        self.flushed = self.sent = True
        transport.write(data)
        if self.is_closing():
            self.flushed = self.sent = False
        elif transport.get_write_buffer_size():
            self.flushed = False

    def pause(self) -> None:
        if not self._paused and self.usable:
            assert self._transport is not None
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused, self.quiet = False, 0
            if self.usable:
                assert self._transport is not None
                self._transport.resume_reading()

    def drop(self) -> None:
        """The asker gives up: the server sees the connection closed."""
        self.asker = None
        self.abort()

    def abort(self) -> None:
        self._owner.gone(self)
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """An idle one, politely."""
        self._owner.gone(self)
        if self._transport is not None:
            self._transport.close()

    def timed_out(self, detail: str) -> None:
        self._break(Ending.TIMEOUT, detail)

    # ---------------------------------------------------------------- from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, but not the class.
        self._transport = cast("asyncio.Transport", transport)
        self.is_closing = self._transport.is_closing
        # Any byte that waits is told, so that what has left is known (R28).
        self._transport.set_write_buffer_limits(high=1, low=0)

    def pause_writing(self) -> None:
        self.flushed = False

    def resume_writing(self) -> None:
        self.flushed = True

    def data_received(self, data: bytes) -> None:
        asker, is_first = self.asker, False
        if asker is not None:
            self.quiet = 0
            if self._request:
                self._break(Ending.LOST, "the server spoke before it was asked")
                return
            if not self.heard:
                self.heard = is_first = True
                plain = self._heads.find(data)
                if plain is not None and self.flushed and not self._paused:
                    self.asker = None
                    self._owner.free(self)
                    asker.answered(plain.headers, data[len(plain.head) :])
                    return
                self._expect()
        elif self.draining:
            self._drained += len(data)
        else:
            self.abort()  # Nobody asked: whatever it says would be read as the next answer.
            return
        self._parse(data)
        if is_first and self._ended and self._keep and not self._fault:
            self._heads.learn(data, self._status, self._headers)
        self._take_stock(len(data))

    def _expect(self) -> None:
        """An answer begins that the parser has to read."""
        self._head_size = self._header_count = self._stalled = self._interims = 0
        self._ended = self._body_to_eof = False

    def _parse(self, data: bytes) -> None:
        self._moved = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            log.exception("Failed while an answer was read")
            self._fault = "the hub failed to read the answer"
        except httptools.HttpParserUpgrade:
            self._fault = "the answer switches to another protocol"
        except httptools.HttpParserError as error:
            self._fault = f"the answer is not HTTP: {str(error)[:100]}"
            self._keep = False

    def _take_stock(self, size: int) -> None:
        """After the parser has let go of the bytes."""
        if self._head_size > self._limits.header_bytes or self._header_count > self._limits.headers:
            self._break(Ending.TOO_LARGE, "the answer's headers are over the limit")
        elif self._ended:
            self._finish()
        elif self._fault:
            self._break(Ending.PROTOCOL, self._fault)
        elif (asker := self.asker) is not None:
            if asker.decided:
                self.asker, self.draining, self.quiet, self._drained = None, True, 0, 0
                self.resume()
                asker.over()
            elif not self._moved:
                # A header, a chunk's size or a trailer without an end.
                self._stalled += size
                if self._stalled > self._limits.header_bytes:
                    self._break(Ending.TOO_LARGE, "the answer's headers are over the limit")
        elif self._drained > DRAIN_BYTES:
            self.abort()

    def _finish(self) -> None:
        """The whole message was read."""
        asker, self.asker = self.asker, None
        self.draining = False
        self.quiet = 0
        self.resume()
        if self._keep and not self._fault and self.flushed and self.usable:
            self._owner.free(self)
        else:
            self.close()
        if asker is not None:
            asker.over()

    def _break(self, ending: Ending, detail: str) -> None:
        asker, self.asker = self.asker, None
        self.abort()
        if asker is not None:
            asker.broke(ending, detail)

    def eof_received(self) -> bool:
        listens = self.draining or (self.asker is not None and self.heard)
        if self._body_to_eof and not self._ended and listens:
            self._ended, self._keep = True, False
            self._finish()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.gone(self)
        asker, self.asker = self.asker, None
        if asker is not None:
            how = "was reset" if isinstance(exc, ConnectionError) else "ended"
            when = "in the middle of the answer" if self.heard else "before an answer"
            asker.broke(Ending.LOST, f"the connection {how} {when}")

    # ---------------------------------------------------------------- from the parser

    def on_message_begin(self) -> None:
        self._moved = True
        if self._ended:
            self._fault = "a second answer"
        else:
            self._headers = {}
            self._in_body = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._moved = True
        self._head_size += len(name) + len(value)
        self._header_count += 1
        if not self._in_body and not self._ended:  # Else it is a trailer.
            name = name.lower()
            if name == b"www-authenticate" and name in self._headers:
                value = b"%b, %b" % (self._headers[name], value)
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        self._moved = True
        if self._ended:
            return
        status = self._status = self._parser.get_status_code()
        self._interim = status < 200
        if self._interim:
            self._interims += 1
            if status == 101 or self._interims > INTERIMS_MAX:
                self._fault = "the answer never begins"
            return
        headers = self._headers
        self._in_body = True
        self._body_to_eof = (
            b"content-length" not in headers
            and b"transfer-encoding" not in headers
            and status not in {204, 304}
        )
        if self.asker is not None:
            self.asker.headed(status, headers)

    def on_body(self, data: bytes) -> None:
        self._moved = True
        if self.asker is not None and not self._ended:
            self.asker.fed(data)

    def on_message_complete(self) -> None:
        self._moved = True
        if self._interim or self._ended:
            self._interim = False
            return
        self._keep = self._parser.should_keep_alive()
        self._ended = True


def _always() -> bool:
    """Of a connection that was not made."""
    return True
