"""The ledger over the real SQL beside its model, in any order of steps (P1-P4, P6, P8, P10).

In the hub's own file, and in PostgreSQL.

Calls that are held, raised, settled, released, told twice; hubs that die, and databases that die
after each commit; jumps of time, and of the wall clock; budgets that change under way. After each
step all sums are equal to those of the pure rules, and no window is over its bound: its wall as it
ever was, and what calls cost beyond their holds.
"""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from msgspec import structs
from support.fake_ledger import FakeLedger
from support.ledger_lab import Laboratory, PostgresLaboratory, both
from support.money import FACTS, TRIED, Teller, budget, hold, settlement
from support.postgres import NEEDS_POSTGRES, Cluster
from support.virtual_time import VirtualLoop, passes

from agenthub.domain.budget import Subject
from agenthub.domain.money import MAX
from agenthub.domain.period import Period
from agenthub.domain.span import SECOND
from agenthub.domain.usage import Basis, Usage
from agenthub.ledger import Adjustment, Credit, OverBudget, Proof, Which

BUDGETS = (
    budget("all"),
    budget("day", 60, period=Period("day", tz="America/St_Johns")),
    budget("hours", 80, period=Period("hours", 2)),
    budget("run", 50, subject=Subject("session", "*"), period=Period("run")),
)
FACTS_OF = (FACTS, structs.replace(FACTS, session="s2", key="k2", model="other"))
names = st.sampled_from([str(number) for number in range(8)])
amounts = st.integers(0, 60)
budgets = st.sampled_from(BUDGETS)
bases = st.sampled_from([b for b in Basis if b is not Basis.EXPIRED])
usages = st.builds(Usage, st.integers(0, 9), output_tokens=st.integers(0, 9))


async def moved(ledger, *args):
    """Nobody is told of it; what comes after it is."""
    ledger.move(*args)
    await Teller(ledger).release("nobody")


class LedgerMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.loop = VirtualLoop()
        self.lab = self.laboratory()
        self.boots, self.beyond, self.on = 0, 0, {}
        self.walls = {one.id: one.wall for one in BUDGETS}
        self.model = FakeLedger()
        self.run(self.start())
        for one in BUDGETS:
            self.both_("put_budget", one)

    def laboratory(self):
        self.folder = Path(tempfile.mkdtemp())
        return Laboratory(self.folder / "agenthub.db")

    def run(self, work):
        return self.loop.run_until_complete(work)

    async def start(self):
        self.boots += 1
        self.ledger = both(self.lab)
        self.model.now = self.ledger.now_s
        boot, now = str(self.boots), self.ledger.now_s()
        found = await self.ledger.recover(boot, now)
        assert found == await self.model.recover(boot, now) or self.lab.twice

    def both_(self, method, *args):
        """What both say, which is the same."""

        async def ask(ledger):
            if method in {"reserve", "top_up", "settle", "release"}:
                return await getattr(Teller(ledger), method)(*args)
            return await getattr(ledger, method)(*args)

        found = self.run(ask(self.ledger))
        # Of what is sent again after a death, nothing is new.
        counts = method == "book" and self.lab.twice
        assert found == self.run(ask(self.model)) or counts, (method, args)
        return found

    def held(self, name, amount, facts, boot):
        one = hold(
            name, amount, *BUDGETS, at_s=self.ledger.now_s(), facts=facts, boot=boot,
            expires_at_s=self.ledger.now_s() + 3_000,
        )  # fmt: skip
        self.on |= {(on.budget, on.window): on for on in one.on}
        return one

    # ------------------------------------------------------------ calls

    @rule(name=names, amount=amounts, facts=st.sampled_from(FACTS_OF))
    def reserve(self, name, amount, facts):
        before = self.model.rows.get(name)
        told = self.both_("reserve", self.held(name, amount, facts, str(self.boots)))
        assert told is None or (isinstance(told, OverBudget) and before is None)

    @rule(name=names, amount=amounts)
    def top_up(self, name, amount):
        self.both_("top_up", name, amount)

    @rule(name=names, cost=amounts, basis=bases, usage=usages, model=st.sampled_from(["", "gpt"]))
    def settle(self, name, cost, basis, usage, model):
        row = self.model.rows.get(name)
        self.beyond += max(0, cost - (row.charge.hold if row else 0))
        one = settlement(name, cost, basis, usage=usage, model=model, attempts=TRIED[:1])
        self.both_("settle", one)

    @rule(name=names, facts=st.sampled_from(FACTS_OF), off=st.sets(budgets.map(lambda b: b.id)))
    def move(self, name, facts, off):
        for ledger in (self.ledger, self.model):
            self.run(moved(ledger, name, facts, tuple(off)))

    @rule(name=names)
    def release(self, name):
        self.both_("release", name, TRIED[1:])

    @rule(name=names, cost=amounts, facts=st.sampled_from(FACTS_OF))
    def report_of_another(self, name, cost, facts):
        if name not in self.model.rows:
            self.beyond += cost
        one = (self.held(name, 60, facts, ""), settlement(name, cost, Basis.INGESTED))
        self.both_("book", [one, one])

    @rule(name=names, cost=amounts, number=st.integers(0, 5))
    def adjust(self, name, cost, number):
        self.beyond += cost
        self.both_("adjust", Adjustment(f"a{number} {name}", name, cost, "why", 5))

    # ------------------------------------------------------------ budgets

    @rule(one=budgets, limit=st.integers(0, 150))
    def limit(self, one, limit):
        changed = structs.replace(one, limit=limit)
        self.walls[one.id] = max(self.walls[one.id], changed.wall)
        self.both_("put_budget", changed)

    @rule(one=budgets)
    def suspend(self, one):
        self.walls[one.id] = MAX
        self.both_("put_budget", structs.replace(one, suspended_until=self.ledger.now_s() + 600))

    @rule(one=budgets)
    def delete(self, one):
        self.walls[one.id] = MAX
        self.both_("delete_budget", one.id)

    @rule(one=budgets, amount=st.integers(-20, 20), number=st.integers(0, 3))
    def credit(self, one, amount, number):
        self.walls[one.id] += max(0, amount)
        on = one.hold_on(FACTS, self.ledger.now_s())
        self.on[on.budget, on.window] = on
        self.both_("credit", Credit(f"c{number}", on, amount, "why", 7))

    # ------------------------------------------------------------ the world

    @rule(span=st.sampled_from([0, 700, 3_600, 20_000, 90_000]))
    def time_passes(self, span):
        self.loop.stand_still(span * SECOND)
        self.run(passes(6 * SECOND))
        self.run(self.model.recover(str(self.boots), self.ledger.now_s()))

    @rule()
    def the_hub_dies(self):
        self.ledger.close()
        self.lab.hubs_fall_silent()
        self.run(self.start())

    @rule(twice=st.booleans())
    def the_database_dies_after_each_commit(self, twice):
        self.lab.twice = twice

    @rule(step=st.integers(-(10**9), 10**9))
    def the_wall_clock_is_set(self, step):
        self.ledger._clock.wall_step = step * SECOND

    # ------------------------------------------------------------ what holds always

    @invariant()
    def all_sums_are_equal_and_no_window_is_over_its_bound(self):
        counters = list(self.on.values())
        for on, now in zip(counters, self.both_("standing", counters), strict=True):
            assert now.reserved + now.settled <= self.walls[on.budget] + self.beyond
        which = Which(0, 2**33)
        self.both_("totals", which, "model", ((which.since_s, which.until_s),))
        assert self.lab.differing() == [0, 0]

    @rule()
    def someone_reads(self):
        which = Which(0, 2**33)
        for group in ("", "key", "session"):
            self.both_("totals", which, group, ((which.since_s, which.until_s),))
        entries, log = self.run(self.ledger.entries(limit=99)), self.model.log[::-1][:99]
        assert [(e.kind, e.charge, e.budget, e.delta) for e in entries] == [
            (e.kind, e.charge, e.budget, e.delta) for e in log
        ]
        assert self.both_("rebuild") == Proof(0, 0)

    def teardown(self):
        if hasattr(self, "lab"):
            self.ledger.close()
            self.lab.close()
            self.loop.close()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


class PostgresLedgerMachine(LedgerMachine):
    """The same, of what several hubs share."""

    def __init__(self, url):
        super().__init__()
        self.url = url

    def laboratory(self):
        return PostgresLaboratory(self.url)


SHORT = settings(max_examples=25, stateful_step_count=25, deadline=None)
LONG = settings(max_examples=600, stateful_step_count=40, deadline=None)
LedgerMachine.TestCase.settings = SHORT
TestLedger = LedgerMachine.TestCase


class LongLedgerMachine(LedgerMachine):
    pass


LongLedgerMachine.TestCase.settings = LONG


@pytest.mark.soak
@pytest.mark.timeout(900)
class TestLongLedger(LongLedgerMachine.TestCase):
    pass


@pytest.fixture(scope="module")
def url():
    cluster = Cluster("-c", "fsync=off")
    yield cluster.schema("machine")
    cluster.close()


@NEEDS_POSTGRES
@pytest.mark.parametrize(
    "how",
    [
        pytest.param(SHORT, id="short"),
        pytest.param(LONG, id="long", marks=(pytest.mark.soak, pytest.mark.timeout(1_800))),
    ],
)
def test_what_holds_of_the_hubs_own_file_holds_of_a_shared_database(url, how):
    run_state_machine_as_test(lambda: PostgresLedgerMachine(url), settings=how)
