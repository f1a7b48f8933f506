import msgspec
import pytest
from support.fake_store import FakeStore
from support.fake_upstream import tool
from support.house import house, server
from support.virtual_time import passes, settled, virtual_time

from agenthub.domain.circuit_breaker import State
from agenthub.domain.errors import StorageFailed
from agenthub.domain.events import ServerChanged
from agenthub.domain.span import SECOND
from agenthub.listing import Kind, Listing, pin_of
from agenthub.ports import BreakerRow


def mute(fake):
    fake.mute = True


def told(hub):
    return [event.detail for event in hub.events.of(ServerChanged) if event.state == "changed"]


@virtual_time()
async def test_lists_and_pins_survive_a_restart_of_the_hub():
    store = FakeStore()
    async with house("calculator", store=store):
        pass
    async with house("calculator", store=store, prepare={"calculator": mute}) as hub:
        kept = hub.catalog.get("calculator")
        assert b'"add"' in kept.shown(Kind.TOOLS, prefixed=False)
        assert kept.pending == {}
        assert store.pins == {("calculator", "add"): pin_of(tool("add"))}


def changed(fake):
    fake.tools = {"add": tool("add", annotations={"readOnlyHint": True})}


@virtual_time()
async def test_a_definition_that_changed_over_a_restart_waits_for_approval():
    store = FakeStore()
    async with house("calculator", store=store):
        pass
    async with house("calculator", store=store, prepare={"calculator": changed}) as hub:
        assert hub.catalog.get("calculator").withheld == {"add"}


@virtual_time()
async def test_pins_outlive_lists_that_cannot_be_read():
    store = FakeStore()
    async with house("calculator", store=store):
        pass
    store.lists["calculator"] = b"no JSON"
    async with house("calculator", store=store, prepare={"calculator": changed}) as hub:
        assert hub.catalog.get("calculator").withheld == {"add"}


@virtual_time()
async def test_an_approval_survives_a_restart():
    store = FakeStore()
    async with house("calculator", store=store):
        pass
    async with house("calculator", store=store, prepare={"calculator": changed}) as hub:
        (waiting,) = hub.catalog.get("calculator").pending_tools()
        await hub.catalog.approve("calculator", {"add": waiting.now.digest})
    async with house("calculator", store=store, prepare={"calculator": changed}) as hub:
        assert hub.catalog.get("calculator").pending == {}


@virtual_time()
async def test_an_approval_that_cannot_be_kept_is_none():
    store = FakeStore()
    async with house("calculator", store=store):
        pass
    async with house("calculator", store=store, prepare={"calculator": changed}) as hub:
        (waiting,) = hub.catalog.get("calculator").pending_tools()
        store.broken = True
        with pytest.raises(StorageFailed):
            await hub.catalog.approve("calculator", {"add": waiting.now.digest})
        assert hub.catalog.get("calculator").withheld == {"add"}


@virtual_time()
async def test_pins_that_could_not_be_written_are_written_with_the_next_list():
    async with house(server("calculator", trust=True)) as hub:
        fake, memory = hub["calculator"], hub.catalog._memory
        for name in ("sub", "mul"):
            hub.store.broken = True
            fake.tools[name] = tool(name)
            fake.watcher.changed("notifications/tools/list_changed", b"{}")
            await passes(SECOND)
        assert list(memory._unkept["calculator"]) == ["sub", "mul"]
        hub.store.broken = False
        fake.watcher.changed("notifications/tools/list_changed", b"{}")
        await passes(SECOND)
        assert memory._unkept == {}
        assert {name for _, name in hub.store.pins} == {"add", "sub", "mul"}
        hub.store.broken = True
        fake.tools["div"] = tool("div")
        fake.watcher.changed("notifications/tools/list_changed", b"{}")
        await passes(SECOND)
        hub.store.broken = False
        await memory.delete("calculator")
        assert memory._unkept == {}


@virtual_time()
async def test_breakers_of_servers_and_tools_survive_a_restart():
    store = FakeStore()
    async with house("calculator", store=store) as hub:
        lane, now = hub.catalog.get("calculator").lane, hub.clock.now()
        lane.breaker.force_open(now, "maintenance", None)
        lane._tool("add").breaker = lane._breaker("add")
        lane._tool("add").breaker.trip(now, 0.5, "test")
        lane._tool("sub")
        await settled()
    assert sorted(store.breakers) == ["calculator", "calculator/add"]
    async with house("calculator", store=store) as hub:
        lane = hub.catalog.get("calculator").lane
        assert (lane.breaker.state, lane.breaker.note) == (State.FORCED_OPEN, "maintenance")
        assert lane.tools["add"].breaker.state is State.OPEN


@virtual_time()
async def test_rows_that_cannot_be_read_are_told_and_cost_nothing_else():
    store = FakeStore()
    store.lists["calculator"] = b"no JSON"
    store.breakers["calculator"] = BreakerRow("calculator", b"no JSON")
    store.breakers["gone"] = BreakerRow("gone", b"no JSON")
    async with house("calculator", store=store) as hub:
        assert told(hub) == [
            "a breaker's kept state was unreadable; it is closed",
            "its kept lists were unreadable",
        ]
        assert await hub.result("calculator", "add")


@virtual_time()
async def test_each_change_of_a_breaker_is_kept():
    async with house("calculator") as hub:
        hub.catalog.get("calculator").lane.breaker.trip(hub.clock.now(), 0.5, "test")
        await settled()
        (row,) = await hub.store.transitions("calculator", 9)
        assert (row["after"], row["cause"]) == ("open", "test")
        assert "calculator" in hub.store.breakers


@virtual_time()
async def test_what_could_not_be_written_is_told_and_written_with_the_next_change():
    async with house("calculator") as hub:
        breaker = hub.catalog.get("calculator").lane.breaker
        hub.store.broken = True
        breaker.trip(hub.clock.now(), 0.5, "test")
        hub["calculator"].tools["sub"] = tool("sub")
        hub["calculator"].watcher.changed("notifications/tools/list_changed", b"{}")
        await passes(SECOND)
        assert [words.partition(":")[0] for words in told(hub)] == [
            "a breaker's state could not be kept", "its lists could not be kept",
        ]  # fmt: skip
        hub.store.broken = False
        breaker.reset(hub.clock.now())
        await settled()
        kept = msgspec.json.decode(hub.store.breakers["calculator"].data)
        assert kept["state"] == "closed"


@virtual_time()
async def test_breakers_that_could_not_be_kept_wait_for_the_next_save():
    async with house("calculator", "other") as hub:
        memory = hub.catalog._memory
        hub.catalog.get("calculator").lane.breaker.trip(hub.clock.now(), 0.5, "test")

        async def broken(rows):
            hub.store.put_breakers = kept
            raise StorageFailed

        kept, hub.store.put_breakers = hub.store.put_breakers, broken
        await settled()
        assert hub.store.breakers == {}
        await memory.save_breakers()
        assert list(hub.store.breakers) == ["calculator"]


@virtual_time()
async def test_saves_do_not_overtake_each_other():
    async with house("calculator") as hub:
        hub.store.delay = 0.2
        breaker = hub.catalog.get("calculator").lane.breaker
        breaker.trip(hub.clock.now(), 0.5, "test")
        await passes(SECOND // 10)
        breaker.reset(hub.clock.now())
        await hub.catalog.close()
        assert b'"closed"' in hub.store.breakers["calculator"].data


@virtual_time()
async def test_a_server_without_lists_keeps_none():
    async with house("calculator", prepare={"calculator": mute}) as hub:
        assert hub.store.lists == {}
        assert hub.catalog.get("calculator").pin() == {}


@virtual_time()
async def test_a_server_that_is_deleted_is_not_written_again():
    async with house() as hub:
        await hub.catalog.add(server("calculator"))
        await passes(SECOND)
        hub.store.delay = 0.1
        hub.catalog.get("calculator").lane.breaker.trip(hub.clock.now(), 0.5, "test")
        await hub.catalog.remove("calculator")
        await passes(SECOND)
        assert (hub.store.breakers, hub.store.lists, hub.store.endpoints) == ({}, {}, {})


def test_a_listing_can_be_kept_and_read():
    listing = Listing(tools=[tool("add")], listed_at_s=7, excluded={"bad": "why"})
    assert msgspec.json.decode(msgspec.json.encode(listing), type=Listing) == listing
