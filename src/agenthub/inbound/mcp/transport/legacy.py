"""What is particular to the old era, whatever the transport: initialize, log level, subscribing.

Source: MCP specification 2025-11-25, "Lifecycle", "Logging", "Resources".
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw, structs

from agenthub.domain.caller import Caller
from agenthub.domain.errors import HubError, UnknownTarget
from agenthub.domain.view import view_of
from agenthub.inbound.mcp.door import McpDoor
from agenthub.inbound.mcp.news.subscriptions import Feed, Subscription, Subscriptions, Uris
from agenthub.inbound.mcp.terms import CANCELLED, SERVER_INFO, Context, Replies
from agenthub.inbound.mcp.transport.session import DEFAULT_LEVEL, Session
from agenthub.passage import Passage
from agenthub.wire.jsonrpc import Message

Done: TypeAlias = Callable[[], None]
"""Answers the request with an empty result."""

_encode = msgspec.json.Encoder().encode


class LegacyDoor:
    """Answers what a session asks for."""

    def __init__(self, door: McpDoor, subscriptions: Subscriptions) -> None:
        self._door = door
        self._subscriptions = subscriptions
        self._own: dict[str, Callable[[Session, Message, Done], None]] = {
            "logging/setLevel": _set_level,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
        }

    def ids(self) -> str:
        return self._door.hub.ids()

    def enter(self, caller: Caller, endpoint: str | None) -> Caller:
        """The caller as it is at this face. Raises UnknownTarget: there is none for it."""
        catalog, view = self._door.hub.catalog, view_of(endpoint)
        if view is not None:
            inside = catalog.views.enter(view, caller)
        else:
            is_there = endpoint is None or catalog.find_mcp(endpoint, caller) is not None
            inside = caller if is_there else None
        if inside is None:
            raise UnknownTarget("There is no server or view of this name")
        return inside

    def stream(self, context: Context, uris: Uris, feed: Feed) -> Subscription:
        """The news that a session hears. Raises Overloaded."""
        return self._subscriptions.stream(context, uris, feed)

    def welcome(self, session: Session) -> bytes:
        """The result of `initialize`."""
        context = session.context
        result: dict[str, Any] = {
            "protocolVersion": session.facts.version,
            "capabilities": self._door.capabilities(context),
            "serverInfo": Raw(SERVER_INFO),
        }
        if instructions := self._door.faces.instructions(context):
            result["instructions"] = instructions
        return _encode(result)

    def request(
        self, session: Session, message: Message, replies: Replies, facts: Mapping[str, Any]
    ) -> Passage | None:
        """Answer a request, now or later; `facts` are those of `Context` that this one brings."""
        own = self._own.get(message.method)
        if own is None:
            context = structs.replace(session.context, **facts)
            return self._door.request(message, context, replies)
        try:
            own(session, message, lambda: replies.result(b"{}"))
        except HubError as error:
            self._door.refuse(error, message, replies)
        else:
            if session.told is not None:
                session.told()
        return None

    def restore(self, session: Session, level: str, uris: Iterable[str]) -> None:
        """What a session said to another process; where this one has heard more, nothing."""
        if session.subscribed or session.context.log_level != DEFAULT_LEVEL:
            return
        with contextlib.suppress(HubError):
            session.choose_level(level)
        for uri in uris:
            with contextlib.suppress(HubError):
                self._subscriptions.watch(uri, session.context, session.subscribed)

    @staticmethod
    def notification(session: Session, message: Message) -> None:
        """Only cancelling has an effect here; the rest, known or not, is taken and forgotten."""
        if message.method == CANCELLED:
            session.cancelled(message)

    def leave(self, session: Session) -> None:
        """The session is over: nobody of it wants to hear of resources any more."""
        for place in list(session.subscribed):
            self._subscriptions.watched.remove(session.context, place)
        session.subscribed.clear()
        session.close()

    def _subscribe(self, session: Session, message: Message, done: Done) -> None:
        self._subscriptions.subscribe(message, session.context, session.subscribed, done)

    def _unsubscribe(self, session: Session, message: Message, done: Done) -> None:
        self._subscriptions.unsubscribe(message, session.context, session.subscribed)
        done()


def _set_level(session: Session, message: Message, done: Done) -> None:
    session.set_level(message)
    done()
