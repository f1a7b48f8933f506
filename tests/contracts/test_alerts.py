"""What alerts.AlertStorage promises of both databases: one row for each level of a window."""

import itertools
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs
from support.money import AT_S, FACTS, Teller, budget, hold, settlement
from support.postgres import NEEDS_POSTGRES, Cluster

from agenthub.domain.budget import Level, Subject
from agenthub.domain.money import MAX
from agenthub.domain.period import Period
from agenthub.domain.span import SECOND
from agenthub.domain.usage import Basis
from agenthub.ledger import Adjustment, Credit
from agenthub.outbound.alerts import DatabaseAlerts
from agenthub.outbound.clock import LoopClock
from agenthub.outbound.ledger import DatabaseLedger
from agenthub.outbound.postgres import open_postgres
from agenthub.outbound.store import open_store

LEVELS = (Level.SAFE, Level.WARNING, Level.CRITICAL, Level.BLOCKED)
NUMBERS = itertools.count()
IDS = map("c{}".format, itertools.count())


class Standstill(LoopClock):
    """Always the same date."""

    def wall(self):
        return AT_S * SECOND

    def now(self):
        return 0


class House:
    """A ledger and its alerts."""

    def __init__(self, tables):
        self.ledger, self.storage = DatabaseLedger(tables, Standstill()), DatabaseAlerts(tables)
        self.tell = Teller(self.ledger)

    async def spend(self, cost, *budgets, at_s=AT_S, facts=FACTS):
        """What others report, so that no wall is in its way."""
        name = next(IDS)
        row = hold(name, 0, *budgets, at_s=at_s, facts=facts)
        assert await self.ledger.book([(row, settlement(name, cost, Basis.INGESTED))]) == 1
        return name

    async def credit(self, amount, one, name):
        on = one.hold_on(FACTS, AT_S)
        await self.ledger.credit(Credit(name, on, amount, "because", AT_S))

    async def levels(self, one):
        found = await self.storage.after(0, 100)
        return [alert.level.value for alert in found if alert.budget == one.id]


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster("-c", "fsync=off")
    yield cluster
    cluster.close()


@pytest.fixture(params=["file", pytest.param("postgres", marks=NEEDS_POSTGRES)])
async def house(request, tmp_path):
    async with AsyncExitStack() as stack:
        if request.param == "postgres":
            url = request.getfixturevalue("cluster").create(f"alerts{next(NUMBERS)}")
            tables = await stack.enter_async_context(open_postgres(url))
        else:
            tables = (await stack.enter_async_context(open_store(tmp_path / "home"))).process
        yield House(tables)


async def kept(house, name="b", limit=1_000, **more):
    one = budget(name, limit, **{"blocked": 110, **more})
    await house.ledger.put_budget(one)
    return one


# ------------------------------------------------------------ rows


async def test_each_level_is_one_row_however_often_money_moves(house):
    one = await kept(house)
    for cost, levels in (
        (899, []), (1, ["warning"]), (50, ["warning"]), (50, ["warning", "critical"]),
        (99, ["warning", "critical"]), (1, ["warning", "critical", "blocked"]),
    ):  # fmt: skip
        await house.spend(cost, one)
        assert await house.levels(one) == levels
    first, *_ = await house.storage.after(0, 100)
    assert (first.spent, first.limit, first.window) == (900, 1_000, "lifetime")
    assert (first.state, first.told_at, first.tries) == ("new", 0, 0)
    tokens = {alert.token for alert in await house.storage.after(0, 100)}
    assert len(tokens) == 3


async def test_a_level_that_is_jumped_over_is_not_told_later(house):
    one = await kept(house)
    await house.spend(1_050, one)
    assert await house.levels(one) == ["critical"]
    await house.spend(100, one)
    assert await house.levels(one) == ["critical", "blocked"]


async def test_all_budgets_of_a_call_are_told_of(house):
    one, other = await kept(house), await kept(house, "other", 2_000)
    await house.spend(1_900, one, other)
    assert (await house.levels(one), await house.levels(other)) == (["blocked"], ["warning"])


async def test_each_window_has_alerts_of_its_own(house):
    one = await kept(house, period=Period("day"))
    await house.spend(950, one)
    await house.spend(950, one, at_s=AT_S + 86_400)
    assert await house.levels(one) == ["warning", "warning"]
    first, second = await house.storage.after(0, 100)
    assert second.starts_at - first.starts_at == 86_400
    assert first.ends_at == second.starts_at


async def test_a_rolling_window_is_told_once_in_all_its_hours(house):
    one = await kept(house, period=Period("hours", 3))
    for hour in range(3):
        await house.spend(450, one, at_s=AT_S + hour * 3_600)
    assert await house.levels(one) == ["warning", "blocked"]
    await house.spend(1, one, at_s=AT_S + 3 * 3_600)
    assert await house.levels(one) == ["warning", "blocked"]
    await house.spend(2_000, one, at_s=AT_S + 9 * 3_600)
    assert await house.levels(one) == ["warning", "blocked", "blocked"]


async def test_each_session_has_alerts_of_its_own(house):
    each = await kept(house, subject=Subject("session", "*"), period=Period("run"))
    for session in ("s1", "s2"):
        await house.spend(950, each, facts=structs.replace(FACTS, session=session))
    assert await house.levels(each) == ["warning", "warning"]


async def test_what_the_hub_carried_and_what_a_dead_one_held_count_too(house):
    one, other = await kept(house), await kept(house, "other")
    assert await house.tell.reserve(hold("r", 1_000, one)) is None
    assert await house.levels(one) == []
    assert await house.tell.settle(settlement("r", 950)) is None
    assert await house.levels(one) == ["warning"]
    assert await house.tell.reserve(hold("dead", 1_000, other, boot="dead")) is None
    assert await house.levels(other) == []
    await house.ledger.recover("alive", AT_S)
    house.ledger.close()
    if not await house.levels(other):  # hubs that share a database are given half a minute
        assert await house.tell.settle(settlement("dead", 1_000, Basis.EXPIRED)) is None
    assert await house.levels(other) == ["critical"]


async def test_late_evidence_counts_and_less_of_it_takes_nothing_back(house):
    one = await kept(house)
    name = await house.spend(100, one)
    assert await house.ledger.adjust(Adjustment("a1", name, 950, "invoice", AT_S))
    assert await house.levels(one) == ["warning"]
    assert await house.ledger.adjust(Adjustment("a2", name, 10, "wrong one", AT_S))
    await house.spend(950, one)
    assert await house.levels(one) == ["warning"]


async def test_a_credit_makes_room_and_one_that_is_taken_back_may_reach_a_level(house):
    one = await kept(house)
    await house.credit(1_000, one, "more")
    await house.spend(1_700, one)
    assert await house.levels(one) == []
    await house.credit(-200, one, "less")
    assert await house.levels(one) == ["warning"]
    (alert,) = await house.storage.after(0, 9)
    assert alert.limit == 1_800


async def test_a_lower_limit_reaches_a_level_at_once_and_a_higher_one_none(house):
    one = await kept(house)
    await house.spend(500, one)
    await house.ledger.put_budget(structs.replace(one, limit=9_000))
    assert await house.levels(one) == []
    for _ in range(2):
        await house.ledger.put_budget(structs.replace(one, limit=500))
    assert await house.levels(one) == ["critical"]


async def test_ratios_of_its_own_count(house):
    one = await kept(house, warning=10, critical=20, blocked=30)
    for cost in (99, 1, 100, 100):
        await house.spend(cost, one)
    assert await house.levels(one) == ["warning", "critical", "blocked"]


async def test_a_budget_that_is_gone_is_not_told_of(house):
    one = await kept(house)
    await house.ledger.delete_budget(one.id)
    await house.spend(5_000, one)
    assert await house.levels(one) == []


async def test_the_largest_sums_fit(house):
    one = await kept(house, limit=MAX)
    for _ in range(12):
        await house.spend(MAX // 10, one)
    assert await house.levels(one) == ["warning", "critical", "blocked"]


@settings(
    max_examples=15, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(st.lists(st.integers(0, 400), max_size=12), st.integers(0, 1_500))
async def test_the_rows_are_the_levels_that_the_budget_rose_to(house, costs, limit):
    one = await kept(house, next(IDS), limit)
    spent, highest, rose = 0, 0, []
    for cost in costs:
        await house.spend(cost, one)
        spent += cost
        rank = LEVELS.index(one.level(spent)) if cost else highest
        if rank > highest:
            highest = rank
            rose.append(LEVELS[rank].value)
    found = [a.level.value for a in await house.storage.before(None, 9) if a.budget == one.id]
    assert found[::-1] == rose


# ------------------------------------------------------------ telling


async def reached(house, *names):
    for name in names:
        await house.spend(950, await kept(house, name))
    return await house.storage.after(0, 100)


async def test_what_was_told_is_known_after_a_restart_too(house):
    assert await house.storage.known() == 0
    one, two = await reached(house, "one", "two")
    assert await house.storage.known() == one.number - 1
    await house.storage.told(one.number, AT_S, to_send=False)
    assert await house.storage.known() == one.number
    await house.storage.told(two.number, AT_S + 5, to_send=False)
    assert await house.storage.known() == two.number
    newest, oldest = await house.storage.before(None, 100)
    assert (newest.told_at, oldest.told_at, newest.state) == (AT_S + 5, AT_S, "told")
    assert await house.storage.before(two.number, 100) == [oldest]
    assert await house.storage.before(None, 1) == [newest]
    assert await house.storage.after(one.number, 1) == [newest]


async def test_what_is_to_be_sent_is_one_hubs_until_its_lease_ends(house):
    one, two = await reached(house, "one", "two")
    assert await house.storage.lease(AT_S, AT_S + 60) is None, "it was not told yet"
    await house.storage.told(two.number, AT_S, to_send=True)
    first = await house.storage.lease(AT_S, AT_S + 60)
    second = await house.storage.lease(AT_S, AT_S + 60)
    assert (first.number, second.number, first.tries) == (one.number, two.number, 1)
    assert await house.storage.lease(AT_S, AT_S + 60) is None
    again = await house.storage.lease(AT_S + 60, AT_S + 120)
    assert (again.number, again.tries, again.token) == (one.number, 2, one.token)
    await house.storage.again(one.number)
    assert (await house.storage.lease(AT_S + 60, AT_S + 120)).tries == 3
    await house.storage.over(one.number, sent=True)
    await house.storage.over(one.number, sent=False)
    await house.storage.over(two.number, sent=False)
    states = [alert.state for alert in await house.storage.after(0, 100)]
    assert states == ["sent", "given_up"]
    assert await house.storage.lease(AT_S + 999, AT_S + 1_000) is None
