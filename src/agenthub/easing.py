"""Which calls are made cheaper, for a budget of theirs is nearly used up (domain/ladder.py).

How much is spent is read beside the calls, when money has moved and every few seconds, and never
on a call's way: a ladder is a courtesy, and the wall behind it is exact.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from agenthub.domain.account import Facts
from agenthub.domain.budget import Budget
from agenthub.domain.errors import StorageFailed
from agenthub.domain.ladder import Easing, eased
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.ledger import UsageStorage
from agenthub.ports import Clock, Timer
from agenthub.tasks import Tasks
from agenthub.till import Till

log = logging.getLogger(__name__)

SOON: Final[Nanoseconds] = SECOND // 4
"""Money moves in crowds."""
LOOK: Final[Nanoseconds] = 5 * SECOND
"""For a window that ends, and for other hubs."""


class Ladders:
    """How far the budgets are that have one."""

    def __init__(self, till: Till, usage: UsageStorage, clock: Clock, tasks: Tasks) -> None:
        self._till, self._usage = till, usage
        self._clock, self._tasks = clock, tasks
        self._spent: dict[str, int] = {}
        """Per cent of the limit, by the budget's id."""
        self._timer: Timer | None = None
        self._due: Nanoseconds = 0
        self._closed = False
        till.listeners.append(self.look_soon)

    def easing(self, facts: Callable[[], Facts]) -> Easing | None:
        """What is to be done to a call with these facts."""
        if not self._spent:
            return None
        return eased(
            (one.id, one.ladder, self._spent.get(one.id, 0))
            for one in self._till.concerned([facts()])
            if one.ladder and one.suspended_until <= self._now_s()
        )

    def look_soon(self) -> None:
        """Money moved, or a budget changed."""
        if self._spent or self._laddered():
            self._look_in(SOON)

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _look_in(self, span: Nanoseconds) -> None:
        due = self._clock.now() + span
        if self._closed or (self._timer is not None and self._due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._clock.after(span, self._start)

    def _start(self) -> None:
        self._timer = None
        self._tasks.start(self._look(), "ladders")

    async def _look(self) -> None:
        budgets = self._laddered()
        if not budgets:
            self._spent = {}
            return
        try:
            now_s = self._now_s()
            on = [one.hold_on(Facts(), now_s) for one in budgets]
            found = await self._usage.standing(on)
            self._spent = {
                one.id: _per_cent(standing.settled, one.limit + standing.credit)
                for one, standing in zip(budgets, found, strict=True)
            }
        except StorageFailed as error:
            log.debug("Ladders wait for the database", extra={"problem": str(error)})
        self._look_in(LOOK)

    def _laddered(self) -> Sequence[Budget]:
        return [one for one in self._till.budgets() if one.ladder]

    def _now_s(self) -> int:
        return self._clock.wall() // SECOND


def _per_cent(spent: int, limit: int) -> int:
    """All of nothing is spent at once."""
    return spent * 100 // limit if limit > 0 else 100
