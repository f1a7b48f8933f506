"""The HTTP upstream against well-behaved servers, both eras, over real sockets."""

import asyncio

import msgspec
from support.http_servers import MODERN, FaultServer, HttpHouse, Legacy, modern
from support.stdio_hub import text_of

from agenthub.domain.call import Era
from agenthub.domain.outcome import Ending, Written


async def test_a_modern_server_is_found_out_and_answers():
    async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
        house.upstream.start()
        reply = await house.call("echo", text="hi")
        assert (reply.ending, reply.written, reply.status) == (Ending.RESULT, Written.ALL, 200)
        assert text_of(reply) == "hi"
        state = house.upstream.state
        assert (state.connected, state.era, state.version) == (True, Era.MODERN, MODERN)
        assert msgspec.json.decode(state.server_info)["name"] == "fault"
        assert (state.problem, state.instructions) == ("", "be kind")
        assert house.watcher.heard == [("connected",)]


async def test_a_hundred_concurrent_calls_get_their_own_answers():
    async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
        await house.up()
        replies = await asyncio.gather(*(house.call("echo", text=n) for n in range(100)))
        assert [text_of(reply) for reply in replies] == [str(n) for n in range(100)]


async def test_in_steady_state_a_call_is_one_request_on_an_old_connection():
    async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
        await house.up()
        await house.call("warm")
        before = server.connections, len(server.requests)
        for number in range(50):
            assert text_of(await house.call("echo", text=number)) == str(number)
        assert (server.connections, len(server.requests)) == (before[0], before[1] + 50)


async def test_a_legacy_server_is_initialized():
    legacy = Legacy()
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        house.upstream.start()
        assert text_of(await house.call("echo", text="hi")) == "hi"
        state = house.upstream.state
        assert (state.era, state.version) == (Era.LEGACY, "2025-06-18")
        assert [r.method for r in server.requests] == [
            "server/discover", "initialize", "notifications/initialized", "tools/call",
        ]  # fmt: skip
        call = server.requests[-1]
        assert call.headers["mcp-session-id"] == "s1"
        assert call.headers["mcp-protocol-version"] == "2025-06-18"
        assert "mcp-method" not in call.headers
        assert server.requests[1].message["params"]["capabilities"] == {}
    assert server.requests[-1].verb == "DELETE"
    assert legacy.alive == set()
