"""A circuit breaker: leaves a failing server alone, and finds out when it is well again.

             threshold, rate, slow rate, overdue calls, trip()
    CLOSED ───────────────────────────────────────────────────► OPEN ◄────────┐
      ▲                                                           │           │ a probe fails,
      │ enough probes answer;           the first call at `until` │           │ is slow, or
      │ then the ramp                                             ▼           │ outlives its lease
      └────────────────────────────────────────────────────── HALF_OPEN ──────┘

    force_open ──► FORCED_OPEN      nothing passes      ─┐  release(), or the time is over
    force_close ─► FORCED_CLOSED    records, never trips ┴─► CLOSED

R1  `admit` and `report` compute and return: no waiting, no clock, no I/O, no lock.
R2  While open, nothing passes before `until`; the first call from then on is a probe.
R3  While half-open, `probes` are in flight at most; who comes too is refused, and does not queue.
R4  Each transition begins a generation. A report from an older one changes nothing; two reports for
    one ticket are a bug, and raise.
R5  IGNORE counts neither way and gives the place back in the same instant.
R6  Failures with equal `evidence` are one lost connection and count once.
R7  A probe that is slow, or not back within its lease, has failed.
R8  `Retry-After` on a failure lengthens the open time, to 300 s at most.
R9  Each failed round of probes, or a trip within `stable_ms` of closing, doubles the open time.
R12 From any state but FORCED_OPEN, who calls after max(300 s, 1.25 longest open time) plus a lease
    passes, provided that somebody calls `tick` about once a second.
R17 The remaining open time survives a restart, whatever the wall clock did (`dump`, `load`).
R19 Time in which the process stood still is nobody's fault (`stalled`).

Every transition happens in `_to`. The numbers are those of rule set §4.2, §4.3; the design owes
the generations to gobreaker, the jittered open time to Finagle.
"""

from collections.abc import Callable
from itertools import islice
from typing import Final

import msgspec

from agenthub.domain.breaker_config import BreakerConfig, longest_open
from agenthub.domain.breaker_record import LEVEL_MAX, NOTE_MAX, Record, State, Transition
from agenthub.domain.errors import Refusal
from agenthub.domain.outcome import Effect
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.domain.ticket import Ticket
from agenthub.domain.window import Recent, Window

RETRY_AFTER_MAX: Final[Nanoseconds] = 300 * SECOND
NEVER: Final[Nanoseconds] = 1 << 62
RAMP_LIMIT: Final = 1_024
"""Where a ramp ends if nobody says: the bulkhead is narrower than that."""
MILLION: Final = 1_000_000

# An attribute of an Enum class costs more than a global name, and these stand on the hot path.
_CLOSED, _OPEN, _HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN
_FORCED_OPEN, _FORCED_CLOSED = State.FORCED_OPEN, State.FORCED_CLOSED
_SUCCESS, _FAILURE, _IGNORE = Effect.SUCCESS, Effect.FAILURE, Effect.IGNORE


class CircuitBreaker:
    """One breaker. `now` is monotonic; `chance`, from 0 up to 1, spreads the open time by ±25 %.

    `on_change` is called after each transition, when everything stands; it must not raise.
    """

    __slots__ = (
        "_clean_since", "_closed_at", "_consecutive", "_flying", "_lease", "_losses", "_on_change",
        "_probes_ok", "_ramp", "_slow", "_suspected", "_window", "config", "corrupt", "generation",
        "is_plain", "key", "level", "note", "ramp_limit", "state", "until",
    )  # fmt: skip

    def __init__(
        self, key: str, config: BreakerConfig, on_change: Callable[[Transition], None],
        *, ramp_limit: int = RAMP_LIMIT,
    ) -> None:  # fmt: skip
        self.key = key
        self.config = config
        self.ramp_limit = ramp_limit
        self.state = _CLOSED
        self.generation = 0
        self.level = 0
        self.until: Nanoseconds = NEVER
        """When the open time, or the operator's word, is over. NEVER: no end is known."""
        self.note = ""
        """Why the operator forced it."""
        self.corrupt = False
        """Whether it was loaded from a record that could not be read (R17)."""
        self._on_change = on_change
        self._slow = config.slow_call_ms * MILLISECOND
        self._lease = config.probe_lease_ms * MILLISECOND
        self._closed_at: Nanoseconds | None = None
        self._window = Window(config.window_ms * MILLISECOND)
        self._flying: dict[Ticket, None] = {}
        """In flight, of this generation; the oldest first."""
        self.is_plain = True
        """Closed, and no ramp: everybody passes."""
        self._ramp = 0
        self._clean_since: Nanoseconds = 0
        self._clear()

    @property
    def in_flight(self) -> int:
        """Attempts of this generation that have not been reported."""
        return len(self._flying)

    def counts(self, now: Nanoseconds) -> dict[str, int]:
        calls, failures, slow = self._window.totals(now)
        return {
            "calls": calls, "failures": failures, "slow": slow, "consecutive": self._consecutive,
            "in_flight": len(self._flying), "probes_ok": self._probes_ok,
        }  # fmt: skip

    def retry_after(self, now: Nanoseconds) -> Nanoseconds | None:
        """How long nothing passes; None: not shut, or for nobody knows how long."""
        if self.state not in {_OPEN, _FORCED_OPEN} or self.until == NEVER:
            return None
        return max(self.until - now, 0)

    def admit(self, now: Nanoseconds, chance: float) -> Ticket | Refusal:
        """A ticket for one attempt, to be reported in any case; or why not."""
        if not self.is_plain:
            refusal = self.peek(now)
            if refusal is not None:
                if self.state is not _HALF_OPEN or not self._outlived(now, chance):
                    return refusal
                return self.peek(now) or refusal
            self._move_on(now)
        ticket = Ticket(self.generation, now, self.state is _HALF_OPEN)
        self._flying[ticket] = None
        return ticket

    def peek(self, now: Nanoseconds) -> Refusal | None:
        """What `admit` would refuse with at this instant; None: it would give a ticket."""
        state = self.state
        if state is _OPEN or state is _FORCED_OPEN:
            wait = self.retry_after(now)
            return Refusal("circuit_open", wait, state.value) if now < self.until else None
        if state is _HALF_OPEN:
            full = len(self._flying) >= self.config.probes
            return Refusal("circuit_open", None, state.value) if full else None
        if self._ramp and len(self._flying) >= self._ramp_at(now):
            wait = SECOND - (now - self._clean_since) % SECOND
            return Refusal("overloaded", wait, "ramp")
        return None

    def report(
        self, ticket: Ticket, effect: Effect, now: Nanoseconds, chance: float,
        *, retry_after: Nanoseconds = 0, evidence: int = 0,
    ) -> None:  # fmt: skip
        """What became of an attempt. Raises RuntimeError when told twice (R4)."""
        if ticket.done:
            raise RuntimeError(f"an attempt through the breaker of {self.key} was reported twice")
        ticket.done = True
        if ticket.generation != self.generation:
            return
        del self._flying[ticket]
        if effect is _IGNORE:
            return
        span = now - ticket.started
        if self.state is _HALF_OPEN:
            cause = self._probed(now, span, failed=effect is _FAILURE)
        elif effect is _SUCCESS and span <= self._slow:
            self._consecutive = 0
            self._window.add(now, failed=False, slow=False)
            return
        else:
            cause = self._called(now, span, evidence, failed=effect is _FAILURE)
        if cause and self.state is not _FORCED_CLOSED:
            self._open(now, chance, cause, retry_after)

    def set_aside(self, ticket: Ticket) -> None:
        """The server waits for the client: until `take_up`, no rule sees the attempt."""
        if ticket.generation == self.generation:
            del self._flying[ticket]

    def take_up(self, ticket: Ticket, gap: Nanoseconds) -> None:
        """The attempt goes on, as if `gap` had not been. To be told before its `report`."""
        ticket.started += gap
        if ticket.generation == self.generation:
            self._flying[ticket] = None

    def trip(self, now: Nanoseconds, chance: float, cause: str) -> None:
        """Open at once, as when a lost connection could not be made again (R6)."""
        if self.state is _CLOSED or self.state is _HALF_OPEN:
            self._open(now, chance, cause)

    def tick(self, now: Nanoseconds, chance: float) -> None:
        """Notice what time alone has done: hung calls, hung probes, an operator's word run out."""
        if self.state is _CLOSED:
            if self._hangs(now):
                self._open(now, chance, "overdue_calls")
        elif self.state is _HALF_OPEN:
            if self._lease_is_over(now):
                self._open(now, chance, "probe_lease")
        elif self.state is not _OPEN and now >= self.until:
            self._move_on(now)

    def stalled(self, now: Nanoseconds, gap: Nanoseconds) -> None:
        """The process stood still for `gap`: to be told before the next `tick` (R19)."""
        for ticket in self._flying:
            ticket.started = min(ticket.started + gap, now)
        self._clean_since = min(self._clean_since + gap, now)
        self._window.shift(gap)
        self._suspected = NEVER

    # The operator's word (R16)

    def force_open(self, now: Nanoseconds, reason: str, ttl: Nanoseconds | None) -> None:
        """Let nothing pass, for `ttl` or until `release`."""
        self._force(_FORCED_OPEN, now, reason, ttl)

    def force_close(self, now: Nanoseconds, reason: str, ttl: Nanoseconds | None) -> None:
        """Let everything pass, for `ttl` or until `release`. Calls are counted; none trips it."""
        self._force(_FORCED_CLOSED, now, reason, ttl)

    def release(self, now: Nanoseconds) -> None:
        """Take the operator's word back: closed, and as new. Does nothing when not forced."""
        if self.state is _FORCED_OPEN or self.state is _FORCED_CLOSED:
            self._renew(now, "operator: release")

    def reset(self, now: Nanoseconds) -> None:
        """Closed, and as new, whatever it was."""
        self._renew(now, "operator: reset")

    def reconfigure(self, config: BreakerConfig, now: Nanoseconds) -> None:
        """Take new settings at once. State, counts and what is in flight stay."""
        if config.window_ms != self.config.window_ms:
            self._window = self._window.resized(config.window_ms * MILLISECOND, now)
        self.config = config
        self._slow = config.slow_call_ms * MILLISECOND
        self._lease = config.probe_lease_ms * MILLISECOND
        if self.state is _OPEN:
            self.until = min(self.until, now + max(longest_open(config), RETRY_AFTER_MAX))

    # Between two processes (R17)

    def dump(self, now: Nanoseconds, wall: Nanoseconds, boot_id: str) -> bytes:
        """The state, as JSON. `wall` in nanoseconds; `boot_id` names the run of the machine."""
        record = Record(
            self.state, self.generation, self.level, now, wall, boot_id,
            remaining=None if self.until == NEVER else max(self.until - now, 0),
            closed_ago=None if self._closed_at is None else now - self._closed_at,
            note=self.note,
        )  # fmt: skip
        return msgspec.json.encode(record)

    @classmethod
    def load(  # noqa: PLR0913, PLR0917 - a new breaker, and what was known of it when
        cls, data: bytes, key: str, config: BreakerConfig, on_change: Callable[[Transition], None],
        now: Nanoseconds, wall: Nanoseconds, boot_id: str,
    ) -> "CircuitBreaker":  # fmt: skip
        """The breaker that was dumped. What cannot be read gives a closed one that is `corrupt`."""
        breaker = cls(key, config, on_change)
        try:
            record = msgspec.json.decode(data, type=Record)
        except ValueError:
            breaker.corrupt = True
        else:
            breaker._resume(record, now, record.age(now, wall, boot_id))
        return breaker

    def _resume(self, record: Record, now: Nanoseconds, age: Nanoseconds) -> None:
        """Take up where the record ends. A half-open breaker asks again, at once."""
        self.state = _OPEN if record.state is _HALF_OPEN else record.state
        self.is_plain = self.state is _CLOSED
        self.generation, self.level, self.note = record.generation + 1, record.level, record.note
        if record.closed_ago is not None:
            self._closed_at = now - age - record.closed_ago
        if self.state is _OPEN:
            left = max((record.remaining or 0) - age, 0)
            self.until = now + min(left, longest_open(self.config))
        elif record.remaining is not None:
            self.until = now + max(record.remaining - age, 0)

    # The rules

    def _called(self, now: Nanoseconds, span: Nanoseconds, evidence: int, *, failed: bool) -> str:
        """Count a call that failed or was slow: why it opens the breaker, or "".

        A rate is looked at when it may have risen.
        """
        if failed and evidence and self._losses.knows(evidence):
            return ""
        config, slow = self.config, span > self._slow
        self._consecutive = self._consecutive + 1 if failed else 0
        self._window.add(now, failed=failed, slow=slow)
        if failed and self._ramp:
            self._ramp, self._clean_since = self._ramp_at(now), now
        if self._consecutive >= config.failure_threshold:
            return "consecutive_failures"
        calls, failures, slow_calls = self._window.totals(now)
        if calls >= config.min_calls:
            if failed and _reaches(failures, calls, config.failure_rate):
                return "failure_rate"
            if slow and _reaches(slow_calls, calls, config.slow_rate):
                return "slow_rate"
        return ""

    def _probed(self, now: Nanoseconds, span: Nanoseconds, *, failed: bool) -> str:
        """Count a probe: why it opens the breaker, or ""; enough good ones close it (R7)."""
        if failed:
            return "probe_failed"
        if span > self._slow or span > self._lease:
            return "probe_slow"
        self._probes_ok += 1
        if self._probes_ok >= self.config.probes_to_close:
            self._closed_at = self._clean_since = now
            self._ramp = self.config.ramp
            self._to(_CLOSED, now, "probes_ok")
        return ""

    def _hangs(self, now: Nanoseconds) -> bool:
        wanted = self.config.overdue_calls
        if len(self._flying) < wanted or self._window.totals(now)[0]:
            return False
        newest_of_them = next(islice(self._flying, wanted - 1, None))
        return now - newest_of_them.started > self._slow

    def _lease_is_over(self, now: Nanoseconds) -> bool:
        oldest = next(iter(self._flying), None)
        return oldest is not None and now - oldest.started > self._lease

    def _outlived(self, now: Nanoseconds, chance: float) -> bool:
        """Open when a refused call finds the lease over, in case that nobody ticks.

        After a stall the first look comes too early (R19): a second one, later, decides.
        """
        if not self._lease_is_over(now):
            return False
        self._suspected = min(self._suspected, now)
        if now - self._suspected < SECOND:
            return False
        self._open(now, chance, "probe_lease")
        return True

    def _closed_lately(self, now: Nanoseconds) -> bool:
        stable = self.config.stable_ms * MILLISECOND
        return self._closed_at is not None and now - self._closed_at < stable

    def _ramp_at(self, now: Nanoseconds) -> int:
        """How many may be in flight. Who fails now and then is not held down for ever."""
        if not self._closed_lately(now):
            return self.ramp_limit
        return self._ramp << min((now - self._clean_since) // SECOND, LEVEL_MAX)

    # Transitions

    def _move_on(self, now: Nanoseconds) -> None:
        """What the next ticket, or the tick, brings about."""
        if self.state is _OPEN:
            self.until = NEVER
            self._to(_HALF_OPEN, now, "open_time_over")
        elif now >= self.until:
            self._renew(now, "forced_time_over")
        elif self.state is _CLOSED and self._ramp_at(now) >= self.ramp_limit:
            self._ramp, self.is_plain = 0, True

    def _open(self, now: Nanoseconds, chance: float, cause: str, floor: Nanoseconds = 0) -> None:
        config = self.config
        again = self.state is _HALF_OPEN or self._closed_lately(now)
        self.level = min(self.level + 1, LEVEL_MAX) if again else 0
        base = config.recovery_timeout_ms * MILLISECOND
        span = min(base << self.level, max(base, config.max_open_ms * MILLISECOND))
        span = span * 3 // 4 + span * int(chance * MILLION) // (2 * MILLION)
        self.until = now + max(span, min(floor, RETRY_AFTER_MAX))
        asked = {"retry_after_ms": floor // MILLISECOND} if floor > RETRY_AFTER_MAX else {}
        self._to(_OPEN, now, cause, **asked)

    def _force(self, state: State, now: Nanoseconds, reason: str, ttl: Nanoseconds | None) -> None:
        self.note, self._ramp = reason[:NOTE_MAX], 0
        self.until = NEVER if ttl is None else now + ttl
        self._to(state, now, f"operator: {self.note}")

    def _renew(self, now: Nanoseconds, cause: str) -> None:
        self.note, self.until, self.level, self._closed_at, self._ramp = "", NEVER, 0, None, 0
        self._to(_CLOSED, now, cause)

    def _to(self, after: State, now: Nanoseconds, cause: str, **more: int) -> None:
        """The one place where the state changes: a new generation, and everybody is told."""
        counts = self.counts(now) | more
        before, self.state = self.state, after
        self.generation += 1
        self.is_plain = after is _CLOSED and not self._ramp
        self._window = Window(self.config.window_ms * MILLISECOND)
        self._flying = {}
        self._clear()
        wait = self.retry_after(now)
        self._on_change(
            Transition(self.key, before, after, self.generation, cause, self.level, wait, counts)
        )

    def _clear(self) -> None:
        self._consecutive = self._probes_ok = 0
        self._losses = Recent()
        """Lost connections that were counted in this generation."""
        self._suspected: Nanoseconds = NEVER
        """When a refused call first found a probe's lease over."""


def _reaches(part: int, whole: int, rate: float) -> bool:
    return part * MILLION >= whole * round(rate * MILLION)
