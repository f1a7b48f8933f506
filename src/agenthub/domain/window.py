"""A sliding window over the last calls: how many, how many failed, how many were slow.

    ring of marks   │ m3 │ m4 │ … │ m1 │ m2 │      a mark: the running totals when a bucket began
                                    ▲    ▲
                              current    oldest: the window is the totals less this mark

Adding is two integer steps; only a new bucket touches the ring. The span covered lies between nine
and ten buckets.
"""

from typing import Final

from agenthub.domain.span import Nanoseconds

BUCKETS: Final = 10
RECENT: Final = 64
NOTHING: Final[tuple[int, int, int]] = (0, 0, 0)


class Window:
    """Counts that forget. It looks at no clock, and moves on when it is told the time."""

    __slots__ = ("_calls", "_edge", "_failures", "_index", "_marks", "_oldest", "_slow", "_width")

    def __init__(self, span: Nanoseconds) -> None:
        self._width = max(span // BUCKETS, 1)
        self._edge: Nanoseconds = 0
        """The end of the current bucket."""
        self._index = 0
        self._marks = [NOTHING] * BUCKETS
        self._oldest = NOTHING
        self._calls = self._failures = self._slow = 0

    def add(self, now: Nanoseconds, *, failed: bool, slow: bool) -> None:
        if now >= self._edge:
            self._move(now)
        self._calls += 1
        if failed:
            self._failures += 1
        if slow:
            self._slow += 1

    def totals(self, now: Nanoseconds) -> tuple[int, int, int]:
        """Calls, failures and slow calls of the window that ends now."""
        if now >= self._edge:
            self._move(now)
        calls, failures, slow = self._oldest
        return self._calls - calls, self._failures - failures, self._slow - slow

    def shift(self, gap: Nanoseconds) -> None:
        """Let the last `gap` not have passed (R19)."""
        self._edge += gap

    def resized(self, span: Nanoseconds, now: Nanoseconds) -> "Window":
        """A window of another span with the same counts, all of them as new as now."""
        other = Window(span)
        other._move(now)
        other._calls, other._failures, other._slow = self.totals(now)
        return other

    def _move(self, now: Nanoseconds) -> None:
        steps = (now - self._edge) // self._width + 1
        self._edge += steps * self._width
        mark = (self._calls, self._failures, self._slow)
        for _ in range(min(steps, BUCKETS)):
            self._index = (self._index + 1) % BUCKETS
            self._marks[self._index] = mark
        self._oldest = self._marks[(self._index + 1) % BUCKETS]


class Recent:
    """Remembers the last few numbers it was asked about."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers: dict[int, None] = {}

    def knows(self, number: int) -> bool:
        """Whether it was asked before; it remembers the number from now on."""
        if number in self._numbers:
            return True
        if len(self._numbers) >= RECENT:
            del self._numbers[next(iter(self._numbers))]
        self._numbers[number] = None
        return False
