"""The protocol class on a real socket: turns, streams, limits, time, the client's going."""

import asyncio
import socket

import pytest
from support.edge_hub import JSON, open_house
from support.stdio_hub import rss_bytes, until
from uvicorn import Config
from uvicorn.server import ServerState

from agenthub.domain.span import SECOND
from agenthub.inbound import protocol

GET = "GET /healthz HTTP/1.1"


async def reached(house, path="/mcp/hold", *, more=b""):
    """A client, and the exchange that it waits for."""
    client = await asyncio.open_connection("127.0.0.1", house.port)
    client[1].write(house.head(f"POST {path} HTTP/1.1", body=b"{}") + more)
    count = len(house.doors.held)
    await until(lambda: len(house.doors.held) > count)
    return client, house.doors.held[-1]


# ---------------------------------------------------------------- turns


async def test_a_hot_door_gets_the_whole_request_and_answers():
    async with open_house() as house, house.client() as client:
        head = "POST /mcp/git?a=b HTTP/1.1"
        answer = await client.ask(house.head(head, "X-Odd:  v \t", body=b'{"a":1}'))
        assert answer.status == 200
        assert answer.json == {
            "method": "POST", "path": "/mcp/git", "query": "a=b", "caller": "admin", "size": 7,
            "body": '{"a":1}',
        }  # fmt: skip
        assert answer["content-type"] == "application/json"
        assert answer["x-content-type-options"] == "nosniff"
        assert answer["date"].endswith("GMT")
        assert house.doors.seen[0].header(b"x-odd") == b"v"


async def test_everything_else_goes_to_the_asgi_application():
    async with open_house() as house, house.client() as client:
        for path in ("/healthz", "/readyz", "/api/endpoints", "/metrics", "/openapi.json"):
            answer = await client.ask(house.head(f"GET {path} HTTP/1.1"))
            assert (answer.status, house.doors.seen) == (200, []), path
            assert answer["date"]
            assert answer["x-content-type-options"] == "nosniff"
            assert "server" not in answer.headers


async def test_a_connection_is_kept_for_both_kinds():
    async with open_house() as house, house.client() as client:
        for _ in range(3):
            assert (await client.ask(house.head(body=b"{}"))).json["size"] == 2
            assert (await client.ask(house.head("GET /readyz HTTP/1.1"))).json == {
                "status": "ok", "reasons": [],
            }  # fmt: skip


async def test_a_pipeline_is_answered_in_order():
    """The first is still on when the others, of every kind, have arrived."""
    async with open_house() as house:
        (reader, writer), held = await reached(house)
        writer.write(
            house.head(GET)
            + house.head("POST /mcp/b HTTP/1.1", body=b"{}")
            + house.head("GET /api/endpoints HTTP/1.1")
            + house.head("GET /nothing HTTP/1.1")
            + house.head("POST /mcp/c HTTP/1.1", body=b"{}")
        )
        await until(lambda: len(house.doors.held) == 1)
        held.answer(200, b'"first"')
        seen = b""
        async with asyncio.timeout(5):
            while b"/mcp/c" not in seen:
                seen += await reader.read(65536)
        order = [b'"first"', b'{"status":"ok"}', b"/mcp/b", b'"endpoints"', b" 404 ", b"/mcp/c"]
        places = [seen.index(one) for one in order]
        assert places == sorted(places)
        writer.transport.abort()


async def test_a_request_may_come_byte_by_byte():
    async with open_house() as house, house.client() as client:
        for byte in house.head(body=b'{"slow":1}'):
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.answer()).json["body"] == '{"slow":1}'


async def test_chunks_are_put_together_and_trailers_dropped():
    async with open_house() as house, house.client() as client:
        head = house.head("POST /mcp HTTP/1.1", "Transfer-Encoding: chunked", JSON)
        answer = await client.ask(head + b"1\r\n{\r\n1;ext=1\r\n}\r\n0\r\nX-Trailer: evil\r\n\r\n")
        assert answer.json["body"] == "{}"
        assert house.doors.seen[0].header(b"x-trailer") is None


async def test_a_pipeline_without_an_end_is_refused():
    async with open_house() as house:
        (reader, writer), held = await reached(house)
        writer.write(house.head("GET /mcp HTTP/1.1") * 100)
        await asyncio.sleep(0.05)
        held.answer(200, b"{}")
        async with asyncio.timeout(5):
            seen = await reader.read()
        assert seen.count(b"HTTP/1.1 200") == 65
        assert seen.count(b"HTTP/1.1 503") == 1
        writer.transport.abort()


async def test_a_door_may_answer_many_pipelined_requests_at_once():
    async with open_house() as house, house.client() as client:
        await client.send(house.head("POST /mcp HTTP/1.1", body=b"{}") * 500)
        for _ in range(500):
            assert (await client.answer()).status == 200


@pytest.mark.parametrize("status", [200, 202, 204, 400, 404, 599])
async def test_each_status_is_framed_so_that_the_next_answer_is_read_right(status):
    async with open_house() as house:
        (reader, writer), held = await reached(house)
        held.answer(status, b"" if status in {202, 204} else b"{}", [(b"mcp-x", b"y")])
        writer.write(house.head(GET))
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert b"\r\nmcp-x: y\r\n" in head
            assert (b"content-length" in head) == (status != 204)
            assert (b"\r\ncontent-type:" in head) == (status not in {202, 204})
            if status not in {202, 204}:
                assert await reader.readexactly(2) == b"{}"
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        writer.transport.abort()


async def test_a_door_says_its_own_content_type():
    async with open_house() as house:
        (reader, writer), held = await reached(house)
        held.answer(200, b"x", [(b"content-type", b"text/x")])
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.count(b"\r\ncontent-type:") == 1
        writer.transport.abort()


async def test_head_gets_no_body():
    async with open_house() as house, house.client() as client:
        answer = await client.ask(house.head("HEAD /mcp HTTP/1.1"), head_only=True)
        assert answer.status == 200
        assert int(answer["content-length"]) > 0
        refused = await client.ask(house.head("HEAD /nothing HTTP/1.1"), head_only=True)
        assert refused.status == 404
        assert (await client.ask(house.head(body=b"{}"))).status == 200


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
async def test_a_client_that_does_not_keep_the_connection_gets_its_end(version):
    async with open_house() as house:
        for path in ("/mcp", "/healthz"):
            async with house.client() as client:
                data = house.head(f"GET {path} {version}", "Connection: close")
                answer = await client.ask(data + house.head(GET))
                assert (answer.status, answer["connection"]) == (200, "close")
                assert await client.ended() == b""


async def test_an_old_client_gets_a_stream_until_the_connections_end():
    async with open_house() as house, house.client() as client:
        await client.send(house.head("POST /mcp/stream HTTP/1.0", body=b"{}"))
        await until(lambda: house.doors.held)
        held = house.doors.held[0]
        held.write(b"data: 1\n\n")
        held.write(b"data: 2\n\n")
        held.end()
        answer = await client.answer()
        assert answer.body == b"data: 1\n\ndata: 2\n\n"
        assert "transfer-encoding" not in answer.headers


async def test_a_door_with_a_bug_is_a_plain_500(caplog):
    """A49."""

    def bug(exchange):
        raise RuntimeError("/secret/path")

    async with open_house() as house, house.client() as client:
        house.doors.bug = bug
        answer = await client.ask(house.head(body=b"{}"))
        assert (answer.status, answer.json["code"]) == (500, "internal")
        assert b"secret" not in answer.body
        (record,) = [one for one in caplog.records if one.message == "A request failed"]
        assert record.request_id == answer.json["request_id"]


async def test_a_door_with_a_bug_in_its_stream_ends_the_connection(caplog):
    def bug(exchange):
        exchange.begin(200, [])
        raise RuntimeError

    async with open_house() as house, house.client() as client:
        house.doors.bug = bug
        await client.send(house.head(body=b"{}"))
        assert b"500" not in await client.ended()
        assert "A request failed" in caplog.text


@pytest.mark.parametrize("bad", [b"a\r\nx: y", b"a\nb", b"a\0b"])
async def test_a_header_of_a_door_is_one_header(bad):
    """A11, A65: nothing from a server splits an answer."""
    async with open_house() as house:
        (_, writer), held = await reached(house)
        with pytest.raises(ValueError, match="no header"):
            held.answer(200, b"{}", [(b"mcp-x", bad)])
        with pytest.raises(ValueError, match="no header"):
            held.begin(200, [(b"a b", b"x")])
        writer.transport.abort()


# ---------------------------------------------------------------- streams


async def test_a_stream_is_sent_as_it_is_written():
    async with open_house() as house, house.client() as client:
        await client.send(house.head("POST /mcp/stream HTTP/1.1", body=b"{}"))
        answer = await client.answer(head_only=True)
        assert answer["transfer-encoding"] == "chunked"
        assert answer["content-type"] == "text/event-stream"
        (held,) = house.doors.held
        for number in range(3):
            held.write(b"data: %d\n\n" % number)
            held.write(b"")
            assert await client.chunk() == b"data: %d\n\n" % number
        held.end()
        assert await client.chunk() == b""
        assert (await client.ask(house.head(body=b"{}"))).status == 200


async def test_after_the_end_nothing_more_is_sent():
    async with open_house() as house:
        (reader, writer), held = await reached(house)
        held.answer(200, b"{}")
        held.answer(500, b"{}")
        held.write(b"x")
        held.end()
        held.begin(200, [])
        assert held.backlog == 0
        writer.write(house.head("GET /mcp HTTP/1.1", "Connection: close"))
        async with asyncio.timeout(5):
            assert (await reader.read()).count(b"HTTP/1.1 200") == 2
        writer.transport.abort()


async def test_a_head_request_of_a_stream_gets_the_head_alone():
    async with open_house() as house, house.client() as client:
        await client.send(house.head("HEAD /mcp/stream HTTP/1.1"))
        await client.answer(head_only=True)
        (held,) = house.doors.held
        held.write(b"data: 1\n\n")
        held.end()
        assert (await client.ask(house.head(body=b"{}"))).status == 200


@pytest.mark.parametrize("path", ["/mcp/hold", "/mcp/stream"])
async def test_the_door_hears_once_that_the_client_has_gone(path):
    """R42."""
    async with open_house() as house:
        (_, writer), held = await reached(house, path)
        writer.transport.abort()
        await until(lambda: house.doors.gone, 0.5)
        held.write(b"x")
        if path == "/mcp/hold":
            held.answer(200, b"{}")
        else:
            held.end()
        assert house.doors.gone == [held]


async def test_what_waits_behind_a_client_that_has_gone_is_not_served():
    async with open_house() as house:
        (_, writer), _held = await reached(house, more=b"")
        writer.write(house.head("POST /mcp/next HTTP/1.1", body=b"{}"))
        await asyncio.sleep(0.02)
        writer.transport.abort()
        await until(lambda: house.doors.gone)
        assert [one.path for one in house.doors.seen] == ["/mcp/hold"]


async def test_a_client_that_does_not_read_is_seen_in_the_backlog():
    async with open_house(client_buffer_bytes=4096) as house:
        (reader, writer), held = await reached(house, "/mcp/stream")
        writer.transport.pause_reading()
        drained = []
        held.drained = lambda: drained.append(held.backlog)
        async with asyncio.timeout(10):
            while held.backlog <= 64 * 1024:
                held.write(b"x" * 65_536)
                await asyncio.sleep(0)
        assert drained == []
        writer.transport.resume_reading()
        while not drained:
            assert await asyncio.wait_for(reader.read(1 << 20), 5)
        assert drained[0] <= 4096
        held.end()
        writer.transport.abort()


async def test_a_client_that_never_reads_is_cut_off():
    """F36."""
    async with open_house(body_timeout_ms=400, client_buffer_bytes=4096) as house:
        (_, writer), held = await reached(house, "/mcp/stream")
        writer.transport.pause_reading()
        while held.backlog <= 64 * 1024:
            held.write(b"x" * 65_536)
            await asyncio.sleep(0)
        await until(lambda: house.doors.gone, 3)
        writer.transport.abort()


async def test_a_client_that_reads_slowly_but_does_is_not_cut_off():
    async with open_house(body_timeout_ms=400, client_buffer_bytes=4096) as house:
        (reader, writer), held = await reached(house, "/mcp/stream")
        held.write(b"x" * (16 << 20))
        got = 0
        async with asyncio.timeout(10):
            while got < 12 << 20:
                got += len(await reader.read(1 << 20))
                await asyncio.sleep(0.02)
        assert house.doors.gone == []
        writer.transport.abort()


async def test_the_last_answer_is_given_whole_to_a_slow_client(monkeypatch):
    monkeypatch.setattr(protocol, "LINGER", SECOND // 5)
    async with open_house(header_timeout_ms=400) as house, house.client() as client:
        await client.send(house.head("POST /mcp/hold HTTP/1.1", "Connection: close", body=b"{}"))
        await until(lambda: house.doors.held)
        house.doors.held[0].answer(200, b"x" * (8 << 20))
        await asyncio.sleep(0.6)
        assert len((await client.answer()).body) == 8 << 20


# ---------------------------------------------------------------- limits


async def test_100_continue_is_said_to_who_may_go_on():
    async with open_house() as house, house.client() as client:
        head = house.head("POST /mcp HTTP/1.1", "Expect: 100-continue", "Content-Length: 2", JSON)
        assert (await client.ask(head)).status == 100
        assert (await client.ask(b"{}")).json["size"] == 2


@pytest.mark.parametrize(
    ("lines", "key", "status"),
    [
        (["Expect: 100-continue", "Content-Length: 2", JSON], None, 401),
        (["Expect: 100-continue", "Content-Length: 5000000", JSON], "the-admin-token", 413),
        (["Expect: 200-ok", "Content-Length: 2", JSON], "the-admin-token", 417),
    ],
)
async def test_who_may_not_go_on_hears_it_before_the_body(lines, key, status):
    async with open_house() as house, house.client() as client:
        answer = await client.ask(house.head("POST /mcp HTTP/1.1", *lines, key=key))
        assert (answer.status, answer["connection"]) == (status, "close")
        assert await client.ended() == b""


async def test_an_expectation_in_a_pipeline_is_not_met():
    async with open_house() as house:
        (reader, writer), held = await reached(house)
        writer.write(
            house.head("POST /mcp HTTP/1.1", "Expect: 100-continue", "Content-Length: 2", JSON)
        )
        await asyncio.sleep(0.02)
        held.answer(200, b"{}")
        async with asyncio.timeout(5):
            seen = await reader.read()
        assert b"HTTP/1.1 417" in seen
        assert b"HTTP/1.1 100" not in seen
        writer.transport.abort()


async def test_a_refused_request_keeps_the_connection_if_its_body_is_small():
    async with open_house() as house, house.client() as client:
        for _ in range(3):
            assert (await client.ask(house.head(key="wrong", body=b"{}" * 10_000))).status == 401
        assert (await client.ask(house.head(body=b"{}"))).status == 200


async def test_a_refused_request_with_much_to_come_is_not_read():
    """No memory for those without a key; and they get the answer, not a reset."""
    async with open_house() as house:
        before = rss_bytes()
        body = b" " * (4 << 20)
        for _ in range(10):
            answer = await house.ask(house.head(key="wrong", body=body))
            assert (answer.status, answer["connection"]) == (401, "close")
        assert house.doors.seen == []
        assert rss_bytes() - before < 32 << 20


async def test_the_connections_over_the_limit_are_told_to_come_again():
    """A60."""
    async with open_house(connections=3) as house:
        clients = [await asyncio.open_connection("127.0.0.1", house.port) for _ in range(3)]
        async with house.client() as client:
            answer = await client.answer()
            assert (answer.status, answer["retry-after"]) == (503, "1")
            assert await client.ended() == b""
        clients[0][1].transport.abort()
        await until(lambda: len(house.listener._edge.connections) == 2)
        assert (await house.ask(house.head(body=b"{}"))).status == 200
        for _, writer in clients:
            writer.transport.abort()


# ---------------------------------------------------------------- time


async def test_a_new_connection_that_says_nothing_is_closed_without_a_word():
    async with open_house(header_timeout_ms=200) as house, house.client() as client:
        assert await client.ended(2) == b""


@pytest.mark.parametrize("sent", [b"\r\n", b"POST", b"POST /mcp HTTP/1.1\r\nHost: x\r\nX: "])
async def test_half_a_head_is_a_timeout(sent):
    """A13."""
    async with open_house(header_timeout_ms=200) as house, house.client() as client:
        answer = await client.ask(sent)
        assert (answer.status, answer["connection"]) == (408, "close")
        assert await client.ended() == b""


async def test_dripping_bytes_gain_no_time():
    async with open_house(header_timeout_ms=300) as house, house.client() as client:
        await client.send(house.head()[:-2])
        async with asyncio.timeout(2):
            while not client.reader.at_eof() and not client.reader._buffer:
                client.writer.write(b"X: y\r\n")
                await asyncio.sleep(0.02)
        assert (await client.answer()).status == 408


@pytest.mark.parametrize(
    "framing", [["Content-Length: 9", JSON], ["Transfer-Encoding: chunked", JSON]]
)
async def test_half_a_body_is_a_timeout(framing):
    async with open_house(body_timeout_ms=200) as house, house.client() as client:
        answer = await client.ask(house.head("POST /mcp HTTP/1.1", *framing) + b"1\r\n")
        assert (answer.status, answer.json["code"]) == (408, "timeout")
        assert await client.ended() == b""


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not():
    async with open_house(keep_alive_ms=200) as house:
        (_, writer), held = await reached(house)
        async with house.client() as client:
            assert (await client.ask(house.head(body=b"{}"))).status == 200
            assert await client.ended(2) == b""
        assert house.doors.gone == []
        held.answer(200, b"{}")
        writer.transport.abort()


async def test_who_does_not_go_after_a_refusal_is_cut_off(monkeypatch):
    monkeypatch.setattr(protocol, "LINGER", SECOND // 5)
    async with open_house(header_timeout_ms=400) as house:
        with socket.create_connection(("127.0.0.1", house.port)) as client:
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, b"nonsense\r\n\r\n")
            assert b" 400 " in await loop.sock_recv(client, 65536)
            await until(lambda: not house.listener._edge.connections, 6)


async def test_a_stream_ends_with_its_key():
    async with open_house(header_timeout_ms=200) as house:
        row, key = await house.hub.keys.create("guest")
        async with house.client() as client:
            await client.send(house.head("POST /mcp/stream HTTP/1.1", key=key, body=b"{}"))
            await until(lambda: house.doors.held)
            await house.hub.keys.revoke(row.id)
            await until(lambda: house.doors.gone, 2)


# ---------------------------------------------------------------- upgrades


async def test_an_offer_of_another_protocol_is_passed_over():
    """Java's HttpClient offers h2c on its first request, whatever it is (RFC 9110 §7.8)."""
    offer = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIA"]
    async with open_house() as house:
        async with house.client() as client:
            answer = await client.ask(house.head(GET, *offer))
            assert answer.status == 200
            assert (await client.ask(house.head(GET))).status == 200
        async with house.client() as client:
            data = house.head("POST /mcp HTTP/1.1", *offer, body=b'{"a":1}')
            await client.send(data[:-3])
            await asyncio.sleep(0.02)
            answer = await client.ask(data[-3:])
            assert answer.json["body"] == '{"a":1}'
            assert await client.ended() == b""


@pytest.mark.parametrize(
    "lines",
    [
        ["CONNECT evil.com:443 HTTP/1.1"],
        ["POST /mcp HTTP/1.1", "Connection: Upgrade", "Upgrade: h2c", "Transfer-Encoding: chunked"],
    ],
)
async def test_an_upgrade_that_cannot_be_passed_over_is_refused(lines):
    async with open_house() as house, house.client() as client:
        assert (await client.ask(house.head(*lines) + b"2\r\n{}\r\n0\r\n\r\n")).status == 400
        assert await client.ended() == b""


async def test_an_offer_without_a_key_is_refused_unread():
    async with open_house() as house, house.client() as client:
        offer = ["Connection: Upgrade", "Upgrade: h2c"]
        answer = await client.ask(house.head("POST /mcp HTTP/1.1", *offer, key=None, body=b"{}"))
        assert answer.status == 401
        assert house.doors.seen == []


# ---------------------------------------------------------------- what should not happen


async def test_a_target_that_uvicorn_cannot_take_is_refused():
    """Its parser of addresses ends at 64 KiB; a limit may be set higher."""
    async with open_house(header_bytes=200_000) as house, house.client() as client:
        answer = await client.ask(house.head(f"GET /healthz?{'a' * 70_000} HTTP/1.1"))
        assert answer.status == 400
        assert await client.ended() == b""


async def test_a_bug_while_reading_is_a_plain_500(caplog, monkeypatch):
    async with open_house() as house, house.client() as client:

        def bug(path):
            raise RuntimeError("/secret/path")

        monkeypatch.setattr(house.listener._edge, "hot", bug)
        answer = await client.ask(house.head(body=b"{}"))
        assert (answer.status, answer.json["code"]) == (500, "internal")
        assert b"secret" not in answer.body
        assert await client.ended() == b""
        assert "The reading of a request failed" in caplog.text


class FakeTransport:
    """A client that takes nothing of the last few bytes."""

    def __init__(self):
        self.waiting = 10
        self.is_aborted = False

    def get_write_buffer_size(self):
        return self.waiting

    def abort(self):
        self.is_aborted = True

    def get_extra_info(self, name, default=None):
        return ("127.0.0.1", 1) if name in {"peername", "sockname"} else default

    def set_write_buffer_limits(self, high):
        pass

    def write(self, data):
        pass

    def close(self):
        pass

    def is_closing(self):
        return True


async def test_the_last_bytes_of_an_answer_have_a_body_timeout_to_be_taken():
    async with open_house() as house:
        config = Config(
            house.listener, ws="none", lifespan="off", interface="asgi3", log_config=None
        )
        made = protocol.HubProtocol(
            house.listener._edge, config=config, server_state=ServerState(), app_state={}
        )
        made.connection_made(transport := FakeTransport())
        made._reader.deafen()
        now = house.listener._edge.now
        made.sweep(now + 3 * SECOND)
        made.sweep(now + 32 * SECOND)
        assert not transport.is_aborted
        made.sweep(now + 34 * SECOND)
        assert transport.is_aborted
        made.connection_lost(None)
