"""The budgets of a hub: kept in the ledger, known to the till, and how each stands.

A change is written first and counts from then on for every call; calls under way keep what they
hold. Other hubs that share the ledger know it two seconds later (`follow`). Who raises, suspends
or credits a budget says why, and it stands in the log.
"""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from msgspec import Struct, structs

from agenthub.domain.account import Facts
from agenthub.domain.budget import DEFAULT, EACH, REASON_MAX, Budget, Level
from agenthub.domain.errors import Conflict, InvalidParams, StorageFailed, UnknownTarget
from agenthub.domain.money import MAX, NanoUsd
from agenthub.domain.span import SECOND
from agenthub.ledger import Adjustment, Credit, Ledger, Standing, UsageStorage
from agenthub.ports import Clock
from agenthub.till import Till

log = logging.getLogger(__name__)

BUDGETS_MAX: Final = 1_000
FOLLOW_S: Final = 2
"""Between two looks at what other hubs have changed."""
SUSPENDED_MAX_S: Final = 24 * 3600
"""How long a budget may be suspended at a time: it is a way out, not a setting."""


class BudgetStatus(Struct, frozen=True):
    """A budget in its present window."""

    budget: Budget
    starts_at: int
    ends_at: int
    standing: Standing
    level: Level
    can_proceed: bool
    """Whether a call that costs something may pass: suspended, or there is room yet."""


class Budgets:
    """All budgets, by id."""

    def __init__(self, ledger: Ledger, usage: UsageStorage, till: Till, clock: Clock) -> None:
        self._ledger = ledger
        self._usage = usage
        self._till = till
        self._clock = clock
        self._all: dict[str, Budget] = {}
        self.timezone = "UTC"
        """In which days of usage are counted, unless another is asked for."""
        self._changing = asyncio.Lock()

    async def open(self) -> None:
        """Once, at start: what runs before this left held is spent. Raises StorageFailed."""
        if found := await self._ledger.recover(self._till.boot, self._now_s()):
            log.warning(
                "Calls were under way when the hub ended; what was held for them counts as spent",
                extra={"calls": found},
            )
        await self._look()

    async def follow(self) -> None:
        """For ever: what other hubs change of the budgets that they share counts here too."""
        while True:
            await asyncio.sleep(FOLLOW_S)
            async with self._changing:
                with suppress(StorageFailed):  # It is told where it is written.
                    await self._look()

    async def _look(self) -> None:
        found = {budget.id: budget for budget in await self._ledger.budgets()}
        if found != self._all:
            self._all = found
            self._tell()

    def all(self) -> list[Budget]:
        return [budget for _, budget in sorted(self._all.items())]

    def get(self, id_: str) -> Budget:
        """Raises UnknownTarget."""
        if id_ not in self._all:
            raise UnknownTarget(f"There is no budget {id_[:64]!r}")
        return self._all[id_]

    async def add(self, budget: Budget) -> Budget:
        """Raises BadSetting, Conflict or StorageFailed; then nothing has changed."""
        budget = structs.replace(budget, created_at=self._now_s())
        async with self._changing:
            await self._look()
            if budget.id in self._all:
                raise Conflict(f"There is a budget {budget.id!r} already")
            if len(self._all) >= BUDGETS_MAX:
                raise Conflict(f"There are {BUDGETS_MAX} budgets already")
            return await self._put(budget)

    async def replace(self, budget: Budget, expected: Budget | None = None) -> Budget:
        """`expected`: what it was when the caller last saw it.

        Raises BadSetting, UnknownTarget, Conflict or StorageFailed; then nothing has changed.
        """
        async with self._changing:
            await self._look()
            before = self._all.get(budget.id)
            if before is None and budget.id != DEFAULT.id:
                self.get(budget.id)
            if expected is not None and expected != before:
                raise Conflict("The budget is another by now: look at it again")
            created = before.created_at if before else self._now_s()
            return await self._put(structs.replace(budget, created_at=created))

    async def remove(self, id_: str) -> None:
        """Raises UnknownTarget or StorageFailed; then nothing has changed."""
        async with self._changing:
            await self._look()
            self.get(id_)
            await self._ledger.delete_budget(id_)
            del self._all[id_]
            self._tell()
        log.info("A budget was removed", extra={"budget": id_})

    async def suspend(self, id_: str, span_s: int, reason: str) -> Budget:
        """Let it block nothing for a while; 0 seconds: it blocks again.

        Raises InvalidParams, UnknownTarget or StorageFailed.
        """
        if not 0 <= span_s <= SUSPENDED_MAX_S:
            raise InvalidParams(f"seconds: expected a whole number from 0 to {SUSPENDED_MAX_S}")
        _check_reason(reason)
        async with self._changing:
            await self._look()
            until = self._now_s() + span_s if span_s else 0
            budget = structs.replace(self.get(id_), suspended_until=until, reason=reason)
            log.warning(
                "A budget was suspended",
                extra={"budget": id_, "until": until, "reason": reason},
            )
            return await self._put(budget)

    async def credit(self, id_: str, amount: NanoUsd, reason: str) -> None:
        """More room in the present window. Raises InvalidParams, UnknownTarget or StorageFailed."""
        if not -MAX <= amount <= MAX:
            raise InvalidParams("amount: more than a budget can have")
        _check_reason(reason)
        budget, now_s = self.get(id_), self._now_s()
        on = budget.hold_on(Facts(), now_s)
        await self._ledger.credit(Credit(secrets.token_hex(12), on, amount, reason, now_s))
        self._till.moved()
        log.warning(
            "A budget was credited", extra={"budget": id_, "nano_usd": amount, "reason": reason}
        )

    async def adjust(self, adjustment: Adjustment) -> bool:
        """Another cost for a call that is over. False: there is no such call."""
        found = await self._ledger.adjust(adjustment)
        self._till.moved()
        return found

    async def status(self, budgets: Sequence[Budget]) -> list[BudgetStatus]:
        """How they stand now; a budget of each session has no standing of its own."""
        now_s = self._now_s()
        on = [budget.hold_on(Facts(), now_s) for budget in budgets]
        found = await self._usage.standing(on)
        return [
            BudgetStatus(
                budget, one.starts_at, one.ends_at, standing,
                budget.level(standing.settled, standing.credit),
                budget.suspended_until > now_s or budget.subject.name == EACH
                or standing.settled + standing.reserved < budget.wall + standing.credit,
            )
            for budget, one, standing in zip(budgets, on, found, strict=True)
        ]  # fmt: skip

    async def _put(self, budget: Budget) -> Budget:
        budget.check()
        await self._ledger.put_budget(budget)
        self._all[budget.id] = budget
        self._tell()
        return budget

    def _tell(self) -> None:
        self._till.take(tuple(self._all.values()))
        self._till.moved()

    def _now_s(self) -> int:
        return self._clock.wall() // SECOND


def _check_reason(reason: str) -> None:
    if not 0 < len(reason.strip()) <= REASON_MAX:
        raise InvalidParams(f"reason: expected why, in at most {REASON_MAX} characters")
