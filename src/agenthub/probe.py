"""The hub's own looks at a server: whether it is alive, when a breaker wants to know.

One at a time for each server, beside the calls. So an open breaker closes without a caller who has
to be the probe (R2), and a call that hung becomes the server's failure only if the server does not
answer the hub either (rule set §4.2, "attempt timeout").
"""

from typing import Final

from agenthub.domain.circuit_breaker import State
from agenthub.domain.errors import Refusal
from agenthub.domain.lane import Lane
from agenthub.domain.outcome import Effect
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.inquiry import Inquiry
from agenthub.ports import Clock
from agenthub.tasks import Tasks

TIMEOUT: Final[Nanoseconds] = 5 * SECOND
SUSPICION: Final[Nanoseconds] = 900 * MILLISECOND
"""How soon it must answer after a call on it hung: a hang is noticed within a second (F04)."""


class Probe:
    """Looks after one server's breaker."""

    def __init__(self, inquiry: Inquiry, lane: Lane, clock: Clock, tasks: Tasks) -> None:
        self._inquiry = inquiry
        self._lane = lane
        self._clock = clock
        self._tasks = tasks
        self._looking = False
        self._hung = 0

    def look_if_due(self, now: Nanoseconds) -> None:
        """Try a server whose open time is over."""
        breaker = self._lane.breaker
        over = breaker.state is State.OPEN and now >= breaker.until
        if (over or breaker.state is State.HALF_OPEN) and not self._looking:
            self._looking = True
            self._tasks.start(self._try(), f"probe of {self._lane.endpoint.name}")

    def suspect(self) -> None:
        """A call hung to its end. If the server answers nothing now, that was its failure."""
        self._hung += 1
        if not self._looking:
            self._looking = True
            self._tasks.start(self._verify(), f"probe of {self._lane.endpoint.name}")

    async def _try(self) -> None:
        """Until the breaker has closed, or opened again; each question is a probe of its own."""
        clock, breaker = self._clock, self._lane.breaker
        try:
            while True:
                ticket = breaker.admit(clock.now(), clock.chance())
                if isinstance(ticket, Refusal):
                    return
                alive = await self._inquiry.is_alive(TIMEOUT)
                effect = Effect.SUCCESS if alive else Effect.FAILURE
                breaker.report(ticket, effect, clock.now(), clock.chance())
                if breaker.state is not State.HALF_OPEN:
                    return
        finally:
            self._looking = False

    async def _verify(self) -> None:
        clock, breaker = self._clock, self._lane.breaker
        try:
            alive = await self._inquiry.is_alive(SUSPICION)
            hung, self._hung = self._hung, 0
            for _ in range(0 if alive else hung):
                ticket = breaker.admit(clock.now(), clock.chance())
                if isinstance(ticket, Refusal):
                    return
                breaker.report(ticket, Effect.FAILURE, clock.now(), clock.chance())
        finally:
            self._looking = False
