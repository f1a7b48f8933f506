"""The answer to one request of the old era: one JSON object, or a stream that can be resumed.

    waiting ──result──► JSON, over
       │
       └─ notification, question, 15 s without a word, or 50 ms for a client that polls
                 │
                 ▼
          ┌► connected ──result──► over: kept for a while
          │      │ the client goes, or is let go
     GET with    ▼
    Last-Event-ID
          └── alone ─────result──► over: kept for a while

A client that goes does not cancel, and is asked no more once it has been away too long. It comes
back with the id of the last event that it has seen, and gets what came after it.

Clients of 2025-11-25 get such an id at once, by an event without a message; older ones would take
that for a broken message, and have their first id from the first message.

Source: MCP specification 2025-11-25, "Streamable HTTP"; SEP-1699.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from agenthub.domain.errors import OutcomeUnknown
from agenthub.domain.span import MILLISECOND, Nanoseconds
from agenthub.inbound.exchange import Exchange
from agenthub.inbound.mcp.dialogue.questions import withdrawal
from agenthub.inbound.mcp.terms import CANCELLED, Answered
from agenthub.inbound.mcp.transport.event_store import Cursor, EventStore, Stored
from agenthub.inbound.mcp.transport.session import Session
from agenthub.inbound.mcp.transport.stream import (
    EVENT_STREAM,
    HttpReplies,
    Pulse,
    event,
    on_one_line,
)
from agenthub.ports import Clock, Timer
from agenthub.wire.jsonrpc import error_message, notification, request_message

RETRY_MS: Final = 1_000
"""How long a client that lost its stream waits; Python's and TypeScript's SDK try twice."""
POLL_AFTER: Nanoseconds = 50 * MILLISECOND
POLL_RETRY_MS: Final = 100
LET_GO: Final = b"retry: %d\n\n" % POLL_RETRY_MS
LOST: Final = "The answer is not kept here any more, and the call may have run"


class Desk(Struct, frozen=True):
    """What all streams of sessions share."""

    pulse: Pulse
    store: EventStore
    clock: Clock


class SessionReplies(HttpReplies, kw_only=True):
    """`Replies` to a request in a session. An event_store.Reader, too."""

    session: Session
    desk: Desk
    polls: bool
    """The client would rather have a stream than wait."""
    _stored: Stored | None = None
    _timer: Timer | None = None
    _alone_too_long: bool = False

    def expect_to_poll(self) -> None:
        """The call is under way: a client that can come back for the answer is let go soon."""
        if self.polls and self._is_primed:
            self._timer = self.desk.clock.after(POLL_AFTER, self._let_go)

    # ------------------------------------------------------------ Replies

    def error(self, code: int, message: str, data: Mapping[str, Any] | bytes | None = None) -> None:
        self._finish(200, error_message(self._id, code, message, data))

    def notify(self, method: str, params: bytes) -> None:
        if self._reaches_client and (self._gone or self._keeps_up()):
            self._write(notification(method, params))

    def ask(self, method: str, params: bytes, answered: Answered) -> bool:
        if not self._reaches_client or self._alone_too_long:
            return False
        question_id = self.session.questions.put(self, answered)
        self._write(request_message(question_id, method, params))
        return True

    @property
    def _reaches_client(self) -> bool:
        """Whether it hears of this now, or when it comes back."""
        return self._streams and not (self._gone and self._stored is None)

    @property
    def _is_primed(self) -> bool:
        return self.session.takes_empty_events

    # ------------------------------------------------------------ the stream

    def resume(self, exchange: Exchange, seen: int) -> None:
        before, stored = self._exchange, self._stored
        assert stored is not None, "only what is stored is found"
        self._stop_timer()
        if not self._gone:
            # The client knows better whether this connection still works.
            before.closed = before.drained = None
            before.end()
            assert self.passage is not None, "under way"
            self.passage.resume()
        self._exchange, self._gone, self._alone_too_long = exchange, False, False
        self._silent = 0
        _write_missed(exchange, stored, seen, primed=self._is_primed)
        exchange.closed = self._closed

    def _write(self, message: bytes) -> None:
        self._begin()
        self._silent = 0
        assert self._stored is not None, "begun"
        written = self.desk.store.add(self._stored, on_one_line(message))
        if not self._gone:
            self._exchange.write(written)

    def _begin(self) -> None:
        if not self._streaming:
            super()._begin()
            self._stored = self.desk.store.open(self.session.shelf, self._id, self)
            if self._is_primed:
                self._exchange.write(_priming(self._stored, 0))

    def _answer(self, status: int, body: bytes) -> None:
        if self._timer is not None:
            self._stop_timer()
        if self._stored is not None:
            for question_id in self.session.questions.forget(self):
                self._write(notification(CANCELLED, withdrawal(question_id)))
            self._write(body)
            self.desk.store.end(self._stored)
            if not self._gone:
                self._exchange.end()
        elif self.polls and not self._gone:
            self._exchange.begin(status, EVENT_STREAM)
            self._exchange.write(event(body))
            self._exchange.end()
        elif not self._gone:
            self._exchange.answer(status, body)

    # ------------------------------------------------------------ without a client

    def _closed(self) -> None:
        self._gone = True
        self._stop_timer()
        assert self.passage is not None, "a client is missed after `attend`"
        self.passage.resume()  # nobody is left to wait for
        self._timer = self.desk.clock.after(self.desk.store.span, self._give_up)

    def _let_go(self) -> None:
        """The answer takes its time: the client comes back for it."""
        self._timer = None
        exchange = self._exchange
        self._begin()
        exchange.write(LET_GO)
        exchange.closed = exchange.drained = None
        exchange.end()
        self._closed()

    def _give_up(self) -> None:
        """Nobody answers questions any more."""
        self._timer, self._alone_too_long = None, True
        self.session.questions.give_up(self)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


def resume(session: Session, cursor: Cursor, exchange: Exchange) -> None:
    """Answer a GET with the stream that the client lost, or with what has become of it."""
    stored = session.shelf.streams.get(cursor.stream)
    if stored is not None and stored.reader is not None:
        stored.reader.resume(exchange, cursor.seen)
        return
    if stored is not None:
        _write_missed(exchange, stored, cursor.seen, primed=session.takes_empty_events)
    else:
        exchange.begin(200, EVENT_STREAM)
        lost = OutcomeUnknown(LOST, executed="unknown")
        told = error_message(cursor.request_id, lost.code, str(lost), lost.data())
        exchange.write(event(told))
    exchange.end()


def _write_missed(exchange: Exchange, stored: Stored, seen: int, *, primed: bool) -> None:
    """Begin a stream with what the client has not seen, as far as it is kept."""
    exchange.begin(200, EVENT_STREAM)
    if primed:
        exchange.write(_priming(stored, min(seen, stored.last)))
    missed = stored.after(seen)
    if lost := stored.last - seen - len(missed):
        exchange.write(b": %d events are not kept any more\n\n" % lost)
    for written in missed:
        exchange.write(written)


def _priming(stored: Stored, number: int) -> bytes:
    return b"id: %b\nretry: %d\ndata: \n\n" % (stored.event_id(number), RETRY_MS)
