import pytest
from support.fake_upstream import HANGS, OK, later, lost
from support.house import house, ms, server
from support.virtual_time import passes, settled, virtual_time

from agenthub.domain.circuit_breaker import BreakerConfig, State
from agenthub.domain.span import SECOND


def opened(hub, name="calculator"):
    """Its breaker, open for five seconds."""
    hub.clock.chances = lambda: 0.5
    breaker = hub.catalog.get(name).lane.breaker
    breaker.trip(hub.clock.now(), 0.5, "test")
    return breaker


def looks(fake):
    return fake.arrived("") - sum(method == "tools/list" for method, _ in fake.asked)


@virtual_time()
async def test_an_open_circuit_closes_without_a_call_when_the_server_answers_twice():
    async with house("calculator") as hub:
        breaker = opened(hub)
        await passes(4 * SECOND)
        assert (breaker.state, looks(hub["calculator"])) == (State.OPEN, 0)
        await passes(3 * SECOND)
        assert (breaker.state, looks(hub["calculator"])) == (State.CLOSED, 2)


@pytest.mark.parametrize("act", [lost(), HANGS])
@virtual_time()
async def test_a_server_that_is_still_sick_is_left_alone_for_longer(act):
    async with house("calculator") as hub:
        hub["calculator"].answers["server/discover"] = act
        breaker = opened(hub)
        await passes(12 * SECOND)
        assert (breaker.state, breaker.level, looks(hub["calculator"])) == (State.OPEN, 1, 1)
        assert hub.at_rest()


@virtual_time()
async def test_where_a_caller_is_the_probe_the_hub_does_not_ask_as_well():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = later(OK, 3 * SECOND)
        breaker = opened(hub)
        await passes(breaker.until - hub.clock.now())
        hub.begin("calculator", "add")
        await passes(2 * SECOND)
        assert (breaker.state, looks(hub["calculator"])) == (State.HALF_OPEN, 0)
        await passes(3 * SECOND)
        assert (breaker.state, looks(hub["calculator"])) == (State.CLOSED, 1)


@virtual_time()
async def test_looks_at_a_server_come_one_at_a_time():
    async with house("calculator") as hub:
        hub["calculator"].answers["server/discover"] = later(OK, 3 * SECOND)
        opened(hub)
        await passes(7 * SECOND)
        assert looks(hub["calculator"]) == 1
        server_ = hub.catalog.get("calculator")
        server_.suspect()
        await settled()
        assert looks(hub["calculator"]) == 1


@virtual_time()
async def test_a_suspect_that_answers_is_not_to_blame():
    async with house("calculator") as hub:
        for _ in range(20):
            hub.catalog.suspect("calculator")
        await passes(2 * SECOND)
        breaker = hub.catalog.get("calculator").lane.breaker
        assert breaker.generation == 0, "it never opened"
        assert breaker.counts(hub.clock.now())["failures"] == 0
        assert looks(hub["calculator"]) == 1
        assert hub.at_rest()


@virtual_time()
async def test_a_suspect_that_does_not_answer_failed_as_often_as_calls_hung():
    config = BreakerConfig(failure_threshold=4)
    async with house(server("calculator", breaker=config)) as hub:
        hub["calculator"].mute = True
        breaker = hub.catalog.get("calculator").lane.breaker
        hub.catalog.suspect("calculator")
        hub.catalog.suspect("calculator")
        await passes(SECOND)
        assert (breaker.state, breaker.counts(hub.clock.now())["failures"]) == (State.CLOSED, 2)
        hub.catalog.suspect("calculator")
        await passes(SECOND)
        assert (breaker.state, breaker.counts(hub.clock.now())["failures"]) == (State.CLOSED, 3)
        hub.catalog.suspect("calculator")
        await passes(SECOND + ms(1))
        assert breaker.state is State.OPEN


@virtual_time()
async def test_of_many_suspicions_no_more_are_counted_than_open_the_circuit():
    config = BreakerConfig(failure_threshold=3)
    async with house(server("calculator", breaker=config)) as hub:
        hub["calculator"].mute = True
        breaker = hub.catalog.get("calculator").lane.breaker
        for _ in range(10):
            hub.catalog.suspect("calculator")
        await passes(SECOND)
        assert (breaker.state, breaker.generation, breaker.in_flight) == (State.OPEN, 1, 0)
