"""The ledger of a hub that only relays: nothing costs money here, the running hub keeps it all."""

from collections.abc import Callable, Sequence

from agenthub.alerts import Alert
from agenthub.domain.account import Facts, HoldOn
from agenthub.domain.budget import Budget
from agenthub.domain.errors import HubError, StorageFailed
from agenthub.domain.money import NanoUsd
from agenthub.ledger import (
    Adjustment,
    AttemptRow,
    ChargePage,
    ChargeRow,
    Credit,
    Entry,
    Held,
    Hold,
    Proof,
    Settlement,
    Standing,
    Total,
    Which,
)

WORDS = "What costs money goes by the running hub"


class NoMoney:
    """ledger.Ledger and ledger.UsageStorage: holds nothing, and so lets nothing pass that costs."""

    def reserve(self, hold: Hold, told: Callable[[Held], None]) -> None:
        del hold
        told(StorageFailed(WORDS))

    def top_up(self, id_: str, hold: NanoUsd, told: Callable[[Held], None]) -> None:
        del id_, hold
        told(StorageFailed(WORDS))

    def move(self, id_: str, facts: Facts, off: tuple[str, ...]) -> None:
        del id_, facts, off

    def settle(self, settlement: Settlement, told: Callable[[HubError | None], None]) -> None:
        del settlement
        told(None)

    def release(
        self, id_: str, attempts: tuple[AttemptRow, ...], told: Callable[[HubError | None], None]
    ) -> None:
        del id_, attempts
        told(None)

    async def book(self, rows: Sequence[tuple[Hold, Settlement]]) -> int:
        del rows
        return 0

    async def budgets(self) -> tuple[Budget, ...]:
        return ()

    async def put_budget(self, budget: Budget) -> None:
        del budget
        raise StorageFailed(WORDS)

    async def delete_budget(self, id_: str) -> None:
        del id_
        raise StorageFailed(WORDS)

    async def credit(self, credit: Credit) -> None:
        del credit
        raise StorageFailed(WORDS)

    async def adjust(self, adjustment: Adjustment) -> bool:
        del adjustment
        return False

    async def recover(self, boot: str, now_s: int) -> int:
        del boot, now_s
        return 0

    async def totals(
        self, which: Which, group_by: str, spans: Sequence[tuple[int, int]]
    ) -> tuple[Total, ...]:
        del which, group_by, spans
        return ()

    async def calls(self, which: Which, *, limit: int, before: int | None = None) -> ChargePage:
        del which, limit, before
        return ChargePage((), None)

    async def charge(self, id_: str) -> ChargeRow | None:
        del id_

    async def unsettled(self, *, limit: int, before: int | None = None) -> ChargePage:
        del limit, before
        return ChargePage((), None)

    async def standing(self, on: Sequence[HoldOn]) -> tuple[Standing, ...]:
        return tuple(Standing() for _ in on)

    async def entries(self, *, limit: int, before: int | None = None) -> tuple[Entry, ...]:
        del limit, before
        return ()

    async def rebuild(self) -> Proof:
        return Proof(0, 0)


class NoAlerts:
    """alerts.AlertStorage: where nothing costs money, no level is reached."""

    async def known(self) -> int:
        return 0

    async def after(self, number: int, limit: int) -> Sequence[Alert]:
        del number, limit
        return ()

    async def before(self, number: int | None, limit: int) -> Sequence[Alert]:
        del number, limit
        return ()

    async def told(self, number: int, now_s: int, *, to_send: bool) -> None:
        del number, now_s, to_send

    async def lease(self, now_s: int, until_s: int) -> Alert | None:
        del now_s, until_s

    async def over(self, number: int, *, sent: bool) -> None:
        del number, sent

    async def again(self, number: int) -> None:
        del number
