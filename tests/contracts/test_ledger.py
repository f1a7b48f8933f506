"""What ledger.Ledger and ledger.UsageStorage promise, of each adapter and of the fake."""

import asyncio
import itertools
from contextlib import AsyncExitStack

import pytest
from msgspec import structs
from support.fake_ledger import FakeLedger
from support.money import AT_S, FACTS, TRIED, USAGE, Teller, budget, hold, settlement
from support.postgres import NEEDS_POSTGRES, Cluster

from agenthub.domain.account import Facts
from agenthub.domain.budget import DEFAULT, Subject
from agenthub.domain.errors import StorageFailed
from agenthub.domain.period import Period
from agenthub.domain.span import SECOND
from agenthub.domain.usage import Basis, Usage
from agenthub.ledger import Adjustment, Credit, OverBudget, Proof, Standing, Which
from agenthub.outbound.clock import LoopClock
from agenthub.outbound.ledger import DatabaseLedger
from agenthub.outbound.postgres import open_postgres
from agenthub.outbound.store import open_store
from agenthub.outbound.usage import DatabaseUsage

DAY = ((AT_S // 86_400 * 86_400, AT_S // 86_400 * 86_400 + 86_400),)
ALL = Which(DAY[0][0], DAY[0][1])
B = budget()
NUMBERS = itertools.count()


class Fake:
    def __init__(self, home):
        self.ledger = FakeLedger(lambda: AT_S)

    async def open(self):
        return self.ledger

    async def close(self):
        pass


class Ledgered(DatabaseLedger, DatabaseUsage):
    """Both ports, as the fake is."""


class Database:
    """The ledger over its file."""

    def __init__(self, home):
        self.home, self.stack = home, AsyncExitStack()

    async def open(self):
        store = await self.stack.enter_async_context(open_store(self.home))
        return Ledgered(store.process, Standstill())

    async def close(self):
        await self.stack.aclose()


class Postgres:
    """The ledger in a PostgreSQL; each test has a database of its own."""

    def __init__(self, url):
        self.url, self.stack = url, AsyncExitStack()

    async def open(self):
        database = await self.stack.enter_async_context(open_postgres(self.url))
        return Ledgered(database, Standstill())

    async def close(self):
        await self.stack.aclose()


class Standstill(LoopClock):
    """Always the same date."""

    def wall(self):
        return AT_S * SECOND

    def now(self):
        return 0


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster("-c", "fsync=off")
    yield cluster
    cluster.close()


@pytest.fixture(params=[Fake, Database, pytest.param(Postgres, marks=NEEDS_POSTGRES)])
async def house(request, tmp_path):
    if request.param is Postgres:
        house = Postgres(request.getfixturevalue("cluster").create(f"test{next(NUMBERS)}"))
    else:
        house = request.param(tmp_path / "home")
    yield house
    await house.close()


@pytest.fixture
async def ledger(house):
    return await house.open()


@pytest.fixture
async def tell(ledger):
    await ledger.put_budget(B)
    return Teller(ledger)


async def standing(ledger, *budgets, at_s=AT_S, facts=FACTS):
    return await ledger.standing([one.hold_on(facts, at_s) for one in budgets])


# ------------------------------------------------------------ holds


async def test_a_new_home_has_a_budget_of_a_hundred_dollars_that_can_be_deleted(ledger):
    (found,) = await ledger.budgets()
    assert structs.replace(found, created_at=0) == DEFAULT
    for _ in range(2):
        await ledger.delete_budget("default")
    assert await ledger.budgets() == ()


async def test_what_is_held_counts_on_all_its_budgets_until_it_is_settled(ledger, tell):
    other = budget("c", 1_000)
    await ledger.put_budget(other)
    assert await tell.reserve(hold("1", 60, B, other)) is None
    assert await standing(ledger, B, other) == (Standing(60), Standing(60))
    assert await tell.settle(settlement("1", 25)) is None
    assert await standing(ledger, B, other) == (Standing(0, 25), Standing(0, 25))


async def test_a_hold_fits_up_to_the_wall_and_not_a_nano_dollar_more(ledger, tell):
    assert await tell.reserve(hold("1", 60, B)) is None
    refused = OverBudget("b", B.hold_on(FACTS, AT_S).ends_at, 60, 0, 100)
    assert await tell.reserve(hold("2", 41, B)) == refused
    assert await tell.reserve(hold("3", 40, B)) is None
    assert await standing(ledger, B) == (Standing(100),)


async def test_what_one_budget_refuses_is_held_on_none(ledger, tell):
    wide = budget("wide", 1_000)
    await ledger.put_budget(wide)
    refused = await tell.reserve(hold("1", 101, wide, B))
    assert isinstance(refused, OverBudget)
    assert await standing(ledger, wide, B) == (Standing(), Standing())
    assert await ledger.charge("1") is None


async def test_steps_that_are_told_twice_are_one(ledger, tell):
    for _ in range(2):
        assert await tell.reserve(hold("1", 60, B)) is None
        assert await tell.top_up("1", 80) is None
    assert await standing(ledger, B) == (Standing(80),)
    for _ in range(2):
        assert await tell.settle(settlement("1", 25)) is None
    assert await tell.release("1") is None
    assert await tell.reserve(hold("1", 60, B)) is None
    assert await standing(ledger, B) == (Standing(0, 25),)
    assert await ledger.entries(limit=9) == ()


async def test_a_top_up_raises_the_whole_hold_under_the_same_rule(ledger, tell):
    await tell.reserve(hold("1", 60, B))
    assert await tell.top_up("1", 50) is None
    refused = await tell.top_up("1", 101)
    assert (refused.reserved, refused.settled, refused.wall) == (60, 0, 100)
    assert await tell.top_up("1", 100) is None
    assert await standing(ledger, B) == (Standing(100),)
    assert (await ledger.charge("1")).hold == 100


async def test_of_a_call_that_is_over_or_not_there_a_top_up_holds_nothing(ledger, tell):
    await tell.reserve(hold("1", 60, B))
    await tell.settle(settlement("1", 10))
    assert await tell.top_up("1", 90) is None
    assert await tell.top_up("2", 90) is None
    assert await standing(ledger, B) == (Standing(0, 10),)


async def test_what_was_released_can_be_held_again(ledger, tell):
    await tell.reserve(hold("1", 100, B))
    assert await tell.release("1", TRIED[:1]) is None
    assert await standing(ledger, B) == (Standing(),)
    assert await tell.reserve(hold("2", 100, B)) is None
    row = await ledger.charge("1")
    assert (row.state, row.cost, row.attempts) == ("released", 0, TRIED[:1])


MOVED = Facts("", "", "", "anthropic", "claude-us", "sonnet")
"""Only where it was served is taken from them."""


async def test_a_call_that_another_serves_counts_to_that_ones_budgets_alone(ledger, tell):
    other = budget("other")
    await ledger.put_budget(other)
    await tell.reserve(hold("1", 60, B, other))
    assert await standing(ledger, B, other) == (Standing(60), Standing(60))
    for _ in range(2):
        ledger.move("1", MOVED, ("b",))
    assert await tell.settle(settlement("1", 25)) is None
    assert await standing(ledger, B, other) == (Standing(), Standing(0, 25))
    row = await ledger.charge("1")
    where = {"provider": "anthropic", "endpoint": "claude-us", "model": "sonnet"}
    assert row.facts == structs.replace(FACTS, **where)
    totals = await ledger.totals(ALL, "provider", DAY)
    assert [(one.name, one.amounts.cost) for one in totals] == [("anthropic", 25)]
    assert await ledger.rebuild() == Proof(0, 0)


@pytest.mark.parametrize("state", ["reserved", "settled", "released", "unknown"])
async def test_a_call_is_moved_in_any_state(ledger, tell, state):
    """It is told again until it is written, by which time the call may be over."""
    other = budget("other")
    await ledger.put_budget(other)
    await tell.reserve(hold("1", 60, B, other))
    if state == "settled":
        await tell.settle(settlement("1", 25, Basis.ESTIMATED))
    elif state == "released":
        await tell.release("1")
    elif state == "unknown":
        await ledger.recover("later", AT_S + 10_000)
    ledger.move("1", MOVED, ("b", "nothing"))
    ledger.move("never", MOVED, ("b",))
    assert await tell.release("never") is None
    held = {"reserved": Standing(60), "settled": Standing(0, 25), "released": Standing(),
            "unknown": Standing(0, 60)}  # fmt: skip
    assert await standing(ledger, B, other) == (Standing(), held[state])
    assert await tell.settle(settlement("1", 30)) is None
    assert await standing(ledger, B, other) == (Standing(), Standing(0, 30))
    assert (await ledger.charge("1")).facts.endpoint == "claude-us"
    assert await ledger.charge("never") is None
    assert await ledger.rebuild() == Proof(0, 0)


async def test_what_was_let_off_a_budget_has_room_there_again(ledger, tell):
    other = budget("other")
    await ledger.put_budget(other)
    await tell.reserve(hold("1", 100, B, other))
    ledger.move("1", MOVED, ("b",))
    assert await tell.reserve(hold("2", 100, B)) is None
    refused = await tell.top_up("1", 101)
    assert refused.budget == "other"


async def test_a_release_without_a_hold_does_nothing(ledger, tell):
    assert await tell.release("never") is None
    assert await ledger.charge("never") is None


async def test_a_call_without_a_hold_is_booked_nonetheless(ledger, tell):
    assert await tell.settle(settlement("1", 25)) is None
    row = await ledger.charge("1")
    assert (row.state, row.cost, row.facts, row.at_us) == ("settled", 25, Facts(), AT_S * 1_000_000)


async def test_a_cost_above_the_hold_is_booked_whole(ledger, tell):
    await tell.reserve(hold("1", 60, B))
    assert await tell.settle(settlement("1", 500)) is None
    assert await standing(ledger, B) == (Standing(0, 500),)
    assert isinstance(await tell.reserve(hold("2", 1, B)), OverBudget)


async def test_an_amount_below_nothing_makes_no_room(ledger, tell):
    """A41: what a client sends as `max_tokens` may be negative, and a price is somebody's."""
    await tell.reserve(hold("1", 60, B))
    assert isinstance(await tell.reserve(hold("2", -50, B)), StorageFailed)
    assert isinstance(await tell.settle(settlement("1", -50)), StorageFailed)
    assert await standing(ledger, B) == (Standing(60),)
    assert await ledger.charge("2") is None


@pytest.mark.parametrize("callers", [200])
async def test_of_racing_calls_as_many_get_in_as_fit(ledger, tell, callers):
    found = await asyncio.gather(*(tell.reserve(hold(str(n), 3, B)) for n in range(callers)))
    assert found.count(None) == 33
    assert await standing(ledger, B) == (Standing(99),)


# ------------------------------------------------------------ late


async def test_holds_of_dead_hubs_count_as_spent_until_someone_knows(ledger, tell):
    await tell.reserve(hold("1", 60, B, boot="old"))
    await tell.reserve(hold("2", 10, B, boot="new"))
    assert await ledger.recover("new", AT_S) == 1
    assert await ledger.recover("new", AT_S) == 0
    assert await standing(ledger, B) == (Standing(10, 60),)
    (row,) = (await ledger.unsettled(limit=9)).rows
    assert (row.id, row.state, row.basis, row.cost) == ("1", "unknown", "expired", 60)
    assert await tell.settle(settlement("1", 20)) is None
    assert await standing(ledger, B) == (Standing(10, 20),)
    assert (await ledger.unsettled(limit=9)).rows == ()
    (entry,) = await ledger.entries(limit=9)
    assert (entry.kind, entry.charge, entry.delta) == ("late", "1", -40)


async def test_holds_past_their_time_count_as_spent_while_the_hub_lives(ledger, tell):
    await tell.reserve(hold("1", 60, B, expires_at_s=AT_S + 1))
    await tell.reserve(hold("2", 10, B, expires_at_s=AT_S + 2))
    assert await ledger.recover("boot", AT_S + 1) == 1
    assert await standing(ledger, B) == (Standing(10, 60),)


async def test_better_evidence_replaces_a_guess(ledger, tell):
    await tell.reserve(hold("1", 60, B))
    await tell.settle(settlement("1", 30, Basis.PARTIAL))
    assert [row.id for row in (await ledger.unsettled(limit=9)).rows] == ["1"]
    await tell.settle(settlement("1", 40))
    await tell.settle(settlement("1", 50, Basis.ESTIMATED))
    assert await standing(ledger, B) == (Standing(0, 40),)
    assert [entry.delta for entry in await ledger.entries(limit=9)] == [10]


async def test_a_settlement_after_the_release_wins(ledger, tell):
    await tell.reserve(hold("1", 60, B))
    await tell.release("1")
    await tell.settle(settlement("1", 40))
    assert await standing(ledger, B) == (Standing(0, 40),)
    assert [entry.delta for entry in await ledger.entries(limit=9)] == [40]


async def test_a_release_after_the_death_wins(ledger, tell):
    await tell.reserve(hold("1", 60, B, boot="old"))
    await ledger.recover("new", AT_S)
    await tell.release("1")
    assert await standing(ledger, B) == (Standing(),)
    assert [entry.delta for entry in await ledger.entries(limit=9)] == [-60]


async def test_a_person_may_adjust_a_call_that_is_over_once(ledger, tell):
    await tell.reserve(hold("1", 60, B))
    change = Adjustment("a1", "1", 45, "the invoice says so", AT_S + 9)
    assert not await ledger.adjust(change)
    assert not await ledger.adjust(structs.replace(change, charge="never"))
    await tell.settle(settlement("1", 40))
    for _ in range(2):
        assert await ledger.adjust(change)
    assert await standing(ledger, B) == (Standing(0, 45),)
    (entry,) = await ledger.entries(limit=9)
    assert structs.astuple(entry)[1:] == (
        "a1", "adjustment", "1", "", 5, "the invoice says so", AT_S + 9,
    )  # fmt: skip


# ------------------------------------------------------------ budgets


async def test_the_limit_that_counts_is_the_one_now(ledger, tell):
    await ledger.put_budget(structs.replace(B, limit=50))
    assert isinstance(await tell.reserve(hold("1", 60, B)), OverBudget)
    await ledger.put_budget(B)
    assert await tell.reserve(hold("1", 60, B)) is None
    await ledger.put_budget(structs.replace(B, limit=60))
    assert isinstance(await tell.reserve(hold("2", 1, B)), OverBudget)


async def test_budgets_are_kept_whole_by_id(ledger, tell):
    team = budget("a", 5, subject=Subject("team", "ops"), period=Period("week", 7), reason="why")
    await ledger.put_budget(team)
    assert [one.id for one in await ledger.budgets()] == ["a", "b", "default"]
    assert (await ledger.budgets())[0] == team


async def test_a_deleted_budget_blocks_nothing_and_its_counters_are_there_when_it_comes_back(
    ledger, tell
):
    await tell.reserve(hold("1", 60, B))
    await ledger.delete_budget("b")
    assert await tell.reserve(hold("2", 60, B)) is None
    await ledger.put_budget(B)
    assert await standing(ledger, B) == (Standing(120),)


async def test_a_suspended_budget_blocks_nothing_and_goes_on_counting(ledger, tell):
    await ledger.put_budget(structs.replace(B, suspended_until=AT_S + 1))
    assert await tell.reserve(hold("1", 500, B)) is None
    assert await standing(ledger, B) == (Standing(500),)
    assert await tell.top_up("1", 600) is None
    await ledger.put_budget(structs.replace(B, suspended_until=AT_S))
    assert isinstance(await tell.reserve(hold("2", 1, B)), OverBudget)


async def test_a_credit_makes_room_in_its_window_once(ledger, tell):
    day = budget("day", 100, period=Period("day"))
    await ledger.put_budget(day)
    credit = Credit("c1", day.hold_on(FACTS, AT_S), 50, "the quarter's end", AT_S)
    for _ in range(2):
        await ledger.credit(credit)
    assert isinstance(await tell.reserve(hold("1", 151, day)), OverBudget)
    assert await tell.reserve(hold("2", 150, day)) is None
    assert isinstance(await tell.reserve(hold("3", 101, day, at_s=AT_S + 86_400)), OverBudget)
    assert await standing(ledger, day) == (Standing(150, 0, 50),)
    (entry,) = await ledger.entries(limit=9)
    assert structs.astuple(entry)[1:] == (
        "c1", "credit", "", "day", 50, "the quarter's end", AT_S,
    )  # fmt: skip


async def test_each_window_counts_for_itself_and_a_call_stays_in_its_own(ledger, tell):
    day = budget("day", 100, period=Period("day", tz="Asia/Seoul"))
    await ledger.put_budget(day)
    assert await tell.reserve(hold("1", 100, day)) is None
    assert await tell.reserve(hold("2", 100, day, at_s=AT_S + 86_400)) is None
    await tell.settle(settlement("1", 40))
    assert await standing(ledger, day) == (Standing(0, 40),)
    assert await standing(ledger, day, at_s=AT_S + 86_400) == (Standing(100),)


async def test_a_rolling_window_counts_its_hours_together(ledger, tell):
    rolling = budget("r", 100, period=Period("hours", 3))
    await ledger.put_budget(rolling)
    for number in range(3):
        assert await tell.reserve(hold(str(number), 30, rolling, at_s=AT_S + number * 3600)) is None
    late = AT_S + 3 * 3600
    refused = await tell.reserve(hold("x", 11, rolling, at_s=late))
    assert (refused.reserved, refused.ends_at) == (90, late + 3600)
    assert await standing(ledger, rolling, at_s=late) == (Standing(90),)
    assert await tell.reserve(hold("y", 40, rolling, at_s=late + 3600)) is None


async def test_sessions_are_counted_apart(ledger, tell):
    run = budget("run", 100, subject=Subject("session", "*"), period=Period("run"))
    await ledger.put_budget(run)
    other = structs.replace(FACTS, session="s2")
    assert await tell.reserve(hold("1", 100, run)) is None
    assert isinstance(await tell.reserve(hold("2", 1, run)), OverBudget)
    assert await tell.reserve(hold("3", 100, run, facts=other)) is None


async def test_sessions_are_counted_apart_in_a_rolling_window_too(ledger, tell):
    each = budget("each", 100, subject=Subject("session", "*"), period=Period("hours", 3))
    await ledger.put_budget(each)
    other = structs.replace(FACTS, session="s0")
    assert await tell.reserve(hold("1", 100, each, at_s=AT_S - 3600, facts=other)) is None
    assert await tell.reserve(hold("2", 100, each)) is None
    assert isinstance(await tell.reserve(hold("3", 1, each, at_s=AT_S + 3600)), OverBudget)


# ------------------------------------------------------------ reports of others


async def test_what_others_report_is_booked_once_and_never_refused(ledger, tell):
    report = hold("r1", 999, B, facts=structs.replace(FACTS, source="codex"))
    rows = [(report, settlement("r1", 300, Basis.INGESTED))]
    assert await ledger.book(rows * 2) == 1
    assert await ledger.book(rows) == 0
    assert await standing(ledger, B) == (Standing(0, 300),)
    assert isinstance(await tell.reserve(hold("1", 1, B)), OverBudget)


async def test_what_the_hub_saw_itself_wins(ledger, tell):
    await tell.reserve(hold("1", 60, B))
    await tell.settle(settlement("1", 25))
    assert await ledger.book([(hold("1", 0, B), settlement("1", 99, Basis.INGESTED))]) == 0
    assert await standing(ledger, B) == (Standing(0, 25),)


async def test_what_is_still_under_way_is_not_booked_by_others(ledger, tell):
    await tell.reserve(hold("1", 60, B))
    assert await ledger.book([(hold("1", 0, B), settlement("1", 99, Basis.INGESTED))]) == 0
    assert await standing(ledger, B) == (Standing(60),)


# ------------------------------------------------------------ reading


async def test_a_call_can_be_read_whole(ledger, tell):
    await tell.reserve(hold("1", 60, B))
    assert (await ledger.charge("1")).cost is None
    await tell.settle(settlement("1", 25))
    row = await ledger.charge("1")
    assert structs.astuple(row)[1:] == (
        "1", AT_S * 1_000_000, "settled", 60, 25, "provider", FACTS, "gpt-mini", USAGE,
        "override:3", b"{}", AT_S * 1_000_000 + 5_000, 5_000, TRIED,
    )  # fmt: skip
    assert await ledger.charge("never") is None


async def test_what_has_no_price_is_counted_apart_and_has_no_cost(ledger, tell):
    await tell.reserve(hold("1", 60, B))
    await tell.settle(settlement("1", 0, Basis.UNPRICED))
    assert (await ledger.charge("1")).cost is None
    (total,) = await ledger.totals(ALL, "", DAY)
    assert (total.amounts.calls, total.amounts.unpriced, total.amounts.cost) == (1, 1, 0)
    assert [row.id for row in (await ledger.unsettled(limit=9)).rows] == ["1"]


async def three_calls(ledger, tell):
    """One settled, one guessed with another key, one released; one is still under way."""
    other = structs.replace(FACTS, key="k2", team="")
    await tell.reserve(hold("1", 10, B))
    await tell.reserve(hold("2", 10, B, facts=other, at_s=AT_S + 900))
    await tell.reserve(hold("3", 10, B, at_s=AT_S + 86_400))
    await tell.reserve(hold("4", 10, B))
    await tell.settle(settlement("1", 5))
    await tell.settle(settlement("2", 8, Basis.ESTIMATED, model=""))
    await tell.release("3")


async def test_totals_are_by_span_and_name(ledger, tell):
    await three_calls(ledger, tell)
    days = (*DAY, (DAY[0][1], DAY[0][1] + 86_400))
    both = Which(days[0][0], days[1][1])
    by_key = await ledger.totals(both, "key", days)
    assert [(t.starts_at, t.name, t.amounts.calls, t.amounts.cost) for t in by_key] == [
        (days[0][0], "k1", 1, 5), (days[0][0], "k2", 1, 8), (days[1][0], "k1", 1, 0),
    ]  # fmt: skip
    assert [one.amounts.estimated for one in by_key] == [0, 1, 0]
    assert [one.amounts.errors for one in by_key] == [0, 0, 1]
    whole = await ledger.totals(both, "", [(days[0][0], days[1][1])])
    amounts = whole[0].amounts
    assert (whole[0].name, len(whole)) == ("", 1)
    assert (amounts.calls, amounts.cost) == (3, 13)
    assert (amounts.input_tokens, amounts.cache_read_tokens, amounts.cache_write_tokens) == (
        200, 80, 40,
    )  # fmt: skip
    assert (amounts.output_tokens, amounts.reasoning_tokens) == (60, 20)


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("model", ["gpt", "gpt-mini"]), ("team", ["", "ops"]), ("provider", ["openai"]),
        ("endpoint", ["openai-eu"]), ("tool", [""]), ("source", ["proxy"]), ("session", ["s1"]),
    ],
)  # fmt: skip
async def test_totals_can_be_grouped_by_each_fact(ledger, tell, group, names):
    await three_calls(ledger, tell)
    found = await ledger.totals(ALL, group, DAY)
    assert [one.name for one in found] == names
    assert sum(one.amounts.cost for one in found) == 13


@pytest.mark.parametrize(
    ("which", "cost"),
    [
        ({"key": "k1"}, 5), ({"team": ""}, 8), ({"model": "gpt-mini"}, 5), ({"model": "gpt"}, 8),
        ({"provider": "openai"}, 13), ({"endpoint": "x"}, 0), ({"tool": ""}, 13),
        ({"source": "codex"}, 0), ({"key": "k2", "team": "ops"}, 0),
    ],
)  # fmt: skip
async def test_totals_and_pages_can_be_of_some(ledger, tell, which, cost):
    await three_calls(ledger, tell)
    some = structs.replace(ALL, **which)
    assert sum(one.amounts.cost for one in await ledger.totals(some, "", DAY)) == cost
    rows = (await ledger.calls(some, limit=9)).rows
    assert sum(row.cost or 0 for row in rows) == cost


@pytest.mark.parametrize("tz", ["Asia/Seoul", "UTC", "America/Los_Angeles"])
async def test_the_days_of_any_zone_add_up_to_the_whole(ledger, tell, tz):
    for number in range(40):
        await tell.reserve(hold(str(number), 0, at_s=AT_S + number * 5_000))
        await tell.settle(settlement(str(number), number))
    days = tuple(Period("day", tz=tz).windows(AT_S, AT_S + 195_001))
    which = Which(days[0][0], days[-1][1])
    found = await ledger.totals(which, "", days)
    assert len(found) == len(days)
    assert sum(one.amounts.cost for one in found) == sum(range(40))


async def test_pages_are_newest_first_and_go_on_where_they_ended(ledger, tell):
    await three_calls(ledger, tell)
    wide = structs.replace(ALL, until_s=AT_S + 2 * 86_400)
    first = await ledger.calls(wide, limit=3)
    assert [row.id for row in first.rows] == ["4", "3", "2"]
    last = await ledger.calls(wide, limit=3, before=first.next_before)
    assert ([row.id for row in last.rows], last.next_before) == (["1"], None)
    assert [row.id for row in (await ledger.calls(ALL, limit=9)).rows] == ["4", "2", "1"]
    session = structs.replace(ALL, session="never")
    assert (await ledger.calls(session, limit=9)).rows == ()


async def test_entries_are_newest_first_and_go_on_where_they_ended(ledger, tell):
    for number in range(3):
        credit = Credit(str(number), B.hold_on(FACTS, AT_S), number, "why", AT_S)
        await ledger.credit(credit)
    first = await ledger.entries(limit=2)
    assert [one.id for one in first] == ["2", "1"]
    assert [one.id for one in await ledger.entries(limit=2, before=first[-1].number)] == ["0"]


async def test_late_evidence_is_counted_where_the_call_was(ledger, tell):
    await tell.reserve(hold("1", 60, B, boot="old"))
    await ledger.recover("new", AT_S)
    (total,) = await ledger.totals(ALL, "", DAY)
    assert (total.amounts.estimated, total.amounts.cost) == (1, 60)
    await tell.settle(settlement("1", 20))
    (total,) = await ledger.totals(ALL, "", DAY)
    assert (total.amounts.calls, total.amounts.estimated, total.amounts.cost) == (1, 0, 20)
    assert total.amounts.input_tokens == 100


async def test_the_sums_agree_with_the_ledger(ledger, tell):
    await three_calls(ledger, tell)
    await ledger.recover("new", AT_S)
    await tell.settle(settlement("4", 3))
    assert await ledger.rebuild() == Proof(0, 0)


async def test_a_settlement_without_tokens_is_one(ledger, tell):
    await tell.reserve(hold("1", 60, B))
    await tell.settle(settlement("1", 5, Basis.FIXED, usage=Usage(), attempts=(), rates=b""))
    row = await ledger.charge("1")
    assert (row.usage, row.attempts, row.rates, row.basis) == (Usage(), (), b"", "fixed")
