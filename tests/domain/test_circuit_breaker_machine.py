"""The circuit breaker against a machine that does anything to it, in any order.

Clocks jump, operators interfere, processes restart, reports come late or for another generation.
What must hold in spite of it are the properties P1 to P9 and P11 of rule set §4.10.
"""

from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.breaker_lab import WALL
from support.machines import machine

from agenthub.domain.breaker_config import BreakerConfig
from agenthub.domain.circuit_breaker import NEVER, CircuitBreaker, State
from agenthub.domain.errors import Refusal
from agenthub.domain.outcome import Effect
from agenthub.domain.span import MILLISECOND, SECOND

if TYPE_CHECKING:
    from agenthub.domain.ticket import Ticket

LEGAL = {
    (State.CLOSED, State.OPEN),
    (State.OPEN, State.HALF_OPEN),
    (State.HALF_OPEN, State.OPEN),
    (State.HALF_OPEN, State.CLOSED),
}
FORCED = {State.FORCED_OPEN, State.FORCED_CLOSED}
RETRY_AFTER_MAX = 300 * SECOND

configs = st.builds(
    BreakerConfig,
    failure_threshold=st.integers(1, 6),
    recovery_timeout_ms=st.sampled_from([10, 5_000, 300_000]),
    max_open_ms=st.sampled_from([10, 30_000, 120_000, 900_000]),
    window_ms=st.sampled_from([1_000, 30_000]),
    min_calls=st.integers(2, 8),
    failure_rate=st.sampled_from([0.3, 0.5, 1.0]),
    slow_call_ms=st.sampled_from([100, 10_000]),
    overdue_calls=st.integers(1, 5),
    probes=st.integers(1, 3),
    probes_to_close=st.integers(1, 3),
    probe_lease_ms=st.sampled_from([1_000, 61_000]),
    stable_ms=st.sampled_from([0, 10_000, 60_000]),
    ramp=st.integers(1, 6),
)
spans = st.one_of(st.integers(0, SECOND), st.integers(0, 40 * SECOND), st.integers(0, 400 * SECOND))
chances = st.floats(0, 1, exclude_max=True)


class BreakerMachine(RuleBasedStateMachine):
    @initialize(config=configs, ramp_limit=st.sampled_from([4, 16, 1_024]))
    def begin(self, config, ramp_limit):
        self.now, self.wall = 1_000 * SECOND, WALL
        self.seen = []
        self.breaker = CircuitBreaker("k", config, self.changed, ramp_limit=ramp_limit)
        self.tickets: list[Ticket] = []
        self.generation = 0
        self.level = 0
        self.closed_at: int | None = None
        self.allowed_until = 0
        self.floor = 0
        self.operator = False
        self.forget()

    def forget(self):
        """A generation begins: nothing is counted in it."""
        self.flying: set[int] = set()
        self.row = 0
        self.losses: set[int] = set()

    def changed(self, transition):
        """P6, and the level of R9, by a model of its own."""
        self.seen.append(transition)
        edge = (transition.before, transition.after)
        if self.operator or transition.cause == "forced_time_over":
            assert transition.after in FORCED or edge[1] is State.CLOSED
        else:
            assert edge in LEGAL, transition
        assert transition.generation == self.generation + 1
        self.generation += 1
        config = self.breaker.config
        if transition.after is State.OPEN:
            stable = config.stable_ms * MILLISECOND
            lately = self.closed_at is not None and self.now - self.closed_at < stable
            again = transition.before is State.HALF_OPEN or lately
            self.level = min(self.level + 1, 30) if again else 0
            self.check_open_time(transition)
        elif transition.after is State.CLOSED:
            natural = transition.before is State.HALF_OPEN and not self.operator
            self.closed_at = self.now if natural else None
            self.level = self.level if natural else 0
        assert transition.level == self.level == self.breaker.level
        self.check_cause(transition)
        self.forget()

    def check_open_time(self, transition):
        config = self.breaker.config
        base = config.recovery_timeout_ms * MILLISECOND
        middle = min(base * 2**self.level, max(base, config.max_open_ms * MILLISECOND))
        floor = min(self.floor, RETRY_AFTER_MAX)
        assert max(middle * 3 // 4, floor) <= transition.retry_after
        assert transition.retry_after <= max(middle * 5 // 4, floor)
        assert self.breaker.until == self.now + transition.retry_after

    def check_cause(self, transition):
        """A rate, or a row, was really reached."""
        config, counts = self.breaker.config, transition.counts
        if transition.cause == "consecutive_failures":
            assert self.row == counts["consecutive"] >= config.failure_threshold
        elif transition.cause == "failure_rate":
            assert counts["calls"] >= config.min_calls
            assert counts["failures"] >= config.failure_rate * counts["calls"]
        elif transition.cause == "slow_rate":
            assert counts["slow"] >= config.slow_rate * counts["calls"] > 0
        elif transition.cause == "overdue_calls":
            assert counts["in_flight"] >= config.overdue_calls
            assert counts["calls"] == 0
        elif transition.cause == "probes_ok":
            assert counts["probes_ok"] >= config.probes_to_close

    # What happens to it

    @rule(span=spans)
    def time_passes(self, span):
        self.now += span
        self.wall += span

    @rule(jump=st.integers(-(10**16), 10**16))
    def the_wall_clock_is_set(self, jump):
        self.wall += jump

    @rule(count=st.integers(1, 12), chance=chances)
    def calls_come(self, count, chance):
        for _ in range(count):
            self.ask(chance)

    def ask(self, chance):
        breaker, before, until = self.breaker, self.breaker.state, self.breaker.until
        full = breaker.in_flight >= breaker.config.probes
        foretold = breaker.peek(self.now)
        answer = breaker.admit(self.now, chance)
        if isinstance(answer, Refusal):
            assert answer == foretold or answer.reason == "open"
            assert answer.retry_after is None or answer.retry_after > 0
            return False
        assert foretold is None
        assert before not in {State.OPEN, State.FORCED_OPEN} or self.now >= until
        assert not (before is State.HALF_OPEN and full)
        assert answer.probe == (breaker.state is State.HALF_OPEN)
        self.tickets.append(answer)
        self.flying.add(id(answer))
        return True

    @precondition(lambda self: self.tickets)
    @rule(
        data=st.data(),
        effect=st.sampled_from(Effect),
        retry_after=st.sampled_from([0, SECOND, 250 * SECOND, 10**18]),
        evidence=st.integers(0, 3),
        chance=chances,
    )
    def one_ends(self, data, effect, retry_after, evidence, chance):
        ticket = self.tickets.pop(data.draw(st.integers(0, len(self.tickets) - 1)))
        self.end(ticket, effect, chance, retry_after, evidence)

    @rule(
        count=st.integers(1, 12),
        effects=st.lists(st.sampled_from(Effect), min_size=1, max_size=3),
        took=st.sampled_from([0, 0, 150 * MILLISECOND, 11 * SECOND]),
        chance=chances,
    )
    def calls_come_and_end(self, count, effects, took, chance):
        for number in range(count):
            if self.ask(chance):
                self.now += took
                self.wall += took
                self.end(self.tickets.pop(), effects[number % len(effects)], chance, 0, 0)

    @precondition(lambda self: self.breaker.state is State.CLOSED)
    @rule(chance=chances)
    def calls_hang(self, chance):
        config = self.breaker.config
        if all(self.ask(chance) for _ in range(config.overdue_calls)):
            self.now += max(config.window_ms, config.slow_call_ms) * MILLISECOND + 1
            self.breaker.tick(self.now, chance)
            assert self.seen[-1].cause == "overdue_calls"

    @precondition(lambda self: self.breaker.state in {State.OPEN, State.HALF_OPEN})
    @rule(chance=chances)
    def the_server_is_well_again(self, chance):
        if self.breaker.state is State.OPEN:
            self.now = max(self.now, self.breaker.until)
        while self.breaker.state is not State.CLOSED and self.ask(chance):
            self.end(self.tickets.pop(), Effect.SUCCESS, chance, 0, 0)

    @precondition(lambda self: self.tickets)
    @rule(effect=st.sampled_from([Effect.SUCCESS, Effect.FAILURE]), chance=chances)
    def all_end(self, effect, chance):
        while self.tickets:
            self.end(self.tickets.pop(), effect, chance, 0, 0)

    def end(self, ticket, effect, chance, retry_after, evidence):
        breaker, generation = self.breaker, self.generation
        stale = ticket.generation != generation
        self.flying.discard(id(ticket))
        before = breaker.counts(self.now) | {"in_flight": 0}
        fresh = effect is Effect.FAILURE and not (evidence and evidence in self.losses)
        closed = breaker.state is State.CLOSED
        if not stale and breaker.state is not State.HALF_OPEN:
            if effect is Effect.SUCCESS:
                self.row = 0
            elif fresh:
                self.row += 1
                self.losses.add(evidence)
        self.floor = retry_after
        breaker.report(ticket, effect, self.now, chance, retry_after=retry_after, evidence=evidence)
        self.floor = 0
        if stale or effect is Effect.IGNORE:
            assert self.generation == generation
            assert breaker.counts(self.now) | {"in_flight": 0} == before
        elif closed and fresh:
            assert self.opened_as_it_should()

    def opened_as_it_should(self):
        """P8: a failure that reaches a threshold has opened it."""
        config, counts = self.breaker.config, self.breaker.counts(self.now)
        if self.breaker.state is State.OPEN:
            return True
        rate_reached = counts["failures"] >= config.failure_rate * counts["calls"]
        return self.row < config.failure_threshold and not (
            counts["calls"] >= config.min_calls and rate_reached
        )

    @rule(chance=chances)
    def a_tick(self, chance):
        self.breaker.tick(self.now, chance)

    @rule(gap=st.integers(30 * SECOND, 4_000 * SECOND))
    def the_process_stands_still(self, gap):
        """P: a standstill by itself opens nothing (R19)."""
        self.breaker.tick(self.now, 0.5)
        state = self.breaker.state
        self.now += gap
        self.breaker.stalled(self.now, gap)
        self.breaker.tick(self.now, 0.5)
        assert self.breaker.state is state or state in FORCED

    @rule(chance=chances)
    def a_connection_cannot_be_made_again(self, chance):
        self.breaker.trip(self.now, chance, "loss+reconnect_failed")
        assert self.breaker.state in {State.OPEN, *FORCED}

    @rule(config=configs)
    def settings_change(self, config):
        before = (self.generation, self.breaker.state, self.breaker.in_flight)
        self.breaker.reconfigure(config, self.now)
        assert (self.generation, self.breaker.state, self.breaker.in_flight) == before

    @rule(
        word=st.sampled_from(["force_open", "force_close", "release", "reset"]),
        ttl=st.one_of(st.none(), spans),
    )
    def an_operator_interferes(self, word, ttl):
        self.operator = True
        method = getattr(self.breaker, word)
        if word.startswith("force"):
            method(self.now, "why", ttl)
        else:
            method(self.now)
        self.operator = False

    @rule(down=spans)
    def the_hub_restarts(self, down):
        """P9, P11: what is left of the open time is right, or as long as it was."""
        old = self.breaker
        state, left = old.state, old.until - self.now
        data, kept = old.dump(self.now, self.wall, ""), self.wall
        shown = self.now - (self.closed_at or 0)
        self.wall += down
        self.now = 77 * SECOND + down
        self.breaker = CircuitBreaker.load(
            data, "k", old.config, self.changed, self.now, self.wall, ""
        )
        assert not self.breaker.corrupt
        assert self.breaker.level == self.level
        self.generation += 1
        self.tickets, self.seen = [], []
        self.forget()
        age = self.wall - kept
        self.closed_at = None if self.closed_at is None else self.now - age - shown
        assert self.breaker.state is (State.OPEN if state is State.HALF_OPEN else state)
        if state is State.OPEN:
            longest = max(old.config.max_open_ms, old.config.recovery_timeout_ms)
            expected = min(max(left - age, 0), longest * MILLISECOND * 5 // 4)
            assert self.breaker.until == self.now + max(expected, 0)
        elif state is State.HALF_OPEN:
            assert self.breaker.until == self.now

    @precondition(lambda self: self.breaker.state in {State.OPEN, State.HALF_OPEN})
    @rule(chance=chances)
    def everybody_waits_long_enough(self, chance):
        """P3 (R12): then a call passes."""
        config = self.breaker.config
        longest = max(config.max_open_ms, config.recovery_timeout_ms) * MILLISECOND * 5 // 4
        self.now += config.probe_lease_ms * MILLISECOND + 1
        self.breaker.tick(self.now, chance)
        self.now += max(longest, RETRY_AFTER_MAX)
        assert self.ask(chance)

    # What holds at any time

    @invariant()
    def it_is_whole(self):
        breaker = self.breaker
        assert breaker.generation == self.generation
        assert breaker.in_flight == len(self.flying)
        assert 0 <= breaker.level <= 30
        assert breaker.counts(self.now)["consecutive"] == self.row
        if breaker.state in {State.CLOSED, State.HALF_OPEN}:
            assert breaker.until == NEVER

    @invariant()
    def who_may_pass_passes(self):
        refusal = self.breaker.peek(self.now)
        state, ended = self.breaker.state, self.now >= self.breaker.until
        if state in {State.OPEN, State.FORCED_OPEN}:
            assert (refusal is None) == ended
        elif state is State.FORCED_CLOSED:
            assert refusal is None
        elif state is State.CLOSED and refusal:
            assert refusal.reason == "ramp"
            assert self.breaker.in_flight >= self.breaker.config.ramp or self.breaker.in_flight
            assert 0 < refusal.retry_after <= SECOND


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = machine(80, 200, 60)
