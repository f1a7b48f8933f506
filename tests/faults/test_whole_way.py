"""Faults that the whole way must bear, with the bounds of the catalogue: fakes and virtual time."""

import pytest
from msgspec import structs
from support.fake_upstream import GARBAGE, OK, Act, later, lost
from support.house import house, ms, server
from support.virtual_time import passes, virtual_time

from agenthub.domain.circuit_breaker import BreakerConfig, State
from agenthub.domain.errors import CircuitOpen, OutcomeUnknown, UpstreamUnavailable
from agenthub.domain.outcome import Ending, Reply, Written
from agenthub.domain.span import SECOND

CONNECT_MS = 5_000
DROPPED = Act(
    Reply(Ending.UNREACHED, Written.NONE, detail="connect timeout"),
    after=ms(CONNECT_MS), runs=False, arrives=False,
)  # fmt: skip
PROGRESS = ("notifications/progress", b'{"progressToken":1,"progress":1}')


def breaker(hub, name="calculator"):
    return hub.catalog.get(name).lane.breaker


@virtual_time(seeds=5)
async def test_f06_after_the_first_timeout_nobody_waits_for_a_black_hole():
    async with house(server("calculator", attempts=1)) as hub:
        hub["calculator"].answers["add"] = DROPPED
        calls = 0
        while breaker(hub).state is State.CLOSED:
            calls += 1
            assert isinstance(await hub.error("calculator", "add"), UpstreamUnavailable)
        assert calls <= breaker(hub).config.failure_threshold
        began = hub.clock.now()
        assert isinstance(await hub.error("calculator", "add"), CircuitOpen)
        assert hub.clock.now() - began < ms(5)
        assert hub.at_rest()


@pytest.mark.parametrize("loss", ["reset", "end of stream"])
def test_f08_f09_what_broke_after_progress_is_not_run_again(loss):
    @virtual_time()
    async def run():
        twins = (server("calculator", fallbacks=("spare",)), server("spare"))
        async with house(*twins) as hub:
            broken = structs.replace(lost(), after=ms(20), notes=(PROGRESS,))
            reply = structs.replace(broken.reply, detail=loss)
            hub["calculator"].answers["add"] = structs.replace(broken, reply=reply)
            heard, _ = hub.begin("calculator", "add")
            await passes(SECOND)
            assert isinstance(heard.answer.error, OutcomeUnknown)
            assert [method for method, _ in heard.notes] == ["notifications/progress"]
            assert hub["calculator"].executed("add") == 1
            assert hub["spare"].executed("add") == 0

    run()


@virtual_time(seeds=5)
async def test_f12_a_server_that_has_become_slow_is_left_alone():
    """Two seconds more, give or take one."""
    slow = BreakerConfig(slow_call_ms=900)
    async with house(server("calculator", breaker=slow, attempts=1)) as hub:
        fake = hub["calculator"]
        for _ in range(20):
            await hub.result("calculator", "add")
        assert breaker(hub).state is State.CLOSED
        fake.answers["add"] = lambda _: later(OK, round((1 + 2 * hub.clock.chance()) * SECOND))
        asked = 0
        while breaker(hub).state is State.CLOSED:
            asked += 1
            assert asked <= 200, "it never opens"
            hub.begin("calculator", "add")
            await passes(ms(100))
        await passes(3 * SECOND)  # the slowest has ended; three quarters of five seconds have not
        before = fake.executed("add")
        assert isinstance(await hub.error("calculator", "add"), CircuitOpen)
        assert fake.executed("add") == before
        fake.answers["add"] = OK
        await passes(60 * SECOND)
        await hub.ask("calculator", "add")
        await passes(5 * SECOND)
        assert await hub.result("calculator", "add")


@virtual_time()
async def test_f14_garbage_is_told_as_such_and_opens_the_circuit():
    """Rule set §4.2: garbage is a failure of the tool and of the server."""
    async with house("calculator") as hub:
        fake = hub["calculator"]
        fake.answers["add"] = GARBAGE
        slugs = [(await hub.error("calculator", "add")).slug for _ in range(10)]
        assert slugs[0] == "upstream_protocol"
        assert slugs[-1] == "circuit_open"
        assert breaker(hub).state is State.OPEN
        assert fake.executed("add") <= breaker(hub).config.failure_threshold
