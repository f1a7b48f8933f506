"""`search_tools` and `call_tool` instead of a long list."""

import json

import pytest
from msgspec import structs
from support.exchange import initialize, legacy, modern
from support.fake_upstream import HANGS, OK, result, tool
from support.house import ANNA, server
from support.mcp_hub import doors
from support.virtual_time import virtual_time

from agenthub.domain.caller import KeyTerms, reach_of
from agenthub.domain.endpoint import ToolPolicy
from agenthub.domain.tool_set import ToolSet
from agenthub.domain.view import Renamed, View
from agenthub.inbound.mcp import search as search_module
from agenthub.inbound.mcp.search import ANSWER_MAX_BYTES, CALL, INDEXES_MAX, LONG, SEARCH

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
FINDER = structs.replace(ANNA, search="on")
AUTO = structs.replace(ANNA, search="auto")
CALC = {
    "add": tool("add", SCHEMA, description="Adds numbers.", annotations={"readOnlyHint": True}),
    "print": tool("print", description="Prints a page."),
}


def offers(tools, **more):
    def prepare(fake):
        fake.tools = tools
        for name, value in more.items():
            setattr(fake, name, value)

    return prepare


HOUSE = {"prepare": {"calc": offers(CALC)}}


async def listed(hub, caller=FINDER, path="/mcp"):
    asked = await hub(modern("tools/list", path=path, caller=caller))
    return [entry["name"] for entry in asked.result["tools"]]


async def ask(hub, name, arguments, caller=FINDER, path="/mcp", **more):
    params = {"name": name, "arguments": arguments}
    return await hub(modern("tools/call", params, path=path, caller=caller, **more))


async def found(hub, query, caller=FINDER, path="/mcp", **more):
    asked = await ask(hub, SEARCH, {"query": query, **more}, caller, path)
    assert asked.result["resultType"] == "complete"
    (block,) = asked.result["content"]
    return json.loads(block["text"])


def numbered(count, **more):
    return {f"t{n:03}": tool(f"t{n:03}", description="same", **more) for n in range(count)}


@virtual_time()
async def test_both_are_offered_instead_of_the_list():
    async with doors("calc", **HOUSE) as hub:
        assert await listed(hub) == [SEARCH, CALL]
        assert await listed(hub, path="/mcp/calc") == [SEARCH, CALL]
        assert await listed(hub, ANNA) == ["calc__add", "calc__print"], "off by default"


@virtual_time()
async def test_what_is_found_is_told_so_that_it_can_be_called():
    async with doors("calc", **HOUSE) as hub:
        assert await found(hub, "add numbers") == {
            "tools": [{
                "name": "calc__add", "description": "Adds numbers.", "inputSchema": SCHEMA,
                "annotations": {"readOnlyHint": True},
            }],
        }  # fmt: skip
        (one,) = (await found(hub, "page", path="/mcp/calc"))["tools"]
        assert one["name"] == "print"
        assert await found(hub, "nothing of the kind") == {"tools": []}
        assert hub.rows == [], "the hub answers itself, as it does lists"


@virtual_time()
async def test_what_is_found_is_called_as_if_by_its_name():
    async with doors("calc", **HOUSE) as hub:
        asked = await ask(
            hub, CALL, {"name": "calc__add", "arguments": {"a": 12345678901234567890}}
        )
        assert asked.result["_meta"]["io.agenthub/served_by"] == "calc"
        assert [(row.endpoint, row.name, row.outcome) for row in hub.rows] == [
            ("calc", "add", "ok")
        ]
        assert bytes(hub["calc"].sent[-1].params["arguments"]) == b'{"a":12345678901234567890}'
        assert "result" in (await ask(hub, CALL, {"name": "calc__print"})).json


@virtual_time()
async def test_its_schema_and_its_guards_are_those_of_the_real_tool():
    async with doors("calc", **HOUSE) as hub:
        wrong = await ask(hub, CALL, {"name": "calc__add", "arguments": {"a": "x"}})
        assert wrong.json["error"]["data"] | {"request_id": ""} == {
            "code": "invalid_params", "retryable": False, "retry_after_ms": None,
            "executed": "no", "server": "calc", "tool": "add", "attempt_count": 0,
            "request_id": "",
        }  # fmt: skip
        hub.catalog.get("calc").lane.breaker.force_open(hub.clock.now(), "test", None)
        refused = await ask(hub, CALL, {"name": "calc__add", "arguments": {"a": 1}})
        assert refused.json["error"]["data"]["code"] == "circuit_open"
        assert hub["calc"].arrived("add") == 0


@virtual_time()
async def test_progress_and_cancelling_go_through_it():
    act = structs.replace(OK, notes=(("notifications/progress", b'{"progress":1}'),))
    async with doors("calc", **HOUSE) as hub:
        hub["calc"].answers["add"] = act
        wish = {"name": "calc__add", "arguments": {"a": 1}}
        asked = await ask(hub, CALL, wish, meta={"progressToken": 1})
        assert [event.get("method") for event in asked.events] == ["notifications/progress", None]
        hub["calc"].answers["add"] = HANGS
        asked = hub.send(modern("tools/call", {"name": CALL, "arguments": wish}, caller=FINDER))
        asked.gone()
        await hub(modern("server/discover"))
        assert (hub.rows[-1].name, hub.rows[-1].outcome) == ("add", "cancelled")


@virtual_time()
async def test_a_parameter_that_stands_in_a_header_needs_none_here():
    """The client knows nothing of the tool's own schema, so it cannot repeat it in headers."""
    schema = {
        "type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    }  # fmt: skip
    async with doors("calc", prepare={"calc": offers({"at": tool("at", schema)})}) as hub:
        asked = await ask(hub, CALL, {"name": "calc__at", "arguments": {"region": "eu"}})
        assert "result" in asked.json
        assert hub["calc"].sent[-1].headers == {"Mcp-Param-Region": "eu"}


@virtual_time()
@pytest.mark.parametrize(("name", "arguments", "words"), [
    (SEARCH, {}, "query: expected"), (SEARCH, {"query": ""}, "query"), (SEARCH, [], "query"),
    (SEARCH, {"query": "x" * 1_001}, "query"), (SEARCH, {"query": "x", "limit": 0}, "limit"),
    (SEARCH, {"query": "x", "limit": 21}, "limit"),
    (SEARCH, {"query": "x", "limit": True}, "limit"),
    (CALL, {}, "`name`"), (CALL, {"name": 7}, "`name`"), (CALL, None, "`name`"),
    (CALL, {"name": "calc__add", "arguments": []}, "`arguments`"),
    (CALL, {"name": ""}, "`name`"),
])  # fmt: skip
async def test_a_wish_that_is_none_is_refused(name, arguments, words):
    async with doors("calc", **HOUSE) as hub:
        asked = await ask(hub, name, arguments)
        assert asked.code == -32602
        assert words in asked.json["error"]["message"]


@virtual_time()
async def test_unknown_tools_are_unknown_and_neither_of_the_two_calls_itself():
    async with doors("calc", **HOUSE) as hub:
        for name in ("calc__none", "none", CALL, SEARCH):
            asked = await ask(hub, CALL, {"name": name, "arguments": {}})
            assert asked.code == -32602
            assert asked.json["error"]["message"].startswith("Unknown tool")


@virtual_time()
async def test_a_limited_key_finds_and_calls_what_it_may_touch():
    async with doors("calc", **HOUSE) as hub:
        reach = reach_of(KeyTerms(ToolSet(deny=("*__add",))), {})
        key = structs.replace(FINDER, reach=reach)
        assert (await found(hub, "numbers page", key))["tools"][0]["name"] == "calc__print"
        assert len((await found(hub, "numbers page", key))["tools"]) == 1
        asked = await ask(hub, CALL, {"name": "calc__add", "arguments": {"a": 1}}, key)
        assert asked.json["error"]["message"] == "Unknown tool: add"


@virtual_time()
async def test_who_may_only_read_is_told_that_calling_changes_nothing():
    servers = server("calc", tools={"print": ToolPolicy(read_only=True)})
    async with doors(servers, **HOUSE) as hub:
        for reading in (False, True):
            reach = reach_of(KeyTerms(ToolSet(read_only=reading)), {})
            key = structs.replace(FINDER, reach=reach)
            asked = await hub(modern("tools/list", caller=key))
            annotations = asked.result["tools"][1]["annotations"]
            assert annotations == {"readOnlyHint": reading, "destructiveHint": not reading}


@virtual_time()
async def test_a_view_can_be_searched_under_its_own_names():
    view = View("v", names={"plus": Renamed("calc__add", "Sums up.")}, search="on")
    async with doors("calc", **HOUSE) as hub:
        await hub.catalog.views.add(view)
        assert await listed(hub, ANNA, "/mcp/v/v") == [SEARCH, CALL]
        (one,) = (await found(hub, "sum", ANNA, "/mcp/v/v"))["tools"]
        assert (one["name"], one["description"]) == ("plus", "Sums up.")
        wish = {"name": "plus", "arguments": {"a": 1}}
        assert "result" in (await ask(hub, CALL, wish, ANNA, "/mcp/v/v")).json
        assert hub["calc"].executed("add") == 1
        # An address beside it is as it was.
        assert await listed(hub, ANNA) == ["calc__add", "calc__print"]


@virtual_time()
async def test_a_list_is_searched_when_it_is_long():
    async with doors("calc", prepare={"calc": offers(numbered(LONG))}) as hub:
        assert len(await listed(hub, AUTO)) == LONG
        assert (await ask(hub, SEARCH, {"query": "same"}, AUTO)).code == -32602
        hub["calc"].tools = numbered(LONG + 1)
        hub.catalog.get("calc").endpoint = server("calc")
        hub["calc"].watcher.changed("notifications/tools/list_changed", b"{}")
        await hub(modern("server/discover"))
        hub.catalog.get("calc").approve(hub.catalog.get("calc").look(
            {tool.name: tool.now.digest for tool in hub.catalog.get("calc").pending_tools()}
        ))  # fmt: skip
        assert await listed(hub, AUTO) == [SEARCH, CALL]
        assert len((await found(hub, "same", AUTO, limit=20))["tools"]) == 20


@virtual_time()
async def test_a_servers_own_tool_of_that_name_is_called_where_nothing_stands_in():
    own = {SEARCH: tool(SEARCH), CALL: tool(CALL)}
    async with doors("calc", prepare={"calc": offers(own)}) as hub:
        for caller in (ANNA, AUTO):
            assert "result" in (await ask(hub, SEARCH, {}, caller, "/mcp/calc")).json
        wish = {"name": SEARCH, "arguments": {}}
        assert "result" in (await ask(hub, CALL, wish, FINDER, "/mcp/calc")).json
        assert hub["calc"].executed(SEARCH) == 3


@virtual_time()
async def test_an_answer_is_bounded_and_says_what_it_left_out():
    big = {"x": {"type": "string", "description": "d" * (ANSWER_MAX_BYTES // 2)}}
    tools = {
        name: tool(name, {"type": "object", "properties": big}, description="same")
        for name in ("a", "b", "c")
    }
    async with doors(
        "calc", prepare={"calc": offers(tools | {"d": tool("d", title="same")})}
    ) as hub:
        told = await found(hub, "same")
        assert len(json.dumps(told)) < ANSWER_MAX_BYTES + 1_000
        shown = {one["name"] for one in told["tools"]}
        assert len(shown) == 2
        assert shown | set(told["too_large_to_show"]) == {f"calc__{n}" for n in "abcd"}


@virtual_time()
async def test_what_is_not_searched_is_told(monkeypatch):
    monkeypatch.setattr(search_module, "TOOLS_MAX", 1)
    async with doors("calc", **HOUSE) as hub:
        assert (await found(hub, "page"))["not_searched"] == 1


@virtual_time()
async def test_a_list_is_indexed_once_and_a_new_one_anew():
    async with doors("calc", **HOUSE) as hub:
        search = hub.door.door._search
        await found(hub, "page")
        (first,) = search._indexes.values()
        await found(hub, "numbers")
        assert list(search._indexes.values()) == [first]
        for number in range(INDEXES_MAX + 3):
            reach = reach_of(KeyTerms(ToolSet(("calc__add", f"x{number}"))), {})
            await found(hub, "numbers", structs.replace(FINDER, reach=reach))
        assert len(search._indexes) == 2, "what is the same list is one index"
        for number in range(INDEXES_MAX + 3):
            view = View(f"v{number}", names={f"n{number}": Renamed("calc__add")}, search="on")
            await hub.catalog.views.add(view)
            await found(hub, "numbers", ANNA, f"/mcp/v/v{number}")
        assert len(search._indexes) == INDEXES_MAX


@virtual_time()
async def test_the_old_era_has_both_too():
    async with doors("calc", **HOUSE) as hub:
        hub["calc"].otherwise = result()
        hello = await hub(initialize(caller=FINDER))
        session = hello.header(b"mcp-session-id")
        more = {"session": session, "caller": FINDER}
        names = (await hub(legacy("tools/list", **more))).result["tools"]
        assert [entry["name"] for entry in names] == [SEARCH, CALL]
        wish = {"name": SEARCH, "arguments": {"query": "page"}}
        assert set((await hub(legacy("tools/call", wish, **more))).result) == {"content"}
        wish = {"name": CALL, "arguments": {"name": "calc__print"}}
        assert "content" in (await hub(legacy("tools/call", wish, **more))).result
