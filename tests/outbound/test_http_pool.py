"""How connections are shared out, kept and let go."""

import asyncio

from support.http_servers import FaultServer, HttpHouse, Peer, Request, echo, hang, modern
from support.stdio_hub import text_of, until

from agenthub.domain.outcome import Cause, Ending, Written
from agenthub.outbound import http_pool
from agenthub.outbound.diagnosis import Diagnosis
from agenthub.outbound.http_dial import Unreachable


async def slow(request: Request, peer: Peer):
    await asyncio.sleep(0.02)
    await echo(request, peer)


async def test_there_are_never_more_connections_than_calls_and_a_few():
    async with FaultServer(modern(slow)) as server, HttpHouse(server.url, connections=12) as house:
        await house.up()
        replies = await asyncio.gather(*(house.call("x", text=n) for n in range(60)))
        assert [text_of(reply) for reply in replies] == [str(n) for n in range(60)]
        assert server.connections <= 12


async def test_the_connection_that_was_used_last_is_used_next():
    async with FaultServer(modern(slow)) as server, HttpHouse(server.url) as house:
        await house.up()
        await asyncio.gather(*(house.call("x") for _ in range(5)))
        opened = server.connections
        for _ in range(5):
            await house.call("x")
        assert len({request.connection for request in server.requests[-5:]}) == 1
        assert server.connections == opened


async def test_idle_connections_are_closed_before_their_peers_do_it(monkeypatch):
    monkeypatch.setattr(http_pool, "IDLE", http_pool.SECOND // 5)
    async with FaultServer(modern()) as server, HttpHouse(server.url, idle_ms=400) as house:
        await house.up()
        await asyncio.gather(*(house.call("x") for _ in range(5)))
        assert server.open > 1
        await until(lambda: server.open == 0, 1)
        assert house.upstream._pool._sweeper is None, "nothing is watched when nothing is open"
        assert text_of(await house.call("again")) == "again"
        assert house.watcher.heard == [("connected",)]


async def test_a_burst_to_a_new_server_begins_with_few_dials():
    dials = 0
    most = 0

    async with FaultServer(modern(slow)) as server, HttpHouse(server.url) as house:
        await house.up()
        real = house.upstream._pool._dial.connect

        async def connect(make):
            nonlocal dials, most
            dials += 1
            most = max(most, dials)
            await asyncio.sleep(0.005)
            try:
                return await real(make)
            finally:
                dials -= 1

        house.upstream._pool._dial.connect = connect
        sent = [house.begin("x") for _ in range(32)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert most <= http_pool.DIALS
        for receiver, _ in sent:
            assert (await receiver.reply).ending is Ending.RESULT
        assert most > http_pool.DIALS


class Failing:
    """A dial that fails; not because nothing listens."""

    def __init__(self, real) -> None:
        self.real = real
        self.failures = 0

    async def connect(self, make):
        if self.failures:
            self.failures -= 1
            await asyncio.sleep(0)
            raise Unreachable(Diagnosis("no route today"))
        return await self.real.connect(make)


async def hanging(request: Request, peer: Peer):
    if request.tool == "hang":
        await hang(request, peer)
    else:
        await slow(request, peer)


async def test_while_a_connection_is_open_a_failed_dial_is_the_failure_of_one():
    async with FaultServer(modern(hanging)) as server, HttpHouse(server.url) as house:
        await house.up()
        _, attempt = house.begin("hang")
        await until(lambda: len(server.calls()) == 1)
        house.upstream._pool._dial = failing = Failing(house.upstream._pool._dial)
        failing.failures = 3
        replies = await asyncio.gather(*(house.call("x") for _ in range(10)))
        unlucky = [reply for reply in replies if reply.ending is Ending.UNREACHED]
        assert len(unlucky) == 3
        assert {(r.written, r.detail) for r in unlucky} == {(Written.NONE, "no route today")}
        assert sum(reply.ending is Ending.RESULT for reply in replies) == 7
        assert house.watcher.heard == [("connected",)]
        attempt.cancel(Cause.CLIENT)


async def test_when_no_connection_is_open_a_failed_dial_is_the_failure_of_all():
    async with FaultServer(modern(slow)) as server, HttpHouse(server.url) as house:
        await house.up()
        for connection in list(house.upstream._pool._open):
            connection.close()
        house.upstream._pool._dial = failing = Failing(house.upstream._pool._dial)
        failing.failures = 1
        replies = await asyncio.gather(*(house.call("x") for _ in range(10)))
        assert {reply.ending for reply in replies} == {Ending.UNREACHED}
        assert house.watcher.count("unreachable") == 1
        await house.watcher.until("connected", 2)


async def test_a_lost_connection_is_proved_by_another_one():
    """R6: one reconnect after the loss of the last connection; if it fails, the server is down."""

    async def call(request: Request, peer: Peer):
        await server.stop()

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        assert (await house.call("x")).ending is Ending.LOST
        await house.watcher.until("unreachable", seconds=1)
        assert "nothing listens" in house.upstream.state.problem


async def test_a_server_that_hangs_up_on_everybody_is_unreachable():
    async with FaultServer(modern()) as server:
        url = server.url
        await server.stop()

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
            writer.transport.abort()

        rude = await asyncio.start_server(hang_up, "127.0.0.1", server.port)
        async with HttpHouse(url) as house:
            reply = await house.call("x")
            assert (reply.ending, reply.written) == (Ending.UNREACHED, Written.NONE)
            assert "closed" in reply.detail or "ended" in reply.detail or "reset" in reply.detail
        rude.close()


async def test_too_many_waiting_is_said_at_once(monkeypatch):
    async with (
        FaultServer(modern(hanging)) as server,
        HttpHouse(server.url, connections=9) as house,
    ):
        await house.up()
        running = [house.begin("hang") for _ in range(9)]
        await until(lambda: len(server.calls()) == 9)
        monkeypatch.setattr(http_pool, "WAITING_MAX", 2)
        waiting = [house.begin("x") for _ in range(2)]
        reply = await house.call("x")
        assert (reply.ending, reply.written) == (Ending.UNREACHED, Written.NONE)
        assert "wait" in reply.detail
        for _, attempt in running:
            attempt.cancel(Cause.CLIENT)
        for receiver, _ in waiting:
            assert (await receiver.reply).ending is Ending.RESULT


async def test_a_dial_under_way_at_the_end_is_of_no_use():
    async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
        await house.up()
        for connection in list(house.upstream._pool._open):
            connection.close()
        receiver, _ = house.begin("x")
        await asyncio.sleep(0)
        await house.upstream.close()
        assert receiver.reply.result().ending is Ending.CANCELLED
        await until(lambda: house.upstream._pool._dialling == 0)
        await until(lambda: server.open == 0)


async def test_a_dial_that_is_cancelled_leaves_its_place():
    async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
        await house.up()

        class Stuck:
            async def connect(self, make):
                await asyncio.sleep(30)

        for connection in list(house.upstream._pool._open):
            connection.close()
        house.upstream._pool._dial = Stuck()
        receiver, attempt = house.begin("x")
        await asyncio.sleep(0)
        await house.tasks.close()
        assert house.upstream._pool._dialling == 0
        attempt.cancel(Cause.CLIENT)
        assert receiver.reply.result().written is Written.NONE
