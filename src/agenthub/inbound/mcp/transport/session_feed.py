"""The stream of news of one session, which can be resumed, by any process that knows the session.

News say only *that* something has changed. So none are kept: who comes back is told that all it
hears of may have changed, which is true of whatever it missed. The id of an event carries what
the session has said since `initialize`, for a process that has never seen it:

    stream "." number of the event in it "." base64url([log level, URIs subscribed to])

It grants nothing that the client could not ask for: each URI is subscribed to as if it did.

Source: MCP specification 2025-11-25, "Streamable HTTP, Resumability and Redelivery".
"""

import secrets
from typing import Final

import msgspec
from msgspec import Struct

from agenthub.inbound.exchange import Exchange
from agenthub.inbound.mcp.transport.event_store import CURSOR_MAX
from agenthub.inbound.mcp.transport.session import Session
from agenthub.inbound.mcp.transport.session_stream import RETRY_MS
from agenthub.inbound.mcp.transport.stream import HttpFeed, Pulse, event
from agenthub.wire import base64url
from agenthub.wire.jsonrpc import notification

STATE_MAX: Final = 2_048
"""Bytes; of longer lists of URIs nothing is carried, and they are lost with the process."""

_encode = msgspec.json.Encoder().encode


class State(Struct, frozen=True, array_like=True):
    """What a session has said."""

    log_level: str
    uris: list[str]
    """Resources that it subscribed to, as the client knows them."""


_state = msgspec.json.Decoder(State).decode


def read_state(text: bytes) -> State | None:
    """None: this is no id of an event in a stream of news."""
    try:
        _, _, said = text[:CURSOR_MAX].decode("ascii").split(".")
        return _state(base64url.decode(said))
    except ValueError:
        return None


class SessionFeed(HttpFeed):
    """`subscriptions.Feed` of a session."""

    def __init__(self, exchange: Exchange, pulse: Pulse, session: Session) -> None:
        super().__init__(exchange, b"", pulse)
        self._session = session
        self._name = secrets.token_hex(8)
        self._count = 0
        session.told = self._remember

    def notify(self, method: str, params: bytes) -> None:
        self._begin()
        self._silent = 0
        message = event(notification(method, params))
        self._exchange.write(b"id: %b\n%b" % (self._next_id(), message))

    def _begin(self) -> None:
        if not self._begun:
            super()._begin()
            if self._session.takes_empty_events:
                self._exchange.write(b"id: %b\nretry: %d\ndata: \n\n" % (self._next_id(), RETRY_MS))

    def _remember(self) -> None:
        """The session has said something new: the client comes back with that."""
        if self in self._pulse.open and self._session.takes_empty_events:
            self._exchange.write(b"id: %b\ndata: \n\n" % self._next_id())

    def _next_id(self) -> bytes:
        session = self._session
        level = msgspec.json.decode(session.context.log_level, type=str)
        said = _encode(State(level, list(session.subscribed.values())))
        if len(said) > STATE_MAX:
            said = _encode(State(level, []))
        self._count += 1
        return f"{self._name}.{self._count}.{base64url.encode(said)}".encode()
