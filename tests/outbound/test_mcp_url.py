"""Which transport a server behind a URL speaks, found out over real sockets."""

import asyncio

import pytest
from support.http_servers import FaultServer, Legacy, echo, modern
from support.sse_servers import SseServer, UrlHouse
from support.stdio_hub import text_of, until

from agenthub.domain.call import Era
from agenthub.domain.outcome import Cause, Ending, Written
from agenthub.outbound.mcp_url import Found


@pytest.mark.parametrize("refusal", [400, 404, 405, 415])
async def test_a_server_that_refuses_streamable_http_is_asked_for_a_stream(refusal):
    async with SseServer(refusal=refusal) as server, UrlHouse(server.url) as house:
        receiver, _ = house.begin("tool", a=1)
        reply = await asyncio.wait_for(receiver.reply, 5)
        assert text_of(reply) == '{"a":1}'
        state = house.upstream.state
        assert (state.connected, state.era, state.version) == (True, Era.LEGACY, "2024-11-05")
        assert house.found.is_sse
        assert not house.watcher.count("unreachable")
        assert text_of(await house.call("tool", b=2)) == '{"b":2}'
        assert [one.verb for one in server.requests[:3]] == ["POST", "POST", "GET"]


@pytest.mark.parametrize("script", [modern(echo), Legacy(echo)])
async def test_streamable_http_stays_what_it_is(script):
    async with FaultServer(script) as server, UrlHouse(server.url) as house:
        assert (await house.call("tool", a=1)).ending is Ending.RESULT
        assert not house.found.is_sse
        assert (await house.call("tool", a=1)).ending is Ending.RESULT


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_a_server_in_trouble_is_no_older_server(status):
    async with SseServer(refusal=status) as server, UrlHouse(server.url) as house:
        reply = await house.call("tool")
        assert (reply.ending, reply.status) == (Ending.STATUS, status)
        assert not [one for one in server.requests if one.verb == "GET"]


async def test_without_either_a_call_hears_what_the_first_transport_said():
    async def nothing(request, peer):
        await peer.answer(404)

    async with FaultServer(nothing) as server, UrlHouse(server.url) as house:
        reply = await house.call("tool")
        assert (reply.ending, reply.status, reply.written) == (Ending.STATUS, 404, Written.NONE)
        assert "no MCP endpoint" in house.upstream.state.problem
        await until(lambda: house.upstream._sse is None)
        assert not house.found.is_sse


async def test_what_one_session_found_counts_for_the_next():
    found = Found()
    async with SseServer() as server, UrlHouse(server.url, found=found) as first:
        await first.up()
        await until(lambda: server.heard("notifications/initialized"))
        before = len(server.requests)
        async with UrlHouse(server.url, found=found) as second:
            await second.up()
            assert server.requests[before].verb == "GET"


async def test_a_server_that_has_learned_the_newer_transport_is_found_again():
    async with SseServer() as server, UrlHouse(server.url) as house:
        await house.up()
        newer = modern(echo)

        async def script(request, peer):
            await (peer.answer(405) if request.verb == "GET" else newer(request, peer))

        server.script = script
        server.stream.reset()
        await house.watcher.until("lost")
        await house.watcher.until("connected", 2)
        assert (await house.call("tool", a=1)).ending is Ending.RESULT
        assert not house.found.is_sse


async def test_a_call_given_up_while_the_transport_is_found_out_was_not_sent():
    async with SseServer(events=()) as server, UrlHouse(server.url) as house:
        receiver, attempt = house.begin("tool")
        attempt.pause()
        attempt.answer(1, b"{}")
        attempt.resume()
        await until(lambda: server.streams)
        attempt.cancel(Cause.CLIENT)
        reply = await asyncio.wait_for(receiver.reply, 5)
        assert (reply.ending, reply.written) == (Ending.CANCELLED, Written.NONE)
        assert not server.heard("tools/call")


async def test_closed_while_it_is_found_out_it_tries_nothing_more():
    async with SseServer(events=()) as server, UrlHouse(server.url) as house:
        receiver, _ = house.begin("tool")
        await until(lambda: server.streams)
        await house.upstream.close()
        assert (await asyncio.wait_for(receiver.reply, 5)).ending is Ending.CANCELLED
