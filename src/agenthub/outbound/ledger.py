"""The ledger over the database process (ledger.Ledger): see database_ledger.py for what it writes.

    reserve, top_up ──► refused at once: too many wait, or the database is known to be away
                    ──► asked; told within HOLD_S; told no, what may yet be held is released
    settle, release ──► asked again every second until it is written; told within SETTLE_S

Steps go out in their order, and again after a restart of the database process, until each is
answered; each works once.
"""

import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol, TypeAlias

import msgspec
from msgspec.structs import astuple

from agenthub.domain.account import Facts, HoldOn
from agenthub.domain.budget import Budget
from agenthub.domain.errors import HubError, Overloaded, StorageFailed
from agenthub.domain.money import NanoUsd
from agenthub.domain.span import SECOND
from agenthub.ledger import Adjustment, AttemptRow, Credit, Held, Hold, OverBudget, Settlement
from agenthub.outbound.database_process import LEDGER, Misfit, Row, Value
from agenthub.ports import Clock, Timer

log = logging.getLogger(__name__)

WAITING_MAX: Final = 10_000
"""Holds that wait for the database; more are refused. At 15,000 a second they wait 0.7 s."""
HOLD_S: Final = 3
"""How long a call waits for its hold; then it is refused."""
SETTLE_S: Final = 5
"""How long the end of a call waits until it is durable."""
AGAIN_S: Final = 1
Refused: TypeAlias = tuple[str, int, int, int, int]
"""OverBudget, as the database process tells it."""
SWEEP_S: Final = 5
"""Between two looks for holds past their time."""


class Asked:
    """A step that was handed over, until someone is told."""

    __slots__ = ("timer", "told")

    def __init__(self, told: Callable[[Any], None]) -> None:
        self.told = told
        self.timer: Timer | None = None

    def tell(self, answer: object) -> bool:
        """False: it has been told before, for example that it took too long."""
        if self.timer is None:
            return False
        self.timer.cancel()
        self.timer = None
        self.told(answer)
        return True


class Writing(Protocol):
    """DatabaseProcess, or PostgresDatabase: what they say is told there."""

    @property
    def closing(self) -> bool: ...
    @property
    def problem(self) -> str: ...
    @property
    def closed_for(self) -> str: ...
    def send(self, kind: int, what: tuple[Any, Any], told: Callable[[Any], None]) -> None: ...
    def book(self, operation: str, *values: object) -> Coroutine[Any, Any, Any]: ...
    def change(self, *statements: tuple[str, Sequence[Row]]) -> Coroutine[Any, Any, int]: ...
    def read(
        self, statement: str, *values: Value
    ) -> Coroutine[Any, Any, list[tuple[Any, ...]]]: ...


class DatabaseLedger:
    """Holds and costs, in the tables of schema/0005_ledger.sql, or schema/postgres."""

    def __init__(self, process: Writing, clock: Clock) -> None:
        self._process = process
        self._clock = clock
        self._epoch = clock.wall() - clock.now()
        """No step of the wall clock moves the time of this run (R18)."""
        self._sweep: Timer | None = None
        self._boot = ""
        self.waiting = 0
        """Holds and top-ups that the database has not answered."""
        self.unwritten = 0
        """Ends of calls that are not durable yet."""

    def now_s(self) -> int:
        return (self._epoch + self._clock.now()) // SECOND

    # ------------------------------------------------------------ life

    async def recover(self, boot: str, now_s: int) -> int:
        found: int = await self._process.book("recover", boot, now_s)
        self._boot = boot
        if self._sweep is None:
            self._sweep = self._clock.after(SWEEP_S * SECOND, self._expire)
        return found

    def _expire(self) -> None:
        self._sweep = self._clock.after(SWEEP_S * SECOND, self._expire)
        if not self._process.closed_for:
            self._process.send(LEDGER, ("recover", (self._boot, self.now_s())), _ignored)

    def close(self) -> None:
        """Before the database ends, which then writes all that was handed over."""
        if self._sweep is not None:
            self._sweep.cancel()

    # ------------------------------------------------------------ calls

    def reserve(self, hold: Hold, told: Callable[[Held], None]) -> None:
        step = ("reserve", (*_written(hold), self.now_s()))
        self._hold(hold.id, step, told)

    def top_up(self, id_: str, hold: NanoUsd, told: Callable[[Held], None]) -> None:
        self._hold("", ("top_up", (id_, hold, self.now_s())), told)

    def _hold(self, id_: str, step: tuple[str, Any], told: Callable[[Held], None]) -> None:
        """`id_`: of the call that has no hold if it is not told in time."""
        if problem := self._process.closed_for:
            told(StorageFailed(problem))
            return
        if self.waiting >= WAITING_MAX:
            told(Overloaded("Too many calls wait for the database", retry_after_ms=1_000))
            return
        asked = Asked(told)

        def late() -> None:
            asked.tell(StorageFailed("The database does not answer."))
            if id_:
                # It may be written yet. In order: this comes after it.
                self._end(("release", (id_, (), self.now_s())), _ignored)

        def heard(answer: Refused | HubError | None) -> None:
            self.waiting -= 1
            asked.tell(OverBudget(*answer) if isinstance(answer, tuple) else answer)

        self.waiting += 1
        asked.timer = self._clock.after(HOLD_S * SECOND, late)
        self._process.send(LEDGER, step, heard)

    def move(self, id_: str, facts: Facts, off: tuple[str, ...]) -> None:
        step = ("move", (id_, facts.provider, facts.endpoint, facts.model, off))
        self._end(step, _ignored)

    def settle(self, settlement: Settlement, told: Callable[[HubError | None], None]) -> None:
        self._end(("settle", _settled(settlement)), told)

    def release(
        self, id_: str, attempts: tuple[AttemptRow, ...], told: Callable[[HubError | None], None]
    ) -> None:
        self._end(("release", (id_, _attempts(attempts), self.now_s())), told)

    def _end(self, step: tuple[str, Any], told: Callable[[HubError | None], None]) -> None:
        asked = Asked(told)

        def late() -> None:
            words = self._process.problem or "The database does not answer."
            asked.tell(StorageFailed(words, executed="yes"))

        def heard(answer: Any) -> None:
            if isinstance(answer, StorageFailed) and not self._is_final(answer):
                self._clock.after(AGAIN_S * SECOND, again)
                return
            self.unwritten -= 1
            if answer is not None:
                log.error("What a call cost was not written", extra={"problem": str(answer)})
            asked.tell(answer)

        def again() -> None:
            if self._process.closing:
                heard(StorageFailed("The hub stops."))
            else:
                self._process.send(LEDGER, step, heard)

        self.unwritten += 1
        asked.timer = self._clock.after(SETTLE_S * SECOND, late)
        again()

    def _is_final(self, problem: StorageFailed) -> bool:
        return isinstance(problem, Misfit) or self._process.closing

    # ------------------------------------------------------------ people and reports

    async def book(self, rows: Sequence[tuple[Hold, Settlement]]) -> int:
        found: int = await self._process.book(
            "book",
            [
                (*_written(msgspec.structs.replace(hold, amount=0)), _settled(settlement))
                for hold, settlement in rows
            ],
        )
        return found

    async def budgets(self) -> tuple[Budget, ...]:
        rows = await self._process.read("budgets")
        try:
            return tuple(msgspec.json.decode(data, type=Budget) for (data,) in rows)
        except ValueError as error:
            # Left out, it would limit nothing.
            raise StorageFailed(f"A kept budget is unreadable: {error}.") from error

    async def put_budget(self, budget: Budget) -> None:
        row = (
            budget.id, budget.wall, budget.suspended_until, msgspec.json.encode(budget),
            budget.limit, budget.warning, budget.critical, budget.blocked,
        )  # fmt: skip
        await self._process.book("put_budget", row, budget.hold_on(Facts(), self.now_s()).window)

    async def delete_budget(self, id_: str) -> None:
        await self._process.change(("delete_budget", [(id_,)]))

    async def credit(self, credit: Credit) -> None:
        on = astuple(credit.on)
        await self._process.book("credit", credit.id, on, credit.amount, credit.reason, credit.at_s)

    async def adjust(self, adjustment: Adjustment) -> bool:
        found: bool = await self._process.book("adjust", *astuple(adjustment))
        return found


def _ignored(answer: object) -> None:
    del answer


def _written(hold: Hold) -> tuple[Any, ...]:
    """The hold, its facts, its counters."""
    row = (hold.id, hold.boot, hold.at_us, hold.expires_at_s, hold.amount)
    return row, _facts(hold.facts), tuple(map(_on, hold.on))


def _facts(facts: Facts) -> tuple[str, ...]:
    return astuple(facts)


def _on(on: HoldOn) -> tuple[Any, ...]:
    return astuple(on)


def _settled(one: Settlement) -> tuple[Any, ...]:
    rest = (
        one.model, *astuple(one.usage), one.price_ref, one.rates, one.ended_us, one.duration_us
    )  # fmt: skip
    return one.id, one.cost, one.basis.value, rest, _attempts(one.attempts)


def _attempts(attempts: Sequence[AttemptRow]) -> list[tuple[Any, ...]]:
    return [
        (*astuple(one)[:-1], None if one.usage is None else msgspec.json.encode(one.usage))
        for one in attempts
    ]
