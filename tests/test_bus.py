import asyncio

import pytest

from agenthub.bus import QUEUE, RING, SUBSCRIPTIONS_MAX, Counts, EventBus
from agenthub.domain.errors import Overloaded
from agenthub.domain.events import CallEnded, ServerChanged, Traffic
from agenthub.domain.span import SECOND


class Timer:
    def cancel(self):
        raise AssertionError("the bus lets its timer run out")


class Clock:
    """ports.Clock that stands still until it is moved."""

    def __init__(self):
        self.timers = []

    def now(self):
        return 0

    def wall(self):
        return 7_000_000

    def chance(self):
        return 0.0

    def after(self, span, callback):
        assert span == SECOND
        self.timers.append(callback)
        return Timer()

    def tick(self):
        timers, self.timers = self.timers, []
        for callback in timers:
            callback()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def counts():
    return [Counts(0, 0, 0)]


@pytest.fixture
def bus(clock, counts):
    return EventBus(clock, lambda: counts[0])


def server(n=0):
    return ServerChanged(n, f"s{n}", "connected")


def call(n=0):
    return CallEnded(n, f"c{n}", "s", "s", "tools/call", "add", "ok", 1, 5)


async def test_a_listener_hears_what_comes_in_order_and_numbered(bus):
    bus.event(server(0))
    listener = bus.subscribe()
    bus.event(server(1))
    bus.event(call(2))
    assert await listener.take() == [(2, server(1)), (3, call(2))]


async def test_a_listener_that_waits_is_woken(bus):
    listener = bus.subscribe()
    waiting = asyncio.ensure_future(listener.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    bus.event(server(1))
    assert await waiting == [(1, server(1))]


async def test_a_listener_that_comes_back_gets_what_it_missed(bus):
    for n in range(1, 6):
        bus.event(server(n) if n % 2 else call(n))
    listener = bus.subscribe(after=2)
    assert [number for number, _ in await listener.take()] == [3, 4, 5]
    assert [number for number, _ in await bus.subscribe(after=0).take()] == [1, 2, 3, 4, 5]


async def test_a_number_of_an_earlier_run_brings_all_that_is_known(bus):
    bus.event(server(1))
    assert len(await bus.subscribe(after=900).take()) == 1


async def test_many_calls_do_not_push_a_breaker_out_of_what_is_known(bus):
    bus.event(server(1))
    for n in range(RING + 100):
        bus.event(call(n))
    missed = await bus.subscribe(after=0).take()
    assert len(missed) == RING + 1
    assert missed[0] == (1, server(1))
    assert missed[1][0] == 102


async def test_a_slow_listener_loses_the_oldest_and_is_told_how_many(bus):
    slow, quick = bus.subscribe(), bus.subscribe()
    for n in range(QUEUE):
        bus.event(server(n))
    assert (slow.dropped, len(await quick.take())) == (0, QUEUE)
    for n in range(3):
        bus.event(server(n))
    assert slow.dropped == 3
    assert [number for number, _ in await slow.take()] == list(range(4, QUEUE + 4))
    assert quick.dropped == 0


async def test_a_closed_listener_hears_nothing_and_makes_room(bus):
    listeners = [bus.subscribe() for _ in range(SUBSCRIPTIONS_MAX)]
    with pytest.raises(Overloaded):
        bus.subscribe()
    listeners[0].close()
    listeners[0].close()
    bus.event(server(1))
    assert listeners[0]._events == type(listeners[0]._events)()
    bus.subscribe()


async def test_the_bus_knows_whether_anybody_listens(bus):
    assert not bus.listening()
    listener = bus.subscribe()
    assert bus.listening()
    listener.close()
    assert not bus.listening()


def test_a_sink_that_fails_harms_nobody(bus, caplog):
    heard = []

    def bad(event):
        raise ValueError(event)

    bus.sinks += [bad, heard.append]
    bus.event(server(1))
    assert heard == [server(1)]
    assert "A listener failed" in caplog.text


async def test_traffic_comes_once_a_second_while_somebody_listens(bus, clock, counts):
    counts[0] = Counts(100, 10, 3)
    listener = bus.subscribe()
    counts[0] = Counts(107, 12, 4)
    clock.tick()
    assert await listener.take() == [(0, Traffic(7, 7, 2, 4))]
    clock.tick()
    assert await listener.take() == [(0, Traffic(7, 0, 0, 4))]
    listener.close()
    clock.tick()
    assert clock.timers == []
    counts[0] = Counts(500, 0, 0)
    again = bus.subscribe()
    clock.tick()
    assert await again.take() == [(0, Traffic(7, 0, 0, 0))]


async def test_two_listeners_share_one_tick(bus, clock):
    bus.subscribe()
    bus.subscribe()
    assert len(clock.timers) == 1


async def test_a_stop_ends_every_listener_after_what_it_has_still_to_hear(bus):
    waiting, behind = bus.subscribe(), bus.subscribe()
    waits = asyncio.ensure_future(waiting.take())
    await asyncio.sleep(0)
    bus.close()
    assert await waits == []
    behind.put((1, server(1)))
    assert await behind.take() == [(1, server(1))]
    assert await behind.take() == []
