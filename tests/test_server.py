import json

import msgspec
import pytest
from msgspec import Raw
from support.fake_store import FakeStore
from support.fake_upstream import HANGS, OK, REFUSED, Act, error, later, lost, status, tool
from support.house import house, ms, server
from support.virtual_time import passes, settled, virtual_time

from agenthub.domain.circuit_breaker import State
from agenthub.domain.endpoint import RateLimit, ToolPolicy
from agenthub.domain.events import ServerChanged
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.span import SECOND
from agenthub.listing import Kind, Listing

TOOLS_CHANGED = ("notifications/tools/list_changed", b"{}")


def names(hub, name="calculator", kind=Kind.TOOLS):
    piece = hub.catalog.get(name).shown(kind, prefixed=False)
    return [item["name"] for item in json.loads(b"[" + piece + b"]")]


def states(hub):
    return [event.state for event in hub.events.of(ServerChanged)]


def listings(fake):
    return sum(method == "tools/list" for method, _ in fake.asked)


def dead(fake):
    fake.alive = False


def mute(fake):
    fake.mute = True


# ---------------------------------------------------------------- lists


@virtual_time()
async def test_a_server_that_connects_is_listed():
    async with house("calculator") as hub:
        assert states(hub) == ["connected", "listed"]
        assert names(hub) == ["add"]
        assert hub.catalog.get("calculator").state.connected


@virtual_time()
async def test_a_server_that_says_so_ten_thousand_times_is_asked_once():
    """A35."""
    async with house("calculator") as hub:
        fake, before = hub["calculator"], listings(hub["calculator"])
        for _ in range(10_000):
            fake.watcher.changed(*TOOLS_CHANGED)
        await passes(ms(99))
        fake.watcher.changed(*TOOLS_CHANGED)
        await passes(SECOND)
        assert listings(fake) - before == 1


@virtual_time()
async def test_a_change_while_the_lists_are_fetched_is_not_missed():
    async with house(server("calculator", trust=True)) as hub:
        fake = hub["calculator"]
        fake.answers["tools/list"] = later(Act(fake._list(fake.sent[-1])), ms(500))
        fake.watcher.changed(*TOOLS_CHANGED)
        await passes(ms(300))
        del fake.answers["tools/list"]
        fake.tools["sub"] = tool("sub")
        fake.watcher.changed(*TOOLS_CHANGED)
        await passes(2 * SECOND)
        assert names(hub) == ["add", "sub"]


@virtual_time()
async def test_a_server_with_long_lists_is_asked_for_them_rarely():
    """A35: each of them takes time to work through."""

    def prepare(fake):
        fake.tools["long"] = tool("long", description="x" * 1024 * 1024)

    async with house("calculator", prepare={"calculator": prepare}) as hub:
        fake, before = hub["calculator"], listings(hub["calculator"])
        for _ in range(100):
            fake.watcher.changed(*TOOLS_CHANGED)
            await passes(ms(100))
        assert listings(fake) - before == 2


@virtual_time()
async def test_what_was_known_stays_when_the_lists_cannot_be_fetched():
    async with house("calculator") as hub:
        fake = hub["calculator"]
        fake.answers["tools/list"] = error(-32603)
        fake.watcher.changed(*TOOLS_CHANGED)
        await passes(2 * SECOND)
        assert names(hub) == ["add"]


@virtual_time()
async def test_lists_that_failed_are_asked_for_again_more_and_more_rarely():
    def refuse(fake):
        fake.answers["tools/list"] = error(-32603)

    async with house("calculator", prepare={"calculator": refuse}) as hub:
        fake = hub["calculator"]
        await passes(120 * SECOND)
        assert 4 <= listings(fake) <= 6
        del fake.answers["tools/list"]
        await passes(200 * SECOND)
        assert names(hub) == ["add"]
        fake.answers["tools/list"] = error(-32603)
        before = listings(fake)
        fake.watcher.changed(*TOOLS_CHANGED)
        await passes(7 * SECOND)
        assert listings(fake) - before == 2, "it begins with short spans again"


@virtual_time()
async def test_a_server_that_is_away_is_not_asked_for_lists():
    def refuse(fake):
        fake.answers["tools/list"] = error(-32603)

    async with house("calculator", prepare={"calculator": refuse}) as hub:
        fake = hub["calculator"]
        fake.die()
        before = len(fake.sent)
        await passes(60 * SECOND)
        assert not [o for o in fake.sent[before:] if o.method == "tools/list"]


@virtual_time()
async def test_other_notices_are_passed_on():
    heard = []
    async with house("calculator") as hub:
        hub.catalog.listeners.append(lambda *notice: heard.append(notice))
        hub["calculator"].watcher.changed("notifications/resources/updated", b'{"uri":"a"}')
        server_ = hub.catalog.get("calculator")
        assert heard == [(server_, "notifications/resources/updated", b'{"uri":"a"}')]


# ---------------------------------------------------------------- what is shown


@virtual_time()
async def test_a_dead_servers_tools_stay_listed_for_the_grace_and_say_so():
    async with house(server("calculator", grace_s=60)) as hub:
        await passes(1800 * SECOND)
        hub["calculator"].die()
        shown = hub.catalog.get("calculator").shown(Kind.TOOLS, prefixed=True)
        (item,) = json.loads(b"[" + shown + b"]")
        assert item["name"] == "calculator__add"
        assert item["_meta"] == {"io.agenthub/unavailable": "it died"}
        await passes(59 * SECOND)
        assert names(hub) == ["add"]
        await passes(2 * SECOND)
        assert names(hub) == []


@virtual_time()
async def test_the_grace_goes_on_over_a_restart_of_the_hub():
    store = FakeStore()
    async with house(server("calculator", grace_s=60), store=store) as hub:
        await passes(3600 * SECOND)
        hub["calculator"].die()
        await settled()
    kept = msgspec.json.decode(store.lists["calculator"], type=Listing)
    assert kept.listed_at_s == hub.clock.wall() // SECOND
    async with house(
        server("calculator", grace_s=60), store=store, prepare={"calculator": mute}
    ) as hub:
        await passes(50 * SECOND)
        assert names(hub) == ["add"]
        await passes(20 * SECOND)
        assert names(hub) == []


@virtual_time()
async def test_it_is_noted_now_and_then_that_the_lists_are_still_good():
    """So that a hub that is killed days later knows that they were good until then."""
    async with house("calculator") as hub:
        hub.store.writes.clear()
        await passes(5 * 3600 * SECOND)
        assert 4 <= hub.store.writes.count("put_list") <= 5
        kept = msgspec.json.decode(hub.store.lists["calculator"], type=Listing)
        assert hub.clock.wall() // SECOND - kept.listed_at_s <= 3600


@virtual_time()
async def test_a_server_that_was_never_listed_shows_nothing():
    async with house("calculator", prepare={"calculator": mute}) as hub:
        assert names(hub) == []
        assert hub.catalog.get("calculator").facts("add") is None
        hub["calculator"].watcher.lost(1, "gone")
        assert hub.store.lists == {}


@virtual_time()
async def test_why_calls_would_fail_is_said_in_few_words():
    async with house("calculator", server("off", enabled=False)) as hub:
        calculator, breaker = hub.catalog.get("calculator"), hub.catalog.get("calculator").lane
        assert calculator.unavailable() == ""
        breaker.breaker.trip(hub.clock.now(), 0.5, "test")
        assert calculator.unavailable() == "circuit open"
        breaker.breaker.force_open(hub.clock.now(), "test", None)
        assert calculator.unavailable() == "circuit forced_open"
        off = hub.catalog.get("off")
        assert off.unavailable() == "switched off"
        assert off.shown(Kind.TOOLS, prefixed=False) == b""


@virtual_time()
async def test_a_server_that_is_switched_off_is_left_alone():
    async with house(server("off", enabled=False)) as hub:
        hub.catalog.get("off").lane.breaker.trip(hub.clock.now(), 0.5, "test")
        await passes(60 * SECOND)
        assert (hub["off"].started, hub["off"].sent) == (0, [])


@virtual_time()
async def test_a_server_that_cannot_be_started_has_its_circuit_open():
    async with house("calculator", prepare={"calculator": dead}) as hub:
        assert states(hub) == ["unreachable"]
        breaker = hub.catalog.get("calculator").lane.breaker
        assert breaker.state is State.OPEN


# ---------------------------------------------------------------- trust


@pytest.mark.parametrize(
    ("more", "annotations", "safe", "reads"),
    [
        ({}, {"readOnlyHint": True}, False, False),
        ({"trust": True}, {"readOnlyHint": True}, True, True),
        ({"trust": True}, {"idempotentHint": True}, True, False),
        ({"trust": True}, {}, False, False),
        ({"tools": {"add": ToolPolicy(replay="safe")}}, {}, True, False),
        ({"trust": True, "tools": {"add": ToolPolicy(replay="never")}}, {"readOnlyHint": True},
         False, False),
    ],
)  # fmt: skip
@virtual_time()
async def test_a_servers_own_word_counts_as_far_as_it_is_trusted(more, annotations, safe, reads):
    def prepare(fake):
        fake.tools = {"add": tool("add", annotations=annotations)}

    async with house(server("calculator", **more), prepare={"calculator": prepare}) as hub:
        (hop,) = hub.catalog.routes.find(hub.call("calculator", "add")).hops
        assert (hop.replay_safe, hop.read_only) == (safe, reads)


@pytest.mark.parametrize("pinning", ["flag", "allow"])
@virtual_time()
async def test_a_definition_that_changed_unlocks_no_replay(pinning):
    """R30: a tool that calls itself harmless from now on."""
    async with house(server("calculator", trust=True, pinning=pinning)) as hub:
        fake = hub["calculator"]
        fake.tools["add"] = tool("add", annotations={"readOnlyHint": True})
        fake.watcher.changed(*TOOLS_CHANGED)
        await passes(SECOND)
        (hop,) = hub.catalog.routes.find(hub.call("calculator", "add")).hops
        assert not hop.replay_safe


@pytest.mark.parametrize("method", ["resources/read", "prompts/get", "completion/complete"])
@virtual_time()
async def test_what_only_reads_may_be_repeated(method):
    async with house("calculator") as hub:
        call = hub.call("calculator", "x", method=method)
        (hop,) = hub.catalog.routes.find(call).hops
        assert hop.replay_safe
        assert hop.read_only


# ---------------------------------------------------------------- questions


@virtual_time()
async def test_a_question_of_the_hubs_own_goes_beside_the_guards():
    async with house("calculator") as hub:
        hub.catalog.get("calculator").lane.breaker.force_open(hub.clock.now(), "x", None)
        reply = await hub.catalog.get("calculator").ask("ping", {"a": Raw(b"1")}, SECOND)
        assert reply.ending is Ending.RESULT


@virtual_time()
async def test_a_test_connects_and_lists_and_says_what_was_found():
    async with house("calculator", listed=False) as hub:
        hub["calculator"].connect()
        found = await hub.catalog.test("calculator", 2)
        assert found == {
            "ok": True, "era": "modern", "version": "2026-07-28", "tools_count": 1,
            "models_count": None,
            "tools_pending": 0, "suspicions": {}, "excluded": {}, "problem": "", "hint": "",
            "pid": None, "stderr": [],
        }  # fmt: skip
        assert names(hub) == ["add"]


@pytest.mark.parametrize(
    ("act", "problem"),
    [
        (REFUSED, "connection refused"), (lost(), "connection reset"),
        (error(-32000), "it answered with error -32000"),
        (status(503), "it answered with HTTP status 503"), (HANGS, "no answer within 2 s"),
        (Act(Reply(Ending.PROTOCOL)), "protocol"),
    ],
)  # fmt: skip
@virtual_time()
async def test_a_test_says_in_words_what_is_wrong(act, problem):
    async with house("calculator") as hub:
        hub["calculator"].answers["tools/list"] = act
        before = hub.clock.now()
        found = await hub.catalog.test("calculator", 2)
        assert not found["ok"]
        assert found["problem"] == problem
        assert hub.clock.now() - before <= 2 * SECOND + ms(1)


@virtual_time()
async def test_a_test_of_a_dead_server_repeats_its_own_problem_and_hint():
    async with house("calculator", prepare={"calculator": dead}) as hub:
        found = await hub.catalog.test("calculator", 2)
        assert (found["problem"], found["hint"]) == ("connection refused", "Start it.")
        assert found["tools_count"] is None


@virtual_time()
async def test_a_server_without_tools_is_well():
    def prepare(fake):
        fake.tools = {}
        fake.answers["tools/list"] = error(-32601)

    async with house("calculator", prepare={"calculator": prepare}) as hub:
        found = await hub.catalog.test("calculator", 2)
        assert (found["ok"], found["tools_count"]) == (True, 0)


@virtual_time()
async def test_a_test_fails_if_some_list_does():
    def prepare(fake):
        fake.prompts = {"p": Raw(b'{"name":"p"}')}
        fake.answers["prompts/list"] = HANGS

    async with house("calculator", prepare={"calculator": prepare}) as hub:
        before = hub.clock.now()
        found = await hub.catalog.test("calculator", 2)
        assert not found["ok"]
        assert hub.clock.now() - before <= 2 * SECOND + ms(1)


@virtual_time()
async def test_a_server_that_is_switched_off_is_not_tested():
    async with house(server("off", enabled=False)) as hub:
        found = await hub.catalog.test("off", 2)
        assert (found["ok"], found["problem"]) == (False, "it is switched off")
        assert hub["off"].sent == []


# ---------------------------------------------------------------- another in its place


@virtual_time()
async def test_a_retired_server_says_nothing_more():
    async with house("calculator") as hub:
        old = hub["calculator"]
        retired = hub.catalog.get("calculator")
        await hub.catalog.replace("calculator", server("calculator", url="http://new.test/mcp"))
        await passes(SECOND)
        hub.events.clear()
        version = retired.version
        old.watcher.connected()
        old.watcher.lost(1, "gone")
        old.watcher.unreachable("gone")
        old.watcher.changed(*TOOLS_CHANGED)
        retired.suspect()
        retired.lane.breaker.trip(hub.clock.now(), 0.5, "test")
        retired._listed(Listing())
        await passes(SECOND)
        assert hub.events == []
        assert retired.version == version
        assert names(hub) == ["add"]


@virtual_time()
async def test_new_settings_keep_the_circuit_the_limit_and_the_lists():
    before = server("calculator", rate_limit=RateLimit(rps=1, burst=2))
    async with house(before) as hub:
        await hub.result("calculator", "add")
        await hub.result("calculator", "add")
        hub.catalog.get("calculator").lane.breaker.trip(hub.clock.now(), 0.5, "test")
        hub.prepare["calculator"] = mute
        after = server("calculator", env={}, headers={"x-a": "1"}, rate_limit=RateLimit(1, 2))
        await hub.catalog.replace("calculator", after)
        lane = hub.catalog.get("calculator").lane
        assert lane.breaker.state is State.OPEN
        assert lane.take_token(hub.clock.now()) is not None
        assert names(hub) == ["add"]


@virtual_time()
async def test_settings_that_need_no_connection_are_taken_at_once():
    async with house("calculator") as hub:
        before = hub.catalog.get("calculator")
        version = before.version
        await hub.catalog.replace("calculator", server("calculator", concurrency=3, trust=True))
        after = hub.catalog.get("calculator")
        assert after is before
        assert after.version > version
        assert (after.endpoint.trust, after.lane.seats.seats) == (True, 3)
        assert len(hub.upstreams["calculator"]) == 1


@pytest.mark.parametrize(("forced", "state"), [(False, State.CLOSED), (True, State.FORCED_OPEN)])
@virtual_time()
async def test_another_address_begins_anew_but_for_the_operators_word(forced, state):
    async with house("calculator") as hub:
        breaker = hub.catalog.get("calculator").lane.breaker
        if forced:
            breaker.force_open(hub.clock.now(), "maintenance", None)
        else:
            breaker.trip(hub.clock.now(), 0.5, "test")
        await hub.catalog.replace("calculator", server("calculator", url="http://new.test/mcp"))
        assert hub.catalog.get("calculator").lane.breaker.state is state


@virtual_time()
async def test_a_retiring_connection_is_closed_at_the_latest_after_the_longest_deadline():
    async with house("calculator") as hub:
        old = hub["calculator"]
        old.answers["add"] = HANGS
        hub.begin("calculator", "add", seconds=100_000)
        await hub.catalog.remove("calculator")
        await passes(299 * SECOND)
        assert old.closed == 0
        await passes(3 * SECOND)
        assert old.closed == 1


@virtual_time()
async def test_a_connection_closes_when_its_last_call_is_over():
    async with house("calculator") as hub:
        old = hub["calculator"]
        old.answers["add"] = later(OK, 5 * SECOND)
        heard, _ = hub.begin("calculator", "add")
        await hub.catalog.remove("calculator")
        await passes(4 * SECOND)
        assert old.closed == 0
        await passes(3 * SECOND)
        assert old.closed == 1
        assert heard.answer.reply is OK.reply
