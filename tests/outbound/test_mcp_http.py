"""The HTTP upstream against well-behaved servers, both eras, over real sockets."""

import asyncio

import msgspec
import pytest
import uvicorn
import uvloop
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from support.http_servers import (
    DISCOVERED,
    MODERN,
    FaultServer,
    HttpHouse,
    Legacy,
    Peer,
    Request,
    echo,
    hang,
    modern,
    outgoing,
)
from support.stdio_hub import RealClock, Receiver, Watcher, text_of, until

from agenthub.domain.call import Era
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.errors import BadSetting
from agenthub.domain.outcome import Ending, Written
from agenthub.domain.span import SECOND
from agenthub.outbound import http_own, mcp_http
from agenthub.outbound.http_attempt import HttpAttempt
from agenthub.outbound.http_connection import HttpLimits
from agenthub.outbound.mcp_http import HttpUpstream
from agenthub.ports import Outgoing
from agenthub.tasks import Tasks


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


async def test_calls_before_the_start_begin_it():
    async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
        replies = await asyncio.gather(*(house.call("x", text=n) for n in range(10)))
        assert [text_of(reply) for reply in replies] == [str(n) for n in range(10)]
        assert server.count("server/discover") == 1


async def test_calls_while_it_opens_wait_no_longer_than_the_connect_timeout():
    async with FaultServer(hang) as server, HttpHouse(server.url, connect_ms=200) as house:
        house.upstream.start()
        reply = await house.call("x")
        assert (reply.ending, reply.written) == (Ending.UNREACHED, Written.NONE)
        assert "200 ms" in reply.detail
        receiver, _ = house.begin("x")
        assert (await asyncio.wait_for(receiver.reply, 0.1)).ending is Ending.UNREACHED
        assert [one[0] for one in house.watcher.heard] == ["unreachable"]
        assert not house.upstream.state.connected


async def test_a_server_that_answers_late_is_still_taken():
    async def late(request: Request, peer: Peer):
        if request.method == "server/discover":
            await asyncio.sleep(0.3)
        await modern()(request, peer)

    async with FaultServer(late) as server, HttpHouse(server.url, connect_ms=100) as house:
        assert (await house.call("x")).ending is Ending.UNREACHED
        await house.watcher.until("connected")
        assert house.upstream.state.problem == ""
        assert text_of(await house.call("x")) == "x"


async def test_an_opening_is_given_up_and_begun_anew(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mcp_http, "GIVE_UP", SECOND // 5)

    async def script(request: Request, peer: Peer):
        if len(server.requests) == 1:
            await hang(request, peer)
        await modern()(request, peer)

    async with FaultServer(script) as server, HttpHouse(server.url, connect_ms=100) as house:
        await house.up()
        assert house.watcher.heard[0][0] == "unreachable"
        assert house.watcher.count("unreachable") == 1, "one outage, one word"
        assert text_of(await house.call("x")) == "x"


async def test_a_lost_session_is_made_anew_and_the_call_is_sent_again():
    legacy = Legacy()
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        assert text_of(await house.call("one")) == "one"
        legacy.alive.clear()
        replies = await asyncio.gather(*(house.call("x", text=n) for n in range(5)))
        assert [text_of(reply) for reply in replies] == [str(n) for n in range(5)]
        assert server.count("initialize") == 2
        assert server.requests[-1].headers["mcp-session-id"] == "s2"
        assert house.watcher.heard == [("connected",)] * 2


async def test_a_call_that_is_under_way_in_a_lost_session_is_not_sent_again():
    """The server took it: it goes on in the answer that is open, whatever others find out."""
    open_streams = []

    async def call(request: Request, peer: Peer):
        if request.tool == "quick":
            await echo(request, peer)
            return
        open_streams.append((request, peer))
        await peer.stream()
        await peer.reader.read(1)

    legacy = Legacy(call)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        receiver, _ = house.begin("long")
        await until(lambda: open_streams)
        legacy.alive.clear()
        assert text_of(await house.call("quick")) == "quick"
        assert server.count("initialize") == 2
        ((request, peer),) = open_streams
        answer = {"jsonrpc": "2.0", "id": request.id, "result": {"content": []}}
        await peer.event(answer)
        reply = await receiver.reply
        assert (reply.ending, reply.result) == (Ending.RESULT, b'{"content":[]}')
        assert [one.tool for one in server.calls()] == ["long", "quick", "quick"]


async def test_a_stream_that_broke_in_a_lost_session_is_lost_and_its_call_not_sent_again():
    async def call(request: Request, peer: Peer):
        await peer.stream()
        await peer.chunk(b"id: 1\nretry: 1\ndata: \n\n")
        legacy.alive.clear()
        peer.reset()

    legacy = Legacy(call)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        reply = await house.call("once")
        assert (reply.ending, reply.written) == (Ending.LOST, Written.ALL)
        assert "its rest was not to be had" in reply.detail
        assert len(server.calls()) == 1


async def test_a_server_that_says_400_of_a_lost_session_is_understood():
    async def call(request: Request, peer: Peer):
        if request.headers["mcp-session-id"] == "s1":
            await peer.answer(400, b"Bad Request: No valid session ID provided", "text/plain")
        else:
            await echo(request, peer)

    async with FaultServer(Legacy(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        assert text_of(await house.call("x")) == "x"
        assert server.count("initialize") == 2


async def test_a_session_that_is_always_gone_is_an_error_and_no_circle():
    async def call(request: Request, peer: Peer):
        await peer.answer(404)

    async with FaultServer(Legacy(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        reply = await house.call("x")
        assert (reply.ending, reply.status) == (Ending.STATUS, 404)
        assert len(server.calls()) == 2
        assert server.count("initialize") <= 3


async def test_a_session_that_cannot_be_made_anew_fails_the_call():
    async def call(request: Request, peer: Peer):
        await server.stop()
        legacy.alive.clear()

    legacy = Legacy(call)
    async with FaultServer(legacy) as server, HttpHouse(server.url, connect_ms=200) as house:
        await house.up()
        receiver, attempt = house.begin("x")
        await receiver.reply
        await house.watcher.until("unreachable")
        upstream = house.upstream
        again = HttpAttempt(
            upstream, outgoing("x"), Receiver(), id=99, patience=upstream.patience, _owner=upstream
        )
        house.upstream.renew(again)
        assert again.receiver.reply.result().ending is Ending.UNREACHED
        assert attempt.done


async def test_a_server_without_sessions_needs_none():
    async with FaultServer(Legacy(sessions=False)) as server:
        async with HttpHouse(server.url) as house:
            await house.up()
            assert text_of(await house.call("x")) == "x"
            assert "mcp-session-id" not in server.requests[-1].headers
        assert all(request.verb == "POST" for request in server.requests)


async def test_a_server_that_does_not_say_goodbye_holds_nobody_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_own, "FAREWELL_S", 0.1)
    legacy = Legacy()

    async def script(request: Request, peer: Peer):
        if request.verb == "DELETE":
            await hang(request, peer)
        await legacy(request, peer)

    async with FaultServer(script) as server, HttpHouse(server.url) as house:
        await house.up()
        async with asyncio.timeout(1):
            await house.upstream.close()
            await house.upstream.close()


async def test_a_server_that_became_old_is_asked_anew():
    async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
        await house.up()
        server.script = Legacy()
        reply = await house.call("x")
        assert (reply.ending, reply.status) == (Ending.STATUS, 400)
        await house.watcher.until("connected", 2)
        assert house.upstream.state.era is Era.LEGACY
        assert text_of(await house.call("x")) == "x"


async def test_a_server_that_became_new_is_asked_anew():
    async with FaultServer(Legacy(sessions=False)) as server, HttpHouse(server.url) as house:
        await house.up()

        async def script(request: Request, peer: Peer):
            if request.headers.get("mcp-protocol-version") == MODERN:
                await modern()(request, peer)
            else:
                await peer.error(request, -32022, 400, {"supported": [MODERN], "requested": "x"})

        server.script = script
        assert (await house.call("x")).code == -32022
        await house.watcher.until("connected", 2)
        assert house.upstream.state.era is Era.MODERN
        assert text_of(await house.call("x")) == "x"


async def test_odd_answers_alone_make_no_storm_of_openings():
    async def call(request: Request, peer: Peer):
        await peer.answer(404)

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        for _ in range(10):
            reply = await house.call("x")
            assert (reply.ending, reply.status) == (Ending.STATUS, 404)
        await asyncio.sleep(0.05)
        assert server.count("server/discover") == 2


async def test_the_end_cancels_what_is_under_way():
    async with FaultServer(modern(hang)) as server, HttpHouse(server.url) as house:
        await house.up()
        running, _ = house.begin("x")
        await until(lambda: len(server.calls()) == 1)
        await house.upstream.close()
        reply = running.reply.result()
        assert (reply.ending, reply.written) == (Ending.CANCELLED, Written.ALL)
        assert (await house.call("x")).ending is Ending.UNREACHED
        await until(lambda: server.open == 0)
        house.upstream.start()
        assert not house.upstream.state.connected


async def test_the_end_while_it_opens_cancels_those_who_wait():
    async with FaultServer(hang) as server, HttpHouse(server.url) as house:
        waiting, _ = house.begin("x")
        await until(lambda: len(server.requests) == 1)
        await house.upstream.close()
        reply = waiting.reply.result()
        assert (reply.ending, reply.written) == (Ending.CANCELLED, Written.NONE)


@pytest.mark.parametrize(
    ("endpoint", "key"),
    [
        (Endpoint("x", command=("true",)), "url"),
        (Endpoint("x", url="ftp://h/"), "url"),
        (Endpoint("x", url="http://h/", headers={"X": "a\r\nb"}), "headers"),
    ],
)
async def test_an_endpoint_that_can_never_work_is_refused(endpoint: Endpoint, key: str):
    with pytest.raises(BadSetting, match=f"^{key}"):
        HttpUpstream(endpoint, Watcher(), RealClock(), Tasks(), HttpLimits())


async def test_configured_headers_reach_the_server():
    async with (
        FaultServer(modern()) as server,
        HttpHouse(server.url, headers={"Authorization": "Bearer t"}) as house,
    ):
        await house.call("x")
        assert {r.headers["authorization"] for r in server.requests} == {"Bearer t"}


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1/")
    async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
        assert text_of(await house.call("x")) == "x"


def test_it_works_the_same_on_uvloop():
    """The loop that the hub runs on."""

    async def main():
        async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
            await house.up()
            replies = await asyncio.gather(*(house.call("x", text=n) for n in range(40)))
            assert [text_of(reply) for reply in replies] == [str(n) for n in range(40)]
            await until(lambda: house.upstream._pool._dialling == 0)
            dialled = house.upstream._pool.dialled
            for text in ("one", "y" * 3_000_000):
                assert text_of(await house.call("x", text=text)) == text
            assert house.upstream._pool.dialled == dialled

            async def call(request: Request, peer: Peer):
                peer.reset()

            server.script = modern(call)
            reply = await house.call("x")
            assert (reply.ending, reply.written) == (Ending.LOST, Written.ALL)
            await server.stop()
            await until(lambda: not house.upstream._pool._open)
            reply = await house.call("x")
            assert (reply.ending, reply.written) == (Ending.UNREACHED, Written.NONE)

    uvloop.run(main())


def test_a_part_that_left_is_known_on_uvloop_too():
    async def main():
        async def script(request: Request, peer: Peer):
            await peer.result(request, DISCOVERED)
            await peer.reader.readexactly(1_000)
            peer.reset()

        async with FaultServer(script) as server, HttpHouse(server.url) as house:
            await house.up()
            reply = await house.call("x", text="x" * 16_000_000)
            assert (reply.ending, reply.written) == (Ending.LOST, Written.PARTIAL)

    uvloop.run(main())


# ---------------------------------------------------------------- the official SDK


@pytest.fixture
async def sdk():
    """A server of the official SDK, both eras, in this loop."""
    server = MCPServer("sdk")

    @server.tool()
    def add(a: int, b: int) -> int:
        return a + b

    @server.tool()
    async def steps(ctx: Context) -> str:
        for step in range(3):
            await ctx.report_progress(step, 3)
        return "done"

    config = uvicorn.Config(
        server.streamable_http_app(), port=0, log_config=None, lifespan="on", access_log=False
    )
    served = uvicorn.Server(config)
    task = asyncio.ensure_future(served.serve())
    await until(lambda: served.started)
    port = served.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/mcp"
    served.should_exit = True
    await task


@pytest.mark.parametrize("era", list(Era))
async def test_a_server_of_the_official_sdk_is_served_in_both_eras(sdk: str, era: Era):
    async with HttpHouse(sdk) as house:
        house.upstream.era = era
        await house.up()
        assert house.upstream.state.era is era
        replies = await asyncio.gather(*(house.call("add", a=n, b=1) for n in range(10)))
        assert [text_of(reply) for reply in replies] == [str(n + 1) for n in range(10)]
        receiver, _ = house.begin("steps", {"progressToken": "mine"})
        assert text_of(await receiver.reply) == "done"
        assert [msgspec.json.decode(params)["progress"] for _, params in receiver.notes] == [
            0,
            1,
            2,
        ]
        dialled = house.upstream._pool.dialled
        for _ in range(10):
            await house.call("add", a=1, b=1)
        assert house.upstream._pool.dialled == dialled
        reply = await house.send(Outgoing("tools/list", "", {}, {}, house.clock.now() + SECOND))[
            0
        ].reply
        assert len(msgspec.json.decode(reply.result)["tools"]) == 2
