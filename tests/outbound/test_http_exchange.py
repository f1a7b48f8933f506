"""What counts as the answer to a request, and what an answer may not be."""

import pytest
from support.http_servers import DISCOVERED, FaultServer, HttpHouse, Peer, Request, ask, modern
from support.stdio_hub import text_of

from agenthub.domain.outcome import Ending, Written

PIECE = b"\x1f\x8b" + b"\0" * 500_000
RESULT = {"content": [{"type": "text", "text": "ok"}]}


async def test_a_json_answer_is_passed_on_byte_for_byte():
    result = b'{ "content" : [], "x":1e400, "isError":true}'

    async def call(request: Request, peer: Peer):
        body = b'{"jsonrpc":"2.0","id":%d,"result":%b}' % (request.id, result)
        await peer.answer(200, body, "application/json; charset=utf-8")

    reply = await ask(call)
    assert (reply.ending, reply.result, reply.is_error) == (Ending.RESULT, result, True)


async def test_a_stream_of_events_may_end_in_the_answer():
    async def call(request: Request, peer: Peer):
        await peer.stream()
        await peer.chunk(b": hello\n\nevent: ping\ndata: 1\n\nid: 1\ndata:\n\n")
        await peer.event({"jsonrpc": "2.0", "id": request.id, "result": RESULT})
        await peer.end()

    assert text_of(await ask(call)) == "ok"


async def test_the_answer_of_a_stream_does_not_wait_for_its_end():
    async def call(request: Request, peer: Peer):
        await peer.stream()
        await peer.event({"jsonrpc": "2.0", "id": request.id, "result": RESULT})

    assert text_of(await ask(call)) == "ok"


async def test_a_connection_whose_stream_ends_after_the_answer_is_kept():
    async def call(request: Request, peer: Peer):
        await peer.stream()
        await peer.event({"jsonrpc": "2.0", "id": request.id, "result": RESULT})
        await peer.end()

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        for _ in range(10):
            await house.call("tool")
        assert server.connections <= 2


WRONG_IDS = [lambda n: n + 1, str, float, lambda _: None, lambda _: True, lambda n: [n]]


@pytest.mark.parametrize("wrong", WRONG_IDS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_with_another_id_is_never_delivered(wrong, streamed: bool):
    """F15: by value and by type."""

    async def call(request: Request, peer: Peer):
        message = {"jsonrpc": "2.0", "id": wrong(request.id), "result": RESULT}
        if streamed:
            await peer.stream()
            await peer.event(message)
            await peer.end()
        else:
            await peer.json(message)

    reply = await ask(call)
    assert (reply.ending, reply.result, reply.status) == (Ending.PROTOCOL, b"", 200)


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (200, "text/html", b"<html>login</html>"),
        (200, "application/json", b""),
        (200, "application/json", b"garbage"),
        (200, "application/json", b"\0\0\0"),
        (200, "application/json", b"[" * 100_000),
        (200, "application/json", b'[{"jsonrpc":"2.0","id":3,"result":{}}]'),
        (200, "application/json", b'{"jsonrpc":"2.0","method":"notifications/progress"}'),
        (200, "", b'{"jsonrpc":"2.0","id":3,"result":{}}'),
        (202, "", b""),
        (204, "", b""),
        (200, "text/event-stream", b"data: garbage\n\n"),
        (200, "text/event-stream", b'data: {"method":"\xff"}\n\n'),
        (200, "text/event-stream", b"data: \0\n\n"),
    ],
)
async def test_what_is_no_answer_breaks_the_protocol(status: int, kind: str, body: bytes):
    """F14."""

    async def call(request: Request, peer: Peer):
        await peer.answer(status, body, kind)

    reply = await ask(call)
    assert (reply.ending, reply.status, reply.written) == (Ending.PROTOCOL, status, Written.ALL)


async def test_an_error_keeps_its_bytes_its_code_and_its_status():
    async def call(request: Request, peer: Peer):
        await peer.error(request, -32602, 400, {"why": "x"}, Retry_After="2")

    reply = await ask(call)
    assert (reply.ending, reply.code, reply.status) == (Ending.ERROR, -32602, 400)
    assert b'"why":"x"' in reply.error
    assert reply.retry_after_ms == 2_000


async def test_an_error_in_a_success_is_an_error_too():
    async def call(request: Request, peer: Peer):
        await peer.error(request, -32603)

    reply = await ask(call)
    assert (reply.ending, reply.code, reply.status) == (Ending.ERROR, -32603, 200)


@pytest.mark.parametrize(
    ("body", "ending"),
    [
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"x"}}', Ending.ERROR),
        (b'{"jsonrpc":"2.0","error":{"code":-32600,"message":"x"}}', Ending.ERROR),
        (b'{"jsonrpc":"2.0","id":99,"error":{"code":-32600,"message":"x"}}', Ending.STATUS),
        (b'{"jsonrpc":"2.0","id":"x","error":{"code":-32600,"message":"x"}}', Ending.STATUS),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":"x"}}', Ending.STATUS),
        (b'{"jsonrpc":"2.0","id":null,"result":{}}', Ending.STATUS),
        (b'{"error":"Bad Request","message":"x"}', Ending.STATUS),
        (b"", Ending.STATUS),
        (b"x" * 200_000, Ending.STATUS),
    ],
)
async def test_an_error_status_has_an_error_of_this_request_in_it_or_stands_alone(
    body: bytes, ending: Ending
):
    async def call(request: Request, peer: Peer):
        await peer.answer(400, body)

    reply = await ask(call)
    assert (reply.ending, reply.status) == (ending, 400)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("2", 2_000), ("0", 0), ("-1", None), ("abc", None), ("1000000000", 1_000_000_000_000)],
)
async def test_a_status_tells_when_to_come_back(value: str, expected: int | None):
    """F29, F30."""

    async def call(request: Request, peer: Peer):
        await peer.answer(429, headers={"Retry-After": value})

    reply = await ask(call)
    assert (reply.ending, reply.status, reply.retry_after_ms) == (Ending.STATUS, 429, expected)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int):
    """A22."""
    async with FaultServer(modern()) as other:

        async def call(request: Request, peer: Peer):
            await peer.answer(status, headers={"Location": other.url})

        reply = await ask(call)
        assert (reply.ending, reply.status) == (Ending.STATUS, status)
        assert "not followed" in reply.detail
        assert other.connections == 0


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "GZIP"])
async def test_a_compressed_answer_is_refused(encoding: str):
    """F19: none was asked for, so no bomb is ever unpacked."""

    async def call(request: Request, peer: Peer):
        await peer.answer(
            200, b"\x1f\x8b" + b"\0" * 500_000, headers={"Content-Encoding": encoding}
        )

    reply = await ask(call)
    assert (reply.ending, "compressed" in reply.detail) == (Ending.PROTOCOL, True)


async def test_identity_is_no_compression():
    async def call(request: Request, peer: Peer):
        await peer.result(request, RESULT, Content_Encoding="identity")

    assert text_of(await ask(call)) == "ok"


async def test_a_request_that_cannot_be_written_is_not_sent():
    async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
        await house.up()
        receiver, _ = house.begin("half \ud800 a pair")
        reply = await receiver.reply
        assert (reply.ending, reply.written) == (Ending.PROTOCOL, Written.NONE)
        assert server.calls() == []
        assert text_of(await house.call("next")) == "next", "the connection was not spoilt"


async def test_an_answer_before_the_request_was_read_is_the_answer():
    """Whoever says 413 reads no further: the connection is of no use after that."""

    async def script(request: Request, peer: Peer):
        await peer.result(request, DISCOVERED)
        head = await peer.reader.readuntil(b"\r\n\r\n")
        assert b"tools/call" in head
        await peer.answer(413)
        await peer.reader.read(-1)

    async with FaultServer(script) as server, HttpHouse(server.url) as house:
        await house.up()
        reply = await house.call("tool", text="x" * 16_000_000)
        assert (reply.ending, reply.status) == (Ending.STATUS, 413)
        assert reply.written is Written.PARTIAL
