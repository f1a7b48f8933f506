"""What every MCP transport answers: lists, discover, calls on their way to the gateway."""

import msgspec
import pytest
from msgspec import Raw
from support.exchange import CAPABILITIES, initialize, legacy, modern
from support.fake_upstream import result, tool
from support.house import BERT, server
from support.mcp_hub import doors
from support.virtual_time import passes, virtual_time

from agenthub.domain.caller import Caller, KeyTerms, Scope
from agenthub.domain.endpoint import OAuth, Timeouts, ToolPolicy
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.domain.view import View

NARROW = Caller("narrow", frozenset({Scope.TOOLS}), frozenset({"files"}))


def resource(uri, **more):
    return Raw(msgspec.json.encode({"uri": uri, "name": uri, **more}))


def offers(**more):
    """Prepares a fake server."""

    def prepare(fake):
        for name, value in more.items():
            setattr(fake, name, value)

    return prepare


def names(exchange, key="tools", named_by="name"):
    return [item[named_by] for item in exchange.result[key]]


async def begun(hub, path="/mcp", **more):
    """A session's id."""
    return (await hub(initialize(path=path, **more))).header(b"mcp-session-id")


@virtual_time()
async def test_where_many_servers_meet_names_have_their_prefix():
    async with doors("calc", "files") as hub:
        assert names(await hub(modern("tools/list"))) == ["calc__add", "files__add"]
        assert names(await hub(modern("tools/list", path="/mcp/calc"))) == ["add"]
        await hub(modern("tools/call", {"name": "calc__add"}))
        await hub(modern("tools/call", {"name": "add"}, path="/mcp/files"))
        assert hub["calc"].executed("add") == hub["files"].executed("add") == 1


@virtual_time()
async def test_lists_of_the_new_era_say_how_long_they_hold_and_for_whom():
    async with doors("calc") as hub:
        for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list"):
            result = (await hub(modern(method))).result
            assert result["resultType"] == "complete"
            assert result["cacheScope"] in {"public", "private"}
            assert result["ttlMs"] >= 0
            assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "agenthub"


def says(ttl_ms, scope, **more):
    """Prepares a server that says this with its lists, and when they change."""
    return offers(
        caching={"ttlMs": ttl_ms, "cacheScope": scope},
        capabilities={"tools": {"listChanged": True}},
        **more,
    )


async def kept(hub, path="/mcp", method="tools/list", **more):
    result = (await hub(modern(method, path=path, **more))).result
    return result["ttlMs"], result["cacheScope"]


@virtual_time()
async def test_a_list_of_many_servers_is_as_short_lived_as_the_shortest_and_public_if_all_are():
    prepare = {"a": says(300_000, "public"), "b": says(20_000, "public"), "c": says(50, "private")}
    views = {"some": View("some", allow=("a__*", "b__*")), "all": View("all", allow=("*",))}
    async with doors("a", "b", "c", prepare=prepare) as hub:
        await hub.catalog.views.reload(views, "agenthub.yaml")
        assert await kept(hub) == (50, "private")
        assert await kept(hub, "/mcp/a") == (300_000, "public")
        assert await kept(hub, "/mcp/v/some") == (20_000, "public")
        assert await kept(hub, "/mcp/v/all") == (50, "private")
        # Nobody has prompts, and nobody's word counts.
        assert await kept(hub, method="prompts/list") == (60_000, "public")


@virtual_time()
async def test_a_list_with_a_server_that_says_nothing_is_not_to_be_kept():
    prepare = {"a": says(300_000, "public"), "old": offers(), "dead": offers(alive=False)}
    async with doors("a", "old", prepare=prepare) as hub:
        assert await kept(hub) == (0, "private")
    async with doors("a", "dead", prepare=prepare) as hub:
        assert await kept(hub) == (0, "private")
    async with doors("a", server("dead", enabled=False), prepare=prepare) as hub:
        assert await kept(hub) == (300_000, "public")


@virtual_time()
async def test_a_list_is_private_as_soon_as_one_key_is_shown_another():
    async with doors("a", prepare={"a": says(300_000, "public")}) as hub:
        _, plain = await hub.keys.create("plain")
        assert await kept(hub, caller=hub.keys.authenticate(plain.encode())) == (300_000, "public")
        row, _ = await hub.keys.create("narrow", endpoints=["b"])
        assert await kept(hub) == (300_000, "private")
        await hub.keys.revoke(row.id)
        assert await kept(hub) == (300_000, "public")
        row, _ = await hub.keys.create("searches", terms=KeyTerms(search="on"))
        assert await kept(hub) == (300_000, "private")


@pytest.mark.parametrize("oauth", [{"per": "caller"}, {"grant": "token_exchange"}])
@virtual_time()
async def test_nothing_is_public_of_a_server_that_each_caller_has_a_token_of_its_own_for(oauth):
    """Not its lists, nor where many servers meet; what is read only if another one answered."""
    own = OAuth(**oauth, client_id="hub", client_secret="s", issuer="https://as.example.com")
    public = says(300_000, "public")
    read = {"resultType": "complete", "contents": [], "ttlMs": 5, "cacheScope": "public"}

    def prepare(fake):
        public(fake)
        fake.answers["x:y"] = result(msgspec.json.encode(read))

    mine, other = server("mine", url="https://mine.example.com", oauth=own), server("other")
    async with doors(mine, other, prepare={"mine": prepare, "other": prepare}) as hub:
        for path, scope in (("/mcp/mine", "private"), ("/mcp/other", "public")):
            assert (await kept(hub, path))[1] == scope
            assert await kept(hub, path, "resources/read", params={"uri": "x:y"}) == (5, scope)
        assert (await kept(hub))[1] == "private"


@virtual_time()
async def test_what_is_left_of_a_list_whose_changes_nobody_tells_grows_less():
    caching = {"ttlMs": 40_000, "cacheScope": "public"}
    async with doors("a", prepare={"a": offers(caching=caching)}) as hub:
        first = (await kept(hub))[0]
        assert 38_000 < first <= 40_000
        await passes(10 * SECOND)
        assert first - 11_000 < (await kept(hub))[0] < first - 9_000
        await passes(40 * SECOND)
        assert await kept(hub) == (0, "public")


@virtual_time()
async def test_a_list_is_not_kept_for_longer_than_an_hour_whatever_its_server_says():
    async with doors("a", prepare={"a": says(10**15, "public")}) as hub:
        assert await kept(hub) == (3_600_000, "public")


@virtual_time()
async def test_lists_of_the_old_era_are_plain():
    async with doors("calc") as hub:
        session = await begun(hub)
        assert set((await hub(legacy("tools/list", session=session))).result) == {"tools"}


@virtual_time()
async def test_no_cursor_was_handed_out_so_none_is_valid_not_even_the_empty_one():
    async with doors("calc") as hub:
        for cursor in ("", "2"):
            asked = await hub(modern("tools/list", {"cursor": cursor}))
            assert (asked.status, asked.code) == (400, -32602)


@virtual_time()
async def test_old_clients_get_no_output_schema_that_they_cannot_read():
    odd, even = {"type": "array"}, {"type": "object"}
    tools = {
        "odd": tool("odd", outputSchema=odd),
        "even": tool("even", outputSchema=even),
        "plain": tool("plain"),
    }
    async with doors("calc", prepare={"calc": offers(tools=tools)}) as hub:
        session = await begun(hub, path="/mcp/calc")
        for _ in range(2):
            asked = await hub(legacy("tools/list", session=session, path="/mcp/calc"))
            shown = {t["name"]: t.get("outputSchema") for t in asked.result["tools"]}
            assert shown == {"odd": None, "even": even, "plain": None}
        asked = await hub(modern("tools/list", path="/mcp/calc"))
        assert {t["name"]: t.get("outputSchema") for t in asked.result["tools"]}["odd"] == odd
        hub.door.door._plain = {(str(n), True): (b"", b"") for n in range(1_001)}
        await hub(legacy("tools/list", session=session, path="/mcp/calc"))
        assert len(hub.door.door._plain) == 1


@virtual_time()
async def test_discover_says_what_the_servers_can_and_the_hub_relays():
    every = {
        "tools": {}, "prompts": {}, "resources": {"subscribe": True}, "completions": {},
        "logging": {}, "tasks": {}, "experimental": {"x": {}},
        "extensions": {"io.modelcontextprotocol/ui": {}, "io.modelcontextprotocol/tasks": {}},
    }  # fmt: skip
    prepare = {"calc": offers(capabilities=every, instructions="Be brief.")}
    async with doors("calc", "files", prepare=prepare) as hub:
        found = (await hub(modern("server/discover", path="/mcp/calc"))).result
        assert found["supportedVersions"] == [
            "2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05",
        ]  # fmt: skip
        assert found["instructions"] == "Be brief."
        assert found["capabilities"] == {
            "tools": {"listChanged": True}, "prompts": {"listChanged": True},
            "resources": {"listChanged": True, "subscribe": True}, "completions": {},
            "logging": {}, "extensions": every["extensions"],
        }  # fmt: skip
        found = (await hub(modern("server/discover"))).result
        assert found["instructions"] == "## calc\nBe brief."
        begin = (await hub(initialize(path="/mcp/calc"))).result
        assert "extensions" not in begin["capabilities"]
        assert begin["instructions"] == "Be brief."


@virtual_time()
async def test_a_hub_without_servers_still_has_a_tool_list():
    async with doors() as hub:
        found = (await hub(modern("server/discover"))).result
        assert found["capabilities"] == {"tools": {"listChanged": True}}
        assert "instructions" not in found
        assert names(await hub(modern("tools/list"))) == []


@virtual_time()
async def test_a_server_that_was_never_listed_has_no_instructions():
    async with doors("calc", prepare={"calc": offers(mute=True)}) as hub:
        assert "instructions" not in (await hub(modern("server/discover", path="/mcp/calc"))).result


@virtual_time()
async def test_a_key_sees_and_reaches_only_its_own_servers():
    async with doors("calc", "files") as hub:
        assert names(await hub(modern("tools/list", caller=NARROW))) == ["files__add"]
        hidden = await hub(modern("tools/call", {"name": "calc__add"}, caller=NARROW))
        unknown = await hub(modern("tools/call", {"name": "nobody__add"}, caller=NARROW))
        assert hidden.code == unknown.code == -32602
        assert hub["calc"].asked == [("tools/list", "")]


@pytest.mark.parametrize(
    "name",
    [
        "../x", "a/b", "x" * 10_000, "", "calc__\u202edda", "cal\u0441__add", "calc__",
        "__add", "calc",
        "files__calc__add", "calc__calc__add", "calc.fallback__add", "rpc.discover", "calc__ADD",
    ],
)  # fmt: skip
@virtual_time()
async def test_a_name_that_is_no_tools_is_refused_before_any_server_is_asked(name):
    """A18."""
    record = server("calc", fallback_url="http://twin.test/mcp")
    async with doors(record, "files") as hub:
        asked = await hub(modern("tools/call", {"name": name}))
        assert (asked.status, asked.code) == (400, -32602)
        for fake in ("calc", "files", "calc.fallback"):
            assert ("tools/call", name) not in hub[fake].asked
            assert hub[fake].executed("add") == 0


@pytest.mark.parametrize("params", [{}, {"name": 7}, {"name": None}, {"name": ["add"]}])
@virtual_time()
async def test_a_call_without_a_name_is_refused(params):
    async with doors("calc") as hub:
        asked = await hub(modern("tools/call", params))
        assert (asked.status, asked.code) == (400, -32602)
        assert asked.json["error"]["data"]["request_id"].startswith("r-")


@virtual_time()
async def test_an_unknown_resource_is_told_with_its_uri():
    async with doors("calc") as hub:
        for uri in ("file:///x", "agenthub://nobody/file:///x"):
            asked = await hub(modern("resources/read", {"uri": uri}))
            assert (asked.status, asked.code) == (400, -32602)
            assert asked.json["error"]["data"]["uri"] == uri


@virtual_time()
async def test_completion_finds_the_server_of_the_prompt_or_the_resource():
    async with doors("calc") as hub:
        hub["calc"].answers["completion/complete"] = hub["calc"].otherwise
        for ref, path, own in [
            ({"type": "ref/prompt", "name": "calc__p"}, "/mcp", "p"),
            ({"type": "ref/resource", "uri": "agenthub://calc/f:{x}"}, "/mcp", "f:{x}"),
            ({"type": "ref/prompt", "name": "p"}, "/mcp/calc", "p"),
        ]:
            asked = await hub(modern("completion/complete", {"ref": ref}, path=path))
            assert "result" in asked.json
            assert hub["calc"].asked[-1] == ("completion/complete", own)
        for ref in (None, "p", {"type": "ref/prompt"}, {"type": "ref/prompt", "name": "p"}):
            assert (await hub(modern("completion/complete", {"ref": ref}))).code == -32602


@virtual_time()
async def test_a_server_is_told_what_this_client_said_and_nothing_of_the_hubs_own():
    meta = {
        CAPABILITIES: {"sampling": {}, "elicitation": {"form": {}}}, "traceparent": "00-1",
        "io.agenthub/idempotencyKey": "k", "io.agenthub/forged": 1, "x.y/z": [1.50],
        "progressToken": "p", "io.modelcontextprotocol/logLevel": "debug",
    }  # fmt: skip
    async with doors("calc") as hub:
        await hub(modern("tools/call", {"name": "calc__add"}, meta=meta))
        sent = hub["calc"].sent[-1]
        assert msgspec.json.decode(sent.capabilities) == meta[CAPABILITIES]
        assert msgspec.json.decode(sent.client_info) == {"name": "test", "version": "1"}
        assert set(sent.meta) == {
            "traceparent", "x.y/z", "progressToken", "io.modelcontextprotocol/logLevel",
        }  # fmt: skip


@virtual_time()
async def test_a_clients_trace_goes_on_under_a_span_of_the_hubs_own():
    trace = "0af7651916cd43dd8448eb211c80319c"
    meta = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "tracestate": "a=1"}
    async with doors("calc") as hub:
        spans = set()
        for _ in range(2):
            await hub(modern("tools/call", {"name": "calc__add"}, meta=meta))
            sent = hub["calc"].sent[-1].meta
            assert bytes(sent["tracestate"]) == b'"a=1"'
            version, same, span, flags = msgspec.json.decode(sent["traceparent"]).split("-", 3)
            assert (version, same) == ("00", trace)
            spans.add(span + flags)
        assert len(spans) == 2
        assert "00f067aa0ba902b701" not in spans


@pytest.mark.parametrize(
    ("declared", "passed"),
    [
        ({"extensions": {"io.modelcontextprotocol/tasks": {}, "a.b/c": {}}}, {"extensions": {"a.b/c": {}}}),  # noqa: E501
        ({"extensions": ["tasks"]}, {"extensions": ["tasks"]}),
        ({"roots": {"tasks": 1}}, {"roots": {"tasks": 1}}),
    ],
)  # fmt: skip
@virtual_time()
async def test_tasks_are_declared_for_clients_of_the_new_era_only(declared, passed):
    async with doors("calc") as hub:
        await hub(modern("tools/call", {"name": "calc__add"}, meta={CAPABILITIES: declared}))
        assert msgspec.json.decode(hub["calc"].sent[-1].capabilities) == declared
        begun = await hub(initialize(capabilities=declared))
        session = begun.header(b"mcp-session-id")
        await hub(legacy("tools/call", {"name": "calc__add"}, session=session))
        assert msgspec.json.decode(hub["calc"].sent[-1].capabilities) == passed


@pytest.mark.parametrize(
    ("tools", "meta", "span"),
    [
        ({}, {}, 20 * SECOND),
        ({}, {"io.agenthub/deadlineMs": 700}, 700 * MILLISECOND),
        ({}, {"io.agenthub/deadlineMs": 10**9}, 20 * SECOND),
        ({}, {"io.agenthub/deadlineMs": -5}, MILLISECOND),
        ({"add": ToolPolicy(timeout_ms=250_000)}, {}, 250 * SECOND),
        ({"add": ToolPolicy(timeout_ms=400_000)}, {}, 300 * SECOND),
        ({"add": ToolPolicy()}, {}, 20 * SECOND),
    ],
)
@virtual_time()
async def test_the_shortest_of_all_limits_is_the_deadline(tools, meta, span):
    """R40."""
    record = server("calc", timeouts=Timeouts(call_ms=20_000), tools=tools)
    async with doors(record) as hub:
        now, calls = hub.clock.now(), []
        start = hub.gateway.start
        hub.gateway.start = lambda call, receiver: (calls.append(call), start(call, receiver))[1]
        hub.send(modern("tools/call", {"name": "calc__add"}, meta=meta))
        assert calls[0].deadline - now == span
        await hub(modern("ping"))


@pytest.mark.parametrize(
    "meta",
    [
        {"io.agenthub/deadlineMs": "soon"}, {"io.agenthub/deadlineMs": 1.5},
        {"io.agenthub/idempotencyKey": ""}, {"io.agenthub/idempotencyKey": "x" * 257},
        {"io.agenthub/idempotencyKey": 7},
    ],
)  # fmt: skip
@virtual_time()
async def test_a_wish_of_the_wrong_shape_is_refused(meta):
    async with doors("calc") as hub:
        asked = await hub(modern("tools/call", {"name": "calc__add"}, meta=meta))
        assert (asked.status, asked.code) == (400, -32602)
        assert hub["calc"].executed("add") == 0


@virtual_time()
async def test_an_idempotency_key_comes_in_meta_or_in_a_header_and_belongs_to_its_caller():
    async with doors("calc") as hub:
        asked = {"name": "calc__add", "arguments": {}}
        key = {"io.agenthub/idempotencyKey": "k"}
        await hub(modern("tools/call", asked, meta=key))
        await hub(modern("tools/call", asked, meta=key))
        await hub(modern("tools/call", asked, idempotency_key=b"k"))
        assert hub["calc"].executed("add") == 1
        await hub(modern("tools/call", asked, meta=key, caller=BERT))
        assert hub["calc"].executed("add") == 2
        session = await begun(hub)
        await hub(legacy("tools/call", asked, session=session, idempotency_key=b"k"))
        assert hub["calc"].executed("add") == 2


@virtual_time()
async def test_headers_that_repeat_arguments_must_say_the_same():
    """A16, on a tool whose schema asks for it."""
    schema = {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    }
    tools = {"add": tool("add", schema)}
    async with doors("calc", prepare={"calc": offers(tools=tools)}) as hub:
        asked = {"name": "calc__add", "arguments": {"region": "eu"}}
        good = await hub(modern("tools/call", asked, mcp_param_region=b"eu"))
        assert good.status == 200
        assert hub["calc"].sent[-1].headers == {"Mcp-Param-Region": "eu"}
        for header in ({}, {"mcp_param_region": b"us"}):
            bad = await hub(modern("tools/call", asked, **header))
            assert (bad.status, bad.code) == (400, -32020)
        session = await begun(hub)
        assert "result" in (await hub(legacy("tools/call", asked, session=session))).json


@virtual_time()
async def test_what_neither_era_knows_is_no_method():
    async with doors("calc") as hub:
        asked = await hub(modern("tools/destroy"))
        assert (asked.status, asked.code) == (404, -32601)
        session = await begun(hub)
        asked = await hub(legacy("server/discover", session=session))
        assert (asked.status, asked.code) == (200, -32601)
        assert (await hub(legacy("ping", session=session))).result == {}
