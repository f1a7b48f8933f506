"""The Streamable HTTP transport: which era, the ladder rung by rung, statuses, streams, hanging up.

Provenance: MCP specification 2026-07-28 and 2025-11-25; attacks A14-A18, A40, A65.
"""

import asyncio

import msgspec
import pytest
from mcp_types import (
    CallToolResult,
    DiscoverResult,
    InitializeResult,
    JSONRPCError,
    ListToolsResult,
)
from support.asking import FORM, again, asks_back, call
from support.exchange import (
    ACCEPT,
    CAPABILITIES,
    INFO,
    META,
    VERSION,
    body_of,
    initialize,
    legacy,
    modern,
    post,
)
from support.fake_upstream import HANGS, OK, REFUSED, Act, error, result
from support.house import BERT, server
from support.mcp_hub import doors
from support.virtual_time import settled, virtual_time

from agenthub.domain.caller import Caller, Scope
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.span import SECOND
from agenthub.inbound.mcp.transport.stream import event
from agenthub.settings import LimitSettings

SLOW = Act(OK.reply, after=20 * SECOND)
NARROW = Caller("narrow", frozenset({Scope.TOOLS}), frozenset({"files"}))
ADD = {"name": "calc__add", "arguments": {}}
OLD = b"2025-11-25"
PROGRESS = b'{"progressToken":"p","progress":1}'


async def begun(hub, path="/mcp", **more):
    return (await hub(initialize(path=path, **more))).header(b"mcp-session-id")


def refused(exchange):
    """Status and code, of an answer that is a valid JSON-RPC error."""
    JSONRPCError.model_validate(exchange.json)
    return exchange.status, exchange.code


# ---------------------------------------------------------------- addresses


@virtual_time()
async def test_each_server_has_an_address_and_all_have_one():
    async with doors("calc") as hub:
        door = hub.door
        assert door.hot("/mcp") is door.hot("/mcp")
        assert door.hot("/mcp/calc") is door.hot("/mcp/calc")
        for path in ("/", "/mcp/", "/mcp/a/b", "/mcpx", "/api/tools", "/healthz"):
            assert door.hot(path) is None, path
        for number in range(1_200):
            assert door.hot(f"/mcp/x{number}") is not None
        assert len(door._faces) <= 1_000


@virtual_time()
async def test_an_address_without_a_server_is_not_found_in_either_era():
    async with doors("calc", "files") as hub:
        for path, caller in (("/mcp/nobody", BERT), ("/mcp/calc", NARROW)):
            for asked in (
                modern("tools/list", path=path, caller=caller, message_id="a"),
                initialize(path=path, caller=caller, message_id="a"),
            ):
                assert refused(await hub(asked)) == (404, -32600)
                assert asked.json["id"] == "a"
            for method in ("GET", "DELETE"):
                assert (await hub(post(b"", (), path, caller, method))).status == 404


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "HEAD"])
@virtual_time()
async def test_other_methods_are_refused(method):
    async with doors("calc") as hub:
        asked = await hub(post(b"", (), method=method))
        assert (asked.status, asked.header(b"allow")) == (405, b"GET, POST, DELETE")


# ---------------------------------------------------------------- which era


@virtual_time()
async def test_the_era_is_read_from_header_and_body():
    """§3.1 of the protocol notes, row by row."""
    async with doors("calc") as hub:
        meta = {"_meta": META}
        session = await begun(hub)

        async def asked(body, *headers):
            exchange = await hub(post(body, [ACCEPT, *headers]))
            return exchange.status, exchange.json.get("error", {}).get("code")

        new, old = (b"mcp-protocol-version", b"2026-07-28"), (b"mcp-protocol-version", OLD)
        method = (b"mcp-method", b"tools/list")
        mine = (b"mcp-session-id", session)
        listing, listing_new = body_of("tools/list"), body_of("tools/list", meta)
        assert await asked(listing_new, new, method) == (200, None)
        assert await asked(listing, new, method) == (400, -32602)
        assert await asked(listing_new) == (400, -32020)
        assert await asked(listing_new, mine) == (400, -32020)
        assert await asked(listing_new, old, mine) == (400, -32020)
        assert await asked(listing, mine) == (200, None)
        assert await asked(listing, old, mine) == (200, None)
        assert await asked(listing) == (400, -32600)
        assert await asked(listing, (b"mcp-protocol-version", b"2024-10-07"), mine) == (400, -32602)
        assert await asked(listing, (b"mcp-protocol-version", b"2024-11-05"), mine) == (200, None)
        unknown = {"_meta": {**META, VERSION: "2024-10-07"}}
        sent = body_of("tools/list", unknown)
        assert await asked(sent, (b"mcp-protocol-version", b"2024-10-07"), method) == (400, -32022)


@pytest.mark.parametrize(
    "method",
    ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"],
)
@virtual_time()
async def test_methods_of_the_old_era_do_not_exist_in_the_new_one(method):
    async with doors("calc") as hub:
        assert refused(await hub(modern(method, {"level": "info"}))) == (404, -32601)


@virtual_time()
async def test_get_and_delete_are_for_sessions_only():
    async with doors("calc") as hub:
        for method in ("GET", "DELETE"):
            version = (b"mcp-protocol-version", b"2026-07-28")
            asked = await hub(post(b"", [version], method=method))
            assert (asked.status, asked.header(b"allow")) == (405, b"POST")
            version = (b"mcp-protocol-version", b"1999-01-01")
            assert (await hub(post(b"", [version], method=method))).status == 400
            assert (await hub(post(b"", (), method=method))).status == 400


# ---------------------------------------------------------------- the modern ladder


@virtual_time()
async def test_an_unsupported_version_is_told_what_is_supported():
    async with doors("calc") as hub:
        meta = {VERSION: "2030-01-01"}
        asked = await hub(modern("tools/list", meta=meta, version=b"2030-01-01", message_id="v"))
        assert refused(asked) == (400, -32022)
        assert asked.json["id"] == "v"
        assert asked.json["error"]["data"] == {
            "supported": ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"],
            "requested": "2030-01-01",
        }


@pytest.mark.parametrize(
    "headers",
    [
        {"version": b"2030-01-01"}, {"method_": None}, {"method_": b"tools/list"},
        {"method_": b"Tools/Call"}, {"name": None}, {"name": b"calc__other"},
        {"name": b"CALC__ADD"}, {"name": b"=?base64?!?="}, {"name": b"=?base64?YWRk?="},
        {"name": b"=?BASE64?Y2FsY19fYWRk?="}, {"name": b"calc__add\xff"}, {"name": b"=?calc"},
    ],
)  # fmt: skip
@virtual_time()
async def test_headers_that_do_not_say_what_the_body_says_are_refused(headers):
    """A16."""
    async with doors("calc") as hub:
        assert refused(await hub(modern("tools/call", ADD, **headers))) == (400, -32020)
        assert hub["calc"].executed("add") == 0


@virtual_time()
async def test_a_name_in_base64_is_the_name():
    async with doors("calc") as hub:
        asked = await hub(modern("tools/call", ADD, name=b"=?base64?Y2FsY19fYWRk?="))
        assert asked.status == 200


@pytest.mark.parametrize(
    "name", [b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"mcp-session-id"]
)
@virtual_time()
async def test_a_routing_header_that_came_twice_is_refused(name):
    async with doors("calc") as hub:
        asked = modern("tools/call", ADD, mcp_session_id=b"x")
        value = dict(asked.request.headers)[name]
        twice = (*asked.request.headers, (b"x-other", b"1"), (b"x-other", b"2"), (name, value))
        assert refused(await hub(post(asked.request.body, twice))) == (400, -32020)
        others = (*asked.request.headers, (b"x-other", b"1"), (b"x-other", b"2"))
        assert (await hub(post(asked.request.body, others))).status == 200


@pytest.mark.parametrize(
    "meta",
    [
        {VERSION: None}, {VERSION: 7}, {CAPABILITIES: None}, {CAPABILITIES: []},
        {INFO: "me"}, {"io.modelcontextprotocol/logLevel": "loud"},
        {"io.modelcontextprotocol/logLevel": {}}, {"progressToken": 1.5}, {"progressToken": True},
    ],
)  # fmt: skip
@virtual_time()
async def test_a_meta_of_the_wrong_shape_is_refused(meta):
    async with doors("calc") as hub:
        assert refused(await hub(modern("tools/list", meta=meta))) == (400, -32602)


@pytest.mark.parametrize("missing", [VERSION, CAPABILITIES])
@virtual_time()
async def test_a_missing_key_of_meta_is_refused(missing):
    async with doors("calc") as hub:
        asked = modern("tools/list")
        meta = {key: value for key, value in META.items() if key != missing}
        sent = body_of("tools/list", {"_meta": meta}, 5)
        exchange = await hub(post(sent, asked.request.headers))
        assert refused(exchange) == (400, -32602)
        assert exchange.json["id"] == 5


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700), (b"{", -32700), (b"\xef\xbb\xbf{}", -32700), (b'{"a":NaN}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', -32700),
        (b"[" * 100_000, -32700), (b'{"jsonrpc":"2.0","id":1e999,"method":"a"}', -32700),
        (b'{"jsonrpc":"2.0","id":' + b"1" * 5_000 + b',"method":"a"}', -32700),
        (b'"\\ud800"', -32700), (b"{} {}", -32700), (b"{}//", -32700),
        ('{"a":1}'.encode("utf-16"), -32700),
        (b"[]", -32600), (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600), (b"7", -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"Method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":7}}', -32602),
    ],
)  # fmt: skip
@virtual_time()
async def test_what_is_no_message_is_refused_in_every_era(body, code):
    """A14, A15."""
    async with doors("calc") as hub:
        session = await begun(hub)
        for headers in (
            modern("ping").request.headers,
            [(b"mcp-session-id", session), (b"mcp-protocol-version", b"2025-03-26")],
        ):
            exchange = await hub(post(body, headers))
            assert (exchange.status, exchange.code) == (400, code)


@virtual_time()
async def test_asides_of_the_new_era():
    async with doors("calc") as hub:
        version = (b"mcp-protocol-version", b"2026-07-28")
        note = body_of("notifications/cancelled", {"requestId": 1}, False)
        exchange = await hub(post(note, [version]))
        assert (exchange.status, exchange.body) == (202, b"")
        answer = b'{"jsonrpc":"2.0","id":1,"result":{}}'
        exchange = await hub(post(answer, [version]))
        assert refused(exchange) == (400, -32600)
        exchange = await hub(post(note, [(b"mcp-protocol-version", b"2031-01-01")]))
        assert (exchange.status, exchange.code) == (400, -32022)


@virtual_time()
async def test_ids_of_the_old_era_mean_nothing_in_the_new_one():
    async with doors("calc") as hub:
        asked = modern("tools/call", ADD, mcp_session_id=b"forged", last_event_id=b"9")
        assert (await hub(asked)).status == 200
        assert asked.header(b"mcp-session-id") is None


@virtual_time()
async def test_an_answer_carries_the_id_as_it_was_sent():
    async with doors("calc") as hub:
        for message_id in (0, 7, "7", "a\nb", ""):
            asked = await hub(modern("tools/call", ADD, message_id=message_id))
            assert asked.json["id"] == message_id
            assert type(asked.json["id"]) is type(message_id)
            asked = await hub(modern("tools/list", message_id=message_id))
            assert asked.json["id"] == message_id


@pytest.mark.parametrize(
    ("code", "status"),
    [(-32602, 400), (-32601, 404), (-32021, 400), (-32603, 200), (-32050, 200), (7, 200)],
)
@virtual_time()
async def test_the_status_follows_the_code_in_the_new_era_only(code, status):
    async with doors(server("calc", attempts=1)) as hub:
        hub["calc"].answers["add"] = error(code)
        asked = await hub(modern("tools/call", ADD))
        assert (asked.status, asked.code) == (status, code)
        if code != -32021:
            asked = await hub(legacy("tools/call", ADD, session=await begun(hub)))
            assert (asked.status, asked.code) == (200, code)


@virtual_time()
async def test_a_refusal_by_the_hub_is_an_error_with_all_its_facts():
    async with doors("calc") as hub:
        hub.catalog.get("calc").lane.breaker.force_open(hub.clock.now(), "", None)
        asked = await hub(modern("tools/call", ADD))
        assert (asked.status, asked.code) == (200, -31001)
        data = asked.json["error"]["data"]
        assert (data["server"], data["tool"], data["executed"]) == ("calc", "add", "no")
        assert data["request_id"].startswith("r-")


@virtual_time()
async def test_what_comes_out_is_what_the_sdks_types_read():
    async with doors("calc") as hub:
        DiscoverResult.model_validate((await hub(modern("server/discover"))).result)
        ListToolsResult.model_validate((await hub(modern("tools/list"))).result)
        CallToolResult.model_validate((await hub(modern("tools/call", ADD))).result)
        InitializeResult.model_validate((await hub(initialize())).result)


@virtual_time()
async def test_equal_ids_of_two_clients_do_not_meet():
    """R35."""
    async with doors("calc") as hub:
        hub["calc"].answers["add"] = [
            Act(Reply(Ending.RESULT, result=b'{"content":["slow"]}'), after=2 * SECOND),
            result(b'{"content":["quick"]}'),
        ]
        slow = hub.send(modern("tools/call", ADD, message_id=1))
        quick = hub.send(modern("tools/call", ADD, message_id=1, caller=BERT))
        await asyncio.sleep(3)
        assert slow.result["content"] == ["slow"]
        assert quick.result["content"] == ["quick"]


@virtual_time()
async def test_a_client_need_not_say_who_it_is():
    async with doors("calc") as hub:
        asked = modern("tools/list")
        body = body_of("tools/list", {"_meta": {VERSION: META[VERSION], CAPABILITIES: {}}})
        assert (await hub(post(body, asked.request.headers))).status == 200


# ---------------------------------------------------------------- streams and hanging up


@pytest.mark.parametrize("gap", [b"\n", b"\r", b"\r\n\n"])
def test_an_event_is_one_event_whatever_the_server_wrote(gap):
    """A65."""
    written = event(b'{"a":[%b1.50,"\xe2\x80\xa8"]}' % gap)
    assert written == b'event: message\ndata: {"a":[1.50,"\xe2\x80\xa8"]}\n\n'


@virtual_time()
async def test_an_answer_becomes_a_stream_when_something_is_to_be_told_before_it():
    async with doors("calc") as hub:
        log = b'{"level":"info","data":"x"}'
        raw = b'{"content":[\n{"type":"text","text":"5"}\r\n]}'
        notes = (("notifications/progress", PROGRESS), ("notifications/message", log))
        hub["calc"].answers["add"] = Act(Reply(Ending.RESULT, result=raw), notes=notes)
        meta = {"progressToken": "p", "io.modelcontextprotocol/logLevel": "debug"}
        asked = await hub(modern("tools/call", ADD, meta=meta, message_id=3))
        assert (asked.status, asked.streaming, asked.over) == (200, True, True)
        assert asked.header(b"content-type") == b"text/event-stream"
        assert asked.header(b"x-accel-buffering") == b"no"
        progress, message, answer = asked.events
        assert progress["params"] == {"progressToken": "p", "progress": 1}
        assert message["params"] == {"level": "info", "data": "x"}
        assert answer["id"] == 3
        assert answer["result"]["content"] == [{"type": "text", "text": "5"}]


@virtual_time()
async def test_a_client_that_takes_no_streams_gets_only_the_answer():
    async with doors("calc") as hub:
        hub["calc"].answers["add"] = Act(
            OK.reply, after=40 * SECOND, notes=(("notifications/progress", PROGRESS),)
        )
        asked = modern("tools/call", ADD, accept=b"application/json")
        await hub(asked, 41)
        assert not asked.streaming
        assert "result" in asked.json


@virtual_time()
async def test_a_long_silence_is_kept_alive_with_comments():
    async with doors("calc") as hub:
        hub["calc"].answers["add"] = Act(OK.reply, after=40 * SECOND)
        asked = modern("tools/call", ADD)
        await hub(asked, 14)
        assert asked.status is None
        await asyncio.sleep(27)
        assert asked.chunks[:2] == [b": keep-alive\n\n"] * 2
        assert "result" in asked.json
        assert len(asked.chunks) == 3
        assert not hub.door.pulse.open


@virtual_time()
async def test_hanging_up_cancels_in_the_new_era():
    """R42."""
    async with doors("calc") as hub:
        hub["calc"].answers["add"] = HANGS
        asked = hub.send(modern("tools/call", ADD))
        await asyncio.sleep(0.1)
        asked.gone()
        await settled()
        assert hub.house.at_rest()
        assert asked.status is None
        assert not hub.door.pulse.open


@virtual_time()
async def test_hanging_up_cancels_nothing_in_the_old_era():
    """2025-11-25: a disconnection should not be read as a cancellation."""
    async with doors("calc") as hub:
        hub["calc"].answers["add"] = Act(
            OK.reply, after=20 * SECOND, notes=(("notifications/progress", PROGRESS),)
        )
        session = await begun(hub)
        asked = hub.send(legacy("tools/call", ADD, session=session))
        asked.gone()
        await asyncio.sleep(19)
        assert len(hub.gateway.in_flight) == 1
        await asyncio.sleep(2)
        assert hub.house.at_rest()
        assert hub.rows[-1].outcome == "ok"
        assert asked.status is None


@virtual_time()
async def test_hanging_up_in_a_stream_writes_no_more():
    async with doors("calc") as hub:
        hub["calc"].answers["add"] = Act(None, notes=(("notifications/progress", PROGRESS),) * 3)
        asked = hub.send(modern("tools/call", ADD))
        await asyncio.sleep(0.1)
        written = len(asked.chunks)
        asked.gone()
        await asyncio.sleep(20)
        assert len(asked.chunks) == written
        assert hub.house.at_rest()


@virtual_time()
async def test_a_client_that_reads_slowly_pauses_the_server():
    async with doors("calc", limits=LimitSettings(client_buffer_bytes=1_000)) as hub:
        notes = (("notifications/progress", PROGRESS),) * 2
        hub["calc"].answers["add"] = Act(OK.reply, after=SECOND, notes=notes)
        asked = hub.send(modern("tools/call", ADD))
        asked.backlog = 1_500
        await asyncio.sleep(0.1)
        (attempt,) = hub["calc"].flying
        assert attempt.paused == 2
        assert len(asked.chunks) == 2
        asked.drained()
        assert attempt.paused == 1
        await asyncio.sleep(2)
        hub["calc"].answers["add"] = Act(OK.reply, notes=notes)
        asked = hub.send(modern("tools/call", ADD))
        asked.backlog = 2_500
        await asyncio.sleep(0.1)
        assert "result" in asked.json
        assert not asked.streaming, "what a paused client cannot take is dropped"


@virtual_time()
async def test_a_server_that_waits_for_an_old_client_waits_no_longer_when_it_has_gone():
    async with doors("calc", limits=LimitSettings(client_buffer_bytes=1_000)) as hub:
        hub["calc"].answers["add"] = Act(
            OK.reply, after=SECOND, notes=(("notifications/progress", PROGRESS),)
        )
        asked = hub.send(legacy("tools/call", ADD, session=await begun(hub)))
        asked.backlog = 1_500
        await asyncio.sleep(0.1)
        (attempt,) = hub["calc"].flying
        assert attempt.paused == 1
        asked.gone()
        assert attempt.paused == 0


# ---------------------------------------------------------------- the old era


@virtual_time()
async def test_a_session_from_hello_to_goodbye():
    async with doors("calc") as hub:
        hello = await hub(initialize("2025-06-18", message_id="i"))
        assert hello.json["id"] == "i"
        assert hello.result["protocolVersion"] == "2025-06-18"
        assert hello.result["serverInfo"]["name"] == "agenthub"
        session = hello.header(b"mcp-session-id")
        note = legacy("notifications/initialized", session=session, message_id=False)
        assert (await hub(note)).status == 202
        answer = post(b'{"jsonrpc":"2.0","id":9,"result":{}}', [(b"mcp-session-id", session)])
        assert (await hub(answer)).status == 202
        assert (await hub(legacy("ping", session=session))).result == {}
        asked = await hub(legacy("tools/call", ADD, session=session))
        assert asked.result["content"] == [{"type": "text", "text": "5"}]
        goodbye = post(b"", [(b"mcp-session-id", session)], method="DELETE")
        assert (await hub(goodbye)).status == 204
        assert (await hub(legacy("ping", session=session))).status == 404
        goodbye = post(b"", [(b"mcp-session-id", session)], method="DELETE")
        assert (await hub(goodbye)).status == 404


@virtual_time()
async def test_a_session_that_is_missing_forged_or_anothers():
    """A17."""
    async with doors("calc") as hub:
        session = await begun(hub)
        for message_id in (5, False):
            asked = await hub(legacy("ping", message_id=message_id))
            assert (asked.status, asked.code) == (400, -32600)
        for found in (
            legacy("ping", session=b"bench-1", message_id=5),
            legacy("ping", session=b"\xff", message_id=5),
            legacy("ping", session=session[:-1], message_id=5),
            legacy("ping", session=session, caller=BERT, message_id=5),
            legacy("ping", session=session, path="/mcp/calc", message_id=5),
        ):
            assert refused(await hub(found)) == (404, -32600)
            assert found.json["id"] == 5
        wrong = await hub(legacy("initialize", {"protocolVersion": 7}))
        assert (wrong.status, wrong.code) == (200, -32602)


@virtual_time()
async def test_a_request_is_cancelled_by_its_own_session_only():
    """A40."""
    async with doors("calc") as hub:
        hub["calc"].answers["add"] = HANGS
        mine, other = await begun(hub), await begun(hub, caller=BERT)
        asked = hub.send(legacy("tools/call", ADD, session=mine, message_id=1))
        cancel = {"requestId": 1}

        async def say(session, **more):
            note = legacy(
                "notifications/cancelled", cancel, session=session, message_id=False, **more
            )
            assert (await hub(note)).status == 202

        await say(other, caller=BERT)
        version = (b"mcp-protocol-version", b"2026-07-28")
        assert (
            await hub(post(body_of("notifications/cancelled", cancel, False), [version]))
        ).status == 202
        assert asked.status is None
        await say(mine)
        assert asked.json["id"] == 1
        assert "error" in asked.json
        assert hub.house.at_rest()
        await say(mine)


@virtual_time()
async def test_a_session_chooses_the_level_of_its_log():
    async with doors("calc") as hub:
        session = await begun(hub)
        level = "io.modelcontextprotocol/logLevel"
        await hub(legacy("tools/call", ADD, session=session))
        assert bytes(hub["calc"].sent[-1].meta[level]) == b'"info"'
        assert (
            await hub(legacy("logging/setLevel", {"level": "error"}, session=session))
        ).result == {}
        await hub(legacy("tools/call", ADD, session=session))
        assert bytes(hub["calc"].sent[-1].meta[level]) == b'"error"'
        asked = await hub(legacy("logging/setLevel", {"level": "x"}, session=session))
        assert (asked.status, asked.code) == (200, -32602)


@virtual_time()
async def test_a_server_hears_what_the_client_declared_when_it_began():
    async with doors("calc") as hub:
        session = await begun(hub, capabilities={"elicitation": {}})
        await hub(legacy("tools/call", ADD, session=session))
        sent = hub["calc"].sent[-1]
        assert msgspec.json.decode(sent.capabilities) == {"elicitation": {}}
        assert msgspec.json.decode(sent.client_info) == {"name": "old", "version": "1"}


def stream_of(session, **headers):
    sent = [(b"mcp-session-id", session), *((k.encode(), v) for k, v in headers.items())]
    return post(b"", sent if "accept" in headers else [ACCEPT, *sent], method="GET")


@virtual_time()
async def test_a_session_has_one_stream_of_news():
    async with doors("calc") as hub:
        session = await begun(hub)
        assert (await hub(stream_of(session, accept=b"application/json"))).status == 406
        stream = await hub(stream_of(session))
        assert (stream.status, stream.streaming, stream.over) == (200, True, False)
        assert (await hub(stream_of(session))).status == 409
        hub["calc"].tools = {}
        hub["calc"].watcher.changed("notifications/tools/list_changed", b"{}")
        await asyncio.sleep(1)
        assert "notifications/tools/list_changed" in [e["method"] for e in stream.events]
        assert all("_meta" not in e.get("params", {}) for e in stream.events)
        stream.gone()
        again = await hub(stream_of(session))
        assert again.status == 200
        await asyncio.sleep(16)
        assert b": keep-alive\n\n" in again.chunks
        await hub(post(b"", [(b"mcp-session-id", session)], method="DELETE"))
        assert again.over
        assert again.events == [], "a stream of the old era ends without a word"


@virtual_time()
async def test_streams_of_one_key_are_bounded(monkeypatch):
    """A61."""
    monkeypatch.setattr("agenthub.inbound.mcp.news.subscriptions.PER_CALLER", 2)
    async with doors("calc") as hub:
        for _ in range(2):
            assert (await hub(stream_of(await begun(hub)))).streaming
        asked = await hub(stream_of(await begun(hub)))
        assert (asked.streaming, asked.code) == (False, -31005)
        assert (await hub(modern("subscriptions/listen", {"notifications": {}}))).code == -31005


@virtual_time()
async def test_a_dead_server_is_an_error_of_the_call_and_nothing_else():
    async with doors(server("calc", attempts=1)) as hub:
        hub["calc"].answers["add"] = REFUSED
        asked = await hub(modern("tools/call", ADD))
        assert (asked.status, asked.code) == (200, -31006)
        assert (await hub(modern("tools/list"))).status == 200


# ---------------------------------------------------------------- questions


@virtual_time()
async def test_an_answer_reaches_no_fallback_of_the_server_that_asked():
    """R34."""
    first = [asks_back("s", a=FORM), asks_back("t", a=FORM)]
    async with doors(server("calc", fallbacks=("twin",)), "twin") as hub:
        hub["calc"].answers["add"] = first
        asked = await hub(call())
        hub.catalog.get("calc").lane.breaker.force_open(hub.clock.now(), "", None)
        for answer in (again(asked), call({"name": "add", "inputResponses": {}})):
            assert (await hub(answer)).code == -31001
        assert hub["twin"].executed("add") == 0
        assert (await hub(call())).result["_meta"]["io.agenthub/served_by"] == "twin"
