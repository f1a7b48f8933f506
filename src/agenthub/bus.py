"""The event bus: what happens in the hub, for whoever listens.

    event(e) ──► number ──► ring (the last 500) ──► sinks (at once) ──► subscriptions (bounded)

A listener that does not keep up loses its oldest events, and is told how many; nobody waits for
it. `traffic` comes once a second, only while somebody listens, and has no number: a listener that
comes back has no use for the traffic it missed.
"""

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from agenthub.domain.errors import Overloaded
from agenthub.domain.events import CallEnded, Event, Traffic
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.ports import Clock, Timer

log = logging.getLogger(__name__)

RING = 500
"""Events that a listener may have missed and still get; calls apart, for they come in thousands."""
QUEUE = 1_000
SUBSCRIPTIONS_MAX = 100

Numbered: TypeAlias = tuple[int, Event]
"""An event and its number; 0 for traffic. Numbers grow by one and start anew with the hub."""


class Counts(Struct, frozen=True):
    """Totals since the start, of which `Traffic` tells the growth."""

    calls: int
    failed: int
    in_flight: int


class Subscription:
    """One listener's events, oldest first."""

    def __init__(self, missed: list[Numbered], closed: Callable[["Subscription"], None]) -> None:
        self._events: deque[Numbered] = deque(missed, QUEUE)
        self._closed = closed
        self._waiting = asyncio.Event()
        if missed:
            self._waiting.set()
        self.ended = False
        self.dropped = 0
        """How many events were lost because they were not taken in time."""

    def put(self, event: Numbered) -> None:
        if len(self._events) == QUEUE:
            self.dropped += 1
        self._events.append(event)
        self._waiting.set()

    def end(self) -> None:
        """The bus stops."""
        self.ended = True
        self._waiting.set()

    async def take(self) -> list[Numbered]:
        """All that has come; waits for at least one. Empty only when no more will come."""
        await self._waiting.wait()
        if not self.ended:
            self._waiting.clear()
        events = list(self._events)
        self._events.clear()
        return events

    def close(self) -> None:
        """No more events. Idempotent."""
        self._closed(self)


class EventBus:
    """ports.Observer that passes events on."""

    def __init__(self, clock: Clock, counts: Callable[[], Counts]) -> None:
        self._clock = clock
        self._counts = counts
        self._told = Counts(0, 0, 0)
        self._timer: Timer | None = None
        self._subscriptions: list[Subscription] = []
        self._rings: tuple[deque[Numbered], deque[Numbered]] = (
            deque(maxlen=RING),
            deque(maxlen=RING),
        )
        self.sinks: list[Callable[[Event], None]] = []
        """Hear every event at once, on the loop; what they raise is logged."""
        self.last = 0
        """The number of the latest event."""

    def listening(self) -> bool:
        """Whether anybody would hear of a single call."""
        return bool(self._subscriptions)

    def event(self, event: Event) -> None:
        self.last += 1
        numbered = (self.last, event)
        self._rings[isinstance(event, CallEnded)].append(numbered)
        for sink in self.sinks:
            try:
                sink(event)
            except Exception:
                log.exception("A listener failed")
        for subscription in self._subscriptions:
            subscription.put(numbered)

    def subscribe(self, after: int | None = None) -> Subscription:
        """Events from now on; with `after`, also those since that number that are still known.

        A number that this hub has not given yet is one of an earlier run: all that is known comes.

        Raises:
            Overloaded: 100 listen already.
        """
        if len(self._subscriptions) >= SUBSCRIPTIONS_MAX:
            raise Overloaded(f"{SUBSCRIPTIONS_MAX} listeners are connected already")
        missed: list[Numbered] = []
        if after is not None:
            floor = after if after <= self.last else 0
            missed = [one for one in heapq.merge(*self._rings, key=_number) if one[0] > floor]
        subscription = Subscription(missed, self._drop)
        self._subscriptions.append(subscription)
        if self._timer is None:
            self._told = self._counts()
            self._timer = self._clock.after(SECOND, self._tick)
        return subscription

    def close(self) -> None:
        """End all subscriptions, so that no open stream holds up a stop."""
        for subscription in self._subscriptions:
            subscription.end()

    def _drop(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def _tick(self) -> None:
        self._timer = None
        if not self._subscriptions:
            return
        counts, told = self._counts(), self._told
        self._told = counts
        traffic = Traffic(
            self._clock.wall() // MILLISECOND,
            counts.calls - told.calls,
            counts.failed - told.failed,
            counts.in_flight,
        )
        for subscription in self._subscriptions:
            subscription.put((0, traffic))
        self._timer = self._clock.after(SECOND, self._tick)


def _number(numbered: Numbered) -> int:
    return numbered[0]
