"""Every door times every guard: a call that a guard refuses reaches no server, by any door.

A new door is a line in DOORS (tests/support/all_doors.py); a new guard is a test in TestEveryDoor.
"""

import asyncio

import pytest
from support.all_doors import DOORS, every_door
from support.fake_upstream import BUSY, HANGS, OK, error, lost, tool
from support.house import server
from support.stdio_hub import until

from agenthub.domain.budget import Budget
from agenthub.domain.caller import KeyTerms, Scope
from agenthub.domain.endpoint import RateLimit, Timeouts, ToolPolicy, ToolPrice
from agenthub.domain.money import USD
from agenthub.domain.span import SECOND
from agenthub.domain.tool_set import ToolSet
from agenthub.domain.view import View
from agenthub.hub import Hub

CALC = "calculator"


@pytest.fixture(params=DOORS)
def door_of(request):
    return DOORS[request.param]


def fake_tools(*names):
    def prepare(fake):
        fake.tools = {name: tool(name) for name in names}

    return prepare


async def refused(hub, door, slug, **arguments):
    """The guard's word, at the door and in the log; and the server saw nothing of it."""
    before = hub[CALC].arrived("add")
    word = await door.ask(CALC, "add", **arguments)
    assert word == slug
    assert (hub.rows[-1].door, hub.rows[-1].outcome) == (door.name, slug)
    assert hub[CALC].arrived("add") == before


class TestEveryDoor:
    async def test_a_call_that_no_guard_stops_is_answered(self, door_of, tmp_path):
        async with every_door(tmp_path, CALC) as hub:
            assert await door_of(hub).ask(CALC, "add") == "ok"
            assert hub[CALC].executed("add") == 1
            assert [row.outcome for row in hub.rows] == ["ok"]

    async def test_the_breaker_of_the_server(self, door_of, tmp_path):
        async with every_door(tmp_path, CALC) as hub:
            hub.catalog.get(CALC).lane.breaker.force_open(hub.clock.now(), "test", 60 * SECOND)
            await refused(hub, door_of(hub), "circuit_open")

    async def test_the_breaker_of_a_tool(self, door_of, tmp_path):
        prepare = {CALC: fake_tools("add", "well")}
        async with every_door(tmp_path, CALC, prepare=prepare) as hub:
            hub[CALC].answers["add"] = error(-32603)
            for _ in range(6):
                await hub.ask(CALC, "add")
            await refused(hub, door_of(hub), "circuit_open")
            assert await door_of(hub).ask(CALC, "well") == "ok"

    async def test_the_rate_limit(self, door_of, tmp_path):
        limited = server(CALC, rate_limit=RateLimit(rps=0.001, burst=2))
        async with every_door(tmp_path, limited) as hub:
            door = door_of(hub)
            assert [await door.ask(CALC, "add") for _ in range(2)] == ["ok", "ok"]
            await refused(hub, door, "rate_limited")

    async def test_the_bulkhead(self, door_of, tmp_path):
        async with every_door(tmp_path, server(CALC, concurrency=1)) as hub:
            hub[CALC].answers["add"] = HANGS
            held = [hub.begin(CALC, "add") for _ in range(2)]
            await refused(hub, door_of(hub), "overloaded")
            assert not any(heard.answers for heard, _ in held)

    async def test_shedding(self, door_of, tmp_path):
        async with every_door(tmp_path, CALC, calls_in_flight=1) as hub:
            hub[CALC].answers["add"] = HANGS
            hub.begin(CALC, "add")
            await refused(hub, door_of(hub), "overloaded")

    async def test_the_quarantine_of_arguments_that_kill(self, door_of, tmp_path):
        async with every_door(tmp_path, CALC) as hub:
            hub[CALC].answers["add"] = lambda sent: (
                lost() if b"poison" in bytes(sent.params["arguments"]) else OK
            )
            door = door_of(hub)
            words = [await door.ask(CALC, "add", a="poison") for _ in range(2)]
            assert words == ["outcome_unknown"] * 2
            await refused(hub, door, "poisoned", a="poison")
            assert await door.ask(CALC, "add", a="food") == "ok"

    async def test_the_pause_that_the_server_asked_for(self, door_of, tmp_path):
        hurried = server(CALC, timeouts=Timeouts(call_ms=1_000))
        async with every_door(tmp_path, hurried) as hub:
            hub[CALC].answers["add"] = BUSY
            await hub.ask(CALC, "add", seconds=1)
            await refused(hub, door_of(hub), "throttled_upstream")

    async def test_the_deadline(self, door_of, tmp_path):
        hurried = server(CALC, timeouts=Timeouts(call_ms=150))
        async with every_door(tmp_path, hurried) as hub:
            hub[CALC].answers["add"] = HANGS
            began = asyncio.get_running_loop().time()
            assert await door_of(hub).ask(CALC, "add") == "outcome_unknown"
            assert asyncio.get_running_loop().time() - began < 5
            await until(lambda: not hub.gateway.in_flight)

    async def test_the_idempotency_key(self, door_of, tmp_path):
        async with every_door(tmp_path, CALC) as hub:
            door = door_of(hub)
            if not door.takes_idempotency_keys:
                pytest.skip("a command line has none to give")
            assert [await door.ask(CALC, "add", once="k", a=1) for _ in range(2)] == ["ok", "ok"]
            assert hub[CALC].executed("add") == 1
            await refused(hub, door, "idempotency_conflict", once="k", a=2)

    async def test_the_schema_of_the_arguments(self, door_of, tmp_path):
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}}

        def prepare(fake):
            fake.tools = {"add": tool("add", schema)}

        async with every_door(tmp_path, CALC, prepare={CALC: prepare}) as hub:
            await refused(hub, door_of(hub), "invalid_params", a="no number")

    async def test_the_definition_that_was_approved(self, door_of, tmp_path):
        """A30: one that changed, and one that came later."""
        async with every_door(tmp_path, CALC) as hub:
            door, server = door_of(hub), hub.catalog.get(CALC)
            assert await door.ask(CALC, "add") == "ok"
            hub[CALC].tools = {
                "add": tool("add", annotations={"readOnlyHint": True}), "mail": tool("mail"),
            }  # fmt: skip
            hub[CALC].watcher.changed("notifications/tools/list_changed", b"{}")
            await until(lambda: server.withheld == {"add", "mail"})
            await refused(hub, door, "tool_changed")
            assert await door.ask(CALC, "mail") == "tool_changed"
            assert not hub[CALC].arrived("mail")
            digests = {one.name: one.now.digest for one in server.pending_tools()}
            await hub.catalog.approve(CALC, digests)
            assert [await door.ask(CALC, name) for name in digests] == ["ok", "ok"]

    async def test_the_budget(self, door_of, tmp_path):
        """Only what costs something is stopped; what is free goes on."""
        priced = server(CALC, tools={"add": ToolPolicy(price=ToolPrice("0.01"))})
        prepare = {CALC: fake_tools("add", "well")}
        async with every_door(tmp_path, priced, prepare=prepare) as hub:
            door, budget = door_of(hub), Budget("cents", USD // 100, blocked=100)
            hub.ledger.kept = {budget.id: budget}
            hub.gateway.till.take([budget])
            assert await door.ask(CALC, "add") == "ok"
            await refused(hub, door, "budget_exceeded")
            assert await door.ask(CALC, "well") == "ok"

    async def test_a_key_that_is_none(self, door_of, tmp_path):
        async with every_door(tmp_path, CALC) as hub:
            door = keyed(door_of(hub))
            assert "unauthorized" in await door.ask(CALC, "add", key="x" * 40)
            assert not calls_of(hub[CALC])

    async def test_a_key_that_was_revoked(self, door_of, tmp_path):
        async with every_door(tmp_path, CALC) as hub:
            door = keyed(door_of(hub))
            row, token = await hub.keys.create("k", (Scope.TOOLS, Scope.READ))
            assert await door.ask(CALC, "add", key=token) == "ok"
            await hub.keys.revoke(row.id)
            assert "unauthorized" in await door.ask(CALC, "add", key=token)
            assert hub[CALC].executed("add") == 1

    async def test_a_key_without_the_scope(self, door_of, tmp_path):
        async with every_door(tmp_path, CALC) as hub:
            door = keyed(door_of(hub))
            assert "forbidden" in await door.ask(CALC, "add", key=await hub.key(Scope.READ))
            assert not calls_of(hub[CALC])

    async def test_a_key_for_other_servers(self, door_of, tmp_path):
        async with every_door(tmp_path, CALC, "other") as hub:
            door = keyed(door_of(hub))
            token = await hub.key(Scope.TOOLS, endpoints=["other"])
            word = await door.ask(CALC, "add", key=token)
            assert word != "ok"
            assert not hub[CALC].executed("add")
            nowhere = await door.ask("nowhere", "add", key=token)
            assert str(word).replace(CALC, "nowhere") == str(nowhere), "as if it were not there"
            assert await door.ask("other", "add", key=token) == "ok"

    async def test_a_key_for_other_tools(self, door_of, tmp_path):
        """A18: what it may not touch is as if it were not there."""
        async with every_door(tmp_path, CALC, prepare={CALC: fake_tools("add", "well")}) as hub:
            door = keyed(door_of(hub))
            for tools in (ToolSet(("*__well",)), ToolSet(deny=("*__add",))):
                token = await hub.key(Scope.TOOLS, tools=tools)
                word = await door.ask(CALC, "add", key=token)
                nothing = await door.ask(CALC, "nothing", key=token)
                assert "unknown_target" in str(word)
                assert str(word).replace("add", "nothing") == str(nothing)
                assert await door.ask(CALC, "well", key=token) == "ok"
            assert hub[CALC].arrived("add") == 0

    async def test_a_key_that_may_only_read(self, door_of, tmp_path):
        policy = {"well": ToolPolicy(read_only=True)}
        prepare = {CALC: fake_tools("add", "well")}
        async with every_door(tmp_path, server(CALC, tools=policy), prepare=prepare) as hub:
            door = keyed(door_of(hub))
            token = await hub.key(Scope.TOOLS, tools=ToolSet(read_only=True))
            assert "unknown_target" in str(await door.ask(CALC, "add", key=token))
            assert await door.ask(CALC, "well", key=token) == "ok"
            assert hub[CALC].arrived("add") == 0

    async def test_the_rate_limit_of_the_key(self, door_of, tmp_path):
        """It is the key's at all doors together, and no other's."""
        async with every_door(tmp_path, CALC) as hub:
            door = keyed(door_of(hub))
            token = await hub.key(Scope.TOOLS, Scope.READ, rate_limit=RateLimit(0.001, 2))
            assert await door.ask(CALC, "add", key=token) == "ok"
            assert await DOORS["rest, own protocol"](hub).ask(CALC, "add", key=token) == "ok"
            await refused(hub, door, "rate_limited", key=token)
            other = await hub.key(Scope.TOOLS, Scope.READ, rate_limit=RateLimit(0.001, 2))
            assert await door.ask(CALC, "add", key=other) == "ok"
            key_id = token.split("_")[1]
            await hub.keys.change(key_id, KeyTerms(rate_limit=RateLimit(0.001, 3)))
            assert await door.ask(CALC, "add", key=token) == "ok"
            await refused(hub, door, "rate_limited", key=token)
            await hub.keys.change(key_id, KeyTerms())
            assert await door.ask(CALC, "add", key=token) == "ok"

    async def test_a_secret_that_was_rotated(self, door_of, tmp_path):
        async with every_door(tmp_path, CALC) as hub:
            door = keyed(door_of(hub))
            token = await hub.key(Scope.TOOLS, Scope.READ)
            assert await door.ask(CALC, "add", key=token) == "ok"
            _, other = await hub.keys.rotate(token.split("_")[1], 60)
            assert [await door.ask(CALC, "add", key=one) for one in (token, other)] == ["ok"] * 2
            _, last = await hub.keys.rotate(token.split("_")[1])
            for one in (token, other):
                assert "unauthorized" in await door.ask(CALC, "add", key=one)
            assert await door.ask(CALC, "add", key=last) == "ok"
            assert hub[CALC].executed("add") == 4

    async def test_a_key_for_views(self, door_of, tmp_path):
        async with every_door(tmp_path, CALC, prepare={CALC: fake_tools("add", "well")}) as hub:
            door = keyed(door_of(hub))
            await door.ask(CALC, "well")
            await hub.catalog.views.add(View("some", allow=("*__well",)))
            token = await hub.key(Scope.TOOLS, views=["some", "all"] if "all" in
                                  hub.catalog.views.all else ["some"])  # fmt: skip
            if "all" in hub.catalog.views.all:
                await hub.catalog.views.replace(View("all", allow=("*__well",), search=door.search))
            assert "unknown_target" in str(await door.ask(CALC, "add", key=token))
            assert await door.ask(CALC, "well", key=token) == "ok"
            assert hub[CALC].arrived("add") == 0


async def test_what_a_hub_shows_leads_to_no_upstream(tmp_path):
    """A door is given the hub's parts: no public name of them, at any depth, is an upstream."""
    async with every_door(tmp_path, CALC) as hub:
        upstream = hub[CALC]
        parts = {name: getattr(hub, name) for name in Hub.__struct_fields__ if hasattr(hub, name)}
        parts["catalog.get(…)"] = hub.catalog.get(CALC)
        assert {"catalog", "gateway", "bus", "keys", "metrics", "tasks"} <= parts.keys()
        todo = [(f"hub.{name}", part) for name, part in parts.items()]
        seen = {id(part): part for _, part in todo}
        while todo:
            path, part = todo.pop()
            for name, found in public(part):
                assert found is not upstream, f"{path}{name}"
                if id(found) not in seen:
                    seen[id(found)] = found
                    todo.append((path + name, found))


def public(part):
    """What can be had from it without a call or an underscore: (name, object)."""
    if isinstance(part, dict):
        return [(f"[{key!r}]", value) for key, value in part.items()]
    if isinstance(part, (list, tuple, set, frozenset)):
        return [("[…]", value) for value in part]
    if not type(part).__module__.startswith("agenthub."):
        return []
    names = [name for name in dir(part) if not name.startswith("_")]
    return [(f".{name}", getattr(part, name)) for name in names if hasattr(part, name)]


def keyed(door):
    if not door.is_keyed:
        pytest.skip("who starts this process needs no key")
    return door


def calls_of(fake):
    return [name for method, name in fake.asked if method == "tools/call"]
