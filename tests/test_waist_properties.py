"""P14 to P18 of the rule set: a machine does anything to a hub with two servers, in any order.

Servers fail in every way, turn their coats and move, clients go, settings change, the wall clock
jumps, the process stands still; what is ready runs in an order drawn by a seed. The servers
(fakes) are the judges: what they carried out is set against what the callers were told.
"""

import asyncio
import functools
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Raw, structs
from support.fake_upstream import (
    BUSY,
    GARBAGE,
    HANGS,
    OK,
    REFUSED,
    TOOL_ERROR,
    Act,
    error,
    later,
    lost,
    status,
    tool,
)  # fmt: skip
from support.house import ANNA, BERT, Heard, House, house, ms, server
from support.machines import machine
from support.virtual_time import VirtualLoop, passes

from agenthub.catalog import GRACE
from agenthub.domain.call import Call
from agenthub.domain.endpoint import RateLimit
from agenthub.domain.errors import HubError
from agenthub.domain.outcome import Cause
from agenthub.domain.retry import RETRIES_MIN, TOKENS_MAX
from agenthub.domain.span import SECOND
from agenthub.gateway import SWEEP
from agenthub.passage import Passage

LATE = ms(250)
SEATS_MAX = 8
NAMES = ("main", "spare")
TOOLS = {
    "pay": tool("pay"),
    "look": tool("look", annotations={"readOnlyHint": True}),
    "put": tool("put", annotations={"idempotentHint": True}),
}
COATS = {
    "pay": tool("pay", annotations={"readOnlyHint": True, "idempotentHint": True}),
    "look": tool("look", annotations={"readOnlyHint": False}),
    "put": tool("put", annotations={"readOnlyHint": True}),
}
"""What a server says of its tools after it was trusted with others (R30)."""
WELL = (OK, TOOL_ERROR, error(-32602, runs=False))
SICK = (
    REFUSED, BUSY, GARBAGE, lost(loss=0), status(502, runs=True), status(503),
    status(503, retry_after_ms=300),
)  # fmt: skip
"""Failures of the server: each costs its retry budget."""
ODD = (
    HANGS, error(-32603),
    Act(lost(loss=0).reply, notes=(("notifications/progress", b"{}"),)),
)  # fmt: skip

names = st.sampled_from(NAMES)
tools = st.sampled_from(list(TOOLS))
callers = st.sampled_from((ANNA, BERT))
spans = st.one_of(st.integers(1, SECOND), st.integers(1, 8 * SECOND))
ACTS = (*WELL, *SICK, *ODD)
OFTEN = [ACTS.index(error(-32603))] * 5
"""What opens the breaker of a tool alone."""
acts = st.tuples(
    st.sampled_from(range(len(ACTS))), st.one_of(st.just(ms(1)), st.integers(1, 3 * SECOND))
)
"""By number, so that a failing story can be read: (which of ACTS, after so long)."""
scripts = st.lists(acts, min_size=1, max_size=12)


@dataclass(eq=False)
class Told:
    """A call, and what its caller was told."""

    call: Call
    heard: Heard
    request: tuple
    """What must not run twice: this call, or a caller's key."""
    passage: Passage | None = None
    """None: it was refused before it began."""
    may_be_late: int = 0
    """Monotonic: the process stood still until then."""


class Judge:
    """Stands inside one fake server, and sees each attempt as it comes."""

    def __init__(self, waist, fake):
        self.waist, self.fake = waist, fake
        self.script = []
        """What the next attempts meet; then all goes well."""
        self.before = {}
        """By call: the last act that it met here."""
        self.again = set()
        self.retries = self.successes = 0

    def act(self, outgoing):
        which, span = self.script.pop(0) if self.script else (0, OK.after)
        act = ACTS[which] if ACTS[which].reply is None else later(ACTS[which], span)
        number = int(bytes(outgoing.meta["number"]))
        if number in self.before:
            self.retried(outgoing, self.before[number])
        self.before[number] = ACTS[which]
        self.successes += ACTS[which] in WELL
        if act.runs:
            self.waist.ran(number, self.fake.endpoint.name)
        return act

    def retried(self, outgoing, met):
        """P16: a few at a time, and a bucket of tokens, which successes fill slowly."""
        self.again.add(id(outgoing))
        flying = sum(id(one.outgoing) in self.again for one in self.fake.flying)
        if flying + 1 > max(RETRIES_MIN, SEATS_MAX // 5):
            self.waist.wrong.append(f"P16: {flying + 1} retries at a time")
        if met in SICK:
            self.retries += 1
        if self.retries * 10 > TOKENS_MAX // 2 - 1 + self.successes:
            self.waist.wrong.append(f"P16: {self.retries} retries")


class Waist(RuleBasedStateMachine):
    @initialize(
        seed=st.integers(0, 9_999), trusted=st.sampled_from(((), ("main",), NAMES, NAMES)),
        same_backend=st.sampled_from((False, False, True)), attempts=st.integers(1, 3),
        places=st.integers(2, 40), limit=st.sampled_from((None, RateLimit(rps=20, burst=30))),
        pinning=st.sampled_from(("flag", "flag", "quarantine")),
    )  # fmt: skip
    def begin(self, *, seed, trusted, same_backend, attempts, places, limit, pinning):
        self.runner = asyncio.Runner(loop_factory=functools.partial(VirtualLoop, seed))
        self.wrong, self.calls, self.where, self.judges = [], [], {}, {}
        self.trusted, self.same_backend = trusted, same_backend
        self.main = server(
            "main", trust="main" in trusted, fallbacks=("spare",), rate_limit=limit,
            attempts=attempts, same_backend=same_backend, concurrency=6, pinning=pinning,
        )  # fmt: skip
        spare = server(
            "spare", trust="spare" in trusted, attempts=attempts, concurrency=4, pinning=pinning
        )
        self.opened = house(
            self.main, spare, prepare=dict.fromkeys(NAMES, self.move_in), calls_in_flight=places
        )
        self.hub: House = self.run(self.opened.__aenter__())

    def run(self, coroutine):
        async def inside():
            return await coroutine

        return self.runner.run(inside())

    def move_in(self, fake):
        fake.tools = dict(TOOLS)
        judge = self.judges[fake.endpoint.name] = Judge(self, fake)
        fake.answers = dict.fromkeys(TOOLS, judge.act)

    # What happens

    @rule(
        tool_=tools, caller=callers, key=st.sampled_from((None, None, None, "key")),
        seconds=st.sampled_from((0.05, 0.5, 3, 20, 60)), count=st.integers(1, 8),
    )  # fmt: skip
    def call(self, tool_, caller, key, seconds, count):
        async def begin():
            for _ in range(count):
                self.begin_one(tool_, caller, key, seconds)

        self.run(begin())

    def begin_one(self, tool_, caller, key, seconds):
        number = len(self.calls)
        call = self.hub.call("main", tool_, caller=caller, key=key, seconds=seconds)
        call = structs.replace(call, meta={"number": Raw(str(number).encode())})
        told = Told(call, Heard(), (tool_, caller.id, key) if key else (tool_, number))
        ended = told.heard.finished

        def finished(answer):
            if self.hub.clock.now() > max(call.deadline, told.may_be_late) + LATE:
                self.wrong.append("P17: a deadline was exceeded")
            said_no = answer.error and answer.error.executed == "no"
            if said_no and told.request in self.where:
                self.wrong.append("R32: it did run")
            ended(answer)

        told.heard.finished = finished
        self.calls.append(told)
        try:
            told.passage = self.hub.gateway.start(call, told.heard)
        except HubError:
            told.passage = None

    @rule(tool_=tools, caller=callers, script=scripts)
    def call_meets(self, tool_, caller, script):
        """A lone call, and a server that has just this for it."""
        self.judges["main"].script = script
        self.call(tool_, caller, None, 20, 1)
        self.run(passes(5 * SECOND))

    @rule(
        tool_=tools, caller=callers, which=st.sampled_from((*range(len(ACTS)), *OFTEN)),
        span=spans, seconds=st.sampled_from((0.5, 20)), goes=st.booleans(),
    )  # fmt: skip
    def queue_forms(self, *, tool_, caller, which, span, seconds, goes):
        """More calls than seats: the first of them meet the same, the others a slow server."""
        self.judges["main"].script = [(which, span)] * 6 + [(0, 3 * SECOND)] * 6
        self.call(tool_, caller, None, 60, 8)
        self.call(tool_, caller, None, seconds, 4)
        if goes:
            self.client_goes(len(self.calls) - 1)
        self.run(passes(8 * SECOND))

    @rule(tool_=tools, caller=callers)
    def some_are_refused_at_once(self, tool_, caller):
        """As many as the breaker bears; whoever comes again meets a slow server."""
        self.judges["main"].script = [(ACTS.index(REFUSED), ms(1))] * 4 + [(0, 3 * SECOND)] * 6
        self.call(tool_, caller, None, 60, 5)
        self.run(passes(8 * SECOND))

    @rule(tool_=tools, caller=callers, script=scripts, seconds=st.sampled_from((0.1, 20)))
    def key_is_used_again(self, tool_, caller, script, seconds):
        """After a call that met this, and while the database is slow."""
        self.judges["main"].script = script
        self.call(tool_, caller, "key", 20, 1)
        self.run(passes(5 * SECOND))
        delay, self.hub.claims.delay = self.hub.claims.delay, ms(200)
        self.call(tool_, caller, "key", seconds, 1)
        self.run(passes(SECOND))
        self.hub.claims.delay = delay

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 10**6))
    def client_goes(self, which):
        passage = self.calls[which % len(self.calls)].passage

        async def cancel():
            if passage:
                passage.cancel(Cause.CLIENT)

        self.run(cancel())

    @rule(name=names, script=scripts)
    def server_will(self, name, script):
        self.judges[name].script = script

    @rule(name=names)
    def server_dies_or_is_back(self, name):
        async def turn():
            fake = self.hub[name]
            (fake.die if fake.alive else fake.revive)()

        self.run(turn())

    @rule(tool_=tools, names=st.sampled_from((("main",), ("spare",), NAMES)), script=scripts)
    def server_turns_its_coat(self, tool_, names, script):
        """And whoever asks for that tool meets trouble."""

        async def turn():
            for name in names:
                fake = self.hub[name]
                fake.tools[tool_] = COATS[tool_]
                fake.watcher.changed("notifications/tools/list_changed", b"{}")
            await passes(SECOND)

        self.run(turn())
        self.call_meets(tool_, ANNA, script)

    @rule(seats=st.integers(1, SEATS_MAX))
    def settings_change(self, seats):
        self.main = structs.replace(self.main, concurrency=seats)
        self.run(self.hub.catalog.replace("main", self.main))

    @rule(port=st.integers(1, 9))
    def server_moves(self, port):
        self.main = structs.replace(self.main, url=f"http://main.test:{port}/mcp")
        self.run(self.hub.catalog.replace("main", self.main))

    @rule(step=st.sampled_from((-3_600, 3_600, 10**9)))
    def wall_clock_is_set(self, step):
        self.hub.clock.wall_step += step * SECOND

    @rule(seconds=st.sampled_from((1, 20, 60)))
    def process_stands_still(self, seconds):
        loop = self.runner.get_loop()
        loop.stand_still(seconds * SECOND)
        for told in self.calls:
            if not told.heard.answers:
                told.may_be_late = loop.now + GRACE

    @rule(delay=st.sampled_from((1, 70, 2_000)), broken=st.sampled_from((False, False, True)))
    def database_is_slow_or_fails(self, delay, broken):
        self.hub.claims.delay, self.hub.claims.broken = ms(delay), broken

    @rule(span=spans)
    def time_passes(self, span):
        self.run(passes(span))

    # What must hold

    def ran(self, number, name):
        """P14, P15: what is not known to be safe runs once, whatever became of it."""
        request = self.calls[number].request
        if self.calls[number].heard.answers:
            self.wrong.append("R32: it ran after its caller had heard the end")
        where = self.where.setdefault(request, [])
        where.append(name)
        if len(where) == 1:
            return
        if where.count(name) > 1 and not (name in self.trusted and request[0] in {"look", "put"}):
            self.wrong.append(f"P14, P15: {request} ran {where}")
        if len(set(where)) > 1:
            shared = request[0] == "put" and self.same_backend
            if not (self.trusted == NAMES and (request[0] == "look" or shared)):
                self.wrong.append(f"P14, P15: {request} ran {where}")

    @invariant()
    def nothing_went_wrong(self):
        assert not self.wrong

    @rule()
    def all_comes_to_rest(self):
        """P18: whatever happened, it ends by itself, and then nothing is held."""
        self.run(passes(70 * SECOND))
        servers = self.hub.catalog.all_servers()
        for _ in range(10):  # A question of the hub's own to a sick server takes a millisecond.
            if any(one.lane.breaker.in_flight for one in servers):
                self.run(passes(ms(1)))
        for told in self.calls:
            assert len(told.heard.answers) == (told.passage is not None), "each call ends once"
        assert self.hub.at_rest()
        for one in servers:
            assert one.lane.budget._running == 0
            assert one.lane.seats.waiting == 0
            breakers = [tool.breaker for tool in one.lane.tools.values() if tool.breaker]
            assert not any(breaker.in_flight for breaker in breakers)
        assert self.hub.gateway._timer is None

    def teardown(self):
        if not hasattr(self, "hub"):
            return
        try:
            self.all_comes_to_rest()
            self.nothing_went_wrong()
        finally:
            self.run(self.opened.__aexit__(None, None, None))
            self.runner.close()


TestWaist = pytest.mark.timeout(300)(Waist.TestCase)
TestWaist.settings = machine(80, 200, 40)


def test_the_sweep_leaves_room_for_the_bound():
    assert 2 * SWEEP < LATE
