"""When a server that was lost is tried again: soon at first, then ever later, never in a rush.

Source: backoff 0.5 s to 30 s with jitter, and at most 6 starts in the first 60 s of a crash loop
(fault F03). The window makes the second a certainty, whatever the jitter was.
"""

from collections import deque

from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds

BASE: Nanoseconds = 500 * MILLISECOND
CAP: Nanoseconds = 30 * SECOND
"""Both for servers behind an address too."""
WINDOW: Nanoseconds = 60 * SECOND
STARTS = 6
"""At most so many in a window."""
WELL: Nanoseconds = 60 * SECOND
"""Who ran so long starts afresh."""


class Restarts:
    """A machine without a clock: `now` comes in."""

    def __init__(self) -> None:
        self._starts: deque[Nanoseconds] = deque(maxlen=STARTS)
        self._failures = 0
        self.count = 0
        """Starts so far."""

    def started(self, now: Nanoseconds) -> None:
        self._starts.append(now)
        self.count += 1

    def ended(self, now: Nanoseconds, well_since: Nanoseconds | None, chance: float) -> Nanoseconds:
        """How long to wait before the next start; `well_since` is None if it never was ready."""
        if well_since is not None and now - well_since >= WELL:
            self._failures = 0
            self._starts.clear()
        base = min(CAP, BASE * 3 ** min(self._failures, 6))
        self._failures += 1
        wait = base // 2 + int(base // 2 * chance)
        if len(self._starts) == STARTS:
            wait = max(wait, self._starts[0] + WINDOW - now)
        return wait
