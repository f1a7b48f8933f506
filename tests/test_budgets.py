"""Budgets that several hubs share."""

import pytest
from msgspec import structs
from support.fake_ledger import FakeLedger
from support.fake_prices import FakePrices
from support.money import budget
from support.virtual_time import LoopClock, passes, virtual_time

from agenthub.budgets import FOLLOW_S, Budgets
from agenthub.domain.errors import Conflict, StorageFailed
from agenthub.domain.span import SECOND
from agenthub.tasks import Tasks
from agenthub.till import Till


class Away(FakeLedger):
    """A ledger whose budgets cannot be read while it is broken."""

    async def budgets(self):
        self._check()
        return await super().budgets()


async def opened(ledger, boot="boot"):
    clock = LoopClock()
    till = Till(ledger, FakePrices(), clock, Tasks(), boot)
    budgets = Budgets(ledger, ledger, till, clock)
    await budgets.open()
    return budgets


def ids(budgets):
    return [one.id for one in budgets.all()]


@virtual_time()
async def test_what_another_hub_changes_counts_two_seconds_later():
    ledger, tasks = Away(), Tasks()
    first, second = await opened(ledger, "1"), await opened(ledger, "2")
    tasks.start(second.follow(), "follow")
    await first.add(budget("b"))
    await passes(FOLLOW_S * SECOND + 1)
    assert ids(second) == ["b", "default"]
    ledger.broken = StorageFailed("The database is away.")
    await passes(9 * SECOND)
    ledger.broken = None
    await first.remove("b")
    await passes(FOLLOW_S * SECOND + 1)
    assert ids(second) == ["default"]
    await tasks.close()


@virtual_time()
async def test_who_changes_a_budget_changes_it_as_it_is_now_and_not_as_this_hub_knew_it():
    ledger = Away()
    first, second = await opened(ledger, "1"), await opened(ledger, "2")
    made = await first.add(budget("b"))
    with pytest.raises(Conflict, match="already"):
        await second.add(budget("b"))
    await first.replace(structs.replace(made, limit=5))
    assert (await second.suspend("b", 60, "why")).limit == 5
