"""The resources and tasks of a new server that somebody watches, in the filter of its news.

    resources/subscribe ──► filter ──a moment──► a stream with the new filter ──acknowledged──► {}

A new server has no `resources/subscribe`: what is watched stands in the filter of
`subscriptions/listen`, and a filter cannot be changed. So a stream with the new one is opened, and
the old one is closed when that is there; all who asked in the same moment wait for the same stream.

Source: MCP specification 2026-07-28, "Patterns, Subscriptions".
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from agenthub.domain.call import UNWATCH_TASK, WATCH_TASK
from agenthub.domain.outcome import Cause, Ending, Reply, Written
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.ports import AttemptReceiver, Clock, Outgoing, Timer

SUBSCRIBE: Final = "resources/subscribe"
WATCHING: Final = {
    SUBSCRIBE: "resourceSubscriptions", "resources/unsubscribe": "resourceSubscriptions",
    WATCH_TASK: "taskIds", UNWATCH_TASK: "taskIds",
}  # fmt: skip
"""What changes the filter, and its member there."""
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
COALESCE: Nanoseconds = 5 * MILLISECOND
"""So long more changes of the filter are awaited."""
PATIENCE: Nanoseconds = SECOND
"""For the acknowledgement; a server that never says it may watch all the same."""
DONE: Final = Reply(Ending.RESULT, result=b"{}")

Filter: TypeAlias = Mapping[str, Any]


class Watch:
    """Implements `ports.Attempt`: somebody waits until the resource is watched, or no more."""

    def __init__(self, receiver: AttemptReceiver) -> None:
        self._receiver = receiver
        self._done = False

    def cancel(self, cause: Cause) -> None:
        self.finish(Reply(Ending.CANCELLED, Written.NONE, detail=f"cancelled: {cause.value}"))

    def answer(self, question_id: int | str, result: bytes, error: bytes = b"") -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...

    def finish(self, reply: Reply) -> None:
        if not self._done:
            self._done = True
            self._receiver.finished(reply)


class Watching:
    """Of one connection, from its opening on."""

    def __init__(self, lists: Filter, clock: Clock, listen: Callable[[Filter], None]) -> None:
        """`lists`: the part of the filter that never changes; `listen` opens a stream."""
        self._lists = lists
        self._clock = clock
        self._listen = listen
        self._named: dict[str, dict[str, None]] = {}
        self._waiting: list[Watch] = []
        self._timer: Timer | None = None
        """Of the moment before the stream is opened, and then of the acknowledgement."""
        self._is_asked = False
        """Whether the stream that is awaited was asked for."""

    @property
    def filter(self) -> Filter:
        """What the stream is to tell; empty: nothing."""
        named = {member: list(names) for member, names in self._named.items() if names}
        return {**self._lists, **named}

    def send(self, outgoing: Outgoing, receiver: AttemptReceiver) -> Watch:
        """Never calls the receiver before it has returned."""
        watch, name = Watch(receiver), outgoing.name
        names = self._named.setdefault(WATCHING[outgoing.method], {})
        before = name in names
        if outgoing.method in {SUBSCRIBE, WATCH_TASK}:
            names[name] = None
        else:
            names.pop(name, None)
        if before is (name in names):
            asyncio.get_running_loop().call_soon(watch.finish, DONE)
        else:
            self._waiting.append(watch)
            self._is_asked = False
            self._set_timer(COALESCE, self._open)
        return watch

    def _open(self) -> None:
        self._is_asked = True
        self._set_timer(PATIENCE, self.settle)
        self._listen(self.filter)

    def acknowledged(self) -> None:
        """The latest stream that was asked for is there."""
        if self._is_asked:
            self.settle()

    def settle(self) -> None:
        """Nobody waits any longer; after the end of a connection all is asked anew."""
        self._stop_timer()
        waiting, self._waiting = self._waiting, []
        for watch in waiting:
            watch.finish(DONE)

    def _set_timer(self, span: Nanoseconds, then: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._clock.after(span, then)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
