import asyncio

import pytest
from support.fake_upstream import OK, later, tool
from support.house import ANNA, House, house, ms, server
from support.virtual_time import passes, settled, virtual_time

from agenthub.domain.breaker_config import BreakerConfig
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.circuit_breaker import State
from agenthub.domain.endpoint import Timeouts
from agenthub.domain.errors import (
    BadSetting,
    Conflict,
    StorageFailed,
    ToolChanged,
    UnknownTarget,
)
from agenthub.domain.events import BreakerChanged, ClockEvent, ServerChanged
from agenthub.domain.outcome import Cause
from agenthub.domain.span import SECOND
from agenthub.listing import Kind

LIMITED = Caller("limited", frozenset({Scope.TOOLS}), frozenset({"b"}))
FILE = "/etc/agenthub.yaml"


def names(hub, caller=None):
    return [one.name for one in hub.catalog.servers(caller)]


def told(hub):
    return [(event.endpoint, event.state) for event in hub.events.of(ServerChanged)]


def mute(fake):
    fake.mute = True


def hearing(hub):
    heard = []
    hub.catalog.listeners.append(lambda one, method, _: heard.append((one.name, method)))
    return heard


# ---------------------------------------------------------------- reading


@virtual_time()
async def test_servers_are_in_order_of_their_names_and_only_those_one_may_see():
    async with house("c", server("b", fallback_url="http://t.test/mcp"), "a") as hub:
        assert names(hub) == ["a", "b", "c"]
        assert names(hub, LIMITED) == ["b"]
        assert {one.name for one in hub.catalog.all_servers()} == {"a", "b", "b.fallback", "c"}
        assert hub.catalog.find("b", LIMITED) is hub.catalog.get("b")
        for name in ("a", "b.fallback", "nobody"):
            assert hub.catalog.find(name, LIMITED) is None
        assert hub.catalog.find("b.fallback", ANNA) is None
        for name in ("nobody", "b.fallback"):
            with pytest.raises(UnknownTarget):
                hub.catalog.get(name)


@virtual_time()
async def test_a_hub_with_sick_servers_starts_lists_and_stops_at_once():
    sick = {f"sick{number}": mute for number in range(3)}
    well = [f"well{number}" for number in range(7)]
    async with house(*sick, *well, prepare=sick, listed=False) as hub:
        before = hub.clock.now()
        await passes(ms(200))
        for name in well:
            assert await hub.result(name, "add")
            assert b"add" in hub.catalog.get(name).shown(Kind.TOOLS, prefixed=True)
        assert hub.clock.now() - before < SECOND
        before = hub.clock.now()
        await hub.catalog.close()
        assert hub.clock.now() - before < SECOND
        assert all(hub[name].closed for name in [*sick, *well])


# ---------------------------------------------------------------- adding, replacing, removing


@virtual_time()
async def test_a_server_that_is_added_is_kept_and_connected():
    async with house() as hub:
        heard, version = hearing(hub), hub.catalog.version
        added = await hub.catalog.add(server("calculator"))
        assert hub.store.endpoints == {"calculator": added.endpoint}
        assert hub.catalog.version > version
        assert ("calculator", "notifications/tools/list_changed") in heard
        await passes(SECOND)
        assert await hub.result("calculator", "add")
        assert told(hub)[:2] == [("calculator", "added"), ("calculator", "connected")]


@pytest.mark.parametrize(
    ("record", "error"),
    [
        (server("a"), Conflict), (server("Bad Name"), BadSetting),
        (server("b", url="ftp://x"), BadSetting), (server("b", fallbacks=("nobody",)), BadSetting),
    ],
)  # fmt: skip
@virtual_time()
async def test_a_record_that_cannot_be_is_refused_and_nothing_changes(record, error):
    async with house("a") as hub:
        with pytest.raises(error):
            await hub.catalog.add(record)
        assert (names(hub), hub.store.endpoints) == (["a"], {})


@virtual_time()
async def test_what_cannot_be_written_changes_nothing():
    async with house("a") as hub:
        hub.store.broken = True
        before = hub.catalog.get("a")
        with pytest.raises(StorageFailed):
            await hub.catalog.add(server("b"))
        with pytest.raises(StorageFailed):
            await hub.catalog.replace("a", server("a", trust=True))
        with pytest.raises(StorageFailed):
            await hub.catalog.remove("a")
        assert names(hub) == ["a"]
        assert (hub.catalog.get("a"), before.endpoint.trust) == (before, False)


@virtual_time(seeds=50)
async def test_of_100_who_add_one_name_one_succeeds():
    async with house() as hub:
        adding = (hub.catalog.add(server("a")) for _ in range(100))
        ends = await asyncio.gather(*adding, return_exceptions=True)
        assert sum(isinstance(end, Conflict) for end in ends) == 99
        assert len(hub.upstreams["a"]) == 1


@virtual_time()
async def test_a_record_that_is_the_same_changes_nothing():
    async with house("a") as hub:
        before, version = hub.catalog.get("a"), hub.catalog.version
        await hub.catalog.replace("a", server("a"))
        assert (hub.catalog.get("a"), hub.catalog.version) == (before, version)


@virtual_time()
async def test_with_a_new_connection_the_same_tools_are_called_there():
    async with house("a") as hub:
        await hub.result("a", "add")
        old, hub.prepare["a"] = hub["a"], mute
        await hub.catalog.replace("a", server("a", timeouts=Timeouts(call_ms=1_000)))
        hub["a"].mute = False
        assert b"add" in hub.catalog.get("a").shown(Kind.TOOLS, prefixed=False)
        await hub.result("a", "add")
        assert (old.executed("add"), hub["a"].executed("add")) == (1, 1)


@virtual_time()
async def test_a_servers_name_stays():
    async with house("a") as hub:
        with pytest.raises(BadSetting, match="cannot be changed"):
            await hub.catalog.replace("a", server("b"))
        with pytest.raises(UnknownTarget):
            await hub.catalog.replace("b", server("b"))


@virtual_time()
async def test_a_fallback_cannot_be_removed_before_those_that_name_it():
    async with house(server("a", fallbacks=("b",)), "b") as hub:
        with pytest.raises(Conflict, match="a fallback of a"):
            await hub.catalog.remove("b")
        await hub.catalog.remove("a")
        await hub.catalog.remove("b")
        assert names(hub) == []
        with pytest.raises(UnknownTarget):
            await hub.catalog.remove("b")


@virtual_time()
async def test_a_server_that_is_removed_is_forgotten_and_clients_are_told():
    async with house(server("a", fallback_url="http://t.test/mcp")) as hub:
        heard = hearing(hub)
        hub.catalog.get("a").lane.breaker.trip(hub.clock.now(), 0.5, "x")
        await settled()
        await hub.catalog.remove("a")
        assert (hub.store.lists, hub.store.breakers, hub.store.pins) == ({}, {}, {})
        assert ("a", "notifications/tools/list_changed") in heard
        await passes(SECOND)
        assert hub["a"].closed
        assert hub["a.fallback"].closed
        assert hub.catalog.all_servers() == []


@virtual_time()
async def test_a_breakers_settings_are_changed_at_run_time_and_kept():
    async with house("a") as hub:
        await asyncio.gather(
            hub.catalog.set_breaker_config("a", BreakerConfig(failure_threshold=1)),
            hub.catalog.replace("a", server("a", trust=True)),
        )
        await hub.catalog.set_breaker_config("a", BreakerConfig(failure_threshold=2))
        assert hub.catalog.get("a").lane.breaker.config.failure_threshold == 2
        assert hub.store.endpoints["a"].breaker.failure_threshold == 2
        assert hub.store.endpoints["a"].trust


@virtual_time()
async def test_a_twin_follows_its_server():
    async with house(server("a", fallback_url="http://t.test/mcp")) as hub:
        twin = hub.catalog.all_servers()[1]
        assert (twin.name, twin.endpoint.url, twin.hidden) == (
            "a.fallback", "http://t.test/mcp", True,
        )  # fmt: skip
        same = server("a", fallback_url="http://t.test/mcp", concurrency=3)
        await hub.catalog.replace("a", same)
        assert hub.catalog.all_servers()[1] is twin
        assert twin.lane.seats.seats == 3
        moved = server("a", url="http://new.test/mcp", fallback_url="http://t.test/mcp")
        await hub.catalog.replace("a", moved)
        twin = hub.catalog.all_servers()[1]
        assert twin.listing is not None
        await hub.catalog.replace("a", server("a"))
        assert [one.name for one in hub.catalog.all_servers()] == ["a"]


@virtual_time()
async def test_a_record_that_can_never_work_is_there_and_says_why():
    async with house("a") as hub:

        def refuse(endpoint, watcher):
            raise BadSetting("env.TOKEN: TOKEN is not set")

        hub.catalog._connect = refuse
        added = await hub.catalog.add(server("b"))
        assert added.state.problem == "env.TOKEN: TOKEN is not set"
        error = await hub.error("b", "x", seconds=1)
        assert "TOKEN is not set" in str(error)


@virtual_time()
async def test_closing_ends_the_connections_that_retire_as_well():
    async with house("a") as hub:
        old = hub["a"]
        old.answers["add"] = later(OK, 100 * SECOND)
        hub.begin("a", "add", seconds=200)
        await hub.catalog.remove("a")
        await settled()
        await hub.catalog.close()
        assert old.closed


@virtual_time()
async def test_breakers_that_cannot_be_kept_hold_up_no_stop():
    async with house("a") as hub:
        hub.catalog.get("a").lane.breaker.trip(hub.clock.now(), 0.5, "x")
        hub.store.broken = True
        await hub.catalog.close()
        assert ("", "changed") in told(hub)


# ---------------------------------------------------------------- the configuration file


@virtual_time()
async def test_a_files_servers_are_changed_there_and_nowhere_else():
    async with house("kept") as hub:
        await hub.catalog.reload([server("filed")], FILE)
        assert names(hub) == ["filed", "kept"]
        assert hub.store.endpoints == {}, "the file is its own store"
        for change in (
            hub.catalog.remove("filed"),
            hub.catalog.replace("filed", server("filed", trust=True)),
            hub.catalog.set_breaker_config("filed", BreakerConfig()),
        ):
            with pytest.raises(Conflict, match=f"configured in {FILE}"):
                await change
        await hub.catalog.reload([server("filed", trust=True)], FILE)
        assert hub.catalog.get("filed").endpoint.trust
        await hub.catalog.reload([], FILE)
        assert names(hub) == ["kept"]
        await hub.catalog.add(server("filed"))


@virtual_time()
async def test_a_record_that_the_file_stands_before_comes_back():
    async with house(server("a", url="http://kept.test/mcp")) as hub:
        await hub.catalog.reload([server("a", url="http://filed.test/mcp")], FILE)
        assert hub.catalog.get("a").endpoint.url == "http://filed.test/mcp"
        await hub.catalog.reload([server("a", url="http://filed2.test/mcp")], FILE)
        await hub.catalog.reload([], FILE)
        assert hub.catalog.get("a").endpoint.url == "http://kept.test/mcp"
        await hub.catalog.remove("a")


@pytest.mark.parametrize(
    "wrong",
    [
        [server("b"), server("a", fallbacks=("nobody",))], [server("b"), server("Bad Name")],
        [server("a", fallbacks=("b",)), server("b", fallbacks=("a",))], [server("b")],
    ],
)  # fmt: skip
@virtual_time()
async def test_f54_a_file_that_cannot_be_is_refused_as_a_whole(wrong):
    """The last one leaves out a server that a kept one falls back to."""
    async with house() as hub:
        await hub.catalog.reload([server("a"), server("spare")], FILE)
        await hub.catalog.add(server("kept", fallbacks=("spare",)))
        before = {one.name: one for one in hub.catalog.all_servers()}
        with pytest.raises(BadSetting):
            await hub.catalog.reload(wrong, FILE)
        assert {one.name: one for one in hub.catalog.all_servers()} == before
        with pytest.raises(Conflict):
            await hub.catalog.remove("a")


@virtual_time(seeds=30)
async def test_f54_a_file_is_taken_while_100_calls_run_and_none_fails():
    many = {"concurrency": 400}
    async with house() as hub:
        await hub.catalog.reload([server("a", **many), server("b", **many)], FILE)
        await passes(SECOND)
        hub["a"].answers["add"] = later(OK, SECOND)
        ends = [hub.begin("a", "add")[0] for _ in range(100)]
        for step in range(3):
            url = f"http://a{step}.test/mcp"
            await hub.catalog.reload([server("a", url=url, **many), server("b", **many)], FILE)
            hub["a"].answers = {"add": later(OK, SECOND)}
            ends += [hub.begin("a", "add")[0] for _ in range(50)]
        await passes(5 * SECOND)
        assert all(heard.answer.reply is OK.reply for heard in ends)
        assert [fake.closed for fake in hub.upstreams["a"]] == [1, 1, 1, 0]
        assert hub.at_rest()


# ---------------------------------------------------------------- what servers do


@virtual_time()
async def test_clients_are_told_of_lists_that_changed_and_of_no_others():
    async with house("a") as hub:
        heard, fake = hearing(hub), hub["a"]
        version = hub.catalog.version
        fake.watcher.changed("notifications/tools/list_changed", b"{}")
        await passes(SECOND)
        assert (heard, hub.catalog.version) == ([], version)
        fake.tools["sub"] = tool("sub")
        fake.watcher.changed("notifications/tools/list_changed", b"{}")
        await passes(SECOND)
        assert heard == [("a", "notifications/tools/list_changed")]


@virtual_time()
async def test_what_breakers_do_is_told():
    async with house("a") as hub:
        hub.clock.chances = lambda: 0.5
        breaker = hub.catalog.get("a").lane.breaker
        breaker.trip(hub.clock.now(), 0.5, "test")
        breaker.reset(hub.clock.now())
        opened, closed = hub.events.of(BreakerChanged)
        assert (opened.endpoint, opened.tool, opened.before, opened.after) == (
            "a", "", "closed", "open",
        )  # fmt: skip
        assert (opened.cause, opened.retry_after_ms) == ("test", 5_000)
        assert closed.retry_after_ms is None


@virtual_time()
async def test_looking_at_a_server_that_is_gone_does_nothing():
    async with house("a") as hub:
        hub.catalog.suspect("nobody")
        await settled()
        assert hub.at_rest()


# ---------------------------------------------------------------- clocks


@virtual_time()
async def test_a_process_that_stood_still_is_noticed():
    async with house("a") as hub:
        await passes(SECOND)
        assert not hub.catalog.stood_still(hub.clock.now())
        asyncio.get_running_loop().stand_still(40 * SECOND)
        assert hub.catalog.stood_still(hub.clock.now())
        await passes(ms(100))
        assert hub.catalog.stood_still(hub.clock.now())
        await passes(ms(200))
        assert not hub.catalog.stood_still(hub.clock.now())
        assert [event.kind for event in hub.events.of(ClockEvent)] == ["stall"]


@pytest.mark.parametrize(("step", "kinds"), [(59, []), (61, ["clock_step"]), (-61, ["clock_step"])])
@virtual_time()
async def test_a_wall_clock_that_was_set_is_noticed_once(step, kinds):
    async with house("a") as hub:
        hub.clock.wall_step = step * SECOND
        await passes(5 * SECOND)
        assert [event.kind for event in hub.events.of(ClockEvent)] == kinds


@virtual_time()
async def test_calls_in_flight_are_not_to_blame_for_a_stall():
    async with house("a") as hub:
        hub["a"].answers["add"] = later(OK, 100 * SECOND)
        for _ in range(6):
            hub.begin("a", "add", seconds=200)
        await passes(2 * SECOND)
        asyncio.get_running_loop().stand_still(60 * SECOND)
        await passes(2 * SECOND)
        assert hub.catalog.get("a").lane.breaker.state is State.CLOSED
        hub.gateway.cancel_all(Cause.SHED)
        await settled()


@virtual_time()
async def test_a_catalog_that_was_never_started_can_be_closed():
    built = House()
    built.catalog.load([server("a")], await built.store.load())
    await built.catalog.close()
    assert (built["a"].started, built["a"].closed) == (0, 1)


@virtual_time()
async def test_a_test_and_a_look_go_to_the_server_itself():
    async with house("a") as hub:
        found = await hub.catalog.test("a", 2)
        assert found["ok"]
        before = len(hub["a"].sent)
        hub.catalog.suspect("a")
        await settled()
        assert len(hub["a"].sent) == before + 1
        with pytest.raises(UnknownTarget):
            await hub.catalog.test("nobody", 2)


@virtual_time()
async def test_whoever_waits_is_seated_when_there_are_more_seats():
    async with house(server("a", concurrency=1)) as hub:
        hub["a"].answers["add"] = later(OK, SECOND)
        ends = [hub.begin("a", "add")[0] for _ in range(2)]
        await hub.catalog.replace("a", server("a", concurrency=2))
        await passes(SECOND + ms(1))
        assert [len(heard.answers) for heard in ends] == [1, 1]


# ---------------------------------------------------------------- approval


async def changes(hub, name, *tools):
    hub[name].tools = {tool_: tool(tool_, title="new") for tool_ in tools}
    hub[name].watcher.changed("notifications/tools/list_changed", b"{}")
    await passes(SECOND)


def waiting(hub, name):
    server = next(one for one in hub.catalog.all_servers() if one.name == name)
    return {one.name: one.now.digest for one in server.pending_tools()}


def details(hub, state):
    return [(e.endpoint, e.detail) for e in hub.events.of(ServerChanged) if e.state == state]


@virtual_time()
async def test_what_waits_for_approval_is_told_once_for_each_definition():
    async with house("a") as hub:
        await changes(hub, "a", "add", "mail")
        assert details(hub, "pending") == [("a", "add (changed), mail (new)")]
        await changes(hub, "a", "add", "mail")
        assert len(details(hub, "pending")) == 1
        await changes(hub, "a", "add", "mail", "sub")
        assert details(hub, "pending")[1:] == [("a", "sub (new)")]
        await hub.catalog.replace("a", server("a", url="http://other.test/mcp"))
        await passes(SECOND)
        assert len(details(hub, "pending")) == 2, "a new connection is no news"


@virtual_time()
async def test_an_approval_is_told_to_clients_and_to_who_listens():
    async with house("a") as hub:
        await changes(hub, "a", "add", "mail")
        heard, version = hearing(hub), hub.catalog.version
        shown = hub.catalog.get("a").version
        await hub.catalog.approve("a", waiting(hub, "a"))
        assert heard == [("a", "notifications/tools/list_changed")]
        assert hub.catalog.version > version
        assert hub.catalog.get("a").version > shown
        assert details(hub, "approved") == [("a", "add, mail")]
        assert b"mail" in hub.catalog.get("a").shown(Kind.TOOLS, prefixed=False)


@virtual_time()
async def test_what_is_not_what_was_looked_at_is_not_approved():
    async with house("a") as hub:
        await changes(hub, "a", "add", "mail")
        looked = waiting(hub, "a")
        for name, why in (("add", ToolChanged), ("x", UnknownTarget)):
            with pytest.raises(why):
                await hub.catalog.approve("a", {**looked, name: bytes(32)})
        with pytest.raises(UnknownTarget):
            await hub.catalog.approve("nobody", looked)
        assert hub.catalog.get("a").withheld == {"add", "mail"}


@virtual_time()
async def test_the_tools_of_a_twin_are_approved_under_its_own_name():
    async with house(server("a", fallback_url="http://t.test/mcp")) as hub:
        await changes(hub, "a.fallback", "add")
        assert waiting(hub, "a") == {}
        hops = hub.catalog.routes.find(hub.call("a", "add")).hops
        assert [hop.lane.endpoint.name for hop in hops] == ["a"]
        await hub.catalog.approve("a.fallback", waiting(hub, "a.fallback"))
        hops = hub.catalog.routes.find(hub.call("a", "add")).hops
        assert [hop.lane.endpoint.name for hop in hops] == ["a", "a.fallback"]
        assert ("a.fallback", "add") in hub.store.pins


@virtual_time()
async def test_another_address_keeps_what_was_approved():
    async with house("a") as hub:
        hub.prepare["a"] = lambda fake: fake.tools.update(add=tool("add", title="new"))
        await hub.catalog.replace("a", server("a", url="http://other.test/mcp"))
        await passes(SECOND)
        assert hub.catalog.get("a").withheld == {"add"}


@virtual_time()
async def test_a_server_that_becomes_trusted_has_its_new_tools_approved():
    async with house("a") as hub:
        await changes(hub, "a", "mail")
        await hub.catalog.replace("a", server("a", trust=True))
        await settled()
        assert hub.catalog.get("a").pending == {}
        assert ("a", "mail") in hub.store.pins


@virtual_time()
async def test_a_server_that_was_removed_is_approved_anew():
    async with house("a") as hub:
        await hub.catalog.add(server("b"))
        await passes(SECOND)
        await hub.catalog.remove("b")
        hub.prepare["b"] = lambda fake: fake.tools.update(add=tool("add", title="new"))
        await hub.catalog.add(server("b"))
        await passes(SECOND)
        assert hub.catalog.get("b").pending == {}


@virtual_time()
async def test_a_name_that_looks_like_another_is_refused():
    """A31."""
    async with house("git", "my-server") as hub:
        with pytest.raises(BadSetting, match="looks like 'my-server'"):
            await hub.catalog.add(server("my_server"))
        with pytest.raises(BadSetting, match="looks like 'my-server'"):
            await hub.catalog.reload((server("rny-server"),), FILE)
        await hub.catalog.add(server("git2"))
        assert names(hub) == ["git", "git2", "my-server"]
