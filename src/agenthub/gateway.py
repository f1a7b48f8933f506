"""The way of a call through the hub. Every call takes it, by every door; there is no other.

    door ─ start(call) ─► shed? ─► known idempotency key? ─► Journey (domain/journey.py)
                                                               │ SEND
                          Passage ◄── finished / notified ── Upstream

`Passage` drives one `Journey` with callbacks: no task, no await, so that a call over HTTP on both
sides costs microseconds. `open` is the same for whoever would rather await.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from msgspec import Struct

from agenthub.catalog import Catalog, Route
from agenthub.domain.call import Call
from agenthub.domain.errors import (
    HubError,
    IdempotencyConflict,
    Overloaded,
)
from agenthub.domain.events import CallEnded
from agenthub.domain.idempotency import Claim, Idempotency
from agenthub.domain.journey import Journey, Step
from agenthub.domain.outcome import Cause, Ending, Reply
from agenthub.domain.span import MICROSECOND, MILLISECOND, SECOND, Nanoseconds
from agenthub.metrics import Metrics
from agenthub.ports import Attempt, CallLog, CallRow, Clock, Observer, Outgoing, Timer, Upstream

FAIR_FROM = 0.8
"""Share of the places in use from which on no caller may hold more than an equal share (R44)."""
SWEEP: Nanoseconds = 50 * MILLISECOND
"""How finely deadlines are kept: a call ends at most this late."""
STALL: Nanoseconds = 30 * SECOND
"""A longer gap between two sweeps means that the process stood still."""


class Answer(Struct, frozen=True):
    """The end of a call, as a door passes it on: a reply of an upstream, or the hub's error."""

    reply: Reply | None
    error: HubError | None
    served_by: str
    """The server that was asked last; empty when none was."""
    attempts: int


class Receiver(Protocol):
    """Whoever opened a call. A call that ends at once is finished before `start` returns."""

    def notified(self, method: str, params: bytes) -> None:
        """Progress or a log message of this call. From here on it is not repeated (R31)."""
        ...

    def finished(self, answer: Answer) -> None:
        """The end; exactly once."""
        ...


class Gateway:
    """Relays calls: shed, guard, send, repeat where that is safe, log."""

    def __init__(  # noqa: PLR0913 - the waist is where these meet
        self,
        catalog: Catalog,
        clock: Clock,
        log: CallLog,
        observer: Observer,
        metrics: Metrics,
        calls_in_flight: int,
    ) -> None:
        self.catalog = catalog
        self.clock = clock
        self.log = log
        self.observer = observer
        self.metrics = metrics
        self.places = calls_in_flight
        self.in_flight: set[Passage] = set()
        self.held: Counter[str] = Counter()
        """Places in use, by caller."""
        self.idempotency = Idempotency()
        self.listening: Callable[[], bool] = lambda: False
        """Whether anyone wants an event for each call."""
        self._deadlines: dict[int, set[Passage]] = {}
        self._sweeper: Timer | None = None
        self._swept_at: Nanoseconds = 0

    def start(self, call: Call, receiver: Receiver) -> "Passage":
        """Send a call on its way; it can be cancelled through what is returned.

        Raises:
            HubError: It was refused before it began; `receiver` will hear nothing.
        """
        if len(self.in_flight) >= self.places * FAIR_FROM:
            self._shed(call)
        route = self.catalog.route(call)
        passage = Passage(self, call, route, receiver)
        joined = call.idempotency_key is not None and not passage.claim()
        self.in_flight.add(passage)
        self.held[call.caller.id] += 1
        self._deadlines.setdefault(call.deadline // SWEEP, set()).add(passage)
        if self._sweeper is None:
            self._swept_at = passage.started
            self._sweeper = self.clock.after(SWEEP, self._sweep)
        if joined:
            passage.join()
        else:
            passage.begin()
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

    def leave(self, passage: "Passage") -> None:
        """A call is over: free its place."""
        call = passage.call
        self.in_flight.discard(passage)
        self.held[call.caller.id] -= 1
        if self.held[call.caller.id] <= 0:
            del self.held[call.caller.id]
        if waiting := self._deadlines.get(call.deadline // SWEEP):
            waiting.discard(passage)

    def cancel_all(self, cause: Cause) -> None:
        """At a stop, when draining took too long."""
        for passage in list(self.in_flight):
            passage.cancel(cause)

    def _shed(self, call: Call) -> None:
        """Refuse what does not fit; near the edge, whoever holds more than its share first."""
        full = len(self.in_flight) >= self.places
        share = self.places // max(1, len(self.held))
        if full or self.held[call.caller.id] >= share:
            jitter = int(1000 * (0.75 + self.clock.chance() / 2))
            raise Overloaded(
                "The hub has as many calls in flight as it takes", retry_after_ms=jitter,
                server=call.endpoint, tool=call.name, request_id=call.id,
            )  # fmt: skip

    def _sweep(self) -> None:
        """End what is past its deadline. One timer for all calls, while there are any."""
        now = self.clock.now()
        stood_still, self._swept_at = now - self._swept_at > STALL, now
        if stood_still:
            # The process was stopped, not the servers: answers may be waiting to be read (R19).
            self._sweeper = self.clock.after(SWEEP, self._sweep)
            return
        for slot in [slot for slot in self._deadlines if slot * SWEEP <= now]:
            for passage in list(self._deadlines[slot]):
                if passage.call.deadline <= now:
                    passage.cancel(Cause.DEADLINE)
            self._deadlines[slot] = {
                p for p in self._deadlines[slot] if p in self.in_flight and not p.cancelled
            }
            if not self._deadlines[slot]:
                del self._deadlines[slot]
        self._sweeper = self.clock.after(SWEEP, self._sweep) if self._deadlines else None


class Passage:
    """One call under way: drives its journey, and tells the receiver."""

    __slots__ = (
        "_attempt", "_cause", "_entry", "_gateway", "_journey", "_over", "_receiver", "_timer",
        "call", "started",
    )  # fmt: skip

    def __init__(self, gateway: Gateway, call: Call, route: Route, receiver: Receiver) -> None:
        self.call = call
        self._gateway = gateway
        self._receiver = receiver
        self.started = gateway.clock.now()
        self._journey = Journey(call, route.hops, self)
        self._attempt: Attempt | None = None
        self._timer: Timer | None = None
        self._cause: Cause | None = None
        self._entry: object = None
        self._over = False

    @property
    def cancelled(self) -> bool:
        return self._cause is not None

    def begin(self) -> None:
        gateway = self._gateway
        self._do(self._journey.start(self.started, gateway.clock.chance()))

    def cancel(self, cause: Cause) -> None:
        """End it: the upstream is told, the receiver hears the outcome. Idempotent."""
        if self._over or self._cause is not None:
            return
        self._cause = cause
        if self._attempt is not None:
            self._attempt.cancel(cause)
            return
        if self._timer is not None:
            self._timer.cancel()
        self._do(self._journey.gave_up(cause))

    def pause(self) -> None:
        """The client does not keep up: stop reading the upstream."""
        if self._attempt is not None:
            self._attempt.pause()

    def resume(self) -> None:
        if self._attempt is not None:
            self._attempt.resume()

    # ------------------------------------------------------------ from the upstream

    def notified(self, method: str, params: bytes) -> None:
        if self._cause is None:
            self._journey.committed = True
            self._receiver.notified(method, params)

    def finished(self, reply: Reply) -> None:
        gateway = self._gateway
        self._attempt = None
        self._do(
            self._journey.answered(reply, self._cause, gateway.clock.now(), gateway.clock.chance())
        )

    # ------------------------------------------------------------ from the lane

    def seated(self) -> None:
        """A seat that this call waited for is free."""
        gateway = self._gateway
        self._do(self._journey.seated(gateway.clock.now(), gateway.clock.chance()))

    def _woke(self) -> None:
        self._timer = None
        gateway = self._gateway
        self._do(self._journey.woke(gateway.clock.now(), gateway.clock.chance()))

    # ------------------------------------------------------------ the driver

    def _do(self, step: Step) -> None:
        """Carry out steps until one has to wait for the world."""
        gateway = self._gateway
        while True:
            if step is Step.SEND:
                self._send()
                return
            if step is Step.WAIT:
                return
            waiter = self._journey.leave_seat()
            if isinstance(waiter, Passage):
                waiter.seated()
            if step is Step.END:
                self._finish()
                return
            now = gateway.clock.now()
            if self._journey.wake_at > now:
                self._timer = gateway.clock.after(self._journey.wake_at - now, self._woke)
                return
            step = self._journey.woke(now, gateway.clock.chance())

    def _send(self) -> None:
        call, hop = self.call, self._journey.hop
        upstream: Upstream = hop.upstream  # pyright: ignore[reportAssignmentType]
        self._attempt = upstream.send(
            Outgoing(
                call.method, hop.name, call.params, call.meta, call.deadline,
                call.capabilities, call.client_info, call.era, hop.headers,
            ),
            self,
        )  # fmt: skip

    def _finish(self) -> None:
        journey = self._journey
        served_by = journey.hop.lane.endpoint.name if journey.attempts else ""
        self._end(Answer(journey.reply, journey.error, served_by, journey.attempts))

    def _end(self, answer: Answer) -> None:
        if self._over:
            return
        self._over = True
        gateway = self._gateway
        gateway.leave(self)
        self._note(answer)
        if self._entry is not None:
            gateway.idempotency.finish(self._entry, answer, gateway.clock.now())
        self._receiver.finished(answer)

    def _note(self, answer: Answer) -> None:
        """One line of the call log, the metrics, and an event if somebody listens."""
        call, gateway = self.call, self._gateway
        duration = gateway.clock.now() - self.started
        outcome, code, size = self._outcome(answer)
        gateway.metrics.call_ended(call.endpoint, outcome, duration, answer.attempts)
        if answer.served_by and answer.served_by != call.endpoint:
            gateway.metrics.fallback(call.endpoint, answer.served_by)
        wall = gateway.clock.wall()
        gateway.log.add(
            CallRow(
                (wall - duration) // MICROSECOND, call.id, call.caller.id, call.door,
                call.endpoint, answer.served_by, call.method, call.name, outcome, code,
                answer.attempts, duration // MICROSECOND, call.size_bytes, size,
            )
        )  # fmt: skip
        if gateway.listening():
            gateway.observer.event(
                CallEnded(
                    wall // MILLISECOND, call.id, call.endpoint, answer.served_by, call.method,
                    call.name, outcome, answer.attempts, duration // MICROSECOND,
                )
            )  # fmt: skip

    def _outcome(self, answer: Answer) -> tuple[str, int, int]:
        if answer.error is not None:
            slug = "cancelled" if self._cause is Cause.CLIENT else answer.error.slug
            return slug, answer.error.code, 0
        reply = answer.reply
        assert reply is not None, "a call ends with a reply or an error"
        if reply.ending is Ending.ERROR:
            return "upstream_error", reply.code, len(reply.error)
        if reply.result_type == "input_required":
            return "input_required", 0, len(reply.result)
        return ("tool_error" if reply.is_error else "ok"), 0, len(reply.result)

    # ------------------------------------------------------------ idempotency keys (R33)

    def claim(self) -> bool:
        """Claim the call's key. False: another call has it, and its answer will be this one's."""
        gateway, call = self._gateway, self.call
        scope = (call.caller.id, call.endpoint, call.name, call.idempotency_key)
        claim, entry = gateway.idempotency.claim(scope, call.digest(), gateway.clock.now())
        if claim is Claim.CONFLICT:
            raise IdempotencyConflict(
                server=call.endpoint, tool=call.name, request_id=call.id, executed="no"
            )
        self._entry = entry
        return claim is Claim.NEW

    def join(self) -> None:
        """Wait for the call that has the key; its answer, which may be there, is this one's."""
        entry, self._entry = self._entry, None
        self._gateway.idempotency.join(entry, self._joined)

    def _joined(self, answer: object) -> None:
        assert isinstance(answer, Answer), "what was stored is what `_end` gave"
        self._end(answer)


class Stream(AsyncIterator[tuple[str, bytes]]):
    """A call's notifications (method, raw params), and then its answer, for those who await."""

    BACKLOG = 1000
    """Notifications that may wait; beyond it the oldest are dropped."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, bytes]] = []
        self._answer: Answer | None = None
        self._news = asyncio.Event()

    def notified(self, method: str, params: bytes) -> None:
        if len(self._waiting) >= self.BACKLOG:
            del self._waiting[0]
        self._waiting.append((method, params))
        self._news.set()

    def finished(self, answer: Answer) -> None:
        self._answer = answer
        self._news.set()

    async def __anext__(self) -> tuple[str, bytes]:
        while not self._waiting:
            if self._answer is not None:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._waiting.pop(0)

    async def answer(self) -> Answer:
        """The end of the call; what was notified before is dropped if nobody took it.

        Raises:
            HubError: The hub refused it, or no server answered.
        """
        async for _ in self:
            pass
        assert self._answer is not None
        if self._answer.error is not None:
            raise self._answer.error
        return self._answer



