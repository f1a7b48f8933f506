"""The answer to one MCP request over HTTP: one JSON object, or a stream of events before it.

    waiting ──result──► JSON, over
       │
       └─ notification, or 15 s without a word ─► event stream ──result──► over

A client of the new era that goes means to cancel (§1.11); the old era is in session_stream.
Source: MCP specification 2026-07-28, "Streamable HTTP".
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from agenthub.domain.outcome import Cause
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.inbound.exchange import Exchange, Headers
from agenthub.inbound.mcp.terms import Answered, UnderWay
from agenthub.ports import Clock, Timer
from agenthub.wire.jsonrpc import error_message, notification, result_message

BEAT: Nanoseconds = 5 * SECOND
BEATS_SILENT: Final = 3
"""After so many beats without a word, a comment is written: 15 s, as the Python SDK does."""
EVENT_STREAM: Final[Headers] = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
KEEP_ALIVE: Final = b": keep-alive\n\n"
STATUS: Final[Mapping[int, int]] = {
    -32700: 400,
    -32600: 400,
    -32601: 404,
    -32602: 400,
    -32020: 400,
    -32021: 400,
    -32022: 400,
}
"""Of errors towards clients of the new era; all others, and all in the old era, come with 200.
Source: MCP specification 2026-07-28, "Error Codes"."""


def event(message: bytes) -> bytes:
    return b"event: message\ndata: %b\n\n" % on_one_line(message)


def on_one_line(message: bytes) -> bytes:
    """A line break, which JSON allows between its tokens, would end an event early (A65)."""
    if b"\n" in message or b"\r" in message:
        return msgspec.json.format(message, indent=-1)
    return message


class Beating(Protocol):
    def beat(self) -> None: ...


class Pulse:
    """Beats for all open answers; one timer, while there are any."""

    def __init__(self, clock: Clock, buffer_bytes: int) -> None:
        self.buffer_bytes = buffer_bytes
        """What may wait for a client that reads slowly."""
        self._clock = clock
        self._timer: Timer | None = None
        self.open: dict[Beating, None] = {}
        """In the order they came."""

    def add(self, answer: Beating) -> None:
        self.open[answer] = None
        if self._timer is None:
            self._timer = self._clock.after(BEAT, self._beat)

    def discard(self, answer: Beating) -> None:
        self.open.pop(answer, None)

    def _beat(self) -> None:
        self._timer = None
        for answer in list(self.open):
            answer.beat()
        if self.open:
            self._timer = self._clock.after(BEAT, self._beat)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class HttpReplies(Struct, eq=False):
    """`Replies` over one exchange."""

    _exchange: Exchange
    _id: bytes
    """The request's."""
    _pulse: Pulse
    _streams: bool
    """Whether the client takes event streams; else notifications are dropped."""
    passage: UnderWay | None = None
    ended: Callable[[], None] | None = None
    """Called once, when the answer is complete."""
    _streaming: bool = False
    _over: bool = False
    _gone: bool = False
    _silent: int = 0

    def attend(self, passage: UnderWay) -> bool:
        """The call is under way: hear if the client goes. False: it is over already."""
        if self._over:
            return False
        self.passage = passage
        self._exchange.closed = self._closed
        self._pulse.add(self)
        return True

    # ------------------------------------------------------------ Replies

    def result(self, raw: bytes) -> None:
        self._finish(200, result_message(self._id, raw))

    def error(self, code: int, message: str, data: Mapping[str, Any] | bytes | None = None) -> None:
        self._finish(STATUS.get(code, 200), error_message(self._id, code, message, data))

    def notify(self, method: str, params: bytes) -> None:
        if self._streams and not self._gone and self._keeps_up():
            self._write(notification(method, params))

    def ask(self, method: str, params: bytes, answered: Answered) -> bool:
        """Clients of the new era are asked by the result."""
        del method, params, answered
        return False

    def follow(self, under_way: UnderWay) -> None:
        self.passage = under_way

    def cancel(self, cause: Cause) -> None:
        """The client has given it up; whoever waits for an answer still gets one."""
        assert self.passage is not None, "only what is under way is listed anywhere"
        self.passage.cancel(cause)

    # ------------------------------------------------------------ the stream

    def beat(self) -> None:
        self._silent += 1
        if self._silent >= BEATS_SILENT and self._streams and not self._gone:
            self._silent = 0
            self._begin()
            self._exchange.write(KEEP_ALIVE)

    def _keeps_up(self) -> bool:
        """Whether the client may be told more; the server is paused when it reads too slowly."""
        backlog = self._exchange.backlog
        if backlog <= self._pulse.buffer_bytes:
            return True
        assert self.passage is not None, "a call that notifies is under way"
        self._exchange.drained = self.passage.resume
        self.passage.pause()
        # A connection that is shared cannot be paused.
        return backlog <= 2 * self._pulse.buffer_bytes

    def _write(self, message: bytes) -> None:
        self._begin()
        self._silent = 0
        self._exchange.write(event(message))

    def _begin(self) -> None:
        if not self._streaming:
            self._streaming = True
            self._exchange.begin(200, EVENT_STREAM)

    def _finish(self, status: int, body: bytes) -> None:
        self._over = True
        if self.passage is not None:
            self._pulse.discard(self)
            # Each knows the other: a circle would be left for the garbage collector.
            self.passage = self._exchange.closed = self._exchange.drained = None
        self._answer(status, body)
        ended, self.ended = self.ended, None
        if ended is not None:
            ended()

    def _answer(self, status: int, body: bytes) -> None:
        if self._gone:
            return
        if self._streaming:
            self._write(body)
            self._exchange.end()
        else:
            self._exchange.answer(status, body)

    def _closed(self) -> None:
        """The client has gone, and the call is still under way."""
        self._gone = True
        assert self.passage is not None, "a client is missed after `attend`"
        self.passage.cancel(Cause.CLIENT)


class Subscribed(Protocol):
    """subscriptions.Subscription, as its feed knows it."""

    def resume(self) -> None: ...
    def check(self) -> None: ...
    def drop(self) -> None: ...


class HttpFeed:
    """subscriptions.Feed over one exchange: an event stream that stays open."""

    def __init__(self, exchange: Exchange, message_id: bytes, pulse: Pulse) -> None:
        self._exchange = exchange
        self._id = message_id
        """Of the `listen` request; empty for the stream of a session."""
        self._pulse = pulse
        self._subscription: Subscribed | None = None
        self._begun = False
        self._silent = 0

    def attend(self, subscription: Subscribed) -> None:
        """It is open; hear if the client goes, or catches up."""
        self._subscription = subscription
        self._begin()
        self._exchange.closed = self._closed
        self._exchange.drained = subscription.resume
        self._pulse.add(self)

    @property
    def full(self) -> bool:
        return self._exchange.backlog > self._pulse.buffer_bytes

    def notify(self, method: str, params: bytes) -> None:
        self._begin()
        self._silent = 0
        self._exchange.write(event(notification(method, params)))

    def end(self, result: bytes) -> None:
        self._pulse.discard(self)
        if self._id:
            self._exchange.write(event(result_message(self._id, result)))
        self._exchange.end()

    def beat(self) -> None:
        assert self._subscription is not None, "it beats after `attend`"
        self._subscription.check()
        self._silent += 1
        if self._silent >= BEATS_SILENT and not self.full and self in self._pulse.open:
            self._silent = 0
            self._exchange.write(KEEP_ALIVE)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._exchange.begin(200, EVENT_STREAM)

    def _closed(self) -> None:
        self._pulse.discard(self)
        assert self._subscription is not None, "a client is missed after `attend`"
        self._subscription.drop()
