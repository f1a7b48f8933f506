"""A bulkhead: so many calls at a time on one server, and so many more that wait their turn.

    enter ──► seat free? ──yes──► ENTERED ──► leave ──► the first in the queue has the seat now
                 │ no
                 ▼
              room in the queue? ──yes──► QUEUED ──► handed out by `leave` or `resize`
                 │ no                        └─────► forget: gone
                 ▼
               FULL

A seat goes from hand to hand: between `leave` and the next call there is no moment in which a
newcomer could take it. So while anybody waits no seat is free, and nobody is overtaken (R43).
"""

from enum import Enum
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")


class Entry(Enum):
    """What became of a wish for a seat."""

    ENTERED = "entered"
    QUEUED = "queued"
    FULL = "full"


# An attribute of an Enum class costs more than a global name, and these stand on the hot path.
_ENTERED, _QUEUED, _FULL = Entry.ENTERED, Entry.QUEUED, Entry.FULL


class Bulkhead(Generic[Waiter]):
    """Seats and a queue. A waiter is any hashable value; each waits once at most."""

    __slots__ = ("_queue", "_waiting", "in_flight", "seats")

    def __init__(self, seats: int, queue: int) -> None:
        self.seats = seats
        self.in_flight = 0
        """Seats in use; for a while more than `seats`, after a `resize` to fewer."""
        self._queue = queue
        self._waiting: dict[Waiter, None] = {}

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def enter(self, waiter: Waiter) -> Entry:
        """ENTERED: leave when done. QUEUED: the waiter is handed out later, with its seat."""
        if self.in_flight < self.seats:
            self.in_flight += 1
            return _ENTERED
        if len(self._waiting) >= self._queue:
            return _FULL
        self._waiting[waiter] = None
        return _QUEUED

    def leave(self) -> Waiter | None:
        """Give a seat up. Returns the waiter who has it from now on, if any."""
        assert self.in_flight > 0, "a seat was given up that nobody had"
        if self._waiting and self.in_flight <= self.seats:
            return self._first()
        self.in_flight -= 1
        return None

    def forget(self, waiter: Waiter) -> None:
        """Whoever waited has gone. Does nothing for one who does not wait."""
        self._waiting.pop(waiter, None)

    def resize(self, seats: int, queue: int) -> list[Waiter]:
        """Take new bounds. Returns the waiters who have a seat now; nobody else is moved."""
        self.seats, self._queue = seats, queue
        seated: list[Waiter] = []
        while self._waiting and self.in_flight < seats:
            self.in_flight += 1
            seated.append(self._first())
        return seated

    def _first(self) -> Waiter:
        waiter = next(iter(self._waiting))
        del self._waiting[waiter]
        return waiter
