"""The way of a call through the hub, as a machine: events in, the next step out, no I/O.

    start ─► for each hop:  knock ─ token ─ seat ─ admit ─► SEND ─answered─► judge
                │ refused                │ full                │
                ▼                        ▼ queued              ├─ done, or final ─► END
             next hop, or END          WAIT ─seated─► admit    ├─ again ─► SLEEP ─woke─► same hop
                                                               └─ go on ─► SLEEP ─woke─► next hop

Retry stands inside failover. The caller's own limits come before `start` (the gateway's door).
What may be repeated is decided in one place, `domain.replay` (R28-R31), for the worst that may
have happened so far: once an attempt may have run, every later one must be safe with it. A refused
attempt was never sent, so the next server may be asked, except where the refusal is the operator's
own wish (rate limit) or a danger to the next server (quarantine).
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from msgspec import Struct, structs

from agenthub.domain.bulkhead import Entry
from agenthub.domain.call import Call
from agenthub.domain.errors import (
    BY_SLUG,
    DeadlineExceeded,
    HubError,
    Refusal,
    UnknownTarget,
    refused,
)
from agenthub.domain.judge import Verdict, judge
from agenthub.domain.lane import MIN_ATTEMPT, Lane, Pass
from agenthub.domain.outcome import Cause, Certainty, Effect, Ending, Reply
from agenthub.domain.price import CallPrice
from agenthub.domain.replay import may_replay
from agenthub.domain.retry import backoff
from agenthub.domain.span import MILLISECOND, Nanoseconds

PASSED_BY = frozenset({"circuit_open", "throttled_upstream", "overloaded"})
"""Refusals after which the next server is asked."""
REPEATABLE = frozenset({Certainty.NOT_SENT, Certainty.REFUSED, Certainty.UNKNOWN})
PAYMENT_REQUIRED = 402
SURELY_NOT = frozenset({Certainty.NOT_SENT, Certainty.REFUSED})
"""After these the upstream has not run the request."""


class Hop(Struct, frozen=True):
    """One server on the way: its guards, and what its pinned definition allows."""

    lane: Lane
    name: str
    """The tool's name there."""
    upstream: object
    """The driver's own: where an attempt is sent."""
    replay_safe: bool = False
    read_only: bool = False
    headers: dict[str, str] = {}
    price: CallPrice | None = None
    """Of a tool; None: it is free."""


class Step(Enum):
    """What the driver does next."""

    SEND = "send"
    """Send an attempt to `journey.hop`; then call `answered`."""
    WAIT = "wait"
    """The lane will hand the waiter back with a seat; then call `seated`."""
    SLEEP = "sleep"
    """Leave the seat, wait until `journey.wake_at` (which may be now); then call `woke`."""
    END = "end"
    """Leave the seat. `journey.reply`, or else `journey.error`, is what the caller gets."""


# An attribute of an Enum class costs more than a global name, and these stand on the hot path.
_SEND, _END = Step.SEND, Step.END
_ENTERED, _QUEUED = Entry.ENTERED, Entry.QUEUED
_DEADLINE, _DONE_OK, _LOST = Cause.DEADLINE, Certainty.DONE_OK, Ending.LOST


class Journey(Struct, eq=False):
    """One call's way. The driver calls one method per event and does what it returns."""

    call: Call
    hops: Sequence[Hop]
    waiter: object
    """What a lane hands back when a seat is free."""
    committed: bool = False
    """Set by the driver when something of an answer was forwarded (R31)."""
    attempts: int = 0
    hung: bool = False
    """Whether the last attempt had all the time it needed, and ended without an answer."""
    reply: Reply | None = None
    error: HubError | None = None
    wake_at: Nanoseconds = 0
    _index: int = 0
    _tries: int = 0
    _retrying: bool = False
    _unknown: bool = False
    """Whether an attempt may have run; then these are what all such attempts allow."""
    _safe: bool = True
    _read_only: bool = True
    _asked: Hop | None = None
    _parked_at: Nanoseconds | None = None
    _seat: Lane | None = None
    _passed: Pass | None = None

    @property
    def hop(self) -> Hop:
        """Where the attempt goes, or went last. Only after SEND."""
        assert self._asked is not None, "nothing was sent"
        return self._asked

    # ------------------------------------------------------------ events

    def start(self, now: Nanoseconds, chance: float) -> Step:
        """Once, first. A call for which there is no server ends at once."""
        return self._enter(now, chance)

    def seated(self, now: Nanoseconds, chance: float) -> Step:
        """A seat that was waited for is ours."""
        hop = self.hops[self._index]
        self._seat = hop.lane
        return self._admit(hop, self._key(hop), now, chance, waited=True)

    def woke(self, now: Nanoseconds, chance: float) -> Step:
        """The sleep is over."""
        return self._enter(now, chance)

    def answered(self, reply: Reply, cause: Cause | None, now: Nanoseconds, chance: float) -> Step:
        """The attempt is over; `cause` if the hub cancelled it."""
        hop, passed = self.hops[self._index], self._passed
        assert passed is not None, "an answer without an attempt"
        self._passed = None
        lane, key = hop.lane, passed.key
        verdict = judge(reply, cause)
        if cause is _DEADLINE and self.call.deadline - passed.started < lane.patience(key):
            # The caller gave less time than the tool usually takes: nobody's failure (A44).
            verdict = structs.replace(
                verdict, server=Effect.IGNORE, tool=Effect.IGNORE, needs_spread=False
            )
        self.hung = verdict.needs_spread and (cause is _DEADLINE or reply.ending is Ending.TIMEOUT)
        lane.report(passed, verdict, reply, now, chance)
        if reply.ending is _LOST or lane.quarantine.suspects:
            lane.heard(self.call, verdict.certainty, reply, now)
        if self._retrying:
            self._retry_is_over()
        if verdict.certainty is _DONE_OK:
            self.reply, self.error = reply, None
            return _END
        if verdict.certainty is Certainty.UNKNOWN:
            self._unknown = True
            self._safe = self._safe and hop.replay_safe
            self._read_only = self._read_only and hop.read_only
        self._keep(verdict, reply)
        if cause is None and verdict.certainty in REPEATABLE:
            return self._go_on(verdict, reply, now, chance)
        return Step.END

    def parked(self, now: Nanoseconds) -> None:
        """The server asked the client: from here until `unparked` no clock of the call runs.

        Nothing is repeated from here on (R31): the client has seen a part of the call.
        """
        assert self._passed is not None, "a question without an attempt"
        self.committed, self._parked_at = True, now
        self.hops[self._index].lane.set_aside(self._passed)

    def unparked(self, now: Nanoseconds) -> None:
        """The client answered, or never will: the call's time goes on."""
        assert self._passed is not None, "an answer without an attempt"
        assert self._parked_at is not None, "it was not parked"
        gap, self._parked_at = now - self._parked_at, None
        self.hops[self._index].lane.take_up(self._passed, gap)
        self.call = structs.replace(self.call, deadline=self.call.deadline + gap)

    def gave_up(self, cause: Cause) -> Step:
        """The client went, or time is over, while nothing was being sent."""
        self.hops[self._index].lane.seats.forget(self.waiter)
        self._note(
            DeadlineExceeded(
                "The call's time was over while it waited"
                if cause is Cause.DEADLINE
                else f"The call was cancelled ({cause.value})",
                **self._facts(),
            )
        )
        return self._end()

    def leave_seat(self) -> object | None:
        """Free the seat, if one is held; returns the waiter who has it now, to be woken."""
        if self._seat is None:
            return None
        lane, self._seat = self._seat, None
        return lane.seats.leave()

    # ------------------------------------------------------------ the way in

    def _enter(self, now: Nanoseconds, chance: float) -> Step:
        while self._index < len(self.hops):
            hop = self.hops[self._index]
            lane = hop.lane
            key = self._key(hop)
            refusal = lane.knock(key, self.call, now)
            if refusal is None and lane.bucket is not None:
                refusal = lane.take_token(now)
            if refusal is None:
                entry = lane.seats.enter(self.waiter)
                if entry is _ENTERED:
                    self._seat = lane
                    return self._admit(hop, key, now, chance, waited=False)
                if entry is _QUEUED:
                    return Step.WAIT
                lane.give_token_back()
                refusal = Refusal("overloaded", reason="Too many calls wait for this server")
            if not self._passes_by(refusal):
                return Step.END
        self._note(UnknownTarget(**self._facts()))
        return Step.END

    def _admit(self, hop: Hop, key: str, now: Nanoseconds, chance: float, *, waited: bool) -> Step:
        """Take the breakers' tickets, now that a seat is held."""
        if self.call.deadline - now < MIN_ATTEMPT:
            if not waited:
                hop.lane.give_token_back()
            self._note(DeadlineExceeded(**self._facts()))
            return self._end()
        passed = hop.lane.admit(key, now, chance)
        if isinstance(passed, Pass):
            self._passed = passed
            self._asked = hop
            self.attempts += 1
            self._tries += 1
            return _SEND
        # A breaker opened while the call waited for its seat: leave that first, then go on.
        # (Its token has come back by itself meanwhile; at once, a breaker refuses when knocked.)
        self.wake_at = now
        return Step.SLEEP if self._passes_by(passed) else Step.END

    def _passes_by(self, refusal: Refusal) -> bool:
        """Note the refusal; True: the next server is asked instead."""
        self._note(refused(refusal, **self._facts()))
        if self._retrying:
            self._retry_is_over()
        if refusal.slug not in PASSED_BY:
            return False
        following = self._index + 1
        if following < len(self.hops) and not self._is_safe(self.hops[following]):
            return False
        self._index = following
        self._tries = 0
        return following < len(self.hops)

    # ------------------------------------------------------------ the way on

    def _go_on(self, verdict: Verdict, reply: Reply, now: Nanoseconds, chance: float) -> Step:
        """Again on this server, or on the next one, if that is safe; or the end."""
        hop = self.hops[self._index]
        lane = hop.lane
        if self._tries < lane.endpoint.attempts and self._may(hop, verdict, reply, same=True):
            asked = (reply.retry_after_ms or 0) * MILLISECOND
            floor = max(asked, lane.gate.wait(now))
            delay = backoff(self._tries, verdict.pushback, chance, floor)
            needed = max(MIN_ATTEMPT, lane.typical(self._key(hop)))
            in_time = now + delay + needed < self.call.deadline
            if in_time and lane.budget.may_retry(lane.seats.in_flight):
                lane.budget.started()
                self._retrying = True
                self.wake_at = now + delay
                return Step.SLEEP
        following = self._index + 1
        if (
            following < len(self.hops)
            and self._may(self.hops[following], verdict, reply, same=False)
            and not lane.rests(self.call, now)
        ):
            self._index = following
            self._tries = 0
            self.wake_at = now
            return Step.SLEEP
        return Step.END

    def _may(self, hop: Hop, verdict: Verdict, reply: Reply, *, same: bool) -> bool:
        """Whether this attempt allows another one, there, and those before it do too."""
        pushback = verdict.pushback or reply.status == 503
        if not same and (reply.exhausted or reply.status == PAYMENT_REQUIRED):
            pushback = True  # There is no money left there, and waiting is vain (F31).
        return self._allows(verdict.certainty, hop, pushback=pushback, same=same) and (
            self._is_safe(hop, same=same)
        )

    def _is_safe(self, hop: Hop, *, same: bool = False) -> bool:
        """Whether an attempt there is safe with all those that may have run."""
        return not self._unknown or self._allows(Certainty.UNKNOWN, hop, pushback=False, same=same)

    def _allows(self, certainty: Certainty, hop: Hop, *, pushback: bool, same: bool) -> bool:
        return may_replay(
            certainty,
            pushback=pushback,
            replay_safe=hop.replay_safe and self._safe,
            read_only=hop.read_only and self._read_only,
            same_backend=self.hops[0].lane.endpoint.same_backend,
            same_server=same,
            committed=self.committed,
        )

    # ------------------------------------------------------------ what the caller will see

    def _keep(self, verdict: Verdict, reply: Reply) -> None:
        """What the caller gets now, unless a later attempt does better.

        An attempt that surely did not run says nothing of an earlier one that may have (R32).
        """
        if self._unknown and verdict.certainty in SURELY_NOT:
            if self.error is not None:
                self.error.attempt_count = self.attempts
            return
        if not verdict.slug:
            self.reply, self.error = reply, None
            return
        kind = BY_SLUG[verdict.slug]
        self.reply = None
        self.error = kind(reply.detail, retry_after_ms=reply.retry_after_ms, **self._facts())

    def _note(self, error: HubError) -> None:
        """A refusal is told only if nothing was attempted before, and the first one counts."""
        if self.error is None and self.reply is None:
            self.error = error

    def _end(self) -> Step:
        if self._retrying:
            self._retry_is_over()
        return Step.END

    def _retry_is_over(self) -> None:
        self._retrying = False
        self.hops[self._index].lane.budget.ended()

    def _key(self, hop: Hop) -> str:
        """What the lane's guards know the target by: a name from the list, never one made up."""
        return hop.name if self.call.method == "tools/call" else self.call.method

    def _facts(self) -> dict[str, Any]:
        return {
            "executed": "unknown" if self._unknown else "no",
            "server": self.call.endpoint,
            "tool": self.call.name,
            "attempt_count": self.attempts,
            "request_id": self.call.id,
        }
