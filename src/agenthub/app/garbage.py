"""When the process looks for garbage: in idle moments, not in the middle of calls.

What is there after the start stays for good, so it is not looked at again. A call leaves no cycles,
so hardly anything is found; the threshold is for a hub that is never idle.
"""

import gc
from collections.abc import Callable

from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.ports import Clock, Timer

YOUNG_MAX = 50_000
"""Objects made and not freed before a look is due, idle or not."""
EVERY: Nanoseconds = 10 * SECOND
WORTH = 2_000
"""Fewer new objects than this are not worth a look."""


class Garbage:
    """Collects while nothing is in flight. Made once the hub is up."""

    def __init__(self, clock: Clock, is_idle: Callable[[], bool]) -> None:
        self._clock = clock
        self._is_idle = is_idle
        gc.collect()
        gc.freeze()
        self._thresholds = gc.get_threshold()
        gc.set_threshold(YOUNG_MAX, 10, 10)
        self._timer: Timer = clock.after(EVERY, self._look)

    def close(self) -> None:
        """As it was before."""
        self._timer.cancel()
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()

    def _look(self) -> None:
        if self._is_idle() and gc.get_count()[0] > WORTH:
            gc.collect()
        self._timer = self._clock.after(EVERY, self._look)
