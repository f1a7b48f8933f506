"""Requests that wait for the end of the loop's turn: what is not written was not sent (R28)."""

import asyncio
from contextlib import asynccontextmanager

from support.http_servers import FaultServer, HttpHouse, Peer, Request, echo, hang, modern
from support.stdio_hub import text_of, until

from agenthub.domain.outcome import Cause, Ending, Written


async def hang_or_echo(request: Request, peer: Peer):
    await (hang if request.tool == "hang" else echo)(request, peer)


@asynccontextmanager
async def busy_house():
    """A house with one call under way and one connection at rest, so that requests are held."""
    async with FaultServer(modern(hang_or_echo)) as server, HttpHouse(server.url) as house:
        await house.up()
        pool = house.upstream._pool
        _, hanging = house.begin("hang")
        await until(lambda: any(r.method == "tools/call" for r in server.requests))
        assert text_of(await house.call("free")) == "free"
        await until(lambda: len(pool._idle) == 1)
        yield server, house
        hanging.cancel(Cause.CLIENT)


def tools(server: FaultServer) -> list[str]:
    return [request.tool for request in server.requests if request.method == "tools/call"]


async def test_requests_of_a_turn_are_written_at_its_end():
    async with busy_house() as (_, house):
        receiver, attempt = house.begin("x")
        assert attempt.written is Written.NONE
        await asyncio.sleep(0)
        assert attempt.written is Written.ALL
        assert text_of(await receiver.reply) == "x"


async def test_who_is_alone_is_written_at_once():
    async with FaultServer(modern(echo)) as server, HttpHouse(server.url) as house:
        await house.up()
        await house.call("x")
        _, attempt = house.begin("y")
        assert attempt.written is Written.ALL


async def test_what_is_cancelled_before_it_is_written_was_not_sent():
    async with busy_house() as (server, house):
        receiver, attempt = house.begin("never")
        attempt.cancel(Cause.CLIENT)
        reply = await receiver.reply
        assert (reply.ending, reply.written) == (Ending.CANCELLED, Written.NONE)
        assert text_of(await house.call("later")) == "later"
        assert "never" not in tools(server)


async def test_a_server_that_speaks_before_it_is_asked_does_not_answer():
    """F17: what it says is no answer to the request that was to follow."""
    async with busy_house() as (server, house):
        receiver, attempt = house.begin("x")
        attempt.connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        assert text_of(await receiver.reply) == "x", "it is sent on another connection, once"
        assert tools(server).count("x") == 1


async def test_a_connection_that_ends_before_it_is_asked_is_no_loss():
    async with busy_house() as (server, house):
        receiver, attempt = house.begin("x")
        attempt.connection._transport.abort()
        assert text_of(await receiver.reply) == "x"
        assert tools(server).count("x") == 1


async def test_many_at_once_get_each_its_own_answer():
    async with busy_house() as (_, house):
        replies = [house.call(f"t{n}") for n in range(8)]
        assert [text_of(reply) for reply in await asyncio.gather(*replies)] == [
            f"t{n}" for n in range(8)
        ]
