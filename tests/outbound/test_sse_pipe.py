"""A server behind HTTP+SSE over real sockets: calls, what it says beside them, and its faults."""

import asyncio
from contextlib import suppress

import msgspec
import pytest
from support.http_servers import FaultServer
from support.sse_servers import ENDPOINT, HoldingServer, SseServer, UrlHouse, echo, silent
from support.stdio_hub import text_of, until

from agenthub.domain.outcome import Cause, Ending, Written
from agenthub.domain.span import SECOND
from agenthub.outbound import http_exchange, mcp_sse, sse_pipe
from agenthub.outbound.http_request import origin_of
from agenthub.outbound.mcp_url import Found
from agenthub.outbound.sse_pipe import address_of

ALL = b'{"elicitation":{},"roots":{},"sampling":{}}'
LOG_LEVEL = "io.modelcontextprotocol/logLevel"


def known():
    """The transport was found before."""
    found = Found()
    found.is_sse = True
    return found


def house(server, **options):
    return UrlHouse(server.url, found=known(), **options)


async def ended(receiver):
    return await asyncio.wait_for(receiver.reply, 8)


# ---------------------------------------------------------------- calls


async def test_a_hundred_calls_at_once_share_one_stream():
    async with SseServer() as server, house(server) as one:
        begun = [one.begin("tool", n=number)[0] for number in range(100)]
        for number, receiver in enumerate(begun):
            assert text_of(await ended(receiver)) == f'{{"n":{number}}}'
        assert len(server.streams) == 1
        ids = [request.id for request in server.heard("tools/call")]
        assert len(set(ids)) == 100


async def test_the_session_is_opened_before_the_first_call_is_sent():
    async with SseServer() as server, house(server, declared=ALL) as one:
        await one.call("tool")
        posted = [request.method for request in server.requests if request.target == ENDPOINT]
        assert posted == ["initialize", "notifications/initialized", "tools/call"]
        (hello,) = server.heard("initialize")
        assert hello.message["params"]["capabilities"] == msgspec.json.decode(ALL)


async def test_no_call_passes_the_end_of_the_opening():
    async with HoldingServer(echo, "notifications/initialized") as server, house(server) as one:
        receiver, _ = one.begin("tool")
        await until(lambda: server.held)
        await asyncio.sleep(0.1)
        assert not server.heard("tools/call")
        server.released.set()
        assert (await ended(receiver)).ending is Ending.RESULT


async def test_calls_do_not_wait_until_others_are_taken():
    async with HoldingServer(echo, "tools/call") as server, house(server) as one:
        begun = [one.begin("tool")[0] for _ in range(2)]
        await until(lambda: len(server.held) == 2)
        server.released.set()
        for receiver in begun:
            assert (await ended(receiver)).ending is Ending.RESULT


async def test_headers_of_the_endpoint_go_with_the_stream_and_with_each_post():
    async with SseServer() as server, house(server, headers={"Authorization": "Bearer x"}) as one:
        await one.call("tool")
        assert {request.headers.get("authorization") for request in server.requests} == {"Bearer x"}


async def test_progress_logs_and_list_changes_are_passed_on():
    async def call(server, request):
        token = request.message["params"]["_meta"]["progressToken"]
        for method, params in (
            ("notifications/progress", {"progressToken": token, "progress": 1}),
            ("notifications/message", {"level": "error", "data": "x"}),
            ("notifications/message", {"level": "debug", "data": "x"}),
            ("notifications/tools/list_changed", {}),
        ):
            await server.say({"jsonrpc": "2.0", "method": method, "params": params})
        await server.result(request, {"content": []})

    async with (
        SseServer(call, capabilities={"tools": {}, "logging": {}}) as server,
        house(server) as one,
    ):
        receiver, _ = one.begin("tool", {"progressToken": "p", LOG_LEVEL: "error"})
        await ended(receiver)
        assert [method for method, _ in receiver.notes] == [
            "notifications/progress", "notifications/message",
        ]  # fmt: skip
        assert msgspec.json.decode(receiver.notes[0][1])["progressToken"] == "p"
        await one.watcher.until("changed")
        assert server.heard("logging/setLevel")


async def test_a_cancelled_call_is_cancelled_at_the_server():
    async with SseServer(silent) as server, house(server) as one:
        receiver, attempt = one.begin("tool")
        await until(lambda: server.heard("tools/call"))
        attempt.cancel(Cause.CLIENT)
        reply = await ended(receiver)
        assert (reply.ending, reply.written) == (Ending.CANCELLED, Written.ALL)
        await until(lambda: server.heard("notifications/cancelled"))
        (note,) = server.heard("notifications/cancelled")
        (call,) = server.heard("tools/call")
        assert note.message["params"]["requestId"] == call.id


@pytest.mark.parametrize("method", ["elicitation/create", "sampling/createMessage", "roots/list"])
async def test_what_the_server_asks_reaches_the_client_of_its_session_and_back(method):
    async def call(server, request):
        await server.say({"jsonrpc": "2.0", "id": "q", "method": method, "params": {}})
        await server.answered.wait()
        await server.result(request, {"content": []})

    async with SseServer(call) as server, house(server, declared=ALL) as one:
        receiver, attempt = one.begin("tool")
        (question,) = await receiver.until_asked()
        assert question.method == method
        attempt.answer(question.id, b'{"x":1}')
        assert (await ended(receiver)).ending is Ending.RESULT
        assert server.answers == [{"jsonrpc": "2.0", "id": "q", "result": {"x": 1}}]


async def test_on_a_shared_session_nobody_is_asked():
    async def call(server, request):
        await server.say({"jsonrpc": "2.0", "id": 1, "method": "roots/list"})
        await server.say({"jsonrpc": "2.0", "id": 2, "method": "ping"})
        await until(lambda: len(server.answers) == 2)
        await server.result(request, {"content": []})

    async with SseServer(call) as server, house(server) as one:
        assert (await one.call("tool")).ending is Ending.RESULT
        by_id = {answer["id"]: answer for answer in server.answers}
        assert by_id[1]["error"]["code"] == -32601
        assert by_id[2]["result"] == {}


# ---------------------------------------------------------------- where to post


@pytest.mark.parametrize(
    ("address", "target"),
    [
        (b"/messages?session=1", "/messages?session=1"), (b"messages/", "/mcp/messages/"),
        (b"../m", "/m"), (b"?s=1", "/mcp/sse?s=1"), (b"http://h.test:80/x", "/x"),
        (b"HTTP://H.test/x", "/x"), (b"//h.test/x", "/x"), (b"http://h.test:81/x", None),
        (b"https://h.test/x", None), (b"//evil.test/x", None), (b"http://evil.test/x", None),
        (b"http://h.test@evil.test/x", None), (b"http://u:p@h.test/x", None), (b"", None),
        (b"/a b", None), (b"/a\r\nX: y", None), (b"/\xc3\xa9", None), (b"/" + b"a" * 2_048, None),
        (b"file:///etc/passwd", None), (b"http://[/x", None), (b"http://h.test:99999/x", None),
    ],
)  # fmt: skip
def test_the_address_to_post_to_is_of_the_same_origin(address, target):
    url = "http://h.test/mcp/sse"
    found = address_of(url, origin_of(url), address)
    assert (found and found.target) == target


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ((b"event: endpoint\ndata: http://evil.test/m\n\n",), "of its own origin"),
        ((b"event: endpoint\ndata: \n\n",), "of its own origin"),
        ((b"event: message\ndata: {}\n\n",), "within 300 ms"),
        ((), "within 300 ms"),
    ],
)
async def test_a_server_that_says_no_good_address_is_sent_nothing(events, problem):
    async with SseServer(events=events) as server, house(server, connect_ms=300) as one:
        one.upstream.start()
        sse = one.upstream._sse
        await until(lambda: sse.is_refused)
        assert problem in sse.state.problem
        assert not [request for request in server.requests if request.target == ENDPOINT]
        assert not server.heard("initialize")


async def test_a_server_that_said_where_to_post_is_not_waited_for():
    async def call(server, request):
        await asyncio.sleep(0.4)
        await echo(server, request)

    async with SseServer(call) as server, house(server, connect_ms=300) as one:
        assert (await one.call("tool")).ending is Ending.RESULT
        assert one.watcher.count("lost") == one.watcher.count("unreachable") == 0


async def test_an_event_of_another_name_names_no_address():
    endpoint = f"event: endpoint\ndata: {ENDPOINT}\n\n".encode()
    events = (b"event: odd\ndata: /x\n\n", endpoint)
    async with SseServer(events=events) as server, house(server) as one:
        assert (await one.call("tool")).ending is Ending.RESULT


async def test_a_second_address_changes_nothing():
    events = (
        f"event: endpoint\ndata: {ENDPOINT}\n\n".encode(),
        b"event: endpoint\ndata: /elsewhere\n\nevent: odd\ndata: x\n\n",
    )
    async with SseServer(events=events) as server, house(server) as one:
        await one.call("tool")
        assert not [request for request in server.requests if request.target == "/elsewhere"]


# ---------------------------------------------------------------- faults


async def test_r6_a_lost_stream_ends_all_calls_with_one_loss_and_is_opened_anew():
    async with SseServer(silent) as server, house(server) as one:
        begun = [one.begin("tool")[0] for _ in range(10)]
        await until(lambda: len(server.heard("tools/call")) == 10)
        server.stream.reset()
        replies = [await ended(receiver) for receiver in begun]
        assert {reply.ending for reply in replies} == {Ending.LOST}
        assert {reply.written for reply in replies} == {Written.ALL}
        assert len({reply.loss for reply in replies}) == 1
        await one.watcher.until("connected", 2)
        assert one.watcher.count("lost") == 1


async def test_a_stream_that_ends_in_good_order_is_opened_anew_too():
    async with SseServer() as server, house(server) as one:
        await one.up()
        await server.stream.end()
        await one.watcher.until("connected", 2)
        assert (await one.call("tool")).ending is Ending.RESULT


@pytest.mark.parametrize("status", [400, 429, 500, 503])
async def test_a_post_that_is_refused_ends_its_call_alone(status):
    async with SseServer(silent) as server, house(server) as one:
        waiting, _ = one.begin("tool")
        await until(lambda: server.heard("tools/call"))
        server.status = status
        reply = await one.call("tool")
        assert (reply.ending, reply.status) == (Ending.STATUS, status)
        assert not waiting.reply.done()
        assert one.upstream.state.connected


async def test_a_session_that_the_server_forgot_is_begun_anew():
    async with SseServer(silent) as server, house(server) as one:
        await one.up()
        await until(lambda: server.heard("notifications/initialized"))
        server.status = 404
        reply = await one.call("tool")
        assert (reply.ending, reply.status) == (Ending.STATUS, 404)
        server.status = 202
        await one.watcher.until("connected", 2)


async def test_a_server_that_refuses_initialize_is_tried_again_later():
    async with SseServer() as server, house(server) as one:
        server.status = 500
        one.upstream.start()
        _, detail = await one.watcher.until("unreachable")
        assert "did not take the first message" in detail
        server.status = 202
        await one.watcher.until("connected")


async def test_an_answer_of_the_clients_that_does_not_arrive_ends_the_call():
    async def call(server, request):
        await server.say({"jsonrpc": "2.0", "id": "q", "method": "roots/list"})

    async with SseServer(call) as server, house(server, declared=ALL) as one:
        receiver, attempt = one.begin("tool")
        (question,) = await receiver.until_asked()
        server.status = 500
        attempt.answer(question.id, b"{}")
        reply = await ended(receiver)
        assert reply.ending is Ending.LOST
        assert "did not reach the server" in reply.detail


async def test_answers_with_other_ids_are_nobodys():
    async def call(server, request):
        for wrong in (request.id + 1_000, str(request.id), None):
            await server.say({"jsonrpc": "2.0", "id": wrong, "result": {"content": ["wrong"]}})
        await server.result(request, {"content": []})
        await server.result(request, {"content": ["twice"]})

    async with SseServer(call) as server, house(server) as one:
        for _ in range(3):
            assert (await one.call("tool")).result == b'{"content":[]}'


async def test_a_flood_ends_the_stream():
    async def call(server, request):
        await server.result(request, {"content": []})
        await server.stream.chunk(b'data: {"jsonrpc":"2.0","id":"nobody","result":{}}\n\n' * 20_000)

    async with SseServer(call) as server, house(server) as one:
        await one.call("tool")
        _, _, detail = await one.watcher.until("lost")
        assert "flooded" in detail


async def test_a_flood_of_comments_ends_the_stream():
    async with SseServer() as server, house(server) as one:
        await one.up()
        await server.stream.chunk(b": x\n" * 50_000)
        _, _, detail = await one.watcher.until("lost")
        assert "flood" in detail


async def test_what_is_no_stream_of_events_has_a_size():
    async def script(request, peer):
        if request.verb == "POST":
            await peer.answer(404, kind="")
            return
        with suppress(ConnectionError):
            await peer.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            while True:
                await peer.raw(b" " * 50_000)
        over.set()

    over = asyncio.Event()
    async with FaultServer(script) as server, UrlHouse(server.url, response_bytes=100_000) as one:
        one.upstream.start()
        await asyncio.wait_for(over.wait(), 5)


async def test_a_stream_may_live_for_long_and_say_much():
    """What is bounded is each event, and how much comes in a minute that is no message."""
    limits = {"response_bytes": 20_000, "stream_bytes": 20_000}
    async with SseServer() as server, house(server, **limits) as one:
        for _ in range(5):
            assert (await one.call("tool", a="x" * 10_000)).ending is Ending.RESULT
        assert len(server.streams) == 1


async def test_what_a_call_wants_to_hear_is_no_flood():
    async def call(server, request):
        token = request.message["params"]["_meta"]["progressToken"]
        note = {"progressToken": token, "progress": 1}
        event = {"jsonrpc": "2.0", "method": "notifications/progress", "params": note}
        await server.stream.chunk(b"data: %b\n\n" % msgspec.json.encode(event) * 30_000)
        await echo(server, request)

    async with SseServer(call) as server, house(server) as one:
        reply = await one.call("tool", {"progressToken": "p"})
        assert reply.ending is Ending.RESULT


async def test_comments_of_different_minutes_are_no_flood(monkeypatch):
    monkeypatch.setattr(http_exchange, "MINUTE", -1)
    async with SseServer() as server, house(server) as one:
        await one.up()
        for _ in range(10):
            await server.stream.chunk(b": x\n" * 10_000)
            assert (await one.call("tool")).ending is Ending.RESULT
        assert one.watcher.count("lost") == 0


async def test_an_answer_over_the_limit_ends_its_call_and_costs_the_others_one_loss():
    async def call(server, request):
        if request.tool == "large":
            await server.result(request, {"content": ["x" * 200_000]})

    async with SseServer(call) as server, house(server, response_bytes=100_000) as one:
        waiting, _ = one.begin("tool")
        await until(lambda: server.heard("tools/call"))
        large = await one.call("large")
        assert large.ending is Ending.TOO_LARGE
        assert (await ended(waiting)).ending is Ending.LOST
        await one.watcher.until("connected", 2)


async def test_f04_a_server_that_hangs_is_found_out_after_a_timeout(monkeypatch):
    monkeypatch.setattr(sse_pipe.SsePipe, "life_span", SECOND // 5)

    async def call(server, request):
        server._take = lambda request: asyncio.sleep(0)

    async with SseServer(call) as server, house(server) as one:
        reply = await one.call("tool", seconds=0.3)
        assert reply.ending is Ending.CANCELLED
        _, _, detail = await one.watcher.until("lost")
        assert "no sign of life" in detail


async def test_a_call_given_up_before_it_was_sent_never_is():
    async with SseServer() as server, house(server) as one:
        await one.up()
        await until(lambda: server.heard("notifications/initialized"))
        pipe = one.upstream._sse._stream.pipe
        pipe._fence = object()
        receiver, attempt = one.begin("tool")
        attempt.cancel(Cause.CLIENT)
        reply = await ended(receiver)
        assert (reply.ending, reply.written) == (Ending.CANCELLED, Written.NONE)
        assert not pipe._backlog
        pipe._fence = None
        assert (await one.call("tool", n=2)).ending is Ending.RESULT
        assert [request.arguments for request in server.heard("tools/call")] == [{"n": 2}]


async def test_a_call_given_up_while_it_waits_for_a_connection_never_is(monkeypatch):
    monkeypatch.setattr(mcp_sse, "CONNECTIONS", 1)
    monkeypatch.setattr(mcp_sse, "SPARE", 1)
    async with HoldingServer(echo, "tools/call") as server, house(server) as one:
        first, _ = one.begin("tool", n=1)
        await until(lambda: server.held)
        receiver, attempt = one.begin("tool", n=2)
        attempt.cancel(Cause.CLIENT)
        assert (await ended(receiver)).written is Written.NONE
        server.released.set()
        await ended(first)
        assert (await one.call("tool", n=3)).ending is Ending.RESULT
        assert [request.arguments["n"] for request in server.heard("tools/call")] == [1, 3]


async def test_a_call_given_up_while_it_is_sent_is_still_on_its_way():
    async with HoldingServer(echo, "tools/call") as server, house(server) as one:
        await one.up()
        receiver, attempt = one.begin("tool")
        await until(lambda: server.held)
        attempt.cancel(Cause.CLIENT)
        assert (await ended(receiver)).written is Written.ALL
        await until(lambda: server.heard("notifications/cancelled"))
        pipe = one.upstream._sse._stream.pipe
        await until(lambda: len(pipe._posting) == 1)
        server.released.set()
        await until(lambda: not pipe._posting and not pipe._backlog)


async def test_calls_that_wait_for_the_opening_can_be_given_up_and_end_with_a_close():
    async with HoldingServer(echo, "initialize") as server, house(server) as one:
        given_up, attempt = one.begin("tool")
        left, _ = one.begin("tool")
        await until(lambda: server.held)
        attempt.cancel(Cause.CLIENT)
        assert (await ended(given_up)).detail == "cancelled: client"
        assert len(one.upstream._sse._waiting) == 1
        await one.upstream.close()
        assert (await ended(left)).detail == "cancelled: shutdown"


async def test_a_call_does_not_wait_for_a_start_that_is_far_away():
    async with SseServer() as server:
        url = server.url
    async with UrlHouse(url, found=known()) as one:
        await one.call("tool")
        sse = one.upstream._sse
        sse._restart_at = one.clock.now() + 60 * SECOND
        receiver, _ = one.begin("tool")
        assert not sse._waiting
        assert (await ended(receiver)).ending is Ending.UNREACHED


async def test_a_server_that_is_busy_is_not_said_to_have_no_such_transport():
    async def busy(request, peer):
        await peer.answer(503, b"Busy", "text/plain")

    async with FaultServer(busy) as server, UrlHouse(server.url, found=known()) as one:
        one.upstream.start()
        await one.watcher.until("unreachable")
        assert not one.upstream._sse.is_refused


async def test_who_stops_a_pipe_hears_no_more_of_it():
    async with SseServer() as server, house(server) as one:
        await one.up()
        pipe, told = one.upstream._sse._stream.pipe, []
        pipe._owner.ended = told.append
        await pipe.stop()
        assert told == []


async def test_what_waits_for_a_server_is_bounded(monkeypatch):
    monkeypatch.setattr(sse_pipe, "BACKLOG_BYTES", 1_000)
    async with SseServer() as server, house(server) as one:
        await one.up()
        await until(lambda: server.heard("notifications/initialized"))
        one.upstream._sse._stream.pipe._fence = object()
        first, _ = one.begin("tool", a="x" * 2_000)
        second = await one.call("tool")
        assert (second.ending, second.written) == (Ending.UNREACHED, Written.NONE)
        assert not first.reply.done()


async def test_an_address_where_nobody_listens():
    async with SseServer() as server:
        url = server.url
    async with UrlHouse(url, found=known()) as one:
        reply = await one.call("tool")
        assert (reply.ending, reply.written) == (Ending.UNREACHED, Written.NONE)
        assert "nothing listens" in one.upstream.state.problem
