"""A call under way: drives its journey (domain/journey.py) and tells whoever opened it.

┌─ SEND ─► upstream ─► finished ─┐
begin ─► journey ─ WAIT ─► a seat ─► seated ───┼─► journey … ─► END ─► log, receiver
└─ SLEEP ─► timer ─► woke ───────┘
"""

import logging
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct, structs

from agenthub.catalog import Catalog
from agenthub.domain.call import Call
from agenthub.domain.errors import HubError, OutcomeUnknown
from agenthub.domain.events import CallEnded
from agenthub.domain.idempotency import (
    Earlier,
    Entry,
    Idempotency,
    answer_of,
    claim_of,
    kept,
    may_be_asked_again,
)
from agenthub.domain.journey import Journey, Step
from agenthub.domain.lane import Lane
from agenthub.domain.logged import outcome_of
from agenthub.domain.money import NanoUsd
from agenthub.domain.outcome import Cause, Reply
from agenthub.domain.span import MICROSECOND, MILLISECOND, SECOND, Nanoseconds
from agenthub.metrics import Metrics
from agenthub.ports import (
    Attempt,
    CallLog,
    CallRow,
    ClaimLog,
    Clock,
    Observer,
    Outgoing,
    Question,
    Timer,
    Upstream,
)
from agenthub.till import Bill

log = logging.getLogger(__name__)

# An attribute of an Enum class costs more than a global name, and these stand on the hot path.
_SEND, _WAIT, _END = Step.SEND, Step.WAIT, Step.END

USED = "llm/used"
"""A notification that is for the till: tokens of output that a model has written so far."""
DRAIN: Nanoseconds = 5 * SECOND
"""How long a model whose client has gone may go on, so that its bill is known exactly."""
QUESTIONS_MAX = 32  # of one call that may be open at a time
TOO_MANY = b'{"code":-32603,"message":"Too many questions wait for this client already"}'
FAILED = b'{"code":-32603,"message":"The question could not be put to the client"}'


class Answer(Struct, frozen=True):
    """The end of a call, as a door passes it on: a reply of an upstream, or the hub's error."""

    reply: Reply | None
    error: HubError | None
    served_by: str
    """The server that was asked last; empty when none was."""
    attempts: int
    cost: NanoUsd | None = None
    """What the call cost; None: nothing, or there is no price for it."""


class Receiver(Protocol):
    """Whoever opened a call."""

    def notified(self, method: str, params: bytes) -> None:
        """Progress or a log message of this call. From here on it is not repeated (R31)."""
        ...

    def asked(self, question: Question, passage: "Passage") -> None:
        """The server asks the client something; the call waits for `passage.answer`."""
        ...

    def finished(self, answer: Answer) -> None:
        """The end; exactly once."""
        ...


class House(Protocol):
    """What a passage needs of the gateway."""

    catalog: Catalog
    clock: Clock
    log: CallLog
    observer: Observer
    metrics: Metrics
    idempotency: Idempotency
    answer_span: Nanoseconds
    """How long a client may take to answer a question."""
    claim_log: ClaimLog
    epoch: Nanoseconds
    """Wall time when the monotonic clock was at zero, as it seemed at the hub's start."""

    def listening(self) -> bool: ...
    def may_park(self, passage: "Passage") -> bool:
        """Whether the caller may make one more call wait for an answer of its own."""
        ...

    def unparked(self, passage: "Passage") -> None:
        """Its time goes on: its deadline is to be kept again."""
        ...

    def may_drain(self) -> bool:
        """Whether one more call may go on without its client."""
        ...

    def leave(self, passage: "Passage") -> None: ...
    def seat(self, passage: "Passage") -> None: ...


class Passage(Struct, eq=False):
    """One call under way."""

    call: Call
    started: Nanoseconds
    _house: House
    _receiver: Receiver
    _journey: Journey
    _attempt: Attempt | None = None
    _timer: Timer | None = None
    _cause: Cause | None = None
    _entry: Entry | None = None
    """Of the call's key, if it is this call's to use."""
    _repeats: bool = False
    """Whether an earlier call has the key; then this one writes nothing."""
    _over: bool = False
    _open: set[int | str] | None = None
    """Ids of the questions that the client has not answered; None: none was ever asked."""
    _parked_until: Nanoseconds = 0
    bill: Bill | None = None
    """Of a call that may cost money."""
    _refusal: HubError | None = None
    """Why a model was cut off."""
    draining: bool = False
    """Whether its client has gone, and it goes on for a while for the sake of its bill."""

    def begin(self) -> None:
        self._start(self.started)

    def _start(self, now: Nanoseconds) -> None:
        if self.bill is None:
            self._go(now)
        else:
            self.bill.open(self._held)

    def _held(self, refusal: HubError | None) -> None:
        """The money is held, or is not to be had."""
        if self._over:
            return
        if refusal is None:
            assert self.bill is not None, "it holds the money"
            self._journey.hops = self.bill.hops
            self._go(self._house.clock.now())
        else:
            self._fail(refusal)

    def _go(self, now: Nanoseconds) -> None:
        journey = self._journey
        journey.waiter = self
        self._do(journey.start(now, self._house.clock.chance()))

    def cancel(self, cause: Cause) -> None:
        """End it: the upstream is told, the receiver hears the outcome. Idempotent."""
        if self._over or self._cause is not None:
            return
        if cause is not Cause.CLIENT or not (self.draining or self._drain()):
            self._stop(cause)

    def _stop(self, cause: Cause) -> None:
        self._unpark()
        self._cause = cause
        if self._attempt is not None:
            self._attempt.cancel(cause)
            return
        if self._timer is not None:
            self._timer.cancel()
        self._do(self._journey.gave_up(cause))

    def _drain(self) -> bool:
        """Whether it goes on without its client: a model that was asked is paid for anyway."""
        if self.bill is None or self._attempt is None or self.call.content is None:
            return False
        if not self._house.may_drain():
            return False
        self.draining = self._journey.committed = True  # It is not asked again.
        self._attempt.resume()
        self._timer = self._house.clock.after(DRAIN, self._drained)
        return True

    def _drained(self) -> None:
        self._timer = None
        self._stop(Cause.CLIENT)

    def pause(self) -> None:
        """The client does not keep up: stop reading the upstream."""
        if self._attempt is not None:
            self._attempt.pause()

    def resume(self) -> None:
        if self._attempt is not None:
            self._attempt.resume()

    # ------------------------------------------------------------ questions to the client

    @property
    def lane(self) -> Lane:
        """Of the server that was asked last."""
        return self._journey.hop.lane

    @property
    def is_parked(self) -> bool:
        """Whether the server waits for the client."""
        return bool(self._open)

    @property
    def deadline(self) -> Nanoseconds:
        """When the call is over in any case."""
        return self._parked_until if self._open else self.call.deadline

    def expire(self) -> None:
        """The deadline has passed. Who is asked and never answers has left."""
        self.cancel(Cause.CLIENT if self._open else Cause.DEADLINE)

    def answer(self, question_id: int | str, result: bytes, error: bytes = b"") -> None:
        """The client's answer, raw: a result, or else an error object. No-op if nobody waits."""
        if not self._open or question_id not in self._open:
            return
        if len(self._open) == 1:
            self._unpark()
        else:
            self._open.discard(question_id)
        assert self._attempt is not None, "a question without an attempt"
        self._attempt.answer(question_id, result, error)

    def asked(self, question: Question) -> None:
        """From the upstream."""
        if self._cause is not None or self._attempt is None:
            return
        if not self._open:
            if not self._house.may_park(self):
                self._attempt.answer(question.id, b"", TOO_MANY)
                return
            now = self._house.clock.now()
            self._parked_until = now + self._house.answer_span
            self._open = set()
            self._journey.parked(now)
        elif len(self._open) >= QUESTIONS_MAX:
            self._attempt.answer(question.id, b"", TOO_MANY)
            return
        self._open.add(question.id)
        try:
            self._receiver.asked(question, self)
        except Exception:
            log.exception("A receiver failed")
            self.answer(question.id, b"", FAILED)

    def _unpark(self) -> None:
        if self._open:
            self._open.clear()
            self._journey.unparked(self._house.clock.now())
            self.call = self._journey.call
            self._house.unparked(self)

    # ------------------------------------------------------------ from the upstream

    def notified(self, method: str, params: bytes) -> None:
        if method == USED and self.call.content is not None:
            if self.bill is not None:
                self.bill.flowed(int(params), self._cut, committed=self._journey.committed)
        elif self._cause is None:
            self._journey.committed = True
            try:
                self._receiver.notified(method, params)
            except Exception:
                # A bug in a door; the connection that brought this is other callers', too.
                log.exception("A receiver failed")

    def finished(self, reply: Reply) -> None:
        if self._open:
            self._unpark()  # it did not wait for the answer
        clock, journey = self._house.clock, self._journey
        self._attempt = None
        if self.bill is not None:
            self.bill.attempted(journey.hop, reply)
        step = journey.answered(reply, self._cause, clock.now(), clock.chance())
        if journey.hung:
            self._house.catalog.suspect(journey.hop.lane.endpoint.name)
        self._do(step)

    # ------------------------------------------------------------ the driver

    def take_seat(self) -> None:
        """A seat that this call waited for is free."""
        clock = self._house.clock
        self._do(self._journey.seated(clock.now(), clock.chance()))

    def seated(self) -> None:
        """As `take_seat`, in its turn."""
        self._house.seat(self)

    def _woke(self) -> None:
        self._timer = None
        clock = self._house.clock
        self._do(self._journey.woke(clock.now(), clock.chance()))

    def _do(self, step: Step) -> None:
        """Carry out steps until one has to wait for the world."""
        house, journey = self._house, self._journey
        while True:
            if step is _SEND:
                self._send()
                return
            if step is _WAIT:
                return
            waiter = journey.leave_seat()
            if waiter is not None:
                assert isinstance(waiter, Passage), "passages wait for seats"
                house.seat(waiter)
            if step is _END:
                served_by = journey.hop.lane.endpoint.name if journey.attempts else ""
                self._end(Answer(journey.reply, journey.error, served_by, journey.attempts))
                return
            now = house.clock.now()
            if journey.wake_at > now:
                self._timer = house.clock.after(journey.wake_at - now, self._woke)
                return
            step = journey.woke(now, house.clock.chance())

    def _send(self) -> None:
        call, hop = self.call, self._journey.hop
        if self.bill is not None:
            self.bill.sent(hop)
        upstream: Upstream = hop.upstream  # pyright: ignore[reportAssignmentType]
        self._attempt = upstream.send(
            Outgoing(
                call.method, hop.name, call.params, call.meta, call.deadline,
                call.capabilities, call.client_info, call.era, hop.headers, call.caller.id,
                call.caller.subject,
                call.content,
            ),
            self,
        )  # fmt: skip

    def _cut(self, refusal: HubError) -> None:
        """No budget has room for what the model writes on."""
        if not self._over and self._cause is None:
            self._refusal = refusal
            self.cancel(Cause.BUDGET)

    def _end(self, answer: Answer) -> None:
        if self._over:
            return
        self._over = True
        if self.bill is None:
            self._close(answer)
            return
        if self._refusal is not None and answer.error is not None:
            answer = structs.replace(answer, error=self._about(self._refusal))
        answer = structs.replace(answer, cost=self.bill.cost)
        # What it cost is durable before the caller hears the end. Should it not be, then the hold
        # is, and counts as spent.
        self.bill.close(lambda _: self._close(answer))

    def _close(self, answer: Answer) -> None:
        house = self._house
        if self.draining and self._timer is not None:
            self._timer.cancel()
        house.leave(self)
        self._note(answer)
        if self._entry is not None:
            self._release(self._entry, answer)
        self._journey.waiter = None  # This passage: a circle would be left for the collector.
        try:
            self._receiver.finished(answer)
        except Exception:
            log.exception("A receiver failed")

    def _note(self, answer: Answer) -> None:
        """One line of the call log, the metrics, and an event if somebody listens."""
        call, house = self.call, self._house
        duration = house.clock.now() - self.started
        outcome, code, size = outcome_of(answer.reply, answer.error, self._cause)
        house.metrics.call_ended(call.endpoint, outcome, duration, answer.attempts)
        if not answer.served_by:
            house.metrics.rejected(call.endpoint, outcome)
        elif answer.served_by != call.endpoint:
            house.metrics.fallback(call.endpoint, answer.served_by)
        wall = house.clock.wall()
        house.log.add(
            CallRow(
                (wall - duration) // MICROSECOND, call.id, call.caller.id, call.door,
                call.endpoint, answer.served_by, call.method, call.name, outcome, code,
                answer.attempts, duration // MICROSECOND, call.size_bytes, size,
            )
        )  # fmt: skip
        if house.listening():
            house.observer.event(
                CallEnded(
                    wall // MILLISECOND, call.id, call.endpoint, answer.served_by, call.method,
                    call.name, outcome, answer.attempts, duration // MICROSECOND,
                )
            )  # fmt: skip

    # ------------------------------------------------------------ idempotency keys (R33)

    def claim(self) -> Callable[[], None]:
        """Claim the call's key; returns what to do first. Raises IdempotencyConflict."""
        house = self._house
        claim = claim_of(self.call, house.epoch + self.started)
        self._entry = house.idempotency.enter(claim)
        return self._record if self._entry.claim is claim else self._join

    def _record(self) -> None:
        """Write the key down first. An earlier call with the key may have run (R32)."""
        assert self._entry is not None, "a key that was claimed"
        words = "The call ended before its idempotency key was looked up"
        self._journey.error = self._about(OutcomeUnknown(words, executed="unknown"))
        self._house.claim_log.claim(self._entry.claim, self._recorded)

    def _recorded(self, found: Earlier | HubError | None) -> None:
        entry = self._entry
        if self._over or entry is None:
            return
        if isinstance(found, HubError):
            self._fail(found)
            return
        try:
            earlier = None if found is None else answer_of(found, entry.claim)
        except HubError as error:
            self._repeats = True
            self._fail(error)
            return
        if earlier is None:
            self._journey.error = None
            self._start(self._house.clock.now())
        else:
            self._repeats = True
            self._end(Answer(earlier.reply, None, earlier.served_by, 0))

    def _about(self, error: HubError) -> HubError:
        call = self.call
        error.server, error.tool, error.request_id = call.endpoint, call.name, call.id
        return error

    def _fail(self, error: HubError) -> None:
        self._end(Answer(None, self._about(error), "", 0))

    def _release(self, entry: Entry, answer: Answer) -> None:
        """Keep the answer, before anybody hears it; those who joined hear it now."""
        house, claim = self._house, entry.claim
        if not self._repeats:
            if not answer.attempts or may_be_asked_again(answer):
                house.claim_log.forget(claim)
            elif (found := kept(answer)) is not None:
                house.claim_log.finish(claim, found)
        house.idempotency.finish(entry, answer)

    def _join(self) -> None:
        """Wait for the call that has the key; its answer, which may be there, is this one's."""
        entry, self._entry = self._entry, None
        assert entry is not None, "a key that was claimed"
        words = "Another call with this idempotency key is under way"
        self._journey.error = self._about(OutcomeUnknown(words, executed="unknown"))
        self._house.idempotency.join(entry, lambda a: self._end(structs.replace(a, attempts=0)))
