"""What is seen at each address, by whom, and what its names lead to."""

import msgspec
import pytest
from msgspec import Raw, structs
from support.exchange import initialize, legacy, modern
from support.fake_upstream import OK, result, tool
from support.house import ANNA, server
from support.mcp_hub import doors
from support.virtual_time import virtual_time

from agenthub.domain.alias import SAFE, SPEC, alias
from agenthub.domain.caller import Caller, KeyTerms, Scope, reach_of
from agenthub.domain.endpoint import ToolPolicy
from agenthub.domain.tool_set import ToolSet
from agenthub.domain.view import Renamed, View

DOTTED = "log.oneline"
LONG = "a" * 100
WEB = View(
    "web",
    instructions="Search first.",
    names={"find": Renamed("web__search", "Find it."), "ask": Renamed("web__hello")},
    allow=("docs__*", "agenthub://docs/*"),
    deny=("docs__write",),
)


def offers(**more):
    def prepare(fake):
        for name, value in more.items():
            setattr(fake, name, value)

    return prepare


def item(named_by, name, **more):
    return Raw(msgspec.json.encode({named_by: name, "name": name, **more}))


def tools_of(*names, **more):
    return {name: tool(name, description=f"does {name}", **more) for name in names}


PREPARE = {
    "web": offers(
        tools=tools_of("search", "fetch"), prompts={"hello": item("name", "hello")},
        instructions="web's own", answers={"hello": OK},
    ),
    "docs": offers(
        tools=tools_of("read", "write"), resources={"a:b": item("uri", "a:b")},
        templates={"a:{x}": item("uriTemplate", "a:{x}")}, instructions="docs' own",
        answers={"a:b": OK},
    ),
    "git": offers(tools=tools_of("status", DOTTED, LONG), instructions="git's own"),
}  # fmt: skip
HOUSE = {"prepare": PREPARE}


def limited(**terms):
    return structs.replace(ANNA, reach=reach_of(KeyTerms(**terms), {"web": WEB}))


def only(*globs, **more):
    return limited(tools=ToolSet(globs, **more))


async def listed(hub, path="/mcp", kind="tools", named_by="name", caller=ANNA):
    method = "resources/templates/list" if kind == "resourceTemplates" else f"{kind}/list"
    asked = await hub(modern(method, path=path, caller=caller))
    return [entry[named_by] for entry in asked.result[kind]]


async def called(hub, name, path="/mcp", caller=ANNA, method="tools/call", key="name"):
    asked = await hub(modern(method, {key: name}, path=path, caller=caller))
    return "ok" if "result" in asked.json else (asked.code, asked.json["error"]["message"])


# ---------------------------------------------------------------- aliases


@virtual_time()
async def test_names_among_many_servers_are_such_as_every_client_takes():
    """Listed is callable, and the alias leads to its one tool."""
    async with doors("git", **HOUSE) as hub:
        shown = await listed(hub)
        assert shown == [
            alias(f"git__{LONG}", SAFE), alias(f"git__{DOTTED}", SAFE), "git__status",
        ]  # fmt: skip
        for name in shown:
            assert await called(hub, name) == "ok"
        assert [hub["git"].executed(name) for name in (LONG, DOTTED, "status")] == [1, 1, 1]
        assert {row.name for row in hub.rows} == {LONG, DOTTED, "status"}, "the log has real names"


@virtual_time()
async def test_full_names_lead_there_too():
    async with doors("git", **HOUSE) as hub:
        assert await called(hub, f"git__{DOTTED}") == "ok"


@virtual_time()
async def test_a_client_that_takes_longer_names_is_shown_them():
    async with doors("git", **HOUSE) as hub:
        wide = structs.replace(ANNA, names=SPEC)
        assert await listed(hub, caller=wide) == [f"git__{LONG}", f"git__{DOTTED}", "git__status"]
        # What another client was shown leads to the same tool.
        assert await called(hub, alias(f"git__{DOTTED}", SAFE), caller=wide) == "ok"


@virtual_time()
async def test_at_its_own_address_a_server_has_its_own_names():
    async with doors("git", **HOUSE) as hub:
        assert await listed(hub, "/mcp/git") == [LONG, DOTTED, "status"]


@virtual_time()
async def test_a_long_servers_name_is_cut_in_aliases_and_found_all_the_same():
    near, far = "s" * 60 + "-a", "s" * 60 + "-b"
    prepare = {name: offers(tools=tools_of("read", "write")) for name in (near, far)}
    async with doors(near, far, prepare=prepare) as hub:
        shown = await listed(hub)
        assert len(set(shown)) == 4
        assert all(len(name) <= 64 for name in shown)
        for name in shown:
            assert await called(hub, name) == "ok"
        ran = [hub[name].executed(own) for name in (near, far) for own in ("read", "write")]
        assert ran == [1, 1, 1, 1]


@virtual_time()
async def test_an_alias_of_nothing_is_unknown():
    async with doors("git", **HOUSE) as hub:
        for name in ("git__log_oneline--abcdefghijkl", "git__log.oneline--" + "a" * 12, "--a"):
            code, words = await called(hub, name)
            assert (code, words) == (-32602, f"Unknown tool: {name}")
        assert hub["git"].arrived("log.oneline") == 0


@virtual_time()
async def test_a_tool_called_like_anothers_alias_does_not_get_its_calls():
    """A31: the alias goes on leading to the first, and the second has one of its own."""
    taken = alias(f"git__{DOTTED}", SAFE).removeprefix("git__")
    async with doors("git", prepare={"git": offers(tools=tools_of(DOTTED, taken))}) as hub:
        shown = await listed(hub)
        assert len(set(shown)) == 2
        assert await called(hub, f"git__{taken}") == "ok"
        assert (hub["git"].executed(DOTTED), hub["git"].executed(taken)) == (1, 0)
        assert await called(hub, alias(f"git__{taken}", SAFE)) == "ok"
        assert hub["git"].executed(taken) == 1


# ---------------------------------------------------------------- what a key may touch


@virtual_time()
async def test_a_limited_key_is_shown_what_it_may_touch_and_nothing_else():
    async with doors("docs", "git", "web", **HOUSE) as hub:
        key = only("docs__r*", "web__*", "agenthub://docs/*")
        assert await listed(hub, caller=key) == ["docs__read", "web__fetch", "web__search"]
        assert await listed(hub, "/mcp/docs", caller=key) == ["read"]
        assert await listed(hub, kind="prompts", caller=key) == ["web__hello"]
        uris = await listed(hub, kind="resources", named_by="uri", caller=key)
        assert uris == ["agenthub://docs/a:b"]
        found = await hub(modern("server/discover", caller=key))
        assert "git" not in str(found.json), "not even that it is there"
        assert (await hub(modern("tools/list", path="/mcp/git", caller=key))).status == 404


@virtual_time()
async def test_what_a_key_may_not_touch_does_not_exist_for_it():
    """A18."""
    async with doors("docs", "git", "web", **HOUSE) as hub:
        key = only("docs__read")
        for name, path in [("docs__write", "/mcp"), ("write", "/mcp/docs"), ("web__fetch", "/mcp")]:
            said = await called(hub, name, path, key)
            assert said in {
                (-32602, f"Unknown tool: {n}") for n in (name, name.rpartition("__")[2])
            }
            nothing = await called(hub, name + "2", path, key)
            assert nothing == (-32602, said[1] + "2"), "as if it were not there"
        assert await called(hub, "docs__read", caller=key) == "ok"
        read = {"method": "resources/read", "key": "uri", "caller": key}
        assert (await called(hub, "agenthub://docs/a:b", **read))[0] == -32602
        assert (await called(hub, "a:b", "/mcp/docs", **read))[0] == -32602
        assert (await called(hub, "web__hello", method="prompts/get", caller=key))[0] == -32602
        assert [hub[name].asked.count(("tools/call", "write")) for name in ("docs",)] == [0]


@virtual_time()
@pytest.mark.parametrize(
    ("globs", "ref", "well"),
    [
        (("web__hello",), {"type": "ref/prompt", "name": "web__hello"}, True),
        (("docs__*",), {"type": "ref/prompt", "name": "web__hello"}, False),
        (("agenthub://docs/*",), {"type": "ref/resource", "uri": "agenthub://docs/a:b"}, True),
        # A URI is no prompt's name, whatever a glob would fit.
        (("docs__*",), {"type": "ref/resource", "uri": "agenthub://docs/a:b"}, False),
        (("docs__*",), {"type": "ref/resource", "uri": "docs__a:b"}, False),
        (("agenthub://docs/*",), {"type": "ref/prompt", "name": "docs__a:b"}, False),
    ],
)
async def test_completion_is_for_what_may_be_touched(globs, ref, well):
    async with doors("docs", "web", **HOUSE) as hub:
        params = {"ref": ref, "argument": {"name": "x", "value": ""}}
        asked = await hub(modern("completion/complete", params, caller=only(*globs)))
        assert ("result" in asked.json) is well


READING = tools_of("pinned", annotations={"readOnlyHint": True}) | tools_of("said", "other")


@virtual_time()
async def test_a_key_that_may_only_read_has_what_the_operator_or_a_trusted_server_says():
    policy = {"said": ToolPolicy(read_only=True)}
    prepare = {name: offers(tools=READING) for name in ("good", "odd")}
    servers = (server("good", trust=True, tools=policy), server("odd", tools=policy))
    async with doors(*servers, prepare=prepare) as hub:
        key = only("*", read_only=True)
        assert await listed(hub, caller=key) == ["good__pinned", "good__said", "odd__said"]
        assert await called(hub, "good__pinned", caller=key) == "ok"
        assert (await called(hub, "odd__pinned", caller=key))[0] == -32602


@virtual_time()
async def test_to_read_a_resource_or_get_a_prompt_changes_nothing():
    async with doors("docs", "web", **HOUSE) as hub:
        key = only("*", read_only=True)
        assert await listed(hub, kind="prompts", caller=key) == ["web__hello"]
        uris = await listed(hub, kind="resources", named_by="uri", caller=key)
        assert uris == ["agenthub://docs/a:b"]


@virtual_time()
async def test_a_tool_that_calls_itself_harmless_later_is_not_believed():
    """A30: the pinned definition counts, not the newest."""
    async with doors(
        server("odd", trust=True), prepare={"odd": offers(tools=tools_of("a"))}
    ) as hub:
        hub["odd"].tools = tools_of("a", annotations={"readOnlyHint": True})
        hub["odd"].watcher.changed("notifications/tools/list_changed", b"{}")
        key = only("*", read_only=True)
        assert await listed(hub, caller=key) == []
        assert (await called(hub, "odd__a", caller=key))[0] == -32602


@virtual_time()
async def test_a_reader_is_not_served_by_a_fallback_that_may_write():
    servers = (server("a", fallbacks=("b",), trust=True), server("b"))
    reads = tools_of("x", annotations={"readOnlyHint": True})
    prepare = {name: offers(tools=reads) for name in ("a", "b")}
    async with doors(*servers, prepare=prepare) as hub:
        hub.catalog.get("a").lane.breaker.force_open(hub.clock.now(), "test", None)
        assert await called(hub, "a__x") == "ok"
        refused = await hub(
            modern("tools/call", {"name": "a__x"}, caller=only("*", read_only=True))
        )
        assert refused.json["error"]["data"]["code"] == "circuit_open"
        assert hub["b"].executed("x") == 1


# ---------------------------------------------------------------- views


@virtual_time()
async def test_a_view_shows_chosen_things_under_its_own_names():
    async with doors("docs", "git", "web", **HOUSE) as hub:
        await hub.catalog.views.add(WEB)
        asked = await hub(modern("tools/list", path="/mcp/v/web"))
        shown = {entry["name"]: entry["description"] for entry in asked.result["tools"]}
        assert shown == {"docs__read": "does read", "find": "Find it."}
        assert await listed(hub, "/mcp/v/web", "prompts") == ["ask"]
        resources = await listed(hub, "/mcp/v/web", "resources", "uri")
        templates = await listed(hub, "/mcp/v/web", "resourceTemplates", "uriTemplate")
        assert resources + templates == ["agenthub://docs/a:b", "agenthub://docs/a:{x}"]
        found = await hub(modern("server/discover", path="/mcp/v/web"))
        assert found.result["instructions"] == "Search first."


@virtual_time()
async def test_calls_through_a_view_go_to_the_real_target_and_are_logged_under_it():
    async with doors("docs", "git", "web", **HOUSE) as hub:
        await hub.catalog.views.add(WEB)
        for name in ("find", "docs__read"):
            assert await called(hub, name, "/mcp/v/web") == "ok"
        assert await called(hub, "ask", "/mcp/v/web", method="prompts/get") == "ok"
        read = {"method": "resources/read", "key": "uri"}
        assert await called(hub, "agenthub://docs/a:b", "/mcp/v/web", **read) == "ok"
        assert [(row.endpoint, row.method, row.name) for row in hub.rows] == [
            ("web", "tools/call", "search"), ("docs", "tools/call", "read"),
            ("web", "prompts/get", "hello"), ("docs", "resources/read", "a:b"),
        ]  # fmt: skip
        for name in ("docs__write", "git__status", "search", "web__fetch"):
            assert (await called(hub, name, "/mcp/v/web"))[0] == -32602
        assert (await called(hub, "a:b", "/mcp/v/web", **read))[0] == -32602


@virtual_time()
async def test_a_view_speaks_the_old_era_too():
    odd = tools_of("x", outputSchema={"type": "array"})
    async with doors("odd", prepare={"odd": offers(tools=odd)}) as hub:
        await hub.catalog.views.add(View("web", allow=("*",)))
        path = "/mcp/v/web"
        session = (await hub(initialize(path=path))).header(b"mcp-session-id")
        (entry,) = (await hub(legacy("tools/list", session=session, path=path))).result["tools"]
        assert entry["name"] == "odd__x"
        assert "outputSchema" not in entry
        asked = await hub(legacy("tools/call", {"name": "odd__x"}, session=session, path=path))
        assert "result" in asked.json
        for elsewhere in ("/mcp", "/mcp/odd"):
            assert (await hub(legacy("ping", session=session, path=elsewhere))).status == 404
        await hub.catalog.views.replace(View("web", allow=("none__*",)))
        asked = await hub(legacy("tools/call", {"name": "odd__x"}, session=session, path=path))
        assert asked.code == -32602, "a session is held to what the view is now"


@virtual_time()
async def test_a_view_without_instructions_tells_those_of_its_servers():
    async with doors("docs", "git", **HOUSE) as hub:
        await hub.catalog.views.add(View("web", allow=("docs__*",)))
        found = await hub(modern("server/discover", path="/mcp/v/web"))
        assert found.result["instructions"] == "## docs\ndocs' own"


@virtual_time()
async def test_a_view_that_is_not_there_or_not_for_this_key_is_not_found():
    async with doors("docs", "web", **HOUSE) as hub:
        await hub.catalog.views.add(WEB)
        await hub.catalog.views.add(View("more", allow=("*",)))
        key = limited(views=("web",))
        for path, caller in [("/mcp/v/none", ANNA), ("/mcp/v/more", key)]:
            for request in (modern("tools/list", path=path, caller=caller),
                            initialize(path=path, caller=caller)):  # fmt: skip
                asked = await hub(request)
                assert (asked.status, asked.code) == (404, -32600)
                assert asked.json["error"]["message"] == "There is no view of this name"
        assert hub.door.hot("/mcp/v/a/b") is None


@virtual_time()
async def test_a_key_for_a_view_touches_what_the_view_shows_wherever_it_asks():
    async with doors("docs", "git", "web", **HOUSE) as hub:
        await hub.catalog.views.add(WEB)
        key = limited(views=("web",))
        assert await listed(hub, "/mcp/v/web", caller=key) == ["docs__read", "find"]
        assert await listed(hub, "/mcp", caller=key) == ["docs__read", "web__search"]
        assert (await called(hub, "docs__write", caller=key))[0] == -32602
        assert (await hub(modern("tools/list", path="/mcp/git", caller=key))).status == 404


@virtual_time()
async def test_a_keys_own_limits_hold_in_a_view():
    async with doors("docs", "web", **HOUSE) as hub:
        await hub.catalog.views.add(WEB)
        key = only("*", deny=("web__search",))
        assert await listed(hub, "/mcp/v/web", caller=key) == ["docs__read"]
        assert (await called(hub, "find", "/mcp/v/web", caller=key))[0] == -32602
        narrow = Caller("n", frozenset({Scope.TOOLS}), frozenset({"web"}))
        assert await listed(hub, "/mcp/v/web", caller=narrow) == ["find"]


@virtual_time()
async def test_a_view_of_a_server_that_is_away_says_so():
    async with doors("docs", **HOUSE) as hub:
        await hub.catalog.views.add(View("web", allow=("*",)))
        hub.catalog.get("docs").lane.breaker.force_open(hub.clock.now(), "test", None)
        asked = await hub(modern("tools/list", path="/mcp/v/web"))
        told = {entry["_meta"]["io.agenthub/unavailable"] for entry in asked.result["tools"]}
        assert told == {"circuit forced_open"}


# ---------------------------------------------------------------- MCP Apps

CSP = '"csp":{"connectDomains":["https://x.test"]},"n":1.0'
PAGE = {"ui://clock/page": item("uri", "ui://clock/page")}


def app(name, uri="ui://clock/page"):
    meta = f'{{"ui":{{"visibility":["app"],"resourceUri":"{uri}",{CSP}}},"a.b/c":1.0}}'
    text = f'{{"name":"{name}","inputSchema":{{"type":"object"}},"_meta":{meta}}}'
    return {name: Raw(text.encode())}


APPS = {
    "east": offers(tools=app("now") | tools_of("tick"), resources=PAGE, answers={"tick": OK}),
    "west": offers(tools=app("now"), resources=PAGE),
    "plain": offers(tools=tools_of("tick", "only"), answers={"only": OK}),
}


@virtual_time()
async def test_the_apps_of_two_servers_with_one_address_are_two_and_each_can_be_read():
    async with doors("east", "west", "plain", prepare=APPS) as hub:
        await hub.catalog.views.add(View("v", names={"time": Renamed("west__now")}))
        listed = await hub(modern("tools/list"))
        for name in ("east", "west"):
            uri = f"agenthub://{name}/ui://clock/page"
            ui = f'"ui":{{"visibility":["app"],"resourceUri":"{uri}",{CSP}}},"a.b/c":1.0'
            assert ui.encode() in listed.body
            got = b'{"contents":[{"uri":"ui://clock/page","text":"","_meta":{"ui":{%b}}}]}'
            hub[name].answers["ui://clock/page"] = result(got % CSP.encode())
            read = await hub(modern("resources/read", {"uri": uri}))
            assert hub[name].sent[-1].name == "ui://clock/page"
            assert read.result["contents"][0]["uri"] == uri
            assert CSP.encode() in read.body
        (shown,) = (await hub(modern("tools/list", path="/mcp/v/v"))).result["tools"]
        assert shown["_meta"]["ui"]["resourceUri"] == "agenthub://west/ui://clock/page"
        (alone,) = (await hub(modern("tools/list", path="/mcp/west"))).result["tools"]
        assert alone["_meta"]["ui"]["resourceUri"] == "ui://clock/page"


@pytest.mark.parametrize(
    ("meta", "shown"),
    [
        ({"ui/resourceUri": "ui://a"}, {"ui/resourceUri": "agenthub://old/ui://a"}),
        ({"ui/resourceUri": 1}, {"ui/resourceUri": 1}),
        ({"ui": {"resourceUri": [1]}}, {"ui": {"resourceUri": [1]}}),
        ({"ui": ["resourceUri"]}, {"ui": ["resourceUri"]}),
        ({"ui": {"resourceUri": "x"}, "ui/resourceUri": "y"},
         {"ui": {"resourceUri": "agenthub://old/x"}, "ui/resourceUri": "agenthub://old/y"}),
    ],
)  # fmt: skip
@virtual_time()
async def test_links_to_apps_are_found_in_every_spelling_and_what_is_none_stays(meta, shown):
    prepare = {"old": offers(tools={"add": tool("add", _meta=meta)})}
    async with doors("old", prepare=prepare) as hub:
        (one,) = (await hub(modern("tools/list"))).result["tools"]
        assert one["_meta"] == shown


@virtual_time()
async def test_an_app_calls_the_tools_of_its_server_by_their_own_names():
    """Its page knows no prefix; the host passes on what it says."""
    async with doors("east", "west", "plain", prepare=APPS) as hub:
        assert "error" not in (await hub(modern("tools/call", {"name": "tick"}))).json
        assert hub["east"].executed("tick") == 1
        assert hub["plain"].executed("tick") == 0
        for name in ("now", "only", "none"):
            assert (await hub(modern("tools/call", {"name": name}))).code == -32602
        await hub.catalog.views.add(View("v", allow=("west__*",)))
        hub["west"].answers["now"] = OK
        called = await hub(modern("tools/call", {"name": "now"}, path="/mcp/v/v"))
        assert "error" not in called.json
        assert hub["west"].executed("now") == 1
        narrow = limited(tools=ToolSet(deny=("east__tick",)))
        refused = await hub(modern("tools/call", {"name": "tick"}, caller=narrow))
        assert refused.code == -32602
