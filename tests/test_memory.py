"""What is kept of servers over a restart, whatever the clocks did meanwhile (R17)."""

import msgspec
import pytest
from support.fake_store import FakeStore
from support.fake_upstream import tool
from support.house import house, server
from support.virtual_time import LoopClock, passes, settled, virtual_time

from agenthub.domain.breaker_config import BreakerConfig
from agenthub.domain.events import ServerChanged
from agenthub.domain.span import SECOND

LONG = BreakerConfig(recovery_timeout_ms=100_000, max_open_ms=100_000)
GIT = server("git", breaker=LONG)
YEAR = 365 * 24 * 3600 * SECOND


def clock(boot_id="this run", wall_step=0):
    made = LoopClock()
    made.boot_id, made.wall_step = boot_id, wall_step
    return made


async def left_after(away, before, after):
    """How long a breaker is still open after a restart, of what it was open for before it."""
    store = FakeStore()
    async with house(GIT, store=store, clock=before()) as hub:
        breaker = hub.catalog.get("git").lane.breaker
        breaker.trip(hub.clock.now(), 0.5, "test")
        await settled()
        whole = breaker.until - hub.clock.now()
    await passes(away)
    async with house(GIT, store=store, clock=after(), listed=False) as hub:
        breaker = hub.catalog.get("git").lane.breaker
        assert breaker.state.value == "open"
        return round((whole - (breaker.until - hub.clock.now())) / SECOND)


@pytest.mark.parametrize("step", [0, YEAR, -YEAR, 3600 * SECOND, -3600 * SECOND])
@virtual_time()
async def test_the_rest_of_an_open_time_is_right_however_the_wall_clock_was_set(step):
    """S10: within one run of the machine its own clock tells how long the hub was away."""
    gone = await left_after(20 * SECOND, clock, lambda: clock(wall_step=step))
    assert gone == 20


@pytest.mark.parametrize("ids", [("one run", "another run"), ("", "")])
@virtual_time()
async def test_over_a_restart_of_the_machine_the_wall_clock_tells(ids):
    gone = await left_after(20 * SECOND, lambda: clock(ids[0]), lambda: clock(ids[1]))
    assert gone == 20


@pytest.mark.parametrize("step", [YEAR, -YEAR])
@virtual_time()
async def test_a_wall_clock_that_was_set_far_away_tells_nothing(step):
    gone = await left_after(20 * SECOND, lambda: clock(""), lambda: clock("", step))
    assert gone == 0


@virtual_time()
async def test_lists_are_there_before_the_server_is_and_its_pins_too():
    store = FakeStore()
    async with house("git", store=store, clock=LoopClock()) as hub:
        await settled()
    assert set(store.pins) == {("git", "add")}

    def hung(fake):
        fake.mute = True

    async with house("git", store=store, prepare={"git": hung}) as hub:
        known = hub.catalog.get("git")
        assert [msgspec.json.decode(item)["name"] for item in known.listing.tools] == ["add"]
        assert known.facts("add").pinned


@virtual_time()
async def test_a_tool_that_changed_while_the_hub_was_away_is_not_trusted_as_before():
    """R30: annotations are heard only of the definition that was pinned."""
    store = FakeStore()
    async with house("git", store=store):
        await settled()

    def other(fake):
        fake.tools["add"] = tool("add", description="now it deletes")

    async with house("git", store=store, prepare={"git": other}) as hub:
        assert not hub.catalog.get("git").facts("add").pinned


@virtual_time()
async def test_what_is_unreadable_is_left_out_and_told():
    store = FakeStore()
    async with house(GIT, store=store) as hub:
        hub.catalog.get("git").lane.breaker.trip(hub.clock.now(), 0.5, "test")
        await settled()
    store.lists["git"] = b"{"
    (key,) = store.breakers
    store.breakers[key] = msgspec.structs.replace(store.breakers[key], data=b"[")
    async with house(GIT, store=store, listed=False) as hub:
        assert hub.catalog.get("git").lane.breaker.state.value == "closed"
        told = {event.detail for event in hub.events.of(ServerChanged)}
        assert "its kept lists were unreadable" in told
        assert "a breaker's kept state was unreadable; it is closed" in told


@virtual_time()
async def test_a_database_that_cannot_be_written_costs_no_call_and_is_tried_again():
    store = FakeStore()
    async with house(GIT, store=store) as hub:
        store.broken = True
        breaker = hub.catalog.get("git").lane.breaker
        breaker.trip(hub.clock.now(), 0.5, "test")
        await settled()
        assert store.breakers == {}
        assert any("could not be kept" in event.detail for event in hub.events.of(ServerChanged))
        store.broken = False
        breaker.reset(hub.clock.now())
        await settled()
        assert set(store.breakers) == {"git"}
        assert (await hub.ask("git", "add")).error is None
