"""What an attempt's own stream tells, and how an attempt is given up."""

import asyncio

import msgspec
import pytest
from support.http_servers import (
    FaultServer,
    HttpHouse,
    Legacy,
    Peer,
    Request,
    hang,
    modern,
    outgoing,
)
from support.stdio_hub import until

from agenthub.domain.call import Era
from agenthub.domain.outcome import Cause, Ending, Written
from agenthub.outbound import http_attempt

LOG_LEVEL = "io.modelcontextprotocol/logLevel"


def note(method: str, **params: object) -> dict:
    return {"jsonrpc": "2.0", "method": f"notifications/{method}", "params": params}


def telling(*messages: dict):
    """A tool that tells these on its stream, and then answers."""

    async def call(request: Request, peer: Peer):
        if request.method != "tools/call":
            await peer.result(request, {})
            return
        await peer.stream()
        for message in messages:
            params = dict(message.get("params", {}))
            if params.get("progressToken") == "own":
                params["progressToken"] = request.id
            await peer.event(message | {"params": params})
        await peer.event({"jsonrpc": "2.0", "id": request.id, "result": {"content": []}})
        await peer.end()

    return call


async def notes(call, meta: dict | None = None, *, legacy: bool = False, **capabilities):
    """What the client hears, and the house's watcher after it."""
    script = Legacy(call, capabilities=capabilities) if legacy else modern(call)
    async with FaultServer(script) as server, HttpHouse(server.url) as house:
        await house.up()
        receiver, _ = house.begin("tool", meta)
        reply = await receiver.reply
        assert reply.ending is Ending.RESULT
        heard = [(method, msgspec.json.decode(params)) for method, params in receiver.notes]
        return heard, house.watcher.heard[1:]


@pytest.mark.parametrize("legacy", [False, True])
async def test_progress_comes_under_the_clients_own_token(legacy: bool):
    call = telling(note("progress", progressToken="own", progress=1, extra=[1]))
    heard, _ = await notes(call, {"progressToken": "mine"}, legacy=legacy)
    expected = {"progressToken": "mine", "progress": 1, "extra": [1]}
    assert heard == [("notifications/progress", expected)]


async def test_progress_of_another_token_or_without_one_is_nobodys():
    call = telling(
        note("progress", progressToken="mine", progress=1),
        note("progress", progressToken=True, progress=2),
        note("progress", progress=3),
    )
    assert await notes(call, {"progressToken": "mine"}) == ([], [])


async def test_without_a_token_there_is_no_progress():
    assert await notes(telling(note("progress", progressToken="own", progress=1))) == ([], [])


async def test_the_last_of_fast_progress_comes_after_a_while():
    async def call(request: Request, peer: Peer):
        await peer.stream()
        for step in range(20):
            await peer.event(note("progress", progressToken=request.id, progress=step))
        await hang(request, peer)

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        receiver, attempt = house.begin("tool", {"progressToken": 1})
        await until(lambda: len(receiver.notes) == 6)
        steps = [msgspec.json.decode(params)["progress"] for _, params in receiver.notes]
        assert steps == [0, 1, 2, 3, 4, 19]
        attempt.cancel(Cause.CLIENT)


async def test_nothing_is_told_after_a_cancel():
    async def call(request: Request, peer: Peer):
        await peer.stream()
        for step in range(20):
            await peer.event(note("progress", progressToken=request.id, progress=step))
        await hang(request, peer)

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        receiver, attempt = house.begin("tool", {"progressToken": 1})
        await until(lambda: len(receiver.notes) == 5)
        attempt.cancel(Cause.CLIENT)
        await asyncio.sleep(0.3)
        assert len(receiver.notes) == 5
        attempt._catch_up()
        assert len(receiver.notes) == 5


@pytest.mark.parametrize(
    ("level", "expected"),
    [(None, []), ("nonsense", []), ("info", ["a", "b"]), ("error", ["b"])],
)
async def test_log_messages_come_as_asked_for(level: str | None, expected: list[str]):
    call = telling(
        note("message", level="debug", data="x"),
        note("message", level="warning", data="a"),
        note("message", level="critical", data="b"),
    )
    meta = {LOG_LEVEL: level} if level else {}
    heard, _ = await notes(call, meta)
    assert [params["data"] for _, params in heard] == expected


async def test_an_old_server_is_told_the_most_talkative_level_once():
    levels = []
    quiet = telling()

    async def call(request: Request, peer: Peer):
        if request.method == "logging/setLevel":
            levels.append(request.message["params"]["level"])
        await quiet(request, peer)

    legacy = Legacy(call, capabilities={"logging": {}})
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        for level in ("error", "error", "info", "warning"):
            await house.call("tool", {LOG_LEVEL: level})
        await house.call("tool")
        await until(lambda: len(levels) == 2)
        assert levels == ["error", "info"]


async def test_other_notifications_are_the_watchers():
    call = telling(note("tools/list_changed"), note("cancelled", requestId=1))
    heard, watched = await notes(call)
    assert heard == []
    assert watched == [("changed", "notifications/tools/list_changed", b"{}")]


async def test_a_modern_server_may_not_ask_and_gets_no_answer():
    call = telling({"jsonrpc": "2.0", "id": 1, "method": "roots/list"})
    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        assert (await house.call("tool")).ending is Ending.RESULT
        assert house.upstream.strays == 1
        assert len(server.requests) == 2


async def test_an_old_servers_ping_is_answered():
    call = telling({"jsonrpc": "2.0", "id": "p1", "method": "ping"})
    legacy = Legacy(call)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        assert (await house.call("tool")).ending is Ending.RESULT
        await until(lambda: len(legacy.posted) == 2)
        assert legacy.posted[1] == {"jsonrpc": "2.0", "id": "p1", "result": {}}


@pytest.mark.parametrize("method", ["elicitation/create", "sampling/createMessage", "roots/list"])
async def test_what_an_old_server_asks_clients_who_declared_nothing_is_refused(method: str):
    call = telling({"jsonrpc": "2.0", "id": 9, "method": method, "params": {}})
    legacy = Legacy(call)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        receiver, _ = house.begin("tool")
        assert (await receiver.reply).ending is Ending.RESULT
        assert receiver.questions == []
        await until(lambda: len(legacy.posted) == 2)
        assert (legacy.posted[1]["id"], legacy.posted[1]["error"]["code"]) == (9, -32601)


async def test_an_unknown_question_of_an_old_server_is_refused_and_the_call_goes_on():
    call = telling({"jsonrpc": "2.0", "id": 9, "method": "what/ever"})
    legacy = Legacy(call)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        assert (await house.call("tool")).ending is Ending.RESULT
        await until(lambda: len(legacy.posted) == 2)
        assert legacy.posted[1]["error"]["code"] == -32601


@pytest.mark.parametrize("era", Era)
async def test_input_required_passes_whatever_the_clients_era(era: Era):
    result = {"resultType": "input_required", "requestState": "x"}

    async def call(request: Request, peer: Peer):
        await peer.result(request, result)

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        receiver, _ = house.send(msgspec.structs.replace(outgoing("tool"), era=era))
        reply = await receiver.reply
        assert reply.result_type == "input_required"
        assert msgspec.json.decode(reply.result) == result


async def test_an_old_server_has_one_kind_of_result_whatever_it_says():
    async def call(request: Request, peer: Peer):
        await peer.result(request, {"resultType": "input_required", "content": [], "x": 1.0})

    async with FaultServer(Legacy(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        receiver, _ = house.send(outgoing("tool"))
        reply = await receiver.reply
        assert reply.result_type == "complete"
        assert reply.head is not None
        assert reply.head.result_type is None
        assert msgspec.json.decode(reply.result) == {"content": [], "x": 1.0}


async def test_the_clients_own_capabilities_are_declared():
    async with FaultServer(modern()) as server, HttpHouse(server.url) as house:
        await house.up()
        asked = msgspec.structs.replace(
            outgoing("tool"), capabilities=b'{"roots":{}}', client_info=b'{"name":"me"}'
        )
        await house.send(asked)[0].reply
        meta = server.calls()[0].message["params"]["_meta"]
        assert meta["io.modelcontextprotocol/clientCapabilities"] == {"roots": {}}
        assert meta["io.modelcontextprotocol/clientInfo"] == {"name": "me"}
        assert 9_000 < meta["io.agenthub/deadlineMs"] < 9_960


async def test_an_old_server_is_told_of_a_cancel():
    legacy = Legacy(hang)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        receiver, attempt = house.begin("tool")
        await until(lambda: len(server.calls()) == 1)
        attempt.cancel(Cause.CLIENT)
        assert receiver.reply.result().written is Written.ALL
        await until(lambda: len(legacy.posted) == 2)
        assert legacy.posted[1]["method"] == "notifications/cancelled"
        assert legacy.posted[1]["params"]["requestId"] == server.calls()[0].id


async def test_an_attempt_that_waits_for_a_connection_can_be_given_up():
    async with (
        FaultServer(modern(hang)) as server,
        HttpHouse(server.url, connections=9) as house,
    ):
        await house.up()
        running = [house.begin("tool") for _ in range(9)]
        await until(lambda: len(server.calls()) == 9)
        receiver, attempt = house.begin("waits")
        attempt.cancel(Cause.SHED)
        reply = receiver.reply.result()
        assert (reply.ending, reply.written) == (Ending.CANCELLED, Written.NONE)
        running[0][1].cancel(Cause.CLIENT)
        await asyncio.sleep(0.05)
        assert len(server.calls()) == 9
        assert server.connections == 9


async def test_an_attempt_that_waits_for_the_opening_can_be_given_up():
    async with FaultServer(hang) as server, HttpHouse(server.url) as house:
        receiver, attempt = house.begin("waits")
        attempt.cancel(Cause.CLIENT)
        assert receiver.reply.result().written is Written.NONE
        assert house.upstream._waiting == {}


def polling(rest, retry_ms: int = 10):
    """An old server that ends each call's stream at once, and has the rest for whoever asks."""

    async def call(request: Request, peer: Peer):
        calls.append(request)
        await peer.stream()
        await peer.chunk(b"id: e1\nretry: %d\ndata:\n\n" % retry_ms)
        await peer.end()

    async def stream(request: Request, peer: Peer):
        gets.append(request)
        await rest(calls[0], peer)

    calls: list[Request] = []
    gets: list[Request] = []
    return Legacy(call, stream=stream), gets


async def test_a_stream_that_broke_off_is_resumed_and_the_call_is_not_sent_again():
    async def rest(request: Request, peer: Peer):
        await peer.stream()
        await peer.event({"jsonrpc": "2.0", "id": request.id, "result": {"content": []}})
        await peer.end()

    legacy, gets = polling(rest)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        reply = await house.call("tool")
        assert (reply.ending, reply.written) == (Ending.RESULT, Written.ALL)
        assert [request.headers["last-event-id"] for request in gets] == ["e1"]
        assert len(server.calls()) == 1


@pytest.mark.parametrize("status", [400, 404, 405, 429, 503])
async def test_a_rest_that_is_refused_leaves_the_call_lost(status: int):
    """The call itself was taken: nothing may say that it was not run."""

    async def rest(request: Request, peer: Peer):
        await peer.error(request, -32600, status)

    legacy, gets = polling(rest)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        reply = await house.call("tool")
        assert (reply.ending, reply.written) == (Ending.LOST, Written.ALL)
        assert reply.loss > 0
        assert len(gets) == len(server.calls()) == 1


async def test_a_rest_that_nobody_gives_any_more_leaves_the_call_lost():
    async def rest(request: Request, peer: Peer): ...

    legacy, _ = polling(rest, retry_ms=100)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        receiver, _ = house.begin("tool")
        await until(lambda: len(server.calls()) == 1)
        await server.stop()
        reply = await receiver.reply
        assert (reply.ending, reply.written) == (Ending.LOST, Written.ALL)


async def test_a_stream_is_resumed_a_few_times_and_no_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_attempt, "RESUME_AFTER", http_attempt.MILLISECOND)

    async def rest(request: Request, peer: Peer):
        await peer.stream()
        await peer.chunk(b": nothing yet\n\n")
        peer.reset()

    legacy, gets = polling(rest)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        reply = await house.call("tool")
        assert (reply.ending, reply.written) == (Ending.LOST, Written.ALL)
        assert len(gets) == http_attempt.RESUMES_MAX
        assert {request.headers["last-event-id"] for request in gets} == {"e1"}


async def test_an_attempt_that_waits_for_its_rest_can_be_given_up():
    async def rest(request: Request, peer: Peer):
        raise AssertionError

    legacy, gets = polling(rest, retry_ms=60)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        receiver, attempt = house.begin("tool")
        await until(lambda: attempt._resumes == 1)
        attempt.cancel(Cause.CLIENT)
        assert receiver.reply.result().written is Written.ALL
        attempt._take_up()
        await until(lambda: len(legacy.posted) == 2)
        assert legacy.posted[1]["method"] == "notifications/cancelled"
        await asyncio.sleep(0.1)
        assert gets == []
