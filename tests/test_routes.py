import pytest
from msgspec import Raw, structs
from support.fake_upstream import tool
from support.house import house, server
from support.virtual_time import passes, virtual_time

from agenthub import routes
from agenthub.domain.caller import Caller, Reach, Scope
from agenthub.domain.endpoint import ToolPolicy
from agenthub.domain.errors import InvalidParams, ToolChanged, UnknownTarget
from agenthub.domain.span import SECOND
from agenthub.domain.tool_set import ToolSet

OTHER = {"type": "object", "required": ["x"]}
LIMITED = Caller("limited", frozenset({Scope.TOOLS}), frozenset({"other"}))


def mute(fake):
    fake.mute = True


def has(**tools):
    def prepare(fake):
        fake.tools = {name: tool(name, schema) for name, schema in tools.items()}

    return prepare


def way(hub, name="add", endpoint="calculator", **more):
    route = hub.catalog.routes.find(hub.call(endpoint, name, **more))
    return [(hop.lane.endpoint.name, hop.name) for hop in route.hops]


@virtual_time()
async def test_a_call_goes_to_its_server_and_then_to_those_who_may_stand_in():
    servers = (
        server("calculator", fallbacks=("b", "c"), fallback_url="http://twin.test/mcp"),
        server("b"), server("c", enabled=False),
    )  # fmt: skip
    async with house(*servers) as hub:
        assert way(hub) == [("calculator", "add"), ("calculator.fallback", "add"), ("b", "add")]
        stations = [name for name, _ in way(hub, "x", method="resources/read")]
        assert stations == ["calculator", "calculator.fallback", "b"]


@virtual_time()
async def test_a_tool_with_another_schema_does_not_stand_in():
    """R39."""
    servers = (server("calculator", fallbacks=("b", "c")), server("b"), server("c"))
    async with house(*servers, prepare={"b": has(add=OTHER), "c": has(sub=None)}) as hub:
        assert way(hub) == [("calculator", "add")]


@virtual_time()
async def test_a_tool_stands_in_where_the_operator_says_so():
    policy = {"add": ToolPolicy(fallback_name="plus")}
    servers = (server("calculator", fallbacks=("b",), tools=policy), server("b"))
    async with house(*servers, prepare={"b": has(plus=OTHER)}) as hub:
        assert way(hub) == [("calculator", "add"), ("b", "plus")]


@virtual_time()
async def test_a_mapping_to_a_tool_that_is_not_there_leads_nowhere():
    policy = {"add": ToolPolicy(fallback_name="plus")}
    servers = (server("calculator", fallbacks=("b",), tools=policy), server("b"))
    async with house(*servers) as hub:
        assert way(hub) == [("calculator", "add")]


@virtual_time()
async def test_resources_and_prompts_have_fallbacks_and_subscriptions_have_none():
    async with house(server("calculator", fallbacks=("b",)), server("b", enabled=True)) as hub:
        for method in ("resources/read", "prompts/get", "completion/complete"):
            assert way(hub, "x", method=method) == [("calculator", "x"), ("b", "x")]
        assert way(hub, "x", method="resources/subscribe") == [("calculator", "x")]


@virtual_time()
async def test_before_anything_was_listed_every_tool_may_be_there_and_nobody_stands_in():
    async with house(
        server("calculator", fallbacks=("b",)), server("b"), prepare={"calculator": mute}
    ) as hub:
        assert way(hub, "whatever") == [("calculator", "whatever")]
        assert hub.catalog.routes._ready == {}


@pytest.mark.parametrize(
    ("endpoint", "name", "words"),
    [
        ("nobody", "add", "Unknown server: nobody"), ("n" * 9_000, "add", "Unknown server: nnn"),
        ("calculator", "sub", "Unknown tool: sub"),
        ("calculator", "t" * 9_000, "Unknown tool: ttt"),
        ("calculator.fallback", "add", "Unknown server: calculator.fallback"),
        ("off", "add", "The server off is switched off"),
    ],
)  # fmt: skip
@virtual_time()
async def test_what_is_not_there_is_said_in_few_words(endpoint, name, words):
    servers = (server("calculator", fallback_url="http://t.test/mcp"), server("off", enabled=False))
    async with house(*servers) as hub:
        with pytest.raises(UnknownTarget) as refused:
            way(hub, name, endpoint)
        assert str(refused.value).startswith(words)
        assert len(str(refused.value)) < 200


@virtual_time()
async def test_a_server_that_is_switched_off_serves_nothing():
    async with house(server("off", enabled=False)) as hub:
        with pytest.raises(UnknownTarget, match="switched off"):
            way(hub, "x", "off", method="resources/read")


@virtual_time()
async def test_what_a_caller_may_not_see_is_not_there_for_it():
    async with house("calculator", "other") as hub:
        assert way(hub, endpoint="other", caller=LIMITED) == [("other", "add")]
        way(hub)
        seen = []
        for endpoint, name in [("calculator", "add"), ("calculator", "x"), ("nobody", "x")]:
            with pytest.raises(UnknownTarget) as refused:
                way(hub, name, endpoint, caller=LIMITED)
            seen.append(str(refused.value).replace(endpoint, "…"))
        assert len(set(seen)) == 1


@virtual_time()
async def test_arguments_are_checked_unless_the_operator_does_not_want_it():
    strict, lax = server("strict"), server("lax", validate_arguments=False)
    async with house(strict, lax, prepare={"strict": has(add=OTHER), "lax": has(add=OTHER)}) as hub:
        assert way(hub, endpoint="strict", x=1)
        with pytest.raises(InvalidParams, match="Invalid arguments for tool add"):
            way(hub, endpoint="strict", y=1)
        assert way(hub, endpoint="lax", y=1)
        call = hub.call("strict", "add")
        with pytest.raises(InvalidParams):
            hub.catalog.routes.find(structs.replace(call, params={}))


@virtual_time()
async def test_headers_are_those_that_the_arguments_ask_for():
    schema = {"type": "object", "properties": {"t": {"type": "string", "x-mcp-header": "Tenant"}}}
    async with house("calculator", prepare={"calculator": has(add=schema)}) as hub:
        for tenant in ("a", "b"):
            route = hub.catalog.routes.find(hub.call("calculator", "add", t=tenant))
            assert route.hops[0].headers == {"Mcp-Param-Tenant": tenant}
        bare = structs.replace(hub.call("calculator", "add"), params={"name": Raw(b'"add"')})
        assert hub.catalog.routes.find(bare).hops[0].headers == {}


@pytest.mark.parametrize("key", ["requestState", "inputResponses"])
@virtual_time()
async def test_an_answer_to_a_servers_question_goes_to_no_other(key):
    """R34."""
    async with house(server("calculator", fallbacks=("b",)), server("b")) as hub:
        call = hub.call("calculator", "add")
        call = structs.replace(call, params={**call.params, key: Raw(b'"x"')})
        hops = hub.catalog.routes.find(call).hops
        assert [hop.lane.endpoint.name for hop in hops] == ["calculator"]


@virtual_time()
async def test_a_route_is_made_once_and_anew_after_a_change():
    async with house(server("calculator", pinning="flag")) as hub:
        find = hub.catalog.routes.find
        first = find(hub.call("calculator", "add"))
        assert find(hub.call("calculator", "add")) is first
        hub["calculator"].tools["add"] = tool("add", OTHER)
        hub["calculator"].watcher.changed("notifications/tools/list_changed", b"{}")
        await passes(SECOND)
        with pytest.raises(InvalidParams):
            find(hub.call("calculator", "add"))


@virtual_time()
async def test_routes_take_no_memory_without_end(monkeypatch):
    monkeypatch.setattr(routes, "ROUTES_MAX", 3)
    tools = {f"t{number}": {"type": "object"} for number in range(10)}
    async with house("calculator", prepare={"calculator": has(**tools)}) as hub:
        for name in tools:
            way(hub, name)
            assert len(hub.catalog.routes._ready) <= 3


# ---------------------------------------------------------------- what was not approved


async def changes(hub, name="calculator", **tools):
    hub[name].tools = {tool_: tool(tool_, **more) for tool_, more in tools.items()}
    hub[name].watcher.changed("notifications/tools/list_changed", b"{}")
    await passes(SECOND)


@virtual_time()
async def test_a_tool_that_is_not_what_was_approved_has_no_route():
    async with house("calculator", prepare={"calculator": has(add={"type": "object"})}) as hub:
        assert await hub.result("calculator", "add")
        await changes(hub, add={"title": "t"}, mail={})
        for name, what in (("add", "changed since it was approved"), ("mail", "is new")):
            error = await hub.error("calculator", name)
            assert isinstance(error, ToolChanged)
            assert (error.code, error.executed, error.server, error.tool) == (
                -31010, "no", "calculator", name,
            )  # fmt: skip
            assert what in str(error)
        assert hub["calculator"].executed("add") == 1
        assert not hub["calculator"].executed("mail")
        assert [row.outcome for row in hub.rows] == ["ok", "tool_changed", "tool_changed"]


@virtual_time()
async def test_approval_makes_a_route():
    async with house("calculator") as hub:
        await changes(hub, add={"title": "t"})
        assert isinstance(await hub.error("calculator", "add"), ToolChanged)
        (waiting,) = hub.catalog.get("calculator").pending_tools()
        await hub.catalog.approve("calculator", {"add": waiting.now.digest})
        assert await hub.result("calculator", "add")


@virtual_time()
async def test_a_route_that_was_ready_goes_when_its_tool_changes():
    async with house("calculator") as hub:
        find = hub.catalog.routes.find
        assert find(hub.call("calculator", "add")) is find(hub.call("calculator", "add"))
        await changes(hub, add={"title": "t"})
        with pytest.raises(ToolChanged):
            find(hub.call("calculator", "add"))
        await changes(hub, add={})
        assert find(hub.call("calculator", "add")).hops


@virtual_time()
async def test_settings_that_let_it_pass_make_a_route():
    async with house("calculator") as hub:
        await changes(hub, add={"title": "t"})
        assert isinstance(await hub.error("calculator", "add"), ToolChanged)
        await hub.catalog.replace("calculator", server("calculator", pinning="flag"))
        assert await hub.result("calculator", "add")


@virtual_time()
async def test_a_fallback_whose_tool_is_not_what_was_approved_does_not_stand_in():
    async with house(server("calculator", fallbacks=("b", "c")), server("b"), server("c")) as hub:
        await changes(hub, "b", add={"description": "and mails it"})
        hops = hub.catalog.routes.find(hub.call("calculator", "add")).hops
        assert [hop.lane.endpoint.name for hop in hops] == ["calculator", "c"]


def held(*globs, **more):
    reach = Reach(ToolSet(globs, **more), None)
    return Caller("held", frozenset({Scope.TOOLS}), None, reach)


@virtual_time()
async def test_a_caller_is_held_to_what_it_may_touch():
    """A18: whatever the door."""
    async with house("calculator", prepare={"calculator": has(add=None, sub=None)}) as hub:
        for caller in (held("calculator__add"), held("*", deny=("*__sub",))):
            assert way(hub, caller=caller) == [("calculator", "add")]
            with pytest.raises(UnknownTarget, match="Unknown tool: sub"):
                way(hub, "sub", caller=caller)
        with pytest.raises(UnknownTarget, match="Unknown server"):
            way(hub, caller=held("other__add"))


@virtual_time()
@pytest.mark.parametrize(
    ("method", "name", "said"),
    [
        ("resources/read", "x", "Unknown resource: x"),
        ("resources/subscribe", "x", "Unknown resource: x"),
        ("prompts/get", "x", "Unknown prompt: x"),
    ],
)
async def test_resources_and_prompts_are_held_too(method, name, said):
    async with house("calculator") as hub:
        well = {"resources": "agenthub://calculator/x", "prompts": "calculator__x"}
        glob = well[method.partition("/")[0]]
        assert way(hub, name, method=method, caller=held(glob))
        assert way(hub, name, method=method, caller=held(glob, read_only=True))
        with pytest.raises(UnknownTarget, match=said):
            way(hub, name, method=method, caller=held("calculator__y"))


@virtual_time()
async def test_a_reader_is_served_by_who_only_reads():
    reads = {"add": tool("add", annotations={"readOnlyHint": True})}

    def reading(fake):
        fake.tools = reads

    servers = (
        server("calculator", fallbacks=("b", "c"), trust=True), server("b"),
        server("c", trust=True),
    )  # fmt: skip
    prepare = dict.fromkeys(("calculator", "b", "c"), reading)
    async with house(*servers, prepare=prepare) as hub:
        everyone = [("calculator", "add"), ("b", "add"), ("c", "add")]
        assert way(hub, caller=held("*")) == everyone
        reader = held("*", read_only=True)
        assert way(hub, caller=reader) == [("calculator", "add"), ("c", "add")]
        with pytest.raises(UnknownTarget):
            way(hub, endpoint="b", caller=reader)


@virtual_time()
async def test_of_a_server_that_was_never_heard_a_reader_is_served_nothing():
    async with house("calculator", prepare={"calculator": mute}, listed=False) as hub:
        assert way(hub) == [("calculator", "add")]
        with pytest.raises(UnknownTarget):
            way(hub, caller=held("*", read_only=True))
