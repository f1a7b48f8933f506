"""The Streamable HTTP transport of MCP, in both eras, at `/mcp` and at what is below it.

    header MCP-Protocol-Version      body                          era
    ──────────────────────────────────────────────────────────────────────────────────────
    2026-07-28, or unknown           any                           modern (unknown: -32022)
    none                             `_meta` names a version       modern, header missing: -32020
    2025-…, 2024-11-05               `_meta` names a version       the two differ: -32020
    2025-…, 2024-…, or none          `initialize`                  legacy, begins a session
    2025-…, 2024-…, or none          any                           legacy, in its session

The header alone decides nothing that the body does not confirm: who routes by headers would
otherwise see another request than the one that is served (A16).

Source: MCP specification 2026-07-28 and 2025-11-25, "Streamable HTTP"; attacks A14-A18, A40.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

from agenthub.domain.call import Era
from agenthub.domain.errors import HubError
from agenthub.domain.span import MILLISECOND
from agenthub.domain.view import FACE, view_of
from agenthub.hub import Hub
from agenthub.inbound.exchange import Exchange, Headers, HotDoor
from agenthub.inbound.mcp.door import McpDoor
from agenthub.inbound.mcp.news.subscriptions import Subscriptions
from agenthub.inbound.mcp.terms import (
    INVALID_REQUEST,
    LISTEN,
    MODERN,
    VERSION_KEY,
    Context,
)
from agenthub.inbound.mcp.transport.event_store import EventStore
from agenthub.inbound.mcp.transport.legacy import LegacyDoor
from agenthub.inbound.mcp.transport.legacy_http import LegacyHttp
from agenthub.inbound.mcp.transport.request import (
    NEEDS_STREAM,
    OLD,
    VERSION,
    Heading,
    UnsupportedVersion,
    check,
    heading_of,
    refuse,
    shown,
)
from agenthub.inbound.mcp.transport.session import Session, Sessions
from agenthub.inbound.mcp.transport.session_stream import Desk
from agenthub.inbound.mcp.transport.sse import SseDoor
from agenthub.inbound.mcp.transport.stream import HttpFeed, HttpReplies, Pulse
from agenthub.wire.jsonrpc import InvalidRequest, Kind, Message, error_message, read_message
from agenthub.wire.mcp_headers import HeaderMismatch
from agenthub.wire.strict_json import BadJson

ALLOW: Final[Headers] = ((b"allow", b"GET, POST, DELETE"),)
ALLOW_POST: Final[Headers] = ((b"allow", b"POST"),)
FACES_MAX: Final = 1_000
_MODERN: Final = MODERN.encode()
_MODERN_ERA, _REQUEST = Era.MODERN, Kind.REQUEST


class McpHttp:
    """All faces of the hub over HTTP."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.door = McpDoor(hub)
        limits = hub.settings.limits
        self.pulse = Pulse(hub.clock, limits.client_buffer_bytes)
        store = EventStore(
            hub.clock, limits.resume_bytes, limits.resume_stream_bytes,
            limits.resume_ms * MILLISECOND,
        )  # fmt: skip
        self.desk = Desk(self.pulse, store, hub.clock)
        self.subscriptions = Subscriptions(hub, self.door)
        self.legacy = LegacyDoor(self.door, self.subscriptions)
        self.sessions = Sessions(hub.session_secret, self._leave)
        self.sse = SseDoor(self.legacy, self.pulse)
        self._faces: dict[str, HotDoor] = {}

    def hot(self, path: str) -> HotDoor | None:
        """The door at this path, if it is one of MCP's."""
        face = self._faces.get(path)
        if face is None:
            face = self._face(path)
            if face is None:
                return None
            if len(self._faces) < FACES_MAX:
                self._faces[path] = face
        return face

    def _face(self, path: str) -> HotDoor | None:
        head, slash, endpoint = path.removeprefix("/").partition("/")
        if "/" in endpoint.removeprefix(FACE) or (slash and not endpoint):
            return None
        if head == "mcp":
            return Face(self, endpoint or None)
        if head == "sse":
            return partial(self.sse.open, endpoint or None)
        return self.sse.post if path == "/messages" else None

    def _leave(self, session: Session) -> None:
        self.legacy.leave(session)
        self.desk.store.clear(session.shelf)

    def close(self) -> None:
        """The hub stops: open subscriptions end with their result. Calls are the gateway's."""
        self.door.close()
        self.subscriptions.close()
        self.pulse.close()
        self.desk.store.close()


class Face:
    """One address. A HotDoor."""

    def __init__(self, house: McpHttp, endpoint: str | None) -> None:
        self._hub = house.hub
        self._find = house.hub.catalog.find_mcp
        self._door = house.door
        self._pulse = house.pulse
        self._subscriptions = house.subscriptions
        self._endpoint = endpoint
        self._view = view_of(endpoint)
        self._legacy = LegacyHttp(
            house.legacy, house.sessions, house.subscriptions, house.desk, endpoint
        )

    def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        heading = heading_of(request)
        if heading.twice:
            refuse(exchange, HeaderMismatch(f"{heading.twice} came twice"))
        elif request.method != "POST":
            self._other(exchange, heading)
        else:
            try:
                message = read_message(request.body)
            except (BadJson, InvalidRequest) as error:
                refuse(exchange, error, getattr(error, "message_id", None))
                return
            if not self._enter(exchange):
                self._not_found(exchange, message.id)
                return
            version = heading.version
            if version is not None and version not in OLD:
                self._modern(exchange, heading, message)
            elif VERSION_KEY not in message.meta:
                self._legacy.post(exchange, heading.fields, message)
            else:
                wrong = "is missing" if version is None else "is not the version in `_meta`"
                refuse(exchange, HeaderMismatch(f"MCP-Protocol-Version {wrong}"), message.id)

    def _other(self, exchange: Exchange, heading: Heading) -> None:
        """No POST."""
        request, headers, version = exchange.request, heading.fields, heading.version
        if request.method not in {"GET", "DELETE"}:
            exchange.answer(405, b"", ALLOW)
        elif version == _MODERN:
            exchange.answer(405, b"", ALLOW_POST)
        elif version is not None and version not in OLD:
            refuse(exchange, UnsupportedVersion(shown(version)))
        elif not self._enter(exchange):
            self._not_found(exchange, b"")
        elif request.method == "GET":
            self._legacy.stream(exchange, headers)
        else:
            self._legacy.end(exchange, headers)

    def _enter(self, exchange: Exchange) -> bool:
        """Whether there is such a face for the caller, who is from now on as it is there."""
        endpoint = self._endpoint
        if self._view is None:
            return endpoint is None or self._find(endpoint, exchange.caller) is not None
        inside = self._hub.catalog.views.enter(self._view, exchange.caller)
        if inside is None:
            return False
        exchange.caller = inside
        return True

    def _not_found(self, exchange: Exchange, message_id: bytes) -> None:
        words = f"There is no {'server' if self._view is None else 'view'} of this name"
        exchange.answer(404, error_message(message_id, INVALID_REQUEST, words))

    # ------------------------------------------------------------ the new era

    def _modern(self, exchange: Exchange, heading: Heading, message: Message) -> None:
        if message.kind is not _REQUEST:
            self._modern_aside(exchange, heading.fields, message)
            return
        try:
            said = check(message, heading)
        except HubError as error:
            self._refuse(exchange, error, message.id)
            return
        request, streams = exchange.request, heading.streams
        context = Context(
            exchange.caller, self._endpoint, _MODERN_ERA, said.capabilities, said.client_info, b"",
            "mcp", heading.idempotency_key, len(request.body), request.headers,
        )  # fmt: skip
        if message.method == LISTEN:
            self._listen(exchange, message, context, streams=streams)
            return
        replies = HttpReplies(exchange, message.id, self._pulse, streams)
        passage = self._door.request(message, context, replies)
        if passage is not None:
            replies.attend(passage)

    def _modern_aside(
        self, exchange: Exchange, headers: Mapping[bytes, bytes], message: Message
    ) -> None:
        """Not a request. `cancelled` is taken and has no effect: closing the answer cancels,
        and an id is no proof of whose request it is (A40).
        """
        version = headers[VERSION]
        if version != _MODERN:
            refuse(exchange, UnsupportedVersion(shown(version)), message.id)
        elif message.kind is Kind.RESPONSE:
            wrong = InvalidRequest("Nothing was asked of the client", message.id)
            refuse(exchange, wrong, message.id)
        else:
            exchange.answer(202, b"")

    def _listen(
        self, exchange: Exchange, message: Message, context: Context, *, streams: bool
    ) -> None:
        if not streams:
            exchange.answer(406, error_message(message.id, INVALID_REQUEST, NEEDS_STREAM))
            return
        try:
            feed = HttpFeed(exchange, message.id, self._pulse)
            feed.attend(self._subscriptions.listen(message, context, feed))
        except HubError as error:
            self._refuse(exchange, error, message.id)

    def _refuse(self, exchange: Exchange, error: HubError, message_id: bytes) -> None:
        error.request_id = self._hub.ids()
        refuse(exchange, error, message_id)
