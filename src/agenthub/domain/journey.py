"""The way of a call through the hub, as a machine: events in, the next step out, no I/O.

    start ─► for each hop:  knock ─ token ─ seat ─ admit ─► SEND ──answered──► judge
                │ refused                │ full                  │
                ▼                        ▼ queued                ├─ done, or final ──► END
             next hop, or END          WAIT ──seated──► admit    ├─ may repeat here ─► SLEEP ─woke─► same hop
                                                                 └─ may go on ──────► next hop

Retry stands inside failover. The caller's limit and the hold of money come before `start` (the
gateway's door). What may be repeated is decided in one place, `domain.replay` (R28–R31); a refused
attempt was never sent, so it may always go on to the next server, except where the refusal is
the operator's own wish (rate limit) or a danger to the next server (quarantine).
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
from agenthub.domain.outcome import Cause, Certainty, Effect, Reply
from agenthub.domain.replay import may_replay
from agenthub.domain.retry import backoff
from agenthub.domain.span import MILLISECOND, Nanoseconds

PASSED_BY = frozenset({"circuit_open", "throttled_upstream", "overloaded"})
"""Refusals after which the next server is asked."""
REPEATABLE = frozenset({Certainty.NOT_SENT, Certainty.REFUSED, Certainty.UNKNOWN})

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


class Journey:
    """One call's way. The driver calls one method per event and does what it returns."""

    __slots__ = (
        "_index", "_passed", "_retrying", "_seat", "_tries", "_unknown", "attempts",
        "call", "committed", "error", "hops", "reply", "waiter", "wake_at",
    )  # fmt: skip

    def __init__(self, call: Call, hops: Sequence[Hop], waiter: object) -> None:
        self.call = call
        self.hops = hops
        self.waiter = waiter
        """What a lane hands back when a seat is free."""
        self.committed = False
        """Set by the driver when something of an answer was forwarded (R31)."""
        self.attempts = 0
        self.reply: Reply | None = None
        self.error: HubError | None = None
        self.wake_at: Nanoseconds = 0
        self._index = 0
        self._tries = 0
        self._retrying = False
        self._unknown = False
        self._seat: Lane | None = None
        self._passed: Pass | None = None

    @property
    def hop(self) -> Hop:
        """Where the attempt goes, or went last."""
        return self.hops[min(self._index, len(self.hops) - 1)]

    # ------------------------------------------------------------ events

    def start(self, now: Nanoseconds, chance: float) -> Step:
        """Once, first. A call for which there is no server ends at once."""
        return self._enter(now, chance)

    def seated(self, now: Nanoseconds, chance: float) -> Step:
        """A seat that was waited for is ours."""
        self._seat = self.hop.lane
        return self._admit(now, chance)

    def woke(self, now: Nanoseconds, chance: float) -> Step:
        """The sleep is over."""
        return self._enter(now, chance)

    def answered(self, reply: Reply, cause: Cause | None, now: Nanoseconds, chance: float) -> Step:
        """The attempt is over; `cause` if the hub cancelled it."""
        hop, passed = self.hops[self._index], self._passed
        assert passed is not None, "an answer without an attempt"
        self._passed = None
        verdict = judge(reply, cancelled=cause)
        if cause is Cause.DEADLINE and self._too_short(hop, passed):
            verdict = structs.replace(
                verdict, server=Effect.IGNORE, tool=Effect.IGNORE, needs_spread=False
            )
        hop.lane.report(passed, hop.name, verdict, reply, now, chance)
        if self._retrying:
            self._retry_is_over(hop.lane)
        if verdict.certainty is Certainty.UNKNOWN:
            self._unknown = True
            hop.lane.died(self.call, reply, now)
        self._keep(verdict, reply)
        if cause is None and verdict.certainty in REPEATABLE:
            return self._go_on(verdict, reply, now, chance)
        return Step.END

    def gave_up(self, cause: Cause) -> Step:
        """The client went, or time is over, while nothing was being sent."""
        self.hop.lane.seats.forget(self.waiter)
        if self.error is None and self.reply is None:
            self.error = DeadlineExceeded(
                "The call's time was over while it waited"
                if cause is Cause.DEADLINE
                else f"The call was cancelled ({cause.value})",
                **self._facts(),
            )
        return Step.END

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
            refusal = hop.lane.knock(hop.name, self.call, now) or hop.lane.take_token(now)
            if refusal is None:
                entry = hop.lane.seats.enter(self.waiter)
                if entry is Entry.ENTERED:
                    self._seat = hop.lane
                    return self._admit(now, chance)
                if entry is Entry.QUEUED:
                    return Step.WAIT
                hop.lane.give_token_back(now)
                refusal = Refusal("overloaded", reason="Too many calls wait for this server")
            if not self._passes_by(refusal):
                return Step.END
        if self.error is None and self.reply is None:
            self.error = UnknownTarget(**self._facts())
        return Step.END

    def _admit(self, now: Nanoseconds, chance: float) -> Step:
        """Take the breakers' tickets, now that a seat is held."""
        hop = self.hops[self._index]
        if self.call.deadline - now < MIN_ATTEMPT:
            hop.lane.give_token_back(now)
            self._note(DeadlineExceeded(**self._facts()))
            return Step.END
        passed = hop.lane.admit(hop.name, now, chance)
        if isinstance(passed, Pass):
            self._passed = passed
            self.attempts += 1
            self._tries += 1
            return Step.SEND
        # A breaker opened while the call waited for its seat: leave that first, then go on.
        hop.lane.give_token_back(now)
        self.wake_at = now
        return Step.SLEEP if self._passes_by(passed) else Step.END

    def _passes_by(self, refusal: Refusal) -> bool:
        """Note the refusal; True: the next server may be asked."""
        self._note(refused(refusal, **self._facts()))
        if self._retrying:
            self._retry_is_over(self.hop.lane)
        if refusal.slug not in PASSED_BY:
            return False
        self._index += 1
        self._tries = 0
        return True

    # ------------------------------------------------------------ the way on

    def _go_on(self, verdict: Verdict, reply: Reply, now: Nanoseconds, chance: float) -> Step:
        """Again on this server, or on the next one, if that is safe; or the end."""
        hop = self.hops[self._index]
        lane = hop.lane
        if self._tries < lane.endpoint.attempts and self._may(hop, verdict, reply, same=True):
            floor = None if reply.retry_after_ms is None else reply.retry_after_ms * MILLISECOND
            delay = backoff(self._tries, verdict.pushback, chance, floor)
            in_time = now + delay + MIN_ATTEMPT < self.call.deadline
            if in_time and lane.budget.may_retry(lane.seats.in_flight):
                lane.budget.started()
                self._retrying = True
                self.wake_at = now + delay
                return Step.SLEEP
        following = self._index + 1
        if following < len(self.hops) and self._may(
            self.hops[following], verdict, reply, same=False
        ):
            self._index = following
            self._tries = 0
            self.wake_at = now
            return Step.SLEEP
        return Step.END

    def _may(self, hop: Hop, verdict: Verdict, reply: Reply, *, same: bool) -> bool:
        return may_replay(
            verdict.certainty,
            pushback=verdict.pushback or reply.status == 503,
            replay_safe=hop.replay_safe,
            read_only=hop.read_only,
            same_backend=self.hops[0].lane.endpoint.same_backend,
            same_server=same,
            committed=self.committed,
        )

    # ------------------------------------------------------------ what the caller will see

    def _keep(self, verdict: Verdict, reply: Reply) -> None:
        """This attempt's end is what the caller gets, unless a later one does better."""
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

    def _retry_is_over(self, lane: Lane) -> None:
        self._retrying = False
        lane.budget.ended()

    def _too_short(self, hop: Hop, passed: Pass) -> bool:
        """The caller gave less time than the tool usually takes: nobody's failure (A44)."""
        return self.call.deadline - passed.started < hop.lane.typical(hop.name)

    def _facts(self) -> dict[str, Any]:
        return {
            "executed": "unknown" if self._unknown else "no",
            "server": self.call.endpoint,
            "tool": self.call.name,
            "attempt_count": self.attempts,
            "request_id": self.call.id,
        }
