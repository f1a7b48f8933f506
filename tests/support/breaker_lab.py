"""A breaker on a bench: its own clock, a list of its transitions, and words for its life."""

from agenthub.domain.breaker_config import BreakerConfig
from agenthub.domain.circuit_breaker import CircuitBreaker, State, Transition
from agenthub.domain.errors import Refusal
from agenthub.domain.outcome import Effect
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.domain.ticket import Ticket

MIDDLE = 0.5
"""The chance that leaves the open time as it is."""
WALL = 1_800_000_000 * SECOND


class Bench:
    def __init__(self, *, ramp_limit=1_024, now=1_000 * SECOND, **settings):
        self.now = now
        self.seen: list[Transition] = []
        self.breaker = CircuitBreaker(
            "server", BreakerConfig(**settings), self.seen.append, ramp_limit=ramp_limit
        )

    @property
    def state(self):
        return self.breaker.state

    @property
    def causes(self):
        return [transition.cause for transition in self.seen]

    @property
    def remaining(self):
        return self.breaker.until - self.now

    def passes(self, span):
        self.now += span

    def ask(self, chance=MIDDLE):
        return self.breaker.admit(self.now, chance)

    def call(self):
        ticket = self.ask()
        assert isinstance(ticket, Ticket), ticket
        return ticket

    def calls(self, count):
        return [self.call() for _ in range(count)]

    def refused(self):
        refusal = self.ask()
        assert isinstance(refusal, Refusal), refusal
        return refusal

    def ends(self, ticket, effect, *, chance=MIDDLE, **facts):
        self.breaker.report(ticket, effect, self.now, chance, **facts)

    def succeed(self, count=1, *, took=0):
        for _ in range(count):
            ticket = self.call()
            self.passes(took)
            self.ends(ticket, Effect.SUCCESS)

    def fail(self, count=1, *, chance=MIDDLE, **facts):
        for _ in range(count):
            self.ends(self.call(), Effect.FAILURE, chance=chance, **facts)

    def ignore(self, count=1):
        for _ in range(count):
            self.ends(self.call(), Effect.IGNORE)

    def tick(self, chance=MIDDLE):
        self.breaker.tick(self.now, chance)

    def open(self, **facts):
        self.fail(self.breaker.config.failure_threshold, **facts)
        assert self.state is State.OPEN
        return self

    def half_open(self):
        """Open, and its time is over: the next call is a probe."""
        self.open()
        self.now = self.breaker.until
        return self

    def recover(self):
        self.now = max(self.now, self.breaker.until)
        self.succeed(self.breaker.config.probes_to_close)
        assert self.state is State.CLOSED

    def restart(self, *, now=50 * SECOND, jump=0, boot_id="", kept_boot_id="", **settings):
        """The same breaker in another process, whose monotonic clock says something else."""
        data = self.breaker.dump(self.now, WALL, kept_boot_id)
        config = BreakerConfig(**settings) if settings else self.breaker.config
        self.now = now
        self.breaker = CircuitBreaker.load(
            data, "server", config, self.seen.append, now, WALL + jump, boot_id
        )
        return self


def ms(count):
    return count * MILLISECOND
