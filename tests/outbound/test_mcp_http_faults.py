"""The HTTP upstream under the faults of the catalogue, over real sockets, with its bounds."""

import asyncio
import resource
import socket
import time

import pytest
from support.http_servers import (
    DISCOVERED,
    FaultServer,
    HttpHouse,
    Legacy,
    Peer,
    Request,
    ask,
    echo,
    hang,
    modern,
)
from support.stdio_hub import rss_bytes, text_of, until

from agenthub.domain.call import Era
from agenthub.domain.outcome import Cause, Ending, Written
from agenthub.outbound import http_life, mcp_http

MIB = 1024 * 1024


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.mark.parametrize("noticed", [False, True])
async def test_f05_a_server_that_dies_is_noticed_at_once_with_few_connects(noticed: bool):
    async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
        await house.up()
        await asyncio.gather(*(house.call("warm") for _ in range(20)))
        await server.stop()
        if noticed:
            await until(lambda: not house.upstream._pool._open)
        dialled = house.upstream._pool.dialled
        began = time.monotonic()
        replies = await asyncio.gather(*(house.call("x", seconds=3) for _ in range(100)))
        assert time.monotonic() - began < 3, "their own deadline"
        assert {reply.ending for reply in replies} <= {Ending.UNREACHED, Ending.LOST}
        unreached = [reply for reply in replies if reply.ending is Ending.UNREACHED]
        assert len(unreached) >= 80
        assert {reply.written for reply in unreached} == {Written.NONE}
        assert house.upstream._pool.dialled - dialled <= 5
        assert house.watcher.count("unreachable") == 1
        assert "nothing listens" in house.upstream.state.problem
        assert "Start the server" in house.upstream.state.hint


async def test_a_server_that_comes_back_is_found_without_a_call():
    async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
        await house.up()
        await server.stop()
        await until(lambda: not house.upstream._pool._open)
        assert (await house.call("x")).ending is Ending.UNREACHED
        await server.listen()
        await house.watcher.until("connected", 2)
        assert house.upstream.state.problem == ""
        assert text_of(await house.call("back")) == "back"


async def test_a_call_finds_a_server_that_came_back_before_the_backoff_does(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(mcp_http, "BASE", mcp_http.CAP)
    async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
        await house.up()
        await server.stop()
        await house.call("x")
        await server.listen()
        assert text_of(await house.call("back")) == "back"


async def test_f06_a_host_that_drops_packets_costs_one_connect_timeout():
    """A listener whose queue is full drops SYNs, as a firewall does."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
        fillers.append(filler)
    try:
        async with HttpHouse(f"http://127.0.0.1:{port}/mcp", connect_ms=300) as house:
            began = time.monotonic()
            reply = await house.call("x")
            assert 0.2 < time.monotonic() - began < 5
            assert (reply.ending, reply.written) == (Ending.UNREACHED, Written.NONE)
            await until(lambda: "within 300 ms" in house.upstream.state.problem)
            assert house.watcher.count("unreachable") == 1
    finally:
        for sock in [listener, *fillers]:
            sock.close()


async def test_f07_one_reset_of_a_hundred_is_one_loss_and_harms_no_other_call():
    async def call(request: Request, peer: Peer):
        if request.arguments["text"] == 50:
            await asyncio.sleep(0.05)
            peer.reset()
        else:
            await asyncio.sleep(0.1)
            await echo(request, peer)

    async with (
        FaultServer(modern(call)) as server,
        HttpHouse(server.url) as house,
    ):
        await house.up()
        replies = await asyncio.gather(*(house.call("x", text=n) for n in range(100)))
        lost = replies.pop(50)
        assert (lost.ending, lost.written) == (Ending.LOST, Written.ALL)
        assert lost.loss > 0
        assert [text_of(reply) for reply in replies] == [str(n) for n in range(100) if n != 50]
        assert house.watcher.heard == [("connected",)]


async def test_every_lost_connection_has_a_number_of_its_own():
    async def call(request: Request, peer: Peer):
        peer.reset()

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        replies = await asyncio.gather(*(house.call("x") for _ in range(10)))
        assert len({reply.loss for reply in replies}) == 10
        assert {reply.written for reply in replies} == {Written.ALL}


@pytest.mark.parametrize("how", ["reset", "close", "end"])
async def test_f08_f09_a_stream_that_breaks_after_progress_is_lost(how: str):
    async def call(request: Request, peer: Peer):
        await peer.stream()
        params = {"progressToken": request.id, "progress": 1}
        message = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
        await peer.event(message)
        await peer.chunk(b'data: {"jsonrpc":"2.0","id":')
        await asyncio.sleep(0.02)
        if how == "reset":
            peer.reset()
        elif how == "close":
            peer.close()
        else:
            await peer.end()

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        receiver, _ = house.begin("x", {"progressToken": "mine"})
        reply = await receiver.reply
        assert len(receiver.notes) == 1
        assert (reply.ending, reply.written) == (Ending.LOST, Written.ALL)
        assert reply.loss > 0


async def test_a_body_that_is_shorter_than_its_length_is_lost():
    async def call(request: Request, peer: Peer):
        await peer.raw(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"id":')
        peer.close()

    reply = await ask(call)
    assert (reply.ending, reply.written, reply.result) == (Ending.LOST, Written.ALL, b"")


async def test_f10_a_half_closed_connection_is_lost_at_once():
    async def call(request: Request, peer: Peer):
        peer.writer.write_eof()
        await asyncio.sleep(5)

    began = time.monotonic()
    reply = await ask(call)
    assert reply.ending is Ending.LOST
    assert time.monotonic() - began < 4


async def test_f11_a_trickle_is_ended_by_the_deadline():
    async def call(request: Request, peer: Peer):
        await peer.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        while True:
            await peer.raw(b"x")
            await asyncio.sleep(0.02)

    async with FaultServer(modern(call)) as server, HttpHouse(server.url, idle_ms=200) as house:
        await house.up()
        began = time.monotonic()
        reply = await house.call("x", seconds=0.6)
        assert (reply.ending, reply.written) == (Ending.CANCELLED, Written.ALL)
        assert 0.5 < time.monotonic() - began < 5
        await until(lambda: server.open <= 1)


async def test_a_silent_server_is_timed_out_and_its_connection_closed():
    async def call(request: Request, peer: Peer):
        await peer.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nx")

    async with FaultServer(modern(call)) as server, HttpHouse(server.url, idle_ms=200) as house:
        await house.up()
        began = time.monotonic()
        reply = await house.call("x")
        assert (reply.ending, reply.written) == (Ending.TIMEOUT, Written.ALL)
        assert 0.15 < time.monotonic() - began < 5
        await until(lambda: server.open == 0)


async def test_f13_a_slow_answer_costs_little_cpu():
    async def call(request: Request, peer: Peer):
        await peer.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        for _ in range(50):
            await peer.raw(b"x")
            await asyncio.sleep(0.02)

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        before = resource.getrusage(resource.RUSAGE_SELF)
        await house.call("x", seconds=1)
        after = resource.getrusage(resource.RUSAGE_SELF)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        assert spent < 0.5


async def test_f16_the_first_answer_wins():
    async def call(request: Request, peer: Peer):
        await peer.stream()
        for text in ("first", "second"):
            result = {"content": [{"type": "text", "text": text}]}
            await peer.event({"jsonrpc": "2.0", "id": request.id, "result": result})
        error = {"code": -32603, "message": "late"}
        await peer.event({"jsonrpc": "2.0", "id": request.id, "error": error})
        await peer.end()

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        for _ in range(5):
            assert text_of(await house.call("x")) == "first"


async def test_f16_an_answer_after_a_cancel_reaches_nobody():
    async def call(request: Request, peer: Peer):
        if request.tool == "slow":
            await asyncio.sleep(0.1)
        await echo(request, peer)

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        receiver, attempt = house.begin("slow")
        await until(lambda: len(server.calls()) == 1)
        attempt.cancel(Cause.CLIENT)
        assert receiver.reply.result().ending is Ending.CANCELLED
        assert text_of(await house.call("next")) == "next"
        await asyncio.sleep(0.15)
        assert text_of(await house.call("last")) == "last"


async def test_f17_swapped_answers_are_never_delivered():
    held: list[tuple[Request, Peer]] = []

    async def call(request: Request, peer: Peer):
        held.append((request, peer))
        if len(held) == 2:
            (one, first), (two, second) = held
            await echo(one, second)
            await echo(two, first)

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        replies = await asyncio.gather(*(house.call("x", text=n) for n in range(2)))
        assert [reply.ending for reply in replies] == [Ending.PROTOCOL] * 2


@pytest.mark.parametrize("chunked", [False, True])
async def test_f18_a_huge_answer_is_cut_at_the_cap(chunked: bool):
    async def call(request: Request, peer: Peer):
        await peer.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        if chunked:
            await peer.raw(b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(200):
                await peer.chunk(b"x" * MIB)
        else:
            await peer.raw(b"Content-Length: %d\r\n\r\n" % (200 * MIB))
            for _ in range(200):
                await peer.raw(b"x" * MIB)

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        before = rss_bytes()
        reply = await house.call("x")
        assert reply.ending is Ending.TOO_LARGE
        assert "10,485,760" in reply.detail
        assert rss_bytes() - before < 32 * MIB
        await until(lambda: server.open == 0)


async def test_an_answer_of_the_largest_size_passes():
    async def call(request: Request, peer: Peer):
        body = b'{"jsonrpc":"2.0","id":%d,"result":{"content":[],"x":"' % request.id
        await peer.answer(200, body + b"x" * (10 * MIB - len(body) - 3) + b'"}}')

    assert (await ask(call)).ending is Ending.RESULT


async def test_f19_a_bomb_is_not_unpacked():
    async def call(request: Request, peer: Peer):
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        await peer.raw(head)
        for _ in range(512):
            await peer.chunk(b"\0" * MIB)

    before = rss_bytes()
    reply = await ask(call)
    assert reply.ending is Ending.PROTOCOL
    assert rss_bytes() - before < 32 * MIB


async def test_f20_endless_comments_end_with_the_streams_cap():
    async def call(request: Request, peer: Peer):
        await peer.stream()
        while True:
            await peer.chunk(b": keep-alive\n\n" * 1_000)

    reply = await ask(call, stream_bytes=2 * MIB)
    assert (reply.ending, "stream" in reply.detail) == (Ending.TOO_LARGE, True)


@pytest.mark.parametrize("line", [b":\n", b"\r", b'data:{"method":"notifications/x"}\n\n'])
async def test_f20_a_flood_of_lines_ends_and_holds_nobody_up(line: bytes):
    async def call(request: Request, peer: Peer):
        if request.message["params"]["name"] == "quick":
            await peer.result(request, {"content": [{"type": "text", "text": "ok"}]})
            return
        await peer.stream()
        while True:
            await peer.chunk(line * (60_000 // len(line)))

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        flooded, _ = house.begin("flood")
        answered = 0
        while not flooded.reply.done():
            assert text_of(await house.call("quick")) == "ok"
            answered += 1
        reply = flooded.reply.result()
        assert (reply.ending, "flood" in reply.detail) == (Ending.TOO_LARGE, True)
        assert answered > 20, "without pauses the flood leaves time for five at most"


async def test_f20_after_many_lines_at_once_the_answer_still_comes():
    async def call(request: Request, peer: Peer):
        await peer.stream()
        await peer.chunk(b":\n" * 20_000)
        await peer.event({"jsonrpc": "2.0", "id": request.id, "result": {"content": []}})

    assert (await ask(call)).ending is Ending.RESULT


async def test_f20_who_reads_slowly_is_not_overtaken_by_the_end_of_a_breath():
    slow = asyncio.Event()

    async def call(request: Request, peer: Peer):
        await peer.stream()
        await peer.chunk(b":\n" * 5_000)
        await slow.wait()
        await peer.event({"jsonrpc": "2.0", "id": request.id, "result": {"content": []}})

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        receiver, attempt = house.begin("x")
        await until(lambda: attempt.connection is not None and attempt.connection.paused)
        attempt.pause()
        slow.set()
        await asyncio.sleep(0.2)  # A breath of 5,000 lines is half as long.
        assert not receiver.reply.done()
        attempt.resume()
        assert (await receiver.reply).ending is Ending.RESULT


async def test_f20_one_endless_event_ends_with_its_cap():
    async def call(request: Request, peer: Peer):
        await peer.stream()
        await peer.chunk(b"data: ")
        while True:
            await peer.chunk(b"x" * 65_536)

    before = rss_bytes()
    reply = await ask(call)
    assert (reply.ending, "event" in reply.detail) == (Ending.TOO_LARGE, True)
    assert rss_bytes() - before < 32 * MIB


async def test_f20_a_flood_of_progress_reaches_the_client_ten_times_a_second_at_most():
    async def call(request: Request, peer: Peer):
        await peer.stream()
        for step in range(1_200):
            params = {"progressToken": request.id, "progress": step}
            message = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
            await peer.event(message)
            if not step % 2:
                await asyncio.sleep(0.001)
        await peer.event({"jsonrpc": "2.0", "id": request.id, "result": {"content": []}})
        await peer.end()

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        began = time.monotonic()
        receiver, _ = house.begin("x", {"progressToken": 7})
        assert (await receiver.reply).ending is Ending.RESULT
        seconds = time.monotonic() - began
        assert 2 <= len(receiver.notes) <= 7 + 5 * seconds  # burst, gaps, both ends
        assert receiver.notes[-1][1] == b'{"progressToken":7,"progress":1199}', (
            "the last one counts"
        )


async def test_f29_during_a_pause_the_server_is_left_alone():
    hits = 0

    async def script(request: Request, peer: Peer):
        nonlocal hits
        hits += 1
        if hits < 2:
            await peer.answer(429, headers={"Retry-After": "1"})
        else:
            await modern()(request, peer)

    async with FaultServer(script) as server, HttpHouse(server.url) as house:
        replies = await asyncio.gather(*(house.call("x") for _ in range(20)))
        assert {(reply.ending, reply.status) for reply in replies} == {(Ending.STATUS, 429)}
        assert {reply.retry_after_ms for reply in replies} == {1_000}
        assert {reply.written for reply in replies} == {Written.NONE}
        later = await house.call("x")
        assert (later.status, later.retry_after_ms) == (429, 1_000)
        assert hits == 1
        began = time.monotonic()
        await house.watcher.until("connected")
        assert time.monotonic() - began < 5
        assert house.upstream.state.era is Era.MODERN, "a 429 is no verdict"
        assert house.watcher.count("unreachable") == 0


@pytest.mark.parametrize("status", [401, 403, 408, 500, 503])
async def test_a_server_in_trouble_at_first_is_asked_again_in_the_new_way(status: int):
    async def script(request: Request, peer: Peer):
        if len(server.requests) == 1:
            await peer.answer(status)
        else:
            await modern()(request, peer)

    async with FaultServer(script) as server, HttpHouse(server.url) as house:
        reply = await house.call("x")
        assert (reply.ending, reply.status) == (Ending.STATUS, status)
        assert str(status) in house.upstream.state.problem
        await house.watcher.until("connected")
        assert house.upstream.state.era is Era.MODERN
        assert server.count("initialize") == 0


async def test_r42_a_cancelled_attempt_closes_its_stream_within_100_ms():
    """The best of three: the machine may be busy with others."""
    closed: list[float] = []

    async def call(request: Request, peer: Peer):
        await peer.stream()
        await peer.chunk(b": waiting\n\n")
        await peer.reader.read()
        closed.append(time.monotonic())

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        spans = []
        for number in range(1, 4):
            receiver, attempt = house.begin("x")
            await until(lambda n=number: len(server.calls()) == n)
            began = time.monotonic()
            attempt.cancel(Cause.CLIENT)
            attempt.cancel(Cause.CLIENT)
            reply = receiver.reply.result()
            assert (reply.ending, reply.written) == (Ending.CANCELLED, Written.ALL)
            await until(lambda n=number: len(closed) == n)
            spans.append(closed[-1] - began)
        assert min(spans) < 0.3


async def test_f04_a_server_that_hangs_is_found_out_after_a_timeout(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(http_life, "SIGN_OF_LIFE", mcp_http.SECOND // 5)
    hung = asyncio.Event()

    async def script(request: Request, peer: Peer):
        if hung.is_set():
            await hang(request, peer)
        await modern()(request, peer)

    async with FaultServer(script) as server, HttpHouse(server.url) as house:
        await house.up()
        hung.set()
        replies = await asyncio.gather(*(house.call("x", seconds=0.2) for _ in range(5)))
        assert {reply.ending for reply in replies} == {Ending.CANCELLED}
        await house.watcher.until("unreachable", seconds=2)
        assert "sign of life" in house.upstream.state.problem
        hung.clear()
        await house.watcher.until("connected", 2)


@pytest.mark.parametrize("legacy", [False, True])
async def test_a_slow_tool_on_a_live_server_is_nobodys_outage(legacy: bool):
    async def call(request: Request, peer: Peer):
        if request.method == "ping":
            await peer.result(request, {})
        else:
            await asyncio.sleep(1)

    script = Legacy(call) if legacy else modern(call)
    async with FaultServer(script) as server, HttpHouse(server.url) as house:
        await house.up()
        await house.call("x", seconds=0.1)
        probe = "ping" if legacy else "server/discover"
        expected = 1 if legacy else 2
        await until(lambda: server.count(probe) == expected)
        await asyncio.sleep(0.1)
        assert house.watcher.heard == [("connected",)]
        assert house.upstream.state.connected


async def test_a_silent_ping_is_no_life(monkeypatch: pytest.MonkeyPatch):
    async def script(request: Request, peer: Peer):
        if len(server.requests) == 1:
            await modern()(request, peer)

    async with FaultServer(script) as server, HttpHouse(server.url, idle_ms=200) as house:
        await house.up()
        await house.call("x", seconds=0.1)
        await house.watcher.until("unreachable", seconds=2)


async def test_a_failed_write_is_sent_again_on_a_new_connection(monkeypatch: pytest.MonkeyPatch):
    """Not a byte has left, so nobody can have run it."""
    async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
        await house.up()
        await house.call("warm")
        (connection,) = house.upstream._pool._open
        connection._transport.get_extra_info("socket").shutdown(socket.SHUT_WR)
        assert text_of(await house.call("again")) == "again"
        assert [request.tool for request in server.calls()] == ["warm", "again"]
        assert house.watcher.heard == [("connected",)]


async def test_an_idle_connection_that_its_peer_closed_is_not_used():
    async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
        await house.up()
        for _ in range(5):
            for writer in list(server._writers):
                writer.close()
            await until(lambda: not house.upstream._pool._open)
            assert text_of(await house.call("x")) == "x"
        assert house.watcher.heard == [("connected",)]


async def test_a_request_that_left_is_not_sent_again_when_its_idle_connection_dies():
    """R28: it may have been read, however idle the connection was."""

    async def call(request: Request, peer: Peer):
        if len(server.calls()) == 2:
            peer.reset()
        else:
            await echo(request, peer)

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        await house.call("one")
        reply = await house.call("two")
        assert (reply.ending, reply.written) == (Ending.LOST, Written.ALL)
        assert [request.tool for request in server.calls()] == ["one", "two"]


async def test_a_request_of_which_a_part_left_says_so():
    async def script(request: Request, peer: Peer):
        await peer.result(request, DISCOVERED)
        await peer.reader.readexactly(1_000)
        peer.reset()

    async with FaultServer(script) as server, HttpHouse(server.url) as house:
        await house.up()
        reply = await house.call("x", text="x" * 16_000_000)
        assert (reply.ending, reply.written) == (Ending.LOST, Written.PARTIAL)


async def test_a_port_where_nothing_listens_is_explained():
    async with HttpHouse(f"http://127.0.0.1:{free_port()}/mcp") as house:
        reply = await house.call("x")
        assert (reply.ending, reply.written) == (Ending.UNREACHED, Written.NONE)
        assert "nothing listens on 127.0.0.1" in reply.detail
