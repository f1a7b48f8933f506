"""A token bucket, as the generic cell rate algorithm: one integer says it all (R24-R26).

                 now                 TAT
    ──────────────┼───────────────────┼──────────► time
                  │◄─ tokens in use ─►│            each token moves TAT by 1/rate
                  │◄──────── burst ───────────►│   no token may move it beyond this

In any interval T no more than burst + rate·T tokens are given; under saturation no fewer than
rate·T - 1. Time is counted in ticks of 1/numerator nanoseconds, in which a rate of numerator to
denominator is a whole number: nothing is rounded, so nothing adds up.
Source: ITU-T I.371, Annex A.
"""

from fractions import Fraction
from typing import Final

from agenthub.domain.endpoint import RateLimit
from agenthub.domain.span import SECOND, Nanoseconds

DENOMINATOR_MAX: Final = 1_000_000_000
"""A rate is meant as it was written: 0.1 is one in ten, not the double next to it."""


class TokenBucket:
    """One limit. It begins full."""

    __slots__ = ("_cost", "_slack", "_tat", "_ticks")

    def __init__(self, limit: RateLimit) -> None:
        self._tat = 0
        """When all tokens in use are back, in ticks."""
        self._configure(limit)

    def take(self, now: Nanoseconds) -> Nanoseconds:
        """0: a token was taken. Else nothing was, and one is there after so long, exactly."""
        tick = now * self._ticks
        ahead = self._tat - tick
        if ahead <= 0:
            self._tat = tick + self._cost
            return 0
        over = ahead - self._slack
        if over <= 0:
            self._tat += self._cost
            return 0
        if over > self._cost:
            # More in use than there ever are: the clock was set back. An empty bucket is right.
            self._tat, over = tick + self._slack + self._cost, self._cost
        return -(-over // self._ticks)

    def is_full(self, now: Nanoseconds) -> bool:
        """Whether no token is in use: it is as it was in the beginning."""
        return self._tat <= now * self._ticks

    def give_back(self, n: int) -> None:
        """Return tokens that were taken at this same instant: they count as never taken (R25).

        Later it would be wrong: meanwhile they have come back by themselves.
        """
        self._tat -= n * self._cost

    def reconfigure(self, limit: RateLimit, now: Nanoseconds) -> None:
        """Take a new limit; tokens in use stay in use, up to the new burst."""
        used, cost = self._tat - now * self._ticks, self._cost
        self._configure(limit)
        used = min(-(-used * self._cost // cost), self._slack + self._cost)
        self._tat = now * self._ticks + used

    def _configure(self, limit: RateLimit) -> None:
        rate = Fraction(limit.rps).limit_denominator(DENOMINATOR_MAX)
        rate = max(rate, Fraction(1, DENOMINATOR_MAX))
        self._ticks = rate.numerator
        """In a nanosecond."""
        self._cost = rate.denominator * SECOND
        """Of a token, in ticks."""
        self._slack = (limit.burst - 1) * self._cost
