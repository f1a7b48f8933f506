"""The ledger's adapter: what it refuses, how long it waits, what it tries again; and races."""

import random

import pytest
from msgspec import structs
from support.ledger_lab import Laboratory, PostgresLaboratory, both
from support.money import AT_S, FACTS, Teller, budget, hold, settlement
from support.postgres import NEEDS_POSTGRES, Cluster
from support.virtual_time import passes, virtual_time

from agenthub.domain.errors import Overloaded, StorageFailed
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.ledger import OverBudget, Standing
from agenthub.outbound import ledger as module
from agenthub.outbound.ledger import AGAIN_S, HOLD_S, SETTLE_S

B = budget()


@pytest.fixture
def lab(tmp_path):
    lab = Laboratory(tmp_path / "agenthub.db")
    yield lab
    lab.database.db.close()


@pytest.fixture(scope="module")
def url():
    cluster = Cluster("-c", "fsync=off")
    yield cluster.schema("races")
    cluster.close()


@pytest.fixture
def shared_lab(url):
    lab = PostgresLaboratory(url)
    yield lab
    lab.close()


async def opened(lab, *budgets):
    ledger = both(lab)
    for one in budgets or (B,):
        await ledger.put_budget(one)
    return ledger


async def standing(ledger, one=B):
    (found,) = await ledger.standing([one.hold_on(FACTS, AT_S)])
    return found


@virtual_time()
async def test_steps_that_come_together_share_one_commit(lab):
    ledger = await opened(lab)
    tell, commits = Teller(ledger), []
    lab.database.db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    answers = [tell.reserve(hold(str(n), 1, B)) for n in range(100)]
    assert [await one for one in answers] == [None] * 100
    assert len(commits) == 1


@virtual_time()
async def test_of_steps_that_come_together_a_misfit_harms_no_other(lab):
    tell = Teller(await opened(lab))
    one = tell.reserve(hold("1", 10, B))
    bad = tell.reserve(hold("\ud800", 10, B))
    other = tell.reserve(hold("2", 10, B))
    assert (await one, await other) == (None, None)
    assert isinstance(await bad, StorageFailed)
    assert await standing(tell.ledger) == Standing(20)


@virtual_time()
async def test_more_than_can_wait_is_refused_before_anything_is_sent(lab):
    ledger = await opened(lab)
    ledger.waiting, told = module.WAITING_MAX, []
    ledger.reserve(hold("1", 1, B), told.append)
    assert isinstance(told[0], Overloaded)
    assert told[0].retry_after_ms == 1_000
    assert lab.sent == []


@virtual_time()
async def test_without_a_database_a_hold_is_refused_at_once(lab):
    ledger = await opened(lab)
    lab.away, told = "The disk is full.", []
    ledger.reserve(hold("1", 1, B), told.append)
    assert str(told[0]) == "The disk is full."
    assert lab.sent == []


@virtual_time()
async def test_a_hold_that_is_not_told_in_time_is_refused_and_released(lab):
    ledger = await opened(lab)
    tell = Teller(ledger)
    lab.stands, began = True, ledger._clock.now()
    refused = await tell.reserve(hold("1", 60, B))
    assert isinstance(refused, StorageFailed)
    assert ledger._clock.now() - began == HOLD_S * SECOND
    lab.stands = False
    await passes(SECOND)
    assert await standing(ledger) == Standing()
    assert (await ledger.charge("1")).state == "released"
    assert (ledger.waiting, ledger.unwritten) == (0, 0)


@virtual_time()
async def test_a_top_up_that_is_not_told_in_time_leaves_the_call_its_hold(lab):
    ledger = await opened(lab)
    tell = Teller(ledger)
    await tell.reserve(hold("1", 60, B))
    lab.stands = True
    assert isinstance(await tell.top_up("1", 80), StorageFailed)
    lab.stands = False
    await passes(SECOND)
    assert (await ledger.charge("1")).state == "reserved"


@virtual_time()
async def test_an_end_that_cannot_be_written_is_told_in_time_and_written_when_it_can(lab):
    ledger = await opened(lab)
    tell = Teller(ledger)
    await tell.reserve(hold("1", 60, B))
    lab.full, lab.problem, began = "The disk is full.", "The disk is full.", ledger._clock.now()
    failed = await tell.settle(settlement("1", 40))
    assert (str(failed), failed.executed) == ("The disk is full.", "yes")
    assert ledger._clock.now() - began == SETTLE_S * SECOND
    assert isinstance(await tell.reserve(hold("2", 1, B)), StorageFailed)
    lab.full = lab.problem = ""
    await passes(2 * AGAIN_S * SECOND)
    assert await standing(ledger) == Standing(0, 40)
    assert ledger.unwritten == 0


@virtual_time()
async def test_a_short_trouble_is_not_told_to_the_end_of_a_call(lab):
    ledger = await opened(lab)
    tell = Teller(ledger)
    await tell.reserve(hold("1", 60, B))
    lab.full = "The disk is full."
    ending = tell.release("1")
    await passes(2 * SECOND)
    lab.full = ""
    assert await ending is None


@virtual_time()
async def test_an_end_that_can_never_be_written_is_not_tried_again(lab, caplog):
    ledger = await opened(lab)
    tell = Teller(ledger)
    await tell.reserve(hold("1", 60, B))
    failed = await tell.settle(settlement("1", 2**70))
    assert str(failed) == "A value does not fit into the database."
    await passes(9 * SECOND)
    assert (lab.sent, ledger.unwritten) == ([], 0)
    assert "What a call cost was not written" in caplog.text


@virtual_time()
async def test_when_the_hub_stops_an_end_that_is_not_written_is_told(lab, caplog):
    ledger = await opened(lab)
    tell = Teller(ledger)
    await tell.reserve(hold("1", 60, B))
    lab.full = "The disk is full."
    ending = tell.settle(settlement("1", 40))
    await passes(10 * MILLISECOND)
    lab.closing = True
    assert str(await ending) == "The hub stops."
    assert "What a call cost was not written" in caplog.text


@virtual_time()
async def test_what_is_sent_again_after_a_death_works_once(lab):
    ledger = await opened(lab)
    tell, lab.twice = Teller(ledger), True
    await tell.reserve(hold("1", 60, B))
    assert await tell.top_up("1", 100) is None
    assert isinstance(await tell.reserve(hold("2", 1, B)), OverBudget)
    await tell.settle(settlement("1", 40))
    assert await standing(ledger) == Standing(0, 40)
    assert await ledger.entries(limit=9) == ()
    assert lab.differing() == [0, 0]


@virtual_time()
async def test_holds_past_their_time_are_looked_for_while_the_hub_lives(lab):
    ledger = await opened(lab)
    tell = Teller(ledger)
    await ledger.recover("boot", ledger.now_s())
    await ledger.recover("boot", ledger.now_s())
    soon = ledger.now_s() + 12
    await tell.reserve(hold("1", 60, B, expires_at_s=soon))
    await passes(10 * SECOND)
    assert await standing(ledger) == Standing(60)
    lab.away = "The disk is full."
    await passes(10 * SECOND)
    assert await standing(ledger) == Standing(60)
    lab.away = ""
    await passes(5 * SECOND)
    assert await standing(ledger) == Standing(0, 60)
    ledger.close()


@virtual_time()
async def test_a_ledger_that_was_never_recovered_can_be_closed(lab):
    (await opened(lab)).close()


@virtual_time()
async def test_a_step_of_the_wall_clock_moves_nothing(lab):
    """R18: holds would expire, or never."""
    ledger = await opened(lab)
    before = ledger.now_s()
    ledger._clock.wall_step = 10**9 * SECOND
    assert ledger.now_s() == before


@virtual_time()
async def test_a_budget_that_cannot_be_read_is_not_left_out(lab):
    ledger = await opened(lab)
    await lab.book("put_budget", ("x", 1, 0, b"{}", 1, 90, 100, 110), "month")
    with pytest.raises(StorageFailed, match="budget is unreadable"):
        await ledger.budgets()


@virtual_time()
async def test_sums_that_differ_from_the_ledger_are_found_and_made_right(lab):
    ledger = await opened(lab)
    tell = Teller(ledger)
    for name in "12":
        await tell.reserve(hold(name, 30, B))
    await tell.settle(settlement("1", 20))
    lab.database.db.execute("UPDATE budget_window SET reserved = 1, settled = 2")
    lab.database.db.execute("UPDATE usage_slot SET cost = 3")
    proof = await ledger.rebuild()
    assert (proof.counters, proof.slots) == (1, 2)
    assert await standing(ledger) == Standing(30, 20)
    assert structs.astuple(await ledger.rebuild()) == (0, 0)


# ------------------------------------------------------------ races


class Racer:
    """One of many callers: holds, uses more or less of it, ends, or vanishes."""

    def __init__(self, race, number):
        self.race, self.chance = race, random.Random(f"{race.seed} {number}")
        self.id = f"{race.seed}-{number}"
        self.amount = self.chance.randint(1, 20)

    def begin(self):
        one = hold(self.id, self.amount, *self.race.budgets, boot=f"boot {self.race.seed}")
        self.race.ledger.reserve(one, self.held)

    def held(self, told):
        self.race.told(told)
        if told is None and self.chance.random() < 0.3:
            self.race.ledger.top_up(self.id, self.amount + 5, self.topped)
        elif told is None:
            self.end()

    def topped(self, told):
        if told is None:
            self.amount += 5
        self.end()

    def end(self):
        self.race.admitted += 1
        fate = self.chance.random()
        if fate < 0.7:
            over = self.chance.randint(0, 4) if self.race.may_exceed else 0
            self.race.over += over
            cost = self.amount + over if over else self.chance.randint(0, self.amount)
            for _ in range(1 + (fate < 0.1)):
                self.race.ledger.settle(settlement(self.id, cost), self.race.told)
        elif fate < 0.9:
            self.race.ledger.release(self.id, (), self.race.told)


class Race:
    def __init__(self, lab, ledger, seed, *, may_exceed):
        self.lab, self.ledger, self.seed, self.may_exceed = lab, ledger, seed, may_exceed
        self.budgets = (budget(f"{seed} a", 300), budget(f"{seed} b", 500))
        self.over = self.admitted = 0
        """What calls cost beyond their holds, together; and how many were let in."""

    def rows(self):
        return self.lab.windows(*(one.id for one in self.budgets))

    def told(self, answer):
        assert answer is None or isinstance(answer, OverBudget)

    def look(self):
        """After each commit."""
        for reserved, settled in self.rows():
            assert reserved + settled <= 300 + self.over


def race_in_all_orders(lab, seeds, *, may_exceed):
    numbers = iter(range(seeds))

    @virtual_time(seeds=seeds)
    async def race():
        ledger = both(lab)
        run = Race(lab, ledger, f"{may_exceed} {next(numbers)}", may_exceed=may_exceed)
        for one in run.budgets:
            await ledger.put_budget(one)
        racers = [Racer(run, number) for number in range(200)]
        lab.watch = run.look
        for racer in racers:
            racer.race.ledger._clock.after(racer.chance.randint(0, 5) * MILLISECOND, racer.begin)
        await passes(SECOND)
        assert 0 < run.admitted < 200
        assert ledger.unwritten == ledger.waiting == 0
        lab.hubs_fall_silent()
        await ledger.recover("next boot", AT_S)
        run.look()
        assert [reserved for reserved, _ in run.rows()] == [0, 0]
        ledger.close()

    race()
    assert lab.differing() == [0, 0]


@pytest.mark.parametrize("may_exceed", [False, True])
def test_of_200_racing_callers_none_gets_over_the_bound_in_200_orders(lab, may_exceed):
    """P1, P2: over-spend <= the sum over calls in flight of (actual - hold); and no hold stays."""
    race_in_all_orders(lab, 200, may_exceed=may_exceed)


@NEEDS_POSTGRES
@pytest.mark.parametrize(
    "seeds", [20, pytest.param(200, marks=(pytest.mark.soak, pytest.mark.timeout(900)))]
)
@pytest.mark.parametrize("may_exceed", [False, True])
def test_nor_does_one_in_a_database_that_hubs_share(shared_lab, seeds, may_exceed):
    race_in_all_orders(shared_lab, seeds, may_exceed=may_exceed)
