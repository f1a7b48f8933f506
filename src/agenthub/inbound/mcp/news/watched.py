"""The resources and tasks that somebody watches: each server is asked for each of them once.

    first watcher ──► resources/subscribe ──► asked     the last one goes ──► resources/unsubscribe
                                      ▲         │
                                      └─ a new connection of the server's

Only new servers have tasks to tell of: these stand in the filter of the hub's own stream.
Source: MCP specification 2025-11-25, "Resources, Subscriptions"; 2026-07-28, extension tasks.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
from msgspec import Raw

from agenthub.domain.call import UNWATCH_TASK, WATCH_TASK, Call
from agenthub.domain.errors import HubError, RateLimited
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.hub import Hub
from agenthub.inbound.mcp.tasks import Task
from agenthub.inbound.mcp.terms import Context
from agenthub.passage import Answer

if TYPE_CHECKING:
    from agenthub.passage import Passage
    from agenthub.ports import Question

SPAN: Nanoseconds = 10 * SECOND
"""For a server's answer; whoever subscribes waits for it."""
SUBSCRIBE: Final = "resources/subscribe"

Place: TypeAlias = tuple[str, str] | Task
"""A server and its own URI; or a task."""

_encode = msgspec.json.Encoder().encode


class Watched:
    """All of them, for one door."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._watchers: dict[Place, list[Context]] = {}
        self._asking: dict[Place, list[Callable[[], None]]] = {}
        """Who waits to hear that the server was asked for it."""
        self._closed = False

    def add(self, context: Context, place: Place, then: Callable[[], None]) -> None:
        """Somebody wants to hear of this; the first one makes the hub ask for it.

        `then` is called when the server has been asked, whatever it said; perhaps at once.
        """
        watchers = self._watchers.setdefault(place, [])
        watchers.append(context)
        if len(watchers) == 1:
            self._asking.setdefault(place, []).append(then)
            self._ask(context, place)
        elif place in self._asking:
            self._asking[place].append(then)
        else:
            then()

    def remove(self, context: Context, place: Place) -> None:
        watchers = self._watchers[place]
        watchers.pop()
        if not watchers:
            del self._watchers[place]
            self._ask(context, place, on=False)

    def connected(self, server: str) -> None:
        """Its new process or session knows nothing of what was asked before."""
        for place, watchers in list(self._watchers.items()):
            if server == (place.server if isinstance(place, Task) else place[0]):
                self._ask(watchers[0], place)

    def close(self) -> None:
        self._closed = True

    def _ask(self, context: Context, place: Place, *, on: bool = True) -> None:
        """Tell the server, by the way that all calls take; if it does not know, nothing is lost."""
        hub = self._hub
        until = hub.clock.now() + SPAN
        if isinstance(place, Task):
            call = Call(
                hub.ids(), context.caller, context.door, place.endpoint,
                WATCH_TASK if on else UNWATCH_TASK, place.id, {}, {}, until, context.era,
                only=place.server, tool=place.tool,
            )  # fmt: skip
        else:
            call = Call(
                hub.ids(), context.caller, context.door, place[0],
                SUBSCRIBE if on else "resources/unsubscribe", place[1],
                {"uri": Raw(_encode(place[1]))}, {}, until, context.era,
            )  # fmt: skip
        try:
            hub.gateway.start(call, _Asking(self, context, place, on=on))
        except HubError:  # As any call would be now.
            self.asked(place)

    def asked(self, place: Place) -> None:
        for then in self._asking.pop(place, ()):
            then()

    def refused(self, error: HubError, context: Context, place: Place) -> None:
        """The rate limit has no room for the question: ask again later, while somebody watches.

        Whatever else is wrong ends with a new connection, and then all is asked anew.
        """
        if isinstance(error, RateLimited):
            span = max(1, error.retry_after_ms or 0) * MILLISECOND + SECOND
            self._hub.clock.after(span, lambda: self._ask_again(context, place))

    def _ask_again(self, context: Context, place: Place) -> None:
        if place in self._watchers and not self._closed:
            self._ask(context, place)


class _Asking:
    """gateway.Receiver for the hub's own question; its answer is of no interest."""

    def __init__(self, house: Watched, context: Context, place: Place, *, on: bool) -> None:
        self._house = house
        self._on = on
        self._context = context
        self._place = place

    def notified(self, method: str, params: bytes) -> None: ...
    def asked(self, question: "Question", passage: "Passage") -> None: ...

    def finished(self, answer: Answer) -> None:
        if self._on:
            self._house.asked(self._place)
            if answer.error is not None:
                self._house.refused(answer.error, self._context, self._place)
