"""The connections to one server: kept alive, the warmest first, never more than so many.

    take ──idle one──► send                       free ──somebody waits──► send
       └──none──► wait, and dial                      └──nobody──► idle ──4 s──► closed

- At most `DIALS` dials run at a time; each that succeeds doubles that until the burst is over.
  A dial that is refused, or that fails while no connection is open, ends the wait of everybody:
  the server is gone, and the next dials would only find out again (F05). Any other failed dial is
  the failure of one who waits.
- Idle connections are closed after 4 s, before their peers do it (uvicorn and Node.js: 5 s); so a
  request seldom meets a closing connection. See `Exchange.broke` for what happens when it does.
- One timer, only while connections are open, looks for silent, idle and unfinished ones. It counts
  its own rounds and reads no clock: a hub that was stopped finds nobody silent for that (F38).
"""

from collections import deque
from typing import Protocol

from agenthub.domain.outcome import Ending
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.outbound.diagnosis import Diagnosis
from agenthub.outbound.http_connection import Connection, HttpLimits
from agenthub.outbound.http_dial import Dial, Unreachable
from agenthub.outbound.http_exchange import Exchange
from agenthub.outbound.http_heads import Heads
from agenthub.outbox import Outbox
from agenthub.ports import Clock, Timer
from agenthub.tasks import Tasks

DIALS = 4
"""At a time, to a server of which nothing is known yet."""
WAITING_MAX = 1_024
IDLE: Nanoseconds = 4 * SECOND
DRAINING_ROUNDS = 2
SWEEP: Nanoseconds = SECOND


class PoolOwner(Protocol):
    def unreached(self, diagnosis: Diagnosis) -> None:
        """There is no connection to be had."""
        ...


class Pool:
    """Hands a connection to each exchange, now or as soon as there is one."""

    def __init__(  # noqa: PLR0913 - all of it is needed
        self,
        dial: Dial,
        owner: PoolOwner,
        clock: Clock,
        tasks: Tasks,
        limits: HttpLimits,
        *,
        size: int,
        patience: Nanoseconds,
    ) -> None:
        self._dial = dial
        self._owner = owner
        self._clock = clock
        self._tasks = tasks
        self._limits = limits
        self._heads = Heads()
        self._outbox = Outbox()
        self._size = size
        self._sweep_span = max(10 * MILLISECOND, min(SWEEP, patience // 8))
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._waiting: deque[Exchange] = deque()
        self._dialling = 0
        self._dials_max = DIALS
        self._sweeper: Timer | None = None
        self._closed = False
        self.dialled = 0
        """Connections tried so far."""

    def take(self, exchange: Exchange) -> bool:
        """Send it on a connection, now or later. False: too many wait already.

        Calls nothing of the exchange but `begin`, here, and `broke`, later.
        """
        idle = self._idle
        while idle:
            connection = idle.pop()
            if not connection.is_closing():
                if not exchange.begin(connection):
                    idle.append(connection)
                return True
            self.gone(connection)
        if len(self._waiting) >= WAITING_MAX or self._closed:
            return False
        self._waiting.append(exchange)
        self._dial_more()
        return True

    def prove(self) -> None:
        """A connection was lost: see, by one dial at a time, whether another one can be had."""
        if not self._dialling and len(self._open) < self._size and not self._closed:
            self._start_dial()

    def forget(self, exchange: Exchange) -> None:
        """It waits no longer."""
        if exchange in self._waiting:
            self._waiting.remove(exchange)

    def exchanges(self) -> list[Exchange]:
        """All that wait or are under way."""
        asking = (connection.asker for connection in self._open)
        return [*self._waiting, *(one for one in asking if isinstance(one, Exchange))]

    def close(self) -> None:
        self._closed = True
        for connection in list(self._open):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()

    # ---------------------------------------------------------------- from the connections

    @property
    def is_quiet(self) -> bool:
        return len(self._open) - len(self._idle) <= 1

    def free(self, connection: Connection) -> None:
        while self._waiting:
            if self._waiting.popleft().begin(connection):
                return
        connection.quiet = 0
        self._idle.append(connection)

    def gone(self, connection: Connection) -> None:
        if connection in self._open:
            self._open.remove(connection)
            if connection in self._idle:
                self._idle.remove(connection)
            if self._waiting:
                self._dial_more()

    # ---------------------------------------------------------------- dialling

    def _dial_more(self, *, burst: bool = False) -> None:
        if not self._dialling and not burst:
            self._dials_max = DIALS
        room = min(self._dials_max, self._size - len(self._open))
        while self._dialling < min(room, len(self._waiting)) and not self._closed:
            self._start_dial()

    def _start_dial(self) -> None:
        self._dialling += 1
        self.dialled += 1
        self._tasks.start(self._dial_one(), "dial")

    async def _dial_one(self) -> None:
        try:
            connection = await self._dial.connect(
                lambda: Connection(self, self._limits, self._heads, self._outbox)
            )
        except Unreachable as error:
            self._dialling -= 1
            self._failed(error.diagnosis, refused=error.refused)
            return
        except BaseException:
            self._dialling -= 1
            raise
        self._dialling -= 1
        self._dials_max *= 2
        if self._closed:
            connection.abort()
        elif connection.usable:
            self._open.add(connection)
            self.free(connection)
            self._watch()
            self._dial_more(burst=True)
        else:
            closed = Diagnosis("the connection was closed as soon as it was made")
            self._failed(closed, refused=False)

    def _failed(self, diagnosis: Diagnosis, *, refused: bool) -> None:
        self._dials_max = DIALS
        if self._open and not refused:
            unlucky = [self._waiting.popleft()] if self._waiting else []
        else:
            unlucky = list(self._waiting)
            self._waiting.clear()
            self._owner.unreached(diagnosis)
        for exchange in unlucky:
            exchange.broke(Ending.UNREACHED, diagnosis.problem)
        self._dial_more(burst=True)

    # ---------------------------------------------------------------- the sweep

    def _watch(self) -> None:
        if self._sweeper is None:
            self._sweeper = self._clock.after(self._sweep_span, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        for connection in list(self._open):
            connection.quiet += 1
            silence = connection.quiet * self._sweep_span
            asker = connection.asker
            if asker is not None:
                if silence > asker.patience and not connection.paused:
                    seconds = asker.patience // MILLISECOND
                    connection.timed_out(f"the server was silent for {seconds:,} ms")
            elif connection.draining:
                if connection.quiet >= DRAINING_ROUNDS:
                    connection.abort()
            elif silence >= IDLE:
                connection.close()
        if self._open:
            self._watch()
