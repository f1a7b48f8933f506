"""What the hub itself can bear: fewer calls while its loop lags, hardly any without memory.

    loop lag over 100 ms for 1 s    9/10 of the calls in flight now; again after each such second
    a second without lag            20 calls more, up to the configured number
    memory from 85 %                no new streams
    memory from 95 %                at most 20 calls: what is freed is not always given back, so a
                                    hub that took none might never take one again

A pause of the whole process is one late look, however long, and no lag (R19).
Source: rules R45 (the ladder of Envoy's overload manager) and R46 (AIMD 20/20).
"""

from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds

LAG_MAX: Nanoseconds = 100 * MILLISECOND
LASTING: Nanoseconds = SECOND
FEWEST = 20
STEP = 20
NO_STREAMS = 850
"""Of a thousand parts of the memory that the hub may have."""
NO_CALLS = 950


class Strain:
    """A machine without a clock: lag, memory and `now` come in."""

    def __init__(self, places: int) -> None:
        self.lag: Nanoseconds = 0
        """How late the last look was."""
        self.memory = 0
        """Per mille of what the hub may have; 0 where nobody knows."""
        self._most = self._bearable = places
        self._late_since: Nanoseconds | None = None
        self._moved_at: Nanoseconds = 0

    @property
    def places(self) -> int:
        """Calls in flight that are borne now."""
        return min(self._bearable, FEWEST) if self.memory >= NO_CALLS else self._bearable

    @property
    def takes_streams(self) -> bool:
        return self.memory < NO_STREAMS

    @property
    def problem(self) -> str:
        """For people; empty when all is well."""
        share = f"{self.memory // 10} % of its memory is used"
        if self.memory >= NO_CALLS:
            return f"{share}: at most {self.places} calls at a time are taken, and no new streams"
        if self._bearable < self._most:
            return f"the event loop lags: at most {self._bearable} calls at a time are taken"
        return "" if self.takes_streams else f"{share}: no new streams are opened"

    def looked(self, lag: Nanoseconds, in_flight: int, now: Nanoseconds) -> None:
        """A look that was due `lag` ago; to be made several times a second."""
        self.lag = lag
        if lag <= LAG_MAX:
            self._late_since = None
            if self._bearable < self._most and now - self._moved_at >= SECOND:
                self._move(min(self._most, self._bearable + STEP), now)
        elif self._late_since is None:
            self._late_since = now
        elif now - self._late_since >= LASTING:
            self._late_since = now
            fewer = min(self._bearable, in_flight) * 9 // 10
            self._move(max(min(FEWEST, self._most), fewer), now)

    def _move(self, places: int, now: Nanoseconds) -> None:
        self._bearable, self._moved_at = places, now
