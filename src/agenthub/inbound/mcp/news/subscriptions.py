"""Subscriptions: who is told that a list or a resource has changed.

    server ─► catalog's listeners ─┐
    server comes, goes ─► bus ─────┴─► Subscriptions ─► each one's pending set ─100 ms─► its feed

Equal news in one span is told once (A35), and what a slow client has not taken stays pending, so
that nothing here grows with the news. A subscription whose face has gone ends with a result, and
so do all when the hub stops.

Source: MCP specification 2026-07-28, "Patterns, Subscriptions"; 2025-11-25, "Resources".
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec import structs

from agenthub.domain import target
from agenthub.domain.caller import Caller
from agenthub.domain.errors import HubError, InvalidParams, Overloaded, UnknownTarget
from agenthub.domain.events import Event, ServerChanged, ViewChanged
from agenthub.domain.view import server_of, view_of
from agenthub.hub import Hub
from agenthub.inbound.mcp.door import McpDoor, can_subscribe, declared_by
from agenthub.inbound.mcp.news.subscription import Feed, Followed, Subscription, Uris, Wish
from agenthub.inbound.mcp.news.watched import Place, Watched
from agenthub.inbound.mcp.terms import Context
from agenthub.server import Server
from agenthub.wire.jsonrpc import Message

PER_CALLER: Final = 100
"""Open subscriptions of one key (A61)."""
NAMED_MAX: Final = 1_000
"""Resources, and tasks, that one subscription may name."""
LISTS: Final = {
    "toolsListChanged": ("tools", "notifications/tools/list_changed"),
    "promptsListChanged": ("prompts", "notifications/prompts/list_changed"),
    "resourcesListChanged": ("resources", "notifications/resources/list_changed"),
}
"""In a filter: the capability it needs, and the notification."""
ALL_LISTS: Final = frozenset(method for _, method in LISTS.values())


def _nothing() -> None: ...


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
        hub.catalog.followed = self._follow
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
        wish, honoured = self._read(wanted, context)  # pyright: ignore[reportUnknownArgumentType]
        self._check_room(context.caller)
        subscription = self._add(context, wish, feed, message.id)
        subscription.acknowledge_after(len(wish.uris) + len(wish.tasks), honoured)
        for place in self._places(wish):
            self.watched.add(context, place, subscription.one_watched)
        return subscription

    def stream(self, context: Context, uris: Uris, feed: Feed) -> Subscription:
        """Everything that a session of the old era hears. Raises Overloaded."""
        self._check_room(context.caller)
        return self._add(context, Wish(ALL_LISTS, uris), feed, b"")

    def _read(self, wanted: Mapping[str, Any], context: Context) -> tuple[Wish, dict[str, Any]]:
        """What the face can tell of, and the same in the words of the answer."""
        honoured: dict[str, Any] = {}
        can = self._door.capabilities(context)
        for name, (capability, _) in LISTS.items():
            asked = wanted.get(name, False)
            if type(asked) is not bool:
                raise InvalidParams(f"params.notifications.{name}: expected true or false")
            # Servers come and go where many meet, and with them prompts and resources.
            if asked and (server_of(context.endpoint) is None or capability in can):
                honoured[name] = True
        uris: Uris = {}
        for uri in _strings(wanted, "resourceSubscriptions"):
            if place := self._place(uri, context):
                uris[place] = uri
        if uris:
            honoured["resourceSubscriptions"] = list(uris.values())
        tasks = self._tasks(_strings(wanted, "taskIds"), context)
        if tasks:
            honoured["taskIds"] = [followed.shown for followed in tasks.values()]
        lists = frozenset(LISTS[name][1] for name in honoured if name in LISTS)
        return Wish(lists, uris, tasks), honoured

    def _tasks(
        self, task_ids: Iterable[str], context: Context
    ) -> Mapping[tuple[str, str], Followed]:
        """Those that there are for this caller at this face; of others nothing is told."""
        tasks: dict[tuple[str, str], Followed] = {}
        for text in task_ids:
            try:
                task = self._door.task(text, context)
            except HubError:
                continue
            if self.hub.catalog.find_mcp(task.endpoint, context.caller) is not None:
                tasks[task.server, task.id] = Followed(task, text)
        return tasks

    @staticmethod
    def _places(wish: Wish) -> list[Place]:
        return [*wish.uris, *(followed.task for followed in wish.tasks.values())]

    def _place(self, uri: str, context: Context) -> tuple[str, str] | None:
        """Server and its own URI, if this caller may be told of it."""
        endpoint, caller = server_of(context.endpoint), context.caller
        place = (endpoint, uri) if endpoint else target.split_uri(uri)
        server = self.hub.catalog.find_mcp(place[0], caller) if place else None
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
        self.watch(uri, context, uris, then)

    def watch(
        self, uri: str, context: Context, uris: Uris, then: Callable[[], None] = _nothing
    ) -> None:
        """As `subscribe`. Raises UnknownTarget, Overloaded."""
        place = self._place(uri, context)
        if place is None:
            raise UnknownTarget(f"Unknown resource: {uri[:128]}")
        if len(uris) >= NAMED_MAX:
            raise Overloaded(f"{NAMED_MAX} resources are subscribed to already")
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
            except ValueError:
                return  # garbage from the server

    def _follow(self, server: str) -> bool:
        """Whether anybody wants to hear of changes of this server's lists."""
        return any(one.wish.lists and one.is_about(server) for one in self._open)

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
        caller, view = self.hub.keys.renewed(context.caller), view_of(context.endpoint)
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
        return endpoint is not None and self.hub.catalog.find_mcp(endpoint, context.caller) is None

    def forget(self, subscription: Subscription) -> None:
        self._open.pop(subscription, None)
        caller = subscription.context.caller.id
        self._held[caller] -= 1
        if self._held[caller] <= 0:
            del self._held[caller]
        if subscription.tag:
            for place in self._places(subscription.wish):
                self.watched.remove(subscription.context, place)

    def close(self) -> None:
        """The hub stops: each ends with its result, and no new one begins."""
        self._closed = True
        self.watched.close()
        for subscription in list(self._open):
            subscription.end()


def _strings(wanted: Mapping[str, Any], name: str) -> list[str]:
    """A list in a filter. Raises InvalidParams."""
    named = wanted.get(name, [])
    if not isinstance(named, list) or len(named) > NAMED_MAX:  # pyright: ignore[reportUnknownArgumentType]
        raise InvalidParams(f"params.notifications.{name}: expected at most {NAMED_MAX}")
    if not all(isinstance(one, str) for one in named):  # pyright: ignore[reportUnknownVariableType]
        raise InvalidParams(f"params.notifications.{name}: expected strings")
    return named  # pyright: ignore[reportUnknownVariableType]
