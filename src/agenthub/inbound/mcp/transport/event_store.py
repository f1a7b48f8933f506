"""What streams of the old era have said, kept for a client that lost its connection.

    EventStore (the hub's) ─< Shelf (one session's) ─< Stored (one stream) ─< events

A stream is kept from its first event until some time after its end. Room is bounded for each
stream, each session and the hub; where it runs short, the stream that has been silent longest
loses its oldest event first. An answer that is one JSON object is never kept, for nobody can ask
for it.

The id of an event says all that is needed to find its place again, or to tell the client that it
is lost, also after a restart of the hub:

    stream "." number of the event in it "." base64url(id of the request that began the stream)

It opens nothing by itself: streams are looked up among those of the session that asks (A17).

Source: MCP specification 2025-11-25, "Streamable HTTP, Resumability and Redelivery".
"""

import secrets
from collections import OrderedDict, deque
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from agenthub.domain.span import Nanoseconds
from agenthub.inbound.exchange import Exchange
from agenthub.ports import Clock, Timer
from agenthub.wire import base64url

EVENTS_MAX: Final = 1_000
"""Of one stream."""
SESSION_STREAMS: Final = 4
"""A session has room for so many full streams."""
EVENT_COST: Final = 200
"""Bytes that an event takes beside its own."""
CURSOR_MAX: Final = 4_096
"""Characters of an event's id, as it comes back in a header."""


class Reader(Protocol):
    """Who writes a stream that has not ended."""

    def resume(self, exchange: Exchange, seen: int) -> None:
        """Go on over this exchange, after the event of this number."""
        ...


class Cursor(Struct, frozen=True):
    """An event's id, taken apart."""

    stream: str
    seen: int
    request_id: bytes
    """Raw JSON."""


def read_cursor(text: bytes) -> Cursor | None:
    """None: the hub never made this id for a request's stream."""
    try:
        stream, seen, began = text[:CURSOR_MAX].decode("ascii").split(".")
        request_id = base64url.decode(began)
        msgspec.json.decode(request_id, type=int | str)
        return Cursor(stream, max(0, int(seen)), request_id)
    except ValueError:
        return None


class Stored:
    """One stream."""

    def __init__(self, shelf: "Shelf", request_id: bytes, reader: Reader) -> None:
        self.shelf = shelf
        self.name = secrets.token_hex(8)
        self.reader: Reader | None = reader
        """None: the stream has ended."""
        self.events: deque[bytes] = deque()
        """The last ones, without a gap."""
        self.size = 0
        self.last = 0
        """The number of the last event."""
        self._began = base64url.encode(request_id)

    def event_id(self, number: int) -> bytes:
        return f"{self.name}.{number}.{self._began}".encode()

    def after(self, seen: int) -> list[bytes]:
        """What is kept of the events after this one: the last ones of them."""
        missed = max(0, self.last - seen)
        return list(self.events)[-missed:] if missed else []


class Shelf:
    """The streams of one session."""

    def __init__(self) -> None:
        self.streams: dict[str, Stored] = {}
        self.filled: OrderedDict[Stored, None] = OrderedDict()
        """Those with events, the one that has been silent longest first."""
        self.size = 0


class EventStore:
    """All shelves of the hub."""

    def __init__(
        self, clock: Clock, total_bytes: int, stream_bytes: int, span: Nanoseconds
    ) -> None:
        self.span = span
        """How long a stream is kept after its end, or without a client."""
        self.size = 0
        self._clock = clock
        self._total = total_bytes
        self._of_stream = stream_bytes
        self._filled: OrderedDict[Stored, None] = OrderedDict()
        self._ended: OrderedDict[Stored, Nanoseconds] = OrderedDict()
        """When each is forgotten."""
        self._timer: Timer | None = None

    def open(self, shelf: Shelf, request_id: bytes, reader: Reader) -> Stored:
        stored = Stored(shelf, request_id, reader)
        shelf.streams[stored.name] = stored
        return stored

    def add(self, stored: Stored, message: bytes) -> bytes:
        """Keep a message as the stream's next event, which is returned as it is to be written."""
        stored.last += 1
        written = b"id: %b\nevent: message\ndata: %b\n\n" % (
            stored.event_id(stored.last), message,
        )  # fmt: skip
        shelf, cost = stored.shelf, len(written) + EVENT_COST
        if stored.name not in shelf.streams:
            return written  # Its session is over.
        stored.events.append(written)
        for order in (shelf.filled, self._filled):
            order[stored] = None
            order.move_to_end(stored)
        for one in (stored, shelf, self):
            one.size += cost
        self._make_room(stored)
        return written

    def end(self, stored: Stored) -> None:
        """Nothing more comes; it is kept for a while."""
        stored.reader = None
        if not stored.events:
            self._remove(stored)
            return
        self._ended[stored] = self._clock.now() + self.span
        if self._timer is None:
            self._timer = self._clock.after(self.span, self._expire)

    def clear(self, shelf: Shelf) -> None:
        """The session is over."""
        for stored in list(shelf.streams.values()):
            self._remove(stored)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # ------------------------------------------------------------ room

    def _make_room(self, stored: Stored) -> None:
        shelf = stored.shelf
        while stored.size > self._of_stream or len(stored.events) > EVENTS_MAX:
            self._forget_oldest(stored)
        while shelf.size > SESSION_STREAMS * self._of_stream:
            self._forget_oldest(next(iter(shelf.filled)))
        while self.size > self._total:
            self._forget_oldest(next(iter(self._filled)))

    def _forget_oldest(self, stored: Stored) -> None:
        cost = len(stored.events.popleft()) + EVENT_COST
        for one in (stored, stored.shelf, self):
            one.size -= cost
        if not stored.events:
            del stored.shelf.filled[stored], self._filled[stored]
            if stored.reader is None:
                self._ended.pop(stored, None)
                stored.shelf.streams.pop(stored.name, None)

    def _remove(self, stored: Stored) -> None:
        while stored.events:
            self._forget_oldest(stored)
        stored.shelf.streams.pop(stored.name, None)

    def _expire(self) -> None:
        self._timer, now = None, self._clock.now()
        while self._ended:
            stored, until = next(iter(self._ended.items()))
            if until > now:
                self._timer = self._clock.after(until - now, self._expire)
                break
            self._remove(stored)
