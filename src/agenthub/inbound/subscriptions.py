"""Subscriptions: who is told that a list or a resource has changed.

    server ─► catalog's listeners ─┐
    server comes, goes ─► bus ─────┴─► Subscriptions ─► each one's pending set ─100 ms─► its feed

Equal news in one span is told once (A35), and what a slow client has not taken stays pending, so
that nothing here grows with the news. A subscription whose face has gone ends with a result, and
so do all when the hub stops.

Source: MCP specification 2026-07-28, "Patterns, Subscriptions"; 2025-11-25, "Resources".
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from msgspec import Raw, Struct, structs

from agenthub.domain import target
from agenthub.domain.caller import Caller
from agenthub.domain.errors import InvalidParams, Overloaded, UnknownTarget
from agenthub.domain.events import Event, ServerChanged, ViewChanged
from agenthub.domain.span import MILLISECOND, Nanoseconds
from agenthub.domain.view import server_of, view_of
from agenthub.hub import Hub
from agenthub.inbound.mcp import McpDoor, can_subscribe, declared_by
from agenthub.inbound.mcp_answer import without_hub_keys
from agenthub.inbound.mcp_terms import SUBSCRIPTION_KEY, Context
from agenthub.inbound.watched import Watched
from agenthub.server import Server
from agenthub.wire.jsonrpc import Message, with_members

if TYPE_CHECKING:
    from agenthub.ports import Timer

COALESCE: Nanoseconds = 100 * MILLISECOND
PER_CALLER: Final = 100
"""Open subscriptions of one key (A61)."""
URIS_MAX: Final = 1_000
"""Resources that one subscription may name."""
LISTS: Final = {
    "toolsListChanged": ("tools", "notifications/tools/list_changed"),
    "promptsListChanged": ("prompts", "notifications/prompts/list_changed"),
    "resourcesListChanged": ("resources", "notifications/resources/list_changed"),
}
"""In a filter: the capability it needs, and the notification."""
ALL_LISTS: Final = frozenset(method for _, method in LISTS.values())
UPDATED: Final = "notifications/resources/updated"
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"

Uris = dict[tuple[str, str], str]
"""(server, its own URI) → the URI as the client knows it."""

_encode = msgspec.json.Encoder().encode


class Feed(Protocol):
    """Where a subscription's messages go."""

    @property
    def full(self) -> bool:
        """The client does not keep up; `Subscription.resume` when it does again."""
        ...

    def notify(self, method: str, params: bytes) -> None: ...
    def end(self, result: bytes) -> None:
        """The hub ends it; `result` is that of the request that began it."""
        ...


class Wish(Struct, frozen=True):
    """What a subscription is about."""

    lists: frozenset[str]
    """Methods of the notifications."""
    uris: Uris


class Subscription:
    """One open stream of news."""

    def __init__(
        self, house: "Subscriptions", context: Context, wish: Wish, feed: Feed, tag: bytes
    ) -> None:
        self._house = house
        self.context = context
        self.wish = wish
        self.feed = feed
        self.tag = tag
        """The `listen` request's id as it was written; empty in the old era."""
        self._pending: dict[str, tuple[str, bytes]] = {}
        """By method, or by the resource's URI: the latest news of each."""
        self._timer: Timer | None = None
        self._honoured = b""
        """What is to be acknowledged, before anything else is told."""
        self._unwatched = 0
        """Resources that the servers have not been asked for yet."""
        self.open = True

    def hear(self, server: Server, method: str, params: bytes) -> None:
        if server.hidden or not self.is_about(server.name):
            return
        if method in self.wish.lists:
            self._put(method, method, b"{}")
        elif method == UPDATED and self.wish.uris:
            self._hear_update(server, params)

    def is_about(self, server: str) -> bool:
        """Whether the face shows this server, or something of it."""
        one = server_of(self.context.endpoint)
        return self.context.caller.sees(server) if one is None else one == server

    def hear_all(self) -> None:
        """A server came or went: all lists may have changed."""
        for method in self.wish.lists:
            self._put(method, method, b"{}")
        self._soon()

    def _hear_update(self, server: Server, params: bytes) -> None:
        uri = msgspec.json.decode(params, type=_Updated).uri
        shown = self.wish.uris.get((server.name, uri))
        if shown is not None and self.context.caller.sees(server.name):
            own = without_hub_keys(params)
            self._put(shown, UPDATED, with_members(own, {"uri": _encode(shown)}))

    def _put(self, key: str, method: str, params: bytes) -> None:
        self._pending[key] = (method, params)
        self._soon()

    def _soon(self) -> None:
        if self._timer is None and self.open:
            self._timer = self._house.hub.clock.after(COALESCE, self._flush)

    def _flush(self) -> None:
        self._timer = None
        self.check()
        self.resume()

    def check(self) -> None:
        """End if the face has gone."""
        if self._house.has_gone(self.context):
            self.end()

    def resume(self) -> None:
        """Tell what is pending, as far as the client takes it."""
        while self._pending and self.open and not self._honoured and not self.feed.full:
            method, params = self._pending.pop(next(iter(self._pending)))
            self.feed.notify(method, self._tagged(params))

    def _tagged(self, params: bytes) -> bytes:
        if not self.tag:
            return params
        members = msgspec.json.decode(params, type=dict[str, Raw])
        meta = with_members(bytes(members.get("_meta", b"{}")), {SUBSCRIPTION_KEY: self.tag})
        return _encode({**members, "_meta": Raw(meta)})

    def acknowledge_after(self, resources: int, honoured: Mapping[str, Any]) -> None:
        """Tell what is honoured once so many resources are watched."""
        self._honoured, self._unwatched = _encode({"notifications": honoured}), resources
        if not resources:
            self._acknowledge()

    def one_watched(self) -> None:
        self._unwatched -= 1
        if not self._unwatched and self.open:
            self._acknowledge()
            self.resume()

    def _acknowledge(self) -> None:
        honoured, self._honoured = self._honoured, b""
        self.feed.notify(ACKNOWLEDGED, self._tagged(honoured))

    def end(self) -> None:
        """The hub ends it, with a result."""
        if self.open:
            self.drop()
            self.feed.end(
                b'{"resultType":"complete","_meta":{"%b":%b}}'
                % (SUBSCRIPTION_KEY.encode(), self.tag or b'""')
            )

    def drop(self) -> None:
        """The client has gone, or has given it up. Idempotent."""
        if self.open:
            self.open = False
            if self._timer is not None:
                self._timer.cancel()
            self._house.forget(self)


class Subscriptions:
    """All of them, over every transport."""

    def __init__(self, hub: Hub, door: McpDoor) -> None:
        self.hub = hub
        self._door = door
        self._open: dict[Subscription, None] = {}
        self._held: Counter[str] = Counter()
        self.watched = Watched(hub)
        self._closed = False
        hub.catalog.listeners.append(self._hear)
        hub.bus.sinks.append(self._event)
        hub.keys.listeners.append(self._key_changed)

    # ------------------------------------------------------------ opening

    def listen(self, message: Message, context: Context, feed: Feed) -> Subscription:
        """Open what `subscriptions/listen` asks for; what is honoured is told first, as soon as
        the servers have been asked for it too.

        Raises:
            InvalidParams: The filter has the wrong shape.
            Overloaded: The caller has 100 open already.
        """
        wanted = message.parsed.get("notifications")
        if not isinstance(wanted, dict):
            raise InvalidParams("params.notifications: expected an object")
        lists, uris, honoured = self._read(wanted, context)  # pyright: ignore[reportUnknownArgumentType]
        self._check_room(context.caller)
        subscription = self._add(context, Wish(lists, uris), feed, message.id)
        subscription.acknowledge_after(len(uris), honoured)
        for place in uris:
            self.watched.add(context, place, subscription.one_watched)
        return subscription

    def stream(self, context: Context, uris: Uris, feed: Feed) -> Subscription:
        """Everything that a session of the old era hears. Raises Overloaded."""
        self._check_room(context.caller)
        return self._add(context, Wish(ALL_LISTS, uris), feed, b"")

    def _read(
        self, wanted: Mapping[str, Any], context: Context
    ) -> tuple[frozenset[str], Uris, dict[str, Any]]:
        """Notifications and resources that the face can tell of, and the same in its own words."""
        honoured: dict[str, Any] = {}
        can = self._door.capabilities(context)
        for name, (capability, _) in LISTS.items():
            asked = wanted.get(name, False)
            if type(asked) is not bool:
                raise InvalidParams(f"params.notifications.{name}: expected true or false")
            # Servers come and go where many meet, and with them prompts and resources.
            if asked and (server_of(context.endpoint) is None or capability in can):
                honoured[name] = True
        named = wanted.get("resourceSubscriptions", [])
        if not isinstance(named, list) or len(named) > URIS_MAX:  # pyright: ignore[reportUnknownArgumentType]
            raise InvalidParams(
                f"params.notifications.resourceSubscriptions: expected at most {URIS_MAX} URIs"
            )
        uris: Uris = {}
        for uri in named:  # pyright: ignore[reportUnknownVariableType]
            if not isinstance(uri, str):
                raise InvalidParams("params.notifications.resourceSubscriptions: expected strings")
            if place := self._place(uri, context):
                uris[place] = uri
        if uris:
            honoured["resourceSubscriptions"] = list(uris.values())
        lists = frozenset(LISTS[name][1] for name in honoured if name in LISTS)
        return lists, uris, honoured

    def _place(self, uri: str, context: Context) -> tuple[str, str] | None:
        """Server and its own URI, if this caller may be told of it."""
        endpoint, caller = server_of(context.endpoint), context.caller
        place = (endpoint, uri) if endpoint else target.split_uri(uri)
        server = self.hub.catalog.find(place[0], caller) if place else None
        if place is None or server is None or not can_subscribe(declared_by(server)):
            return None
        return place if caller.admits(target.join_uri(*place), reads=True) else None

    def _check_room(self, caller: Caller) -> None:
        if self._closed:
            raise Overloaded("The hub is about to stop")
        if not self.hub.gateway.takes_streams:
            raise Overloaded("The hub is short of memory")
        if self._held[caller.id] >= PER_CALLER:
            raise Overloaded(f"{PER_CALLER} subscriptions of this key are open already")

    def _add(self, context: Context, wish: Wish, feed: Feed, tag: bytes) -> Subscription:
        subscription = Subscription(self, context, wish, feed, tag)
        self._open[subscription] = None
        self._held[context.caller.id] += 1
        return subscription

    # ------------------------------------------------------------ resources of the old era

    def subscribe(
        self, message: Message, context: Context, uris: Uris, then: Callable[[], None]
    ) -> None:
        """`resources/subscribe`; `then` is called once it holds, which may be at once.

        Raises InvalidParams, UnknownTarget, Overloaded.
        """
        uri = message.parsed.get("uri")
        if not isinstance(uri, str):
            raise InvalidParams("params.uri: expected a string")
        place = self._place(uri, context)
        if place is None:
            raise UnknownTarget(f"Unknown resource: {uri[:128]}")
        if len(uris) >= URIS_MAX:
            raise Overloaded(f"{URIS_MAX} resources are subscribed to already")
        if place in uris:
            then()
        else:
            uris[place] = uri
            self.watched.add(context, place, then)

    def unsubscribe(self, message: Message, context: Context, uris: Uris) -> None:
        """`resources/unsubscribe`; of what was never subscribed to, nothing happens."""
        uri = message.parsed.get("uri")
        if not isinstance(uri, str):
            raise InvalidParams("params.uri: expected a string")
        for place in [place for place, shown in uris.items() if shown == uri]:
            del uris[place]
            self.watched.remove(context, place)

    # ------------------------------------------------------------ news

    def _hear(self, server: Server, method: str, params: bytes) -> None:
        for subscription in list(self._open):
            try:
                subscription.hear(server, method, params)
            except (msgspec.MsgspecError, ValueError):
                return  # garbage from the server

    def _event(self, event: Event) -> None:
        if isinstance(event, ViewChanged):
            self._view_changed(event.view)
        if not isinstance(event, ServerChanged):
            return
        if event.state == "connected":
            self.watched.connected(event.endpoint)
        elif event.state in {"added", "removed", "changed"}:
            for subscription in list(self._open):
                if subscription.is_about(event.endpoint):
                    subscription.hear_all()

    def _view_changed(self, name: str) -> None:
        for subscription in list(self._open):
            reach = subscription.context.caller.reach
            if reach is not None and reach.views is not None and name in reach.views:
                self._renew(subscription)

    def _key_changed(self, key_id: str) -> None:
        for subscription in list(self._open):
            if subscription.context.caller.id == key_id:
                if self.hub.keys.holds(subscription.context.caller):
                    self._renew(subscription)
                else:
                    subscription.end()

    def _renew(self, subscription: Subscription) -> None:
        """Its caller may touch other things than before: what it is shown is new, or gone."""
        context = subscription.context
        caller, view = self.hub.keys.caller(context.caller.id), view_of(context.endpoint)
        if view is not None:
            caller = self.hub.catalog.views.enter(view, caller or context.caller)
        if caller is not None:
            subscription.context = structs.replace(context, caller=caller)
        subscription.hear_all()

    def has_gone(self, context: Context) -> bool:
        """Whether the face is no longer there, or no longer for this caller."""
        endpoint, view = context.endpoint, view_of(context.endpoint)
        if view is not None:
            return self.hub.catalog.views.enter(view, context.caller) is None
        return endpoint is not None and self.hub.catalog.find(endpoint, context.caller) is None

    def forget(self, subscription: Subscription) -> None:
        self._open.pop(subscription, None)
        caller = subscription.context.caller.id
        self._held[caller] -= 1
        if self._held[caller] <= 0:
            del self._held[caller]
        if subscription.tag:
            for place in subscription.wish.uris:
                self.watched.remove(subscription.context, place)

    def close(self) -> None:
        """The hub stops: each ends with its result, and no new one begins."""
        self._closed = True
        self.watched.close()
        for subscription in list(self._open):
            subscription.end()


class _Updated(Struct):
    uri: str
