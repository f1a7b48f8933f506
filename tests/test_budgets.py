"""Budgets by their own words: what a change does to calls, and what a failure leaves as it was."""

import asyncio

import pytest
from msgspec import structs
from support.fake_ledger import FakeLedger
from support.fake_prices import FakePrices
from support.money import FACTS, Teller, hold, settlement
from support.rest_hub import RestClock

from agenthub.budgets import BUDGETS_MAX, SUSPENDED_MAX_S, Budgets
from agenthub.domain.account import Facts
from agenthub.domain.budget import DEFAULT, Budget, Level, Subject
from agenthub.domain.errors import (
    BadSetting,
    Conflict,
    InvalidParams,
    StorageFailed,
    UnknownTarget,
)
from agenthub.domain.money import MAX, USD
from agenthub.domain.period import Period
from agenthub.domain.span import SECOND
from agenthub.ledger import Adjustment, OverBudget
from agenthub.tasks import Tasks
from agenthub.till import Till

OPS = Budget("ops", 100, period=Period("lifetime"), blocked=100)


class House:
    """Budgets over the fake ledger, and the till that hears of them."""

    def __init__(self):
        self.clock = RestClock()
        self.ledger = FakeLedger(lambda: self.now_s)
        self.tell = Teller(self.ledger)
        self.till = Till(self.ledger, FakePrices(), self.clock, Tasks(), "boot")
        self.moves = 0
        self.till.listeners.append(self._moved)
        self.budgets = Budgets(self.ledger, self.ledger, self.till, self.clock)

    def _moved(self):
        self.moves += 1

    @property
    def now_s(self):
        return self.clock.wall() // SECOND

    async def spend(self, name, cost, *budgets):
        assert await self.tell.reserve(hold(name, cost, *budgets, at_s=self.now_s)) is None
        assert await self.tell.settle(settlement(name, cost)) is None

    async def status(self, budget):
        (found,) = await self.budgets.status([budget])
        return found

    @property
    def known(self):
        """As the till has them, for the next call."""
        return [one.id for one in self.till.concerned([Facts()])]


@pytest.fixture
async def house():
    house = House()
    await house.budgets.open()
    return house


@pytest.fixture
async def broken(house):
    """Nothing can be written, from now on."""
    await house.budgets.add(OPS)
    house.ledger.broken = StorageFailed("The disk is full.")
    return house


async def test_a_new_hub_has_one_and_calls_are_held_to_it_at_once(house):
    assert [one.id for one in house.budgets.all()] == ["default"]
    assert house.budgets.get("default").limit == DEFAULT.limit
    assert house.known == ["default"]


async def test_what_a_dead_hub_held_is_spent_when_the_next_one_opens(caplog):
    house = House()
    await house.ledger.put_budget(OPS)
    await house.tell.reserve(hold("dead", 60, OPS, boot="another", at_s=house.now_s))
    await house.budgets.open()
    assert (await house.status(OPS)).standing.settled == 60
    assert "were under way when the hub ended" in caplog.text


async def test_one_that_is_added_counts_from_the_next_call_on(house):
    made = await house.budgets.add(OPS)
    assert made.created_at == house.now_s
    assert house.known == ["default", "ops"]
    assert await house.ledger.budgets() == (house.budgets.get("default"), made)


async def test_an_id_is_given_once_and_an_unknown_one_is_named(house):
    await house.budgets.add(OPS)
    with pytest.raises(Conflict, match="'ops' already"):
        await house.budgets.add(structs.replace(OPS, limit=1))
    assert house.budgets.get("ops").limit == 100
    with pytest.raises(UnknownTarget, match="no budget 'never'"):
        house.budgets.get("never")
    with pytest.raises(UnknownTarget):
        await house.budgets.replace(structs.replace(OPS, id="never"))
    with pytest.raises(UnknownTarget):
        await house.budgets.remove("never")


async def test_there_are_not_more_than_so_many(house):
    for number in range(BUDGETS_MAX - 1):
        await house.budgets.add(structs.replace(OPS, id=f"b{number}"))
    with pytest.raises(Conflict, match=f"{BUDGETS_MAX} budgets already"):
        await house.budgets.add(OPS)


@pytest.mark.parametrize(
    "wrong",
    [{"limit": -1}, {"limit": MAX + 1}, {"warning": 0}, {"warning": 101},
     {"subject": Subject("key")}, {"period": Period("run")}, {"id": ""}],
)  # fmt: skip
async def test_one_that_cannot_be_is_refused_and_changes_nothing(house, wrong):
    await house.budgets.add(OPS)
    with pytest.raises(BadSetting):
        await house.budgets.add(structs.replace(OPS, **({"id": "new"} | wrong)))
    if "id" not in wrong:
        with pytest.raises(BadSetting):
            await house.budgets.replace(structs.replace(OPS, **wrong))
    assert [one.id for one in house.budgets.all()] == ["default", "ops"]
    assert structs.replace(house.budgets.get("ops"), created_at=0) == OPS


async def test_a_higher_limit_lets_the_next_call_in_and_keeps_what_was_spent(house):
    await house.budgets.add(OPS)
    await house.spend("1", 90, OPS)
    assert isinstance(await house.tell.reserve(hold("2", 20, OPS)), OverBudget)
    raised = await house.budgets.replace(structs.replace(OPS, limit=200))
    assert raised.created_at == house.now_s, "it is as old as it was"
    assert await house.tell.reserve(hold("3", 20, OPS)) is None
    assert (await house.status(raised)).standing.settled == 90


async def test_who_saw_an_older_state_does_not_overwrite_a_newer_one(house):
    seen = await house.budgets.add(OPS)
    await house.budgets.replace(structs.replace(seen, limit=500))
    with pytest.raises(Conflict, match="look at it again"):
        await house.budgets.replace(structs.replace(seen, limit=1), seen)
    assert house.budgets.get("ops").limit == 500


async def test_of_two_that_change_the_same_state_one_wins(house):
    seen = await house.budgets.add(OPS)
    wishes = [
        house.budgets.replace(structs.replace(seen, limit=limit), seen) for limit in (200, 300)
    ]
    done = await asyncio.gather(*wishes, return_exceptions=True)
    assert [type(one) for one in done] == [Budget, Conflict]
    assert house.budgets.get("ops").limit == 200


async def test_the_default_that_was_deleted_can_be_put_again(house):
    await house.budgets.remove("default")
    assert house.known == []
    await house.budgets.replace(structs.replace(DEFAULT, limit=USD))
    assert house.known == ["default"]


async def test_one_that_is_suspended_blocks_nothing_for_a_while_and_goes_on_counting(house):
    await house.budgets.add(OPS)
    await house.spend("1", 100, OPS)
    suspended = await house.budgets.suspend("ops", 600, "an incident")
    assert (suspended.suspended_until, suspended.reason) == (house.now_s + 600, "an incident")
    await house.spend("2", 50, OPS)
    status = await house.status(suspended)
    assert (status.standing.settled, status.can_proceed, status.level) == (150, True, Level.BLOCKED)
    again = await house.budgets.suspend("ops", 0, "it is over")
    assert not (await house.status(again)).can_proceed
    assert isinstance(await house.tell.reserve(hold("3", 1, OPS)), OverBudget)


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(-1, "x"), (SUSPENDED_MAX_S + 1, "x"), (5, ""), (5, "  "), (5, "x" * 501)],
)
async def test_for_how_long_and_why_must_be_said(house, seconds, reason):
    await house.budgets.add(OPS)
    with pytest.raises(InvalidParams, match=r"seconds|reason"):
        await house.budgets.suspend("ops", seconds, reason)
    assert house.budgets.get("ops").suspended_until == 0


async def test_a_credit_makes_room_in_this_window_and_is_in_the_log(house, caplog):
    await house.budgets.add(OPS)
    await house.spend("1", 100, OPS)
    await house.budgets.credit("ops", 50, "the quarter ends")
    assert await house.tell.reserve(hold("2", 50, OPS)) is None
    assert (await house.status(OPS)).standing.credit == 50
    (entry,) = await house.ledger.entries(limit=9)
    assert (entry.kind, entry.delta, entry.reason) == ("credit", 50, "the quarter ends")
    assert "A budget was credited" in caplog.text


@pytest.mark.parametrize(("amount", "reason"), [(MAX + 1, "x"), (-MAX - 1, "x"), (1, ""), (1, " ")])
async def test_a_credit_that_cannot_be_is_refused(house, amount, reason):
    await house.budgets.add(OPS)
    with pytest.raises(InvalidParams, match=r"amount|reason"):
        await house.budgets.credit("ops", amount, reason)
    assert (await house.status(OPS)).standing.credit == 0
    with pytest.raises(UnknownTarget):
        await house.budgets.credit("never", 1, "x")


async def test_another_cost_is_booked_for_a_call_that_is_over_and_for_no_other(house):
    await house.budgets.add(OPS)
    await house.spend("1", 90, OPS)
    assert await house.budgets.adjust(Adjustment("a", "1", 30, "invoice", house.now_s))
    assert (await house.status(OPS)).standing.settled == 30
    assert not await house.budgets.adjust(Adjustment("b", "never", 30, "invoice", house.now_s))


async def test_each_change_is_told_to_those_who_watch_the_money(house):
    changes = (
        lambda: house.budgets.add(OPS),
        lambda: house.budgets.replace(structs.replace(OPS, limit=200)),
        lambda: house.budgets.suspend("ops", 60, "x"),
        lambda: house.budgets.credit("ops", 1, "x"),
        lambda: house.budgets.adjust(Adjustment("a", "never", 1, "x", 1)),
        lambda: house.budgets.remove("ops"),
    )
    for change in changes:
        before = house.moves
        await change()
        assert house.moves > before


async def test_the_level_and_the_wall_stand_in_the_status(house):
    budget = await house.budgets.add(structs.replace(OPS, blocked=110))
    for number, (cost, level, free) in enumerate(
        [(89, Level.SAFE, True), (1, Level.WARNING, True), (10, Level.CRITICAL, True),
         (10, Level.BLOCKED, False)]
    ):  # fmt: skip
        await house.spend(str(number), cost, budget)
        status = await house.status(budget)
        assert (status.level, status.can_proceed) == (level, free)


async def test_a_budget_of_each_session_has_no_standing_of_its_own_and_proceeds(house):
    each = structs.replace(OPS, subject=Subject("session", "*"), period=Period("run"))
    budget = await house.budgets.add(each)
    facts = structs.replace(FACTS, session="s1")
    await house.tell.reserve(hold("1", 100, budget, facts=facts))
    await house.tell.settle(settlement("1", 100))
    status = await house.status(budget)
    assert (status.standing.settled, status.can_proceed) == (0, True)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.add(structs.replace(OPS, id="new")),
        lambda one: one.replace(structs.replace(OPS, limit=7)),
        lambda one: one.suspend("ops", 60, "x"),
        lambda one: one.credit("ops", 60, "x"),
        lambda one: one.adjust(Adjustment("a", "1", 1, "x", 1)),
    ],
    ids=["add", "replace", "suspend", "credit", "adjust"],
)
async def test_what_cannot_be_written_changes_nothing(broken, change):
    before = broken.budgets.all()
    with pytest.raises(StorageFailed):
        await change(broken.budgets)
    assert broken.budgets.all() == before
    assert broken.known == ["default", "ops"]


async def test_a_removal_that_cannot_be_written_leaves_it_where_it_is(broken):
    with pytest.raises(StorageFailed):
        await broken.budgets.remove("ops")
    assert broken.known == ["default", "ops"]
