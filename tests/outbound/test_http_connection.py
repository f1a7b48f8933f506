"""HTTP itself, from servers that speak it well, oddly, or not at all."""

import asyncio

import pytest
from support.http_servers import FaultServer, HttpHouse, Peer, Request, ask, modern
from support.stdio_hub import text_of, until

from agenthub.domain.outcome import Ending, Reply, Written


def body(request: Request, text: str = "ok") -> bytes:
    return b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"%b"}]}}' % (
        request.id,
        text.encode(),
    )


def whole(request: Request, *headers: str, text: str = "ok") -> bytes:
    data = body(request, text)
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, *headers]).encode() + b"\r\n\r\n" + data


async def raw(data: bytes, *, close: bool = False, **options: int) -> Reply:
    async def call(request: Request, peer: Peer):
        await peer.raw(data)
        if close:
            peer.close()

    return await ask(call, **options)


async def test_an_answer_may_come_in_single_bytes():
    """F13."""

    async def call(request: Request, peer: Peer):
        for byte in whole(request):
            await peer.raw(bytes([byte]))
            await asyncio.sleep(0)

    assert text_of(await ask(call)) == "ok"


async def test_a_chunked_answer_may_have_extensions_and_trailers():
    async def call(request: Request, peer: Peer):
        data = body(request)
        await peer.raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            b"1;name=value\r\n%b\r\n%x\r\n%b\r\n0\r\nX-Sum: 1\r\n\r\n"
            % (data[:1], len(data) - 1, data[1:])
        )

    assert text_of(await ask(call)) == "ok"


async def test_an_answer_without_a_length_ends_with_its_connection():
    async def call(request: Request, peer: Peer):
        await peer.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body(request))
        peer.close()

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        assert text_of(await house.call("tool")) == "ok"
        assert text_of(await house.call("tool")) == "ok", "on a new connection"


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
async def test_a_connection_that_is_to_close_is_not_used_again(version: str):
    async def call(request: Request, peer: Peer):
        await peer.raw(whole(request, "Connection: close").replace(b"HTTP/1.1", version.encode()))
        peer.close()

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        for _ in range(3):
            assert text_of(await house.call("tool")) == "ok"
        assert server.connections == 3


async def test_interim_answers_are_not_the_answer():
    async def call(request: Request, peer: Peer):
        await peer.raw(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
            + whole(request)
        )

    assert text_of(await ask(call)) == "ok"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.0\r\n",
        b"\x15\x03\x01\0\x02\x02P",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nBad Header\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
    ],
)
async def test_what_is_no_http_breaks_the_protocol(data: bytes):
    reply = await raw(data)
    assert (reply.ending, reply.written) == (Ending.PROTOCOL, Written.ALL)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Endless: " + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 200,
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: b\r\n" % n for n in range(200)),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-A: b\r\n" * 20_000,
    ],
    ids=["long", "endless", "one name", "many", "chunk extension", "trailers"],
)
async def test_headers_have_a_cap(data: bytes):
    """A59."""

    async def call(request: Request, peer: Peer):
        for start in range(0, len(data), 5_000):
            await peer.raw(data[start : start + 5_000])
            await asyncio.sleep(0)

    reply = await ask(call)
    assert reply.ending in {Ending.TOO_LARGE, Ending.PROTOCOL}


async def test_headers_have_a_cap_even_if_all_of_the_answer_comes_at_once():
    async def call(request: Request, peer: Peer):
        await peer.result(request, {}, **{f"x{number}": "x" for number in range(200)})

    reply = await ask(call)
    assert reply.ending is Ending.TOO_LARGE


async def test_a_second_answer_is_nobodys():
    """F16, F17: whoever has the connection next would take it for its own."""

    async def call(request: Request, peer: Peer):
        await peer.raw(whole(request) + whole(request, text="forged"))

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        for _ in range(3):
            assert text_of(await house.call("tool")) == "ok"
        assert server.connections == 3, "no such connection is used again"


async def test_bytes_that_nobody_asked_for_end_an_idle_connection():
    async def call(request: Request, peer: Peer):
        await peer.raw(whole(request))
        await asyncio.sleep(0.01)
        await peer.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        assert text_of(await house.call("tool")) == "ok"
        await until(lambda: server.open == 0)
        assert house.watcher.heard == [("connected",)], "nothing was lost"


async def test_a_stream_that_goes_on_after_its_answer_is_cut():
    async def call(request: Request, peer: Peer):
        await peer.stream()
        await peer.chunk(b"data: " + body(request) + b"\n\n")
        while True:
            await peer.chunk(b": more\n\n" * 1_000)

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        assert text_of(await house.call("tool")) == "ok"
        await until(lambda: server.open == 0)


async def test_a_stream_that_stays_open_after_its_answer_is_closed():
    async def call(request: Request, peer: Peer):
        await peer.stream()
        await peer.chunk(b"data: " + body(request) + b"\n\n")

    async with FaultServer(modern(call)) as server, HttpHouse(server.url, idle_ms=400) as house:
        await house.up()
        assert text_of(await house.call("tool")) == "ok"
        await until(lambda: server.open == 0, 2)


async def test_a_paused_attempt_reads_no_more_until_it_is_resumed():
    """The server cannot write on for ever: the sockets' buffers are all that it fills."""
    written = 0

    async def call(request: Request, peer: Peer):
        nonlocal written
        await peer.stream()
        for _ in range(300):
            await peer.chunk(b": " + b"x" * 65_536 + b"\n\n")
            written += 65_536
        await peer.chunk(b"data: " + body(request) + b"\n\n")
        await peer.end()

    async with FaultServer(modern(call)) as server, HttpHouse(server.url, idle_ms=400) as house:
        await house.up()
        receiver, attempt = house.begin("tool")
        attempt.pause()
        attempt.pause()
        await asyncio.sleep(0.8)
        assert not receiver.reply.done(), "the hub's own pause is no silence of the server"
        assert written < 15_000_000
        attempt.resume()
        attempt.resume()
        assert text_of(await asyncio.wait_for(receiver.reply, 5)) == "ok"
        attempt.pause()
        attempt.resume()


async def test_a_pause_before_there_is_a_connection_counts():
    async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
        receiver, attempt = house.begin("tool")
        attempt.pause()
        await house.watcher.until("connected")
        await until(lambda: len(server.calls()) == 1)
        await asyncio.sleep(0.05)
        assert not receiver.reply.done()
        attempt.resume()
        assert text_of(await receiver.reply) == "tool"


async def test_a_bug_of_a_receiver_ends_its_own_attempt_only(caplog: pytest.LogCaptureFixture):
    async def call(request: Request, peer: Peer):
        await peer.stream()
        params = {"progressToken": request.id, "progress": 1}
        message = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
        await peer.event(message)

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        receiver, _ = house.begin("tool", {"progressToken": 1})
        receiver.notified = lambda _method, _params: 1 / 0
        reply = await receiver.reply
        assert reply.ending is Ending.PROTOCOL
        assert "ZeroDivisionError" in caplog.text
        server.script = modern()
        assert text_of(await house.call("next")) == "next"
