"""The old era over HTTP: sessions, their stream, and requests in them.

    POST initialize      200, with Mcp-Session-Id
    POST request         200 (JSON, or events and then the answer); errors too
    POST the rest        202
    GET                  the session's one stream of news
      with Last-Event-ID the stream that was lost, from there on
    DELETE               204, and the session is over

A session's id that is missing gets 400, one that is not known here 404: then the client begins
anew. A client that goes away does not cancel what it asked for.
Source: MCP specification 2025-11-25, "Streamable HTTP".
"""

from collections.abc import Mapping
from typing import Final

from agenthub.domain.errors import HubError
from agenthub.inbound.exchange import Exchange
from agenthub.inbound.mcp.news.subscriptions import Subscriptions
from agenthub.inbound.mcp.terms import INVALID_REQUEST
from agenthub.inbound.mcp.transport.event_store import read_cursor
from agenthub.inbound.mcp.transport.legacy import LegacyDoor
from agenthub.inbound.mcp.transport.request import (
    NEEDS_STREAM,
    SESSION,
    prefers_streams,
    refuse,
    takes_streams,
)
from agenthub.inbound.mcp.transport.session import Session, Sessions
from agenthub.inbound.mcp.transport.session_feed import SessionFeed, State, read_state
from agenthub.inbound.mcp.transport.session_stream import Desk, SessionReplies, resume
from agenthub.wire.jsonrpc import Kind, Message, error_message, result_message

MISSING: Final = "Mcp-Session-Id is missing: begin with `initialize`"
UNKNOWN: Final = "This session is not known here: begin anew with `initialize`"
ONE_STREAM: Final = "This session has a stream already"


class LegacyHttp:
    """One face, for clients of the old era."""

    def __init__(
        self,
        door: LegacyDoor,
        sessions: Sessions,
        subscriptions: Subscriptions,
        desk: Desk,
        endpoint: str | None,
    ) -> None:
        self._door = door
        self._sessions = sessions
        self._subscriptions = subscriptions
        self._desk = desk
        self._endpoint = endpoint

    def post(self, exchange: Exchange, headers: Mapping[bytes, bytes], message: Message) -> None:
        if message.method == "initialize" and message.kind is Kind.REQUEST:
            self._begin(exchange, message)
            return
        session = self._session(exchange, headers, message.id)
        if session is None:
            return
        if message.kind is Kind.REQUEST:
            self._request(session, exchange, headers, message)
            return
        if message.kind is Kind.NOTIFICATION:
            self._door.notification(session, message)
        else:
            session.questions.answer(message)
        exchange.answer(202, b"")

    def stream(self, exchange: Exchange, headers: Mapping[bytes, bytes]) -> None:
        """GET: the news that belong to no request."""
        session = self._session(exchange, headers, b"")
        if session is None:
            return
        if not takes_streams(headers.get(b"accept")):
            exchange.answer(406, error_message(None, INVALID_REQUEST, NEEDS_STREAM))
            return
        last = headers.get(b"last-event-id", b"")
        cursor = read_cursor(last)
        if cursor is not None:
            resume(session, cursor, exchange)
        else:
            self._news(session, exchange, read_state(last))

    def _news(self, session: Session, exchange: Exchange, said: State | None) -> None:
        """`said`: the client comes back."""
        if session.stream is not None and session.stream.open:
            if said is None:
                exchange.answer(409, error_message(None, INVALID_REQUEST, ONE_STREAM))
                return
            session.stream.end()  # The client knows better whether that one still works.
        try:
            if said is not None:
                self._door.restore(session, said.log_level, said.uris)
            feed = SessionFeed(exchange, self._desk.pulse, session)
            news = self._subscriptions.stream(session.context, session.subscribed, feed)
        except HubError as error:
            refuse(exchange, error)
            return
        session.stream = news
        feed.attend(news)
        if said is not None:
            news.catch_up()

    def end(self, exchange: Exchange, headers: Mapping[bytes, bytes]) -> None:
        """DELETE."""
        if self._session(exchange, headers, b"") is not None:
            self._sessions.end(headers[SESSION].decode("ascii"), exchange.caller.id)
            exchange.answer(204, b"")

    def _begin(self, exchange: Exchange, message: Message) -> None:
        try:
            session_id, session = self._sessions.begin(message, exchange.caller, self._endpoint)
        except HubError as error:
            body = error_message(message.id, error.code, str(error), error.data())
            exchange.answer(200, body)
            return
        body = result_message(message.id, self._door.welcome(session))
        exchange.answer(200, body, ((SESSION, session_id.encode()),))

    def _session(
        self, exchange: Exchange, headers: Mapping[bytes, bytes], message_id: bytes
    ) -> Session | None:
        """The session that the request belongs to; None: it has been answered."""
        session_id = headers.get(SESSION)
        if session_id is None:
            exchange.answer(400, error_message(message_id, INVALID_REQUEST, MISSING))
            return None
        session = self._sessions.find(session_id.decode("latin-1"), exchange.caller, self._endpoint)
        if session is None:
            exchange.answer(404, error_message(message_id, INVALID_REQUEST, UNKNOWN))
        return session

    def _request(
        self,
        session: Session,
        exchange: Exchange,
        headers: Mapping[bytes, bytes],
        message: Message,
    ) -> None:
        accept = headers.get(b"accept")
        replies = SessionReplies(
            exchange, message.id, self._desk.pulse, takes_streams(accept),
            session=session, desk=self._desk, polls=prefers_streams(accept),
        )  # fmt: skip
        key = headers.get(b"idempotency-key")
        facts = {
            "size_bytes": len(exchange.request.body),
            "idempotency_key": None if key is None else key.decode("latin-1"),
        }
        passage = self._door.request(session, message, replies, facts)
        if passage is not None and replies.attend(passage):
            session.running.add(message.id, replies)
            replies.ended = lambda: session.running.discard(message.id, replies)
            replies.expect_to_poll()
