"""The way of a call through the hub. Every call takes it, by every door; there is no other.

    door ─ start(call) ─► shed? ─► rate? ─► idempotency key? ──────► Journey (domain/journey.py)
                                              │ write it down first       │ SEND
                                            ClaimLog                      │
                                   Passage ◄── finished / notified ── Upstream

`Passage` (passage.py) drives one `Journey` with callbacks: no task, no await, so that a call over
HTTP on both sides costs microseconds. `open` is the same for whoever would rather await.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Protocol

from agenthub.catalog import Catalog
from agenthub.domain.call import Call
from agenthub.domain.caller import Caller
from agenthub.domain.caller_rate import CallerRates
from agenthub.domain.errors import HubError, IdempotencyConflict, Overloaded, UnknownTarget
from agenthub.domain.idempotency import Idempotency
from agenthub.domain.journey import Journey
from agenthub.domain.outcome import Cause
from agenthub.domain.span import MICROSECOND, MILLISECOND, SECOND, Nanoseconds
from agenthub.metrics import OTHER, Metrics
from agenthub.passage import Answer, Passage, Receiver
from agenthub.ports import CallLog, CallRow, ClaimLog, Clock, Observer, Question, Timer
from agenthub.till import Till

FAIR_FROM = 0.8
"""Share of the places in use from which on no caller may hold more than an equal share (R44)."""
SWEEP: Nanoseconds = 50 * MILLISECOND
"""How finely deadlines are kept: a call ends at most this late."""
NEVER: Nanoseconds = 1 << 62
PARKED_MAX = 100
"""Calls of one caller that may wait for its answers at a time."""
DRAINS_MAX = 100
"""Calls of models that go on without their client, at a time."""
CLEAN_UP: Nanoseconds = 5 * SECOND
"""How long the upstreams may take to say that what was cancelled is over (R42)."""


class Waiting(Protocol):
    """A call of which nothing is in flight: its client has to answer first."""

    caller: str
    """The caller's id."""

    def cancel(self, cause: Cause) -> None: ...


class Gateway:
    """Relays calls: shed, guard, send, repeat where that is safe, log."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of the hub that a call meets
        self,
        catalog: Catalog,
        clock: Clock,
        log: CallLog,
        claim_log: ClaimLog,
        till: Till,
        observer: Observer,
        metrics: Metrics,
        calls_in_flight: int,
    ) -> None:
        self.till = till
        self.catalog = catalog
        self.clock = clock
        self.log = log
        self.claim_log = claim_log
        self.observer = observer
        self.metrics = metrics
        self.places = calls_in_flight
        self.answer_span: Nanoseconds = 600 * SECOND
        """How long a client may take to answer what a server asks it."""
        self.in_flight: set[Passage] = set()
        self.waiting: set[Waiting] = set()
        """Calls that wait for their clients between two requests to a server."""
        self.held: dict[str, int] = {}
        """Places in use, by caller."""
        self.rates = CallerRates()
        self.idempotency = Idempotency()
        self.epoch = clock.wall() - clock.now()
        self.listening: Callable[[], bool] = lambda: False
        """Whether anyone wants an event for each call."""
        self.takes_streams = True
        """Whether there is room for streams that stay open (R45)."""
        self._crowded = int(calls_in_flight * FAIR_FROM)
        self._stopping = False
        self._due: Nanoseconds = NEVER
        """The earliest deadline, or earlier; the timer is set for it."""
        self._timer: Timer | None = None
        self._seated: deque[Passage] = deque()
        self._seating = False

    def start(self, call: Call, receiver: Receiver) -> Passage:
        """Send a call on its way; it can be cancelled through what is returned.

        A call that ends at once is finished before this returns.

        Raises:
            HubError: It was refused before it began; `receiver` will hear nothing.
        """
        try:
            if len(self.in_flight) >= self._crowded:
                self.shed(call.caller)
            if call.caller.rate_limit is not None:
                self.rates.take(call.caller, self.clock.now())
            route = self.catalog.routes.find(call)
            way = Journey(call, route.hops, None)
            passage = Passage(call, self.clock.now(), self, receiver, way)
            if route.is_paid:
                passage.bill = self.till.bill(call, route.hops)
            first = passage.begin if call.idempotency_key is None else passage.claim()
        except HubError as error:
            if call.idempotency_key is not None and not isinstance(error, IdempotencyConflict):
                error.executed = "unknown"  # An earlier call with the key may have run (R32).
            self._refused(call, error)
            raise
        caller = call.caller.id
        self.in_flight.add(passage)
        self.held[caller] = self.held.get(caller, 0) + 1
        if call.deadline < self._due:
            self._set_timer(call.deadline)
        first()
        return passage

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncGenerator["Stream"]:
        """The same for whoever awaits: notifications, then the answer. Leaving cancels.

        Raises:
            HubError: It was refused before it began.
        """
        stream = Stream()
        passage = self.start(call, stream)
        try:
            yield stream
        finally:
            passage.cancel(Cause.CLIENT)

    def shed(self, caller: Caller) -> None:
        """Refuse what does not fit; near the edge, whoever holds more than its share first.

        `start` asks; a door may ask before it reads a body, which costs it nothing then (R44).

        Raises:
            Overloaded: Not now. A call that is sent all the same meets the same answer.
        """
        used = len(self.in_flight)
        if used < self._crowded:
            return
        share = self.places // max(1, len(self.held))
        if self._stopping or used >= self.places or self.held.get(caller.id, 0) >= share:
            words = (
                "The hub is stopping"
                if self._stopping
                else "The hub has as many calls in flight as it takes"
            )
            raise Overloaded(words, retry_after_ms=int(1000 * (0.75 + self.clock.chance() / 2)))

    def bear(self, places: int, *, streams: bool) -> None:
        """Take so many calls at a time from now on; those that are under way go on."""
        self.places, self.takes_streams = places, streams
        if not self._stopping:
            self._crowded = int(places * FAIR_FROM)

    async def drain(self, span: Nanoseconds) -> int:
        """Take no more calls, and wait for those under way; then cancel what is left of them.

        Returns how many were cancelled. Takes `span` and the time to clean up, at most.
        """
        self._stopping, self._crowded = True, 0
        for passage in list(self.in_flight):
            if passage.is_parked:
                passage.cancel(Cause.SHUTDOWN)
        for one in list(self.waiting):
            one.cancel(Cause.SHUTDOWN)
        await self._until_empty(span)
        left = len(self.in_flight)
        self.cancel_all(Cause.SHUTDOWN)
        await self._until_empty(CLEAN_UP)
        return left

    async def _until_empty(self, span: Nanoseconds) -> None:
        until = self.clock.now() + span
        while self.in_flight and self.clock.now() < until:  # noqa: ASYNC110 - calls pay no event
            await asyncio.sleep(SWEEP / SECOND)

    def cancel_all(self, cause: Cause) -> None:
        for passage in list(self.in_flight):
            passage.cancel(cause)

    # ------------------------------------------------------------ for passages

    def leave(self, passage: Passage) -> None:
        """A call is over: free its place."""
        self.in_flight.discard(passage)
        caller = passage.call.caller.id
        held = self.held[caller] - 1
        if held:
            self.held[caller] = held
        else:
            del self.held[caller]

    def may_drain(self) -> bool:
        """Whether one more call may go on without its client."""
        return not self._stopping and sum(one.draining for one in self.in_flight) < DRAINS_MAX

    def may_park(self, passage: Passage) -> bool:
        """Whether one more call of this caller may wait for an answer of its own.

        A parked call keeps its place and its seat, so no caller may hold too many of them, nor may
        several together hold all of a server.
        """
        caller, lane = passage.call.caller.id, passage.lane
        here = [one.call.caller.id for one in self.in_flight if one.is_parked and one.lane is lane]
        fits = len(here) < lane.parked_max and here.count(caller) < lane.parked_share
        return fits and self._may_wait(caller)

    def wait(self, one: Waiting) -> bool:
        """Count a call that waits for its client between two requests. False: it may not."""
        if len(self.in_flight) + len(self.waiting) >= self.places or not self._may_wait(one.caller):
            return False
        self.waiting.add(one)
        return True

    def _may_wait(self, caller: str) -> bool:
        if self._stopping:
            return False
        between = sum(one.caller == caller for one in self.waiting)
        return sum(1 for _ in self._parked(caller)) + between < PARKED_MAX

    def _parked(self, caller: str) -> Iterator[Passage]:
        return (one for one in self.in_flight if one.is_parked and one.call.caller.id == caller)

    def unparked(self, passage: Passage) -> None:
        """Its time goes on."""
        if passage.call.deadline < self._due:
            self._set_timer(passage.call.deadline)

    def seat(self, passage: Passage) -> None:
        """A lane gave this one a seat. A chain of them is a loop here, however long it is."""
        self._seated.append(passage)
        if self._seating:
            return
        self._seating = True
        try:
            while self._seated:
                self._seated.popleft().take_seat()
        finally:
            self._seating = False

    # ------------------------------------------------------------ refusals

    def _refused(self, call: Call, error: HubError) -> None:
        """A call that never began leaves its line in the log, too."""
        error.request_id, error.server = call.id, error.server or call.endpoint[:64]
        error.tool = error.tool or call.name[:128]
        known = not isinstance(error, UnknownTarget)
        self.metrics.rejected(call.endpoint if known else OTHER, error.slug)
        self.log.add(
            CallRow(
                self.clock.wall() // MICROSECOND, call.id, call.caller.id, call.door,
                call.endpoint[:200], "", call.method, call.name[:200], error.slug, error.code,
                0, 0, call.size_bytes, 0,
            )
        )  # fmt: skip

    # ------------------------------------------------------------ deadlines

    def _set_timer(self, due: Nanoseconds) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self.clock.after(max(due - self.clock.now(), SWEEP), self._sweep)

    def _sweep(self) -> None:
        """End what is past its deadline."""
        now = self.clock.now()
        self._timer, self._due = None, NEVER
        if self.catalog.stood_still(now):
            # The process was stopped, not the servers: answers may be waiting to be read (R19).
            self._set_timer(now)
            return
        due = NEVER
        for passage in list(self.in_flight):
            if passage.deadline <= now:
                passage.expire()
            elif passage.deadline < due:
                due = passage.deadline
        if due < self._due:
            self._set_timer(due)


class Stream(AsyncIterator[tuple[str, bytes]]):
    """A call's notifications (method, raw params), and then its answer, for those who await."""

    BACKLOG = 1000
    """Notifications that may wait; beyond it the oldest are dropped."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=self.BACKLOG)
        self._answer: Answer | None = None
        self._news = asyncio.Event()

    def notified(self, method: str, params: bytes) -> None:
        self._waiting.append((method, params))
        self._news.set()

    def asked(self, question: Question, passage: Passage) -> None:
        raise NotImplementedError("whoever awaits declares no capability to be asked")

    def finished(self, answer: Answer) -> None:
        self._answer = answer
        self._news.set()

    async def __anext__(self) -> tuple[str, bytes]:
        while not self._waiting:
            if self._answer is not None:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()

    async def end(self) -> Answer:
        """The end of the call; what was notified before is dropped if nobody took it."""
        async for _ in self:
            pass
        assert self._answer is not None, "the notifications end with the answer"
        return self._answer

    async def answer(self) -> Answer:
        """As `end`.

        Raises:
            HubError: The hub refused the call, or no server answered.
        """
        answer = await self.end()
        if answer.error is not None:
            raise answer.error
        return answer
