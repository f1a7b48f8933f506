"""Quarantine for poison: arguments that kill the server rest for a while (F58).

    died ──► suspect (1 death) ──survived──► forgotten
                  │ died again, of another loss
                  ▼
             resting for 60 s ──► then a suspect still: one more death, and it rests again

Blind failover turns one bad request into the outage of a whole fleet; this is what stops it. One
loss is one death, however many equal calls it took along (R6). Suspects are few: the oldest go
first.
"""

from typing import Final

from agenthub.domain.span import SECOND, Nanoseconds

DEATHS: Final = 2
REST: Final[Nanoseconds] = 60 * SECOND
SUSPECTS_MAX: Final = 256


class Quarantine:
    """What is suspected on one server. Both may be looked at; an empty one costs a call nothing."""

    __slots__ = ("resting", "suspects")

    def __init__(self) -> None:
        self.suspects: dict[bytes, tuple[int, int]] = {}
        """Digest of a call → its deaths, and the last loss."""
        self.resting: dict[bytes, Nanoseconds] = {}

    def wait(self, digest: bytes, now: Nanoseconds) -> Nanoseconds:
        """How long these arguments still rest; 0: they may be sent."""
        until = self.resting.get(digest)
        if until is None:
            return 0
        if now < until:
            return until - now
        del self.resting[digest]
        return 0

    def died(self, digest: bytes, now: Nanoseconds, loss: int = 0) -> None:
        """The server was lost while it had this call. Equal losses, other than 0, are one."""
        deaths, last = self.suspects.pop(digest, (0, 0))
        if not loss or loss != last:
            deaths = min(deaths + 1, DEATHS)
        self.suspects[digest] = (deaths, loss)
        if deaths >= DEATHS:
            self.resting[digest] = now + REST
        if len(self.suspects) > SUSPECTS_MAX:
            oldest = next(iter(self.suspects))
            del self.suspects[oldest]
            self.resting.pop(oldest, None)

    def survived(self, digest: bytes) -> None:
        """The server answered this call: it was not the arguments."""
        self.suspects.pop(digest, None)
        self.resting.pop(digest, None)
