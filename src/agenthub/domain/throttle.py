"""The throttle gate: closed while a server asked for a pause, apart from its breaker (R13).

    open ──closed()──► closed until Retry-After, or for 1 s, 2 s, 4 s … 60 s ──► open
      ▲                                                                          │
      └──────────── succeeded(): the next pause is short again ◄─────────────────┘

A server that says 429 is well. So nothing is counted against it, and nobody asks it meanwhile.
"""

from typing import Final

from agenthub.domain.span import SECOND, Nanoseconds

BASE: Final[Nanoseconds] = 1 * SECOND
CAP: Final[Nanoseconds] = 60 * SECOND
LEVEL_MAX: Final = 6
"""1 s · 2^6 is longer than the cap."""
RETRY_AFTER_MAX: Final[Nanoseconds] = 300 * SECOND
"""As for breakers (R8): a server that asks for a day is asked again after this."""


class ThrottleGate:
    """One server's."""

    __slots__ = ("_level", "until")

    def __init__(self) -> None:
        self.until: Nanoseconds = 0
        """When it opens; it may be looked at, and is moved by `closed` alone."""
        self._level = 0

    def wait(self, now: Nanoseconds) -> Nanoseconds:
        """How long the gate is still closed; 0: it is open."""
        return self.until - now if now < self.until else 0

    def closed(self, now: Nanoseconds, retry_after: Nanoseconds | None, chance: float) -> None:
        """The server asked for a pause, of `retry_after` if it said so."""
        if retry_after is not None:
            span = min(retry_after, RETRY_AFTER_MAX)
        else:
            span = min(int((BASE << self._level) * (0.75 + chance / 2)), CAP)
        if now >= self.until:
            # Many calls are refused at once; together they are one lesson.
            self._level = min(self._level + 1, LEVEL_MAX)
        self.until = max(self.until, now + span)

    def succeeded(self) -> None:
        """A call went through: the server is at ease again."""
        self._level = 0
