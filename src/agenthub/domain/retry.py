"""When a call is tried again, and how often at all (R36, R37).

    tokens  0 ───────────── 5 ───────────── 10      -1 for a failure, +0.1 for a success
            no retries ◄────┤►  retries, while fewer than max(3, 20 % of in flight) run

Retries must not double the load of a server that is down. The bucket is gRPC's retry throttling
(A6), the share Envoy's retry budget; the backoff is full jitter (AWS).
"""

from typing import Final

from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds

TRANSIENT: Final[Nanoseconds] = 50 * MILLISECOND
THROTTLE: Final[Nanoseconds] = 1 * SECOND
CAP: Final[Nanoseconds] = 20 * SECOND
DOUBLINGS_MAX: Final = 10
"""2^10 times any base is longer than the cap."""

RETRIES_MIN: Final = 3
SHARE: Final = 5
"""One retry to five calls in flight: 20 %."""
TOKENS_MAX: Final = 100
"""In tenths."""
FAILURE_COSTS: Final = 10
SUCCESS_GIVES: Final = 1


def backoff(tries: int, pushback: bool, chance: float, floor: Nanoseconds | None) -> Nanoseconds:  # noqa: FBT001
    """How long to wait after so many tries; `floor` is what the server asked for, at least."""
    base = THROTTLE if pushback else TRANSIENT
    span = min(base << min(tries - 1, DOUBLINGS_MAX), CAP)
    return max(int(span * chance), floor or 0)


class RetryBudget:
    """One server's."""

    __slots__ = ("_running", "_tokens")

    def __init__(self) -> None:
        self._running = 0
        self._tokens = TOKENS_MAX

    def may_retry(self, in_flight: int) -> bool:
        """Whether one more retry may start; `in_flight` counts calls on this server."""
        return self._tokens * 2 > TOKENS_MAX and self._running < max(
            RETRIES_MIN, in_flight // SHARE
        )

    def started(self) -> None:
        """A retry begins (it may still have to wait). Followed by one `ended`."""
        self._running += 1

    def ended(self) -> None:
        assert self._running > 0, "a retry ended that never started"
        self._running -= 1

    def succeeded(self) -> None:
        if self._tokens < TOKENS_MAX:
            self._tokens += SUCCESS_GIVES

    def failed(self) -> None:
        self._tokens = max(self._tokens - FAILURE_COSTS, 0)
