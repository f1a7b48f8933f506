"""The life of an idempotency key: the waist over the real SQL, with crashes, in any order.

Calls, repeats, other arguments, clients that go, time that passes, a clock that is set, a database
that fails, a hub that dies. What its server carried out is the judge: never a payment twice.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.claims import InProcess
from support.fake_upstream import GARBAGE, HANGS, OK, REFUSED, TOOL_ERROR, error, later, lost
from support.house import ANNA, BERT, Heard, House, server
from support.machines import machine
from support.virtual_time import VirtualLoop, passes

from agenthub.domain.errors import HubError
from agenthub.domain.idempotency import KEPT_S
from agenthub.domain.outcome import Cause
from agenthub.domain.span import SECOND
from agenthub.outbound.claim_log import StoredClaims

ACTS = (
    OK, OK, later(OK, 5 * SECOND), TOOL_ERROR, REFUSED, lost(), HANGS, GARBAGE,
    error(-32602, runs=False), error(-32603),
)  # fmt: skip
DAY = KEPT_S * SECOND
callers = st.sampled_from([ANNA, BERT])
keys = st.sampled_from(["k", "l"])
arguments = st.integers(1, 2)


class KeyMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.loop = VirtualLoop()
        self.process = InProcess(self.folder / "agenthub.db")
        self.wall_step = 0
        self.seen = {}
        """By caller, key and argument: when it was carried out, and what was answered first."""
        self.flying = []
        self.do(self.start())

    def do(self, work):
        return self.loop.run_until_complete(work)

    async def start(self):
        claims = StoredClaims(self.process)
        self.hub = House(claims=claims)
        self.hub.clock.wall_step = self.wall_step
        await claims.begin(self.hub.clock.wall() // SECOND)
        self.hub.gateway.epoch = self.hub.clock.wall() - self.hub.clock.now()
        self.hub.catalog.load([server("till", attempts=2)], await self.hub.store.load())
        self.hub.catalog.start()
        await asyncio.sleep(0.5)

    async def stop(self):
        await self.hub.catalog.close()
        await self.hub.tasks.close()
        await self.hub.claims.close()

    @rule(caller=callers, key=keys, a=arguments, act=st.sampled_from(ACTS), waits=st.booleans())
    def call(self, caller, key, a, act, waits):
        self.do(self._call(caller, key, a, act))
        if waits:
            self.do(passes(40 * SECOND))

    async def _call(self, caller, key, a, act):
        which = (caller.id, key, a)
        name = f"{caller.id} {key}"

        def carry_out(_outgoing):
            if act.runs:
                now = self.hub.clock.now()
                before = self.seen.get(which, [])
                assert not before or now - before[-1] >= DAY - 300 * SECOND, "run twice"
                self.seen[which] = [*before, now]
            return act

        self.hub["till"].answers["add"] = carry_out
        heard = Heard()
        try:
            call = self.hub.call("till", "add", caller=caller, key=key, a=a, of=name)
            passage = self.hub.gateway.start(call, heard)
        except HubError:
            return
        self.flying.append((heard, passage))
        await asyncio.sleep(0.1)

    @rule(last=st.booleans())
    def client_goes(self, last):
        if self.flying:
            self.do(self._cancel(self.flying.pop(-1 if last else 0)[1]))

    async def _cancel(self, passage):
        passage.cancel(Cause.CLIENT)
        await passes(SECOND // 10)

    @rule(span=st.sampled_from([SECOND, 60 * SECOND, DAY - 400 * SECOND, DAY + 600 * SECOND]))
    def time_passes(self, span):
        self.loop.stand_still(span)
        self.do(passes(SECOND))

    @rule(step=st.sampled_from([-3600, 3600, 10**8]))
    def the_clock_is_set(self, step):
        self.wall_step = self.hub.clock.wall_step = step * SECOND

    @rule(problem=st.sampled_from(["", "The disk is full."]))
    def the_database_fails_or_heals(self, problem):
        self.process.problem = problem

    @rule(at_once=st.booleans())
    def the_hub_dies_and_comes_back(self, at_once):
        """`at_once`: with all that is under way; nothing that it would still write is written."""
        if not at_once:
            self.do(passes(310 * SECOND))
        self.process.problem = "It is dead."
        self.do(self.stop())
        self.process.problem = ""
        self.flying.clear()
        self.do(self.start())

    @invariant()
    def no_key_is_left_under_way(self):
        if not self.hub.gateway.in_flight:
            assert not self.hub.gateway.idempotency

    @invariant()
    def the_counters_are_right(self):
        read = self.process.database.db.execute
        counted = read(
            "SELECT caller, count(*), sum(ifnull(length(answer), 0)) FROM claim GROUP BY caller"
        ).fetchall()
        used = {name: facts for name, *facts in read("SELECT * FROM claim_use")}
        claims, sizes = sum(row[1] for row in counted), sum(row[2] for row in counted)
        assert used.pop("", [0, 0]) == [claims, sizes]
        assert used == {name: facts for name, *facts in counted}

    def teardown(self):
        self.do(self.stop())
        self.loop.close()
        self.process.database.db.close()
        shutil.rmtree(self.folder)


TestKey = KeyMachine.TestCase
TestKey.settings = machine(30, 60, 25)
