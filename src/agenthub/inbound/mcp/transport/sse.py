"""HTTP+SSE, the transport of 2024-11-05: a stream for everything, and an address to post to.

    GET /sse, /sse/{endpoint}, /sse/v/{view}    200: a stream; its first event says where to post
    POST /messages?session=…                    202: what it brought is answered on the stream

A session is its stream: when that ends, it is over, and what it asked for is given up. Its id
opens nothing without the key that began it. The client has to read: while more than the limit
waits for it, its requests are not taken, and are answered when there is room again.

Source: MCP specification 2024-11-05, "Transports, HTTP with SSE"; attacks A17, A35, A60, A61.
"""

import re
import secrets
from collections import deque
from typing import Final

from agenthub.domain.call import Era
from agenthub.domain.caller import Caller
from agenthub.domain.errors import HubError, Overloaded
from agenthub.inbound.exchange import Exchange, Headers
from agenthub.inbound.mcp.terms import INVALID_REQUEST, Context
from agenthub.inbound.mcp.transport.channel import ChannelReplies, LegacyChannel
from agenthub.inbound.mcp.transport.legacy import LegacyDoor
from agenthub.inbound.mcp.transport.request import (
    NEEDS_STREAM,
    OLD,
    Heading,
    UnsupportedVersion,
    heading_of,
    refuse,
    shown,
    takes_streams,
)
from agenthub.inbound.mcp.transport.stream import (
    BEATS_SILENT,
    EVENT_STREAM,
    KEEP_ALIVE,
    Pulse,
    event,
)
from agenthub.wire.jsonrpc import InvalidRequest, Kind, Message, error_message, read_message
from agenthub.wire.mcp_headers import HeaderMismatch
from agenthub.wire.strict_json import BadJson

UNKNOWN: Final = "This session is not known here: open its stream anew"
HELD_MAX: Final = 64
"""Requests of one client that wait until it reads."""
ALLOW_GET: Final[Headers] = ((b"allow", b"GET"),)
ALLOW_POST: Final[Headers] = ((b"allow", b"POST"),)
_SESSION = re.compile(rb"session=([A-Za-z0-9_-]{1,64})")


class SseDoor:
    """All streams of a hub."""

    def __init__(self, door: LegacyDoor, pulse: Pulse) -> None:
        self.door = door
        self.pulse = pulse
        self._streams: dict[str, SseStream] = {}

    def open(self, endpoint: str | None, exchange: Exchange) -> None:
        """GET: a stream, at a face."""
        heading = heading_of(exchange.request)
        if not _is_old(exchange, heading):
            return
        if exchange.request.method != "GET":
            exchange.answer(405, b"", ALLOW_GET)
        elif not takes_streams(heading.fields.get(b"accept")):
            exchange.answer(406, error_message(None, INVALID_REQUEST, NEEDS_STREAM))
        else:
            stream = SseStream(self, exchange, endpoint)
            try:
                stream.begin()
            except HubError as error:
                self.refuse(exchange, error, None)
            else:
                self._streams[stream.id] = stream

    def refuse(self, exchange: Exchange, error: HubError, message_id: bytes | None) -> None:
        error.request_id = self.door.ids()
        body = error_message(message_id, error.code, str(error), error.data())
        exchange.answer(error.status, body)

    def post(self, exchange: Exchange) -> None:
        """POST: what a client says in its session."""
        request = exchange.request
        heading = heading_of(request)
        if not _is_old(exchange, heading):
            return
        if request.method != "POST":
            exchange.answer(405, b"", ALLOW_POST)
            return
        try:
            message = read_message(request.body)
        except (BadJson, InvalidRequest) as error:
            refuse(exchange, error, getattr(error, "message_id", None))
            return
        named = _SESSION.fullmatch(request.query)
        stream = self._streams.get(named[1].decode()) if named else None
        if stream is None or stream.principal != exchange.caller.id:
            exchange.answer(404, error_message(message.id, INVALID_REQUEST, UNKNOWN))
        else:
            stream.post(exchange, message)

    def forget(self, stream: "SseStream") -> None:
        self._streams.pop(stream.id, None)


def _is_old(exchange: Exchange, heading: Heading) -> bool:
    """Whether its headers are those of an old client; False: it has been answered."""
    version = heading.version
    if heading.twice:
        refuse(exchange, HeaderMismatch(f"{heading.twice} came twice"))
    elif version is not None and version not in OLD:
        refuse(exchange, UnsupportedVersion(shown(version)))
    else:
        return True
    return False


class SseStream:
    """One client's. Implements `channel.Channel`, and beats."""

    def __init__(self, house: SseDoor, exchange: Exchange, endpoint: str | None) -> None:
        self.id = secrets.token_urlsafe(24)
        self.principal = exchange.caller.id
        self._house = house
        self._exchange = exchange
        self._caller = exchange.caller
        """As it last came in: what its key may see can change."""
        self._endpoint = endpoint
        context = Context(exchange.caller, endpoint, Era.LEGACY, door="mcp")
        self._client = LegacyChannel(self, house.door, context)
        self._held: deque[tuple[Exchange, Message]] = deque()
        self._silent = 0
        self._over = False

    def begin(self) -> None:
        """Raises UnknownTarget or Overloaded."""
        self._client.open()
        exchange = self._exchange
        exchange.begin(200, EVENT_STREAM)
        exchange.closed, exchange.drained = self._leave, self._drained
        exchange.write(b"event: endpoint\ndata: /messages?session=%b\n\n" % self.id.encode())
        self._house.pulse.add(self)

    def news_ended(self) -> None:
        """The hub stops, or the face has gone: every stream has news."""
        if not self._over:
            self._leave()
            self._exchange.closed = self._exchange.drained = None
            self._exchange.end()

    def _leave(self) -> None:
        """The stream is over, and with it the session."""
        self._over = True
        self._house.pulse.discard(self)
        self._house.forget(self)
        self._client.leave()
        held, self._held = self._held, deque()
        for exchange, message in held:
            exchange.closed = None
            exchange.answer(404, error_message(message.id, INVALID_REQUEST, UNKNOWN))

    # ------------------------------------------------------------ what the client says

    def post(self, exchange: Exchange, message: Message) -> None:
        """Take a message, or hold it until the client has read what waits for it."""
        if message.kind is not Kind.REQUEST or not (self._held or self.is_full):
            self._take(exchange, message)
        elif len(self._held) >= HELD_MAX:
            error = Overloaded("The client does not read its stream")
            self._house.refuse(exchange, error, message.id)
        else:
            held = (exchange, message)
            self._held.append(held)
            exchange.closed = lambda: self._held.remove(held)

    def _take(self, exchange: Exchange, message: Message) -> None:
        exchange.answer(202, b"")
        heading = heading_of(exchange.request)
        self._caller = exchange.caller
        facts = {
            "size_bytes": len(exchange.request.body), "idempotency_key": heading.idempotency_key,
        }  # fmt: skip
        self._client.take(message, facts)

    def _drained(self) -> None:
        while self._held and not self.is_full:
            exchange, message = self._held.popleft()
            exchange.closed = None
            self._take(exchange, message)
        self._client.resume()

    # ------------------------------------------------------------ Channel

    def caller(self) -> Caller:
        return self._house.door.enter(self._caller, self._endpoint)

    @property
    def is_full(self) -> bool:
        return self._exchange.backlog > self._house.pulse.buffer_bytes

    def write(self, message: bytes) -> None:
        if not self._over:
            self._silent = 0
            self._exchange.write(event(message))

    def began(self, message_id: bytes, replies: ChannelReplies) -> None:
        self._client.running.add(message_id, replies)

    def ended(self, message_id: bytes, replies: ChannelReplies) -> None:
        self._client.running.discard(message_id, replies)

    # ------------------------------------------------------------ the pulse

    def beat(self) -> None:
        self._client.check()
        self._silent += 1
        if self._silent >= BEATS_SILENT and not self._over and not self.is_full:
            self._silent = 0
            self._exchange.write(KEEP_ALIVE)
