"""One open stream of news: what it is about, what is pending, and where it goes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from msgspec import Raw, Struct, field

from agenthub.domain.errors import HubError
from agenthub.domain.span import MILLISECOND, Nanoseconds
from agenthub.domain.view import server_of
from agenthub.hub import Hub
from agenthub.inbound.mcp.forgery import without_hub_keys
from agenthub.inbound.mcp.tasks import NEWS, Task, show_task
from agenthub.inbound.mcp.terms import SUBSCRIPTION_KEY, Context
from agenthub.server import Server
from agenthub.wire.jsonrpc import with_members, without_members

if TYPE_CHECKING:
    from agenthub.ports import Timer

COALESCE: Nanoseconds = 100 * MILLISECOND
UPDATED: Final = "notifications/resources/updated"
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"

Uris = dict[tuple[str, str], str]
"""(server, its own URI) → the URI as the client knows it."""

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, Raw]).decode


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


class Followed(Struct, frozen=True):
    """A task that a client wants to hear of."""

    task: Task
    shown: str
    """Its id as the client knows it."""


class Wish(Struct, frozen=True):
    """What a subscription is about."""

    lists: frozenset[str]
    """Methods of the notifications."""
    uris: Uris
    tasks: Mapping[tuple[str, str], Followed] = {}
    """By server, and the task's id there."""


class House(Protocol):
    """subscriptions.Subscriptions."""

    hub: Hub

    def has_gone(self, context: Context) -> bool: ...
    def forget(self, subscription: "Subscription") -> None: ...


class Subscription:
    """One open stream of news."""

    def __init__(self, house: House, context: Context, wish: Wish, feed: Feed, tag: bytes) -> None:
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
        """Resources and tasks that the servers have not been asked for yet."""
        self.open = True

    def hear(self, server: Server, method: str, params: bytes) -> None:
        if method == NEWS and self.wish.tasks:
            self._hear_task(server, params)
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

    def catch_up(self) -> None:
        """Whatever it may have missed."""
        self.hear_all()
        for uri in self.wish.uris.values():
            self._put(uri, UPDATED, _encode({"uri": uri}))

    def _hear_update(self, server: Server, params: bytes) -> None:
        uri = msgspec.json.decode(params, type=_Updated).uri
        shown = self.wish.uris.get((server.name, uri))
        if shown is not None and self.context.caller.sees(server.name):
            self._put(shown, UPDATED, with_members(_own(params), {"uri": _encode(shown)}))

    def _hear_task(self, server: Server, params: bytes) -> None:
        """News of a task, as its server or the fallback that has it tells them."""
        followed = self.wish.tasks.get((server.name, msgspec.json.decode(params, type=_News).id))
        context = self.context
        if followed is None or not context.caller.sees(followed.task.endpoint):
            return
        members = _members(_own(params))
        endpoint = followed.task.endpoint
        face = "" if context.endpoint == endpoint else endpoint
        try:
            show_task(members, followed.shown, face, context.capabilities)
        except HubError:
            return  # A request for the task meets the same error, and can say so.
        self._put(followed.shown, NEWS, _encode(members))

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
        members = _members(params)
        meta = with_members(bytes(members.get("_meta", b"{}")), {SUBSCRIPTION_KEY: self.tag})
        return _encode({**members, "_meta": Raw(meta)})

    def acknowledge_after(self, wanted: int, honoured: Mapping[str, Any]) -> None:
        """Tell what is honoured once so many resources and tasks are watched."""
        self._honoured, self._unwatched = _encode({"notifications": honoured}), wanted
        if not wanted:
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


class _Updated(Struct):
    uri: str


class _News(Struct):
    id: str = field(name="taskId")


def _own(params: bytes) -> bytes:
    """What the server says, without what it cannot: what the hub says, and the hub's `listen`."""
    members = _members(without_hub_keys(params))
    if "_meta" in members:
        members["_meta"] = Raw(without_members(bytes(members["_meta"]), (SUBSCRIPTION_KEY,)))
    return _encode(members)
