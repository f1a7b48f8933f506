"""How the hub and its servers are."""

import pytest
from msgspec import structs
from support.fake_upstream import error, tool
from support.house import house, server
from support.virtual_time import passes, virtual_time

from agenthub.domain.breaker_config import BreakerConfig
from agenthub.domain.span import SECOND
from agenthub.health import Health, ServerHealth

FOR_EVER = BreakerConfig(recovery_timeout_ms=300_000, max_open_ms=300_000)


def down(fake):
    fake.alive = False


def mute(fake):
    fake.mute = True


class Hub:
    problems = ()


def health_of(hub, own=Hub):
    return Health(hub.catalog, hub.clock, lambda: own.problems)


def of(health, name):
    one = health.report().servers[name]
    return one.status, one.reason


class TestServer:
    @virtual_time()
    async def test_one_that_is_connected_is_ok(self):
        async with house("git") as hub:
            assert of(health_of(hub), "git") == ("ok", "")

    @virtual_time()
    async def test_one_that_was_switched_off_is_off(self):
        async with house(server("git", enabled=False)) as hub:
            assert of(health_of(hub), "git") == ("off", "switched off")

    @virtual_time()
    async def test_one_of_which_nothing_is_known_yet_is_starting(self):
        async with house("git", prepare={"git": mute}) as hub:
            assert of(health_of(hub), "git") == ("starting", "not connected yet")

    @virtual_time()
    async def test_one_that_cannot_be_reached_is_down_and_says_why(self):
        async with house(server("git", breaker=FOR_EVER), prepare={"git": down}) as hub:
            status, reason = of(health_of(hub), "git")
            assert status == "down"
            assert reason == "its circuit is open: connection refused"

    @virtual_time()
    async def test_one_that_died_is_down_before_its_breaker_knows(self):
        async with house("git") as hub:
            hub["git"].die()
            assert of(health_of(hub), "git") == ("down", "it died")

    @virtual_time()
    async def test_one_for_which_a_fallback_answers_is_degraded(self):
        primary = server("git", fallbacks=("other", "twin"), breaker=FOR_EVER)
        places = (primary, server("other", breaker=FOR_EVER), "twin")
        async with house(*places, prepare={"git": down, "other": down}) as hub:
            health = health_of(hub)
            status, reason = of(health, "git")
            assert status == "degraded"
            assert reason == "twin answers for it: its circuit is open: connection refused"
            hub["twin"].die()
            assert of(health, "git")[0] == "down"

    @virtual_time()
    async def test_a_fallback_that_is_switched_off_helps_nobody(self):
        primary = server("git", fallbacks=("twin",), breaker=FOR_EVER)
        async with house(primary, server("twin", enabled=False), prepare={"git": down}) as hub:
            assert of(health_of(hub), "git")[0] == "down"

    @virtual_time()
    async def test_a_fallback_known_by_its_address_only_helps_and_is_not_listed(self):
        primary = server("git", fallback_url="http://twin.test/mcp", breaker=FOR_EVER)
        async with house(primary, prepare={"git": down}) as hub:
            report = health_of(hub).report()
            assert report.servers["git"].status == "degraded"
            assert set(report.servers) == {"git"}

    @virtual_time()
    async def test_what_an_operator_holds_open_names_the_operator(self):
        async with house("git") as hub:
            health, breaker = health_of(hub), hub.catalog.get("git").lane.breaker
            breaker.force_open(hub.clock.now(), "anna: broken data", None)
            assert of(health, "git") == ("down", "held open by anna: broken data")
            breaker.force_open(hub.clock.now(), "", None)
            assert of(health, "git") == ("down", "held open by an operator")
            breaker.force_close(hub.clock.now(), "anna", None)
            assert of(health, "git") == ("ok", "")

    @virtual_time()
    async def test_one_whose_breaker_is_open_though_it_is_connected_is_down(self):
        async with house(server("git", breaker=FOR_EVER)) as hub:
            hub.catalog.get("git").lane.breaker.trip(hub.clock.now(), 0.5, "test")
            assert of(health_of(hub), "git") == ("down", "its circuit is open")

    @virtual_time()
    async def test_one_that_is_tried_again_is_degraded(self):
        async with house("git") as hub:
            health, breaker = health_of(hub), hub.catalog.get("git").lane.breaker
            breaker.trip(hub.clock.now(), 0.5, "test")
            breaker.admit(breaker.until, 0.5)
            assert of(health, "git") == (
                "degraded", "its circuit is half open: it is being tried again",
            )  # fmt: skip

    @virtual_time()
    async def test_one_with_a_tool_that_is_stopped_is_degraded_and_names_it(self):
        """F28."""
        async with house(server("git", attempts=1, trust=True)) as hub:
            health = health_of(hub)
            names = ("log", "add", "diff", "tag")
            for name in names:
                hub["git"].tools[name] = (
                    hub["git"]
                    .tools["add"]
                    .__class__(b'{"name":"%b","inputSchema":{"type":"object"}}' % name.encode())
                )
            hub["git"].watcher.changed("notifications/tools/list_changed", b"{}")
            await passes(SECOND)
            hub["git"].answers["log"] = error(-32603)
            for _ in range(5):
                await hub.ask("git", "log")
            assert of(health, "git") == ("degraded", "the circuit of log is open")
            for name in names:
                lane = hub.catalog.get("git").lane
                lane._tool(name).breaker = breaker = lane._breaker(name)
                breaker.trip(hub.clock.now(), 0.5, "test")
            assert of(health, "git") == (
                "degraded", "the circuit of add, diff, log and 1 more is open",
            )  # fmt: skip

    @virtual_time()
    async def test_one_with_a_tool_that_changed_is_degraded_and_names_it(self):
        async with house("git") as hub:
            health, fake = health_of(hub), hub["git"]
            fake.tools = {"add": tool("add", title="new"), "mail": tool("mail")}
            fake.watcher.changed("notifications/tools/list_changed", b"{}")
            await passes(SECOND)
            assert of(health, "git") == ("degraded", "changed, and not approved: add")
            assert health.report().status == "degraded"
            digests = {one.name: one.now.digest for one in hub.catalog.get("git").pending_tools()}
            await hub.catalog.approve("git", {"add": digests["add"]})
            assert of(health, "git") == ("ok", ""), "a new tool that is not there yet hurts nobody"

    @virtual_time()
    async def test_one_with_a_tool_that_changed_and_is_used_all_the_same_is_ok(self):
        async with house(server("git", pinning="flag")) as hub:
            hub["git"].tools = {"add": tool("add", title="new")}
            hub["git"].watcher.changed("notifications/tools/list_changed", b"{}")
            await passes(SECOND)
            assert of(health_of(hub), "git") == ("ok", "")

    @virtual_time()
    async def test_one_that_works_and_complains_is_degraded(self):
        async with house("git") as hub:
            hub["git"].state = structs.replace(hub["git"].state, problem="prints noise")
            assert of(health_of(hub), "git") == ("degraded", "prints noise")


class TestHub:
    @virtual_time()
    async def test_without_servers_it_is_ok(self):
        async with house() as hub:
            report = health_of(hub).report()
            assert (report.status, report.reasons(in_full=False), report.servers) == ("ok", (), {})

    @virtual_time()
    async def test_servers_that_start_or_are_off_are_no_reason(self):
        places = ("a", "b", server("c", enabled=False))
        async with house(*places, prepare={"b": mute}) as hub:
            report = health_of(hub).report()
            assert (report.status, report.reasons(in_full=False)) == ("ok", ())

    @virtual_time()
    async def test_with_one_sick_server_of_two_it_is_degraded_and_says_which(self):
        async with house("a", "b") as hub:
            hub["b"].die()
            report = health_of(hub).report()
            assert report.status == "degraded"
            assert report.reasons(in_full=False) == ("b: it died",)

    @pytest.mark.parametrize("fallbacks", [(), ("b",)])
    @virtual_time()
    async def test_a_servers_own_words_are_told_in_full_only(self, fallbacks):
        async with house(server("a", fallbacks=fallbacks), "b") as hub:
            hub["a"].die()
            hub["a"].state = structs.replace(hub["a"].state, words="no user Eve")
            report = health_of(hub).report()
            (short,), (full,) = report.reasons(in_full=False), report.reasons(in_full=True)
            assert full == f"{short}: no user Eve"
            assert report.servers["b"].told(in_full=True) == ""

    @virtual_time()
    async def test_with_every_server_down_it_is_down(self):
        async with house("a", server("b", enabled=False)) as hub:
            hub["a"].die()
            assert health_of(hub).report().status == "down"

    @virtual_time()
    async def test_a_problem_of_its_own_degrades_it(self):
        async with house("a") as hub:
            own = Hub()
            health = health_of(hub, own)
            assert health.report().status == "ok"
            own.problems = ("The disk is full.",)
            report = health.report()
            assert report.status == "degraded"
            assert report.reasons(in_full=False) == ("The disk is full.",)


class TestOnce:
    @virtual_time()
    async def test_it_is_computed_once_for_all_who_ask(self):
        async with house("a", "b") as hub:
            health = health_of(hub)
            first = health.report()
            assert health.report() is first
            await passes(SECOND // 2)
            assert health.report() is first

    @virtual_time()
    async def test_a_change_is_seen_at_once(self):
        async with house("a", "b") as hub:
            health = health_of(hub)
            first = health.report()
            hub["b"].die()
            assert health.report() != first
            hub["b"].revive()
            assert health.report() == first
            await hub.catalog.add(server("c"))
            assert set(health.report().servers) == {"a", "b", "c"}

    @virtual_time()
    async def test_what_nobody_told_is_seen_within_a_second(self):
        async with house("a") as hub:
            health = health_of(hub)
            assert of(health, "a") == ("ok", "")
            hub["a"].state = structs.replace(hub["a"].state, problem="prints noise")
            assert of(health, "a") == ("ok", "")
            await passes(SECOND + 1)
            assert of(health, "a") == ("degraded", "prints noise")

    @pytest.mark.parametrize("length", [10, 10_000])
    @virtual_time()
    async def test_a_reason_is_bounded(self, length):
        async with house("a") as hub:
            hub["a"].die()
            hub["a"].state = structs.replace(hub["a"].state, problem="x" * length)
            assert of(health_of(hub), "a") == ("down", "x" * min(length, 500))


def test_a_servers_health_needs_no_reason():
    assert ServerHealth("ok").reason == ""
