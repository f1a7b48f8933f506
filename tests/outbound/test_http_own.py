"""The stream on which a server tells of its changes."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest
from support.http_servers import DISCOVERED, FaultServer, HttpHouse, Legacy, Peer, Request, modern
from support.stdio_hub import until

from agenthub.domain.call import Era
from agenthub.domain.outcome import Ending
from agenthub.domain.span import SECOND
from agenthub.outbound import http_own
from agenthub.outbound.flood import EVENT_LINES, UNWANTED
from agenthub.ports import Outgoing

CAPABILITIES = {"tools": {"listChanged": True}, "prompts": {}}
CHANGED = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_own, "REST", http_own.REST // 50)


def gets(server: FaultServer) -> list[Request]:
    return [request for request in server.requests if request.verb == "GET"]


async def test_an_old_server_tells_on_a_get_stream():
    async def stream(request: Request, peer: Peer):
        await peer.stream()
        await peer.chunk(b"id: 1\ndata:\n\n")
        await peer.event(CHANGED)
        await peer.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
        await peer.event({"jsonrpc": "2.0", "id": "p", "method": "ping"})
        await peer.event({"jsonrpc": "2.0", "id": "r", "method": "roots/list"})

    legacy = Legacy(stream=stream, capabilities=CAPABILITIES)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        heard = await house.watcher.until("changed")
        assert heard == ("changed", "notifications/tools/list_changed", b"{}")
        (request,) = gets(server)
        assert request.headers["accept"] == "text/event-stream"
        assert request.headers["mcp-session-id"] == "s1"
        await until(lambda: len(legacy.posted) == 3)
        assert {answer["id"]: "error" in answer for answer in legacy.posted[1:]} == {
            "p": False,
            "r": True,
        }
        assert house.watcher.count("changed") == 1


async def test_a_stream_that_ends_is_opened_again_where_it_was():
    async def stream(request: Request, peer: Peer):
        await peer.stream()
        await peer.chunk(b"id: e%d\nretry: 1\ndata:\n\n" % len(gets(server)))
        await peer.end()

    legacy = Legacy(stream=stream, capabilities=CAPABILITIES)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        await until(lambda: len(gets(server)) >= 3)
        ids = [request.headers.get("last-event-id") for request in gets(server)]
        assert ids[:3] == [None, "e1", "e2"]
        assert house.watcher.heard == [("connected",)]


async def test_a_server_says_how_long_to_wait_before_it_is_asked_again():
    async def stream(request: Request, peer: Peer):
        await peer.stream()
        await peer.chunk(b"retry: 300\n\n")
        await peer.end()

    legacy = Legacy(stream=stream, capabilities=CAPABILITIES)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        await until(lambda: len(gets(server)) == 1)
        await asyncio.sleep(0.2)
        assert len(gets(server)) == 1
        await until(lambda: len(gets(server)) == 2, 1)


async def test_a_stream_that_breaks_again_and_again_is_opened_ever_less_often():
    async def stream(request: Request, peer: Peer):
        peer.reset()

    legacy = Legacy(stream=stream, capabilities=CAPABILITIES)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        await asyncio.sleep(0.6)
        assert 2 <= len(gets(server)) <= 7
        assert house.watcher.heard == [("connected",)]


@pytest.mark.parametrize("status", [404, 405])
async def test_a_stream_that_is_not_offered_is_not_asked_for_again(status: int):
    async def stream(request: Request, peer: Peer):
        await peer.answer(status, kind="")

    legacy = Legacy(stream=stream, capabilities=CAPABILITIES)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        await until(lambda: len(gets(server)) == 1)
        await asyncio.sleep(0.1)
        assert len(gets(server)) == 1


async def test_a_server_in_trouble_is_asked_again():
    async def stream(request: Request, peer: Peer):
        await peer.answer(503, kind="")

    legacy = Legacy(stream=stream, capabilities=CAPABILITIES)
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        await until(lambda: len(gets(server)) >= 2)


async def test_a_server_that_tells_nothing_is_not_listened_to():
    async with FaultServer(Legacy()) as server, HttpHouse(server.url) as house:
        await house.up()
        await house.call("x")
        assert gets(server) == []


def listening(stream, capabilities=CAPABILITIES):
    """A modern server with changes to tell."""
    usual = modern(discovered=DISCOVERED | {"capabilities": capabilities})

    async def script(request: Request, peer: Peer):
        if request.method == "subscriptions/listen":
            await stream(request, peer)
        else:
            await usual(request, peer)

    return script


async def test_a_modern_server_tells_on_a_subscription():
    async def stream(request: Request, peer: Peer):
        await peer.stream()
        method = "notifications/subscriptions/acknowledged"
        await peer.event({"jsonrpc": "2.0", "method": method, "params": {}})
        await peer.event({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        await peer.event(CHANGED)

    async with FaultServer(listening(stream)) as server, HttpHouse(server.url) as house:
        await house.up()
        await house.watcher.until("changed")
        request = next(r for r in server.requests if r.method == "subscriptions/listen")
        assert request.headers["mcp-method"] == "subscriptions/listen"
        assert request.message["params"]["notifications"] == {"toolsListChanged": True}
        assert house.upstream.strays == 1
        assert house.upstream.state.era is Era.MODERN


def listens(server: FaultServer) -> int:
    return sum(request.method == "subscriptions/listen" for request in server.requests)


FLOOD = b":\n" * (UNWANTED * EVENT_LINES // 4)


async def test_a_subscription_that_floods_is_ended_and_begun_anew():
    async def stream(request: Request, peer: Peer):
        await peer.stream()
        while True:
            await peer.chunk(FLOOD)

    async with FaultServer(listening(stream)) as server, HttpHouse(server.url) as house:
        await house.up()
        await until(lambda: listens(server) == 2)


async def test_a_subscription_may_say_as_much_again_in_another_minute(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("agenthub.outbound.http_exchange.MINUTE", 0)

    async def stream(request: Request, peer: Peer):
        await peer.stream()
        for _ in range(8):
            await peer.chunk(FLOOD)
        await peer.event(CHANGED)

    async with FaultServer(listening(stream)) as server, HttpHouse(server.url) as house:
        await house.up()
        await house.watcher.until("changed")
        assert listens(server) == 1


async def test_a_subscription_that_ends_well_is_begun_anew():
    async def stream(request: Request, peer: Peer):
        await peer.stream()
        await peer.event({"jsonrpc": "2.0", "id": request.id, "result": {}})
        await peer.end()

    async with FaultServer(listening(stream)) as server, HttpHouse(server.url) as house:
        await house.up()
        await until(lambda: server.count("subscriptions/listen") >= 2)


async def test_an_unknown_subscription_is_not_tried_again():
    async def stream(request: Request, peer: Peer):
        await peer.error(request, -32601, 404)

    async with FaultServer(listening(stream)) as server, HttpHouse(server.url) as house:
        await house.up()
        await until(lambda: server.count("subscriptions/listen") == 1)
        await asyncio.sleep(0.1)
        assert server.count("subscriptions/listen") == 1


async def test_the_streams_size_has_no_end_and_its_silence_has(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_own, "STREAM_PATIENCE", http_own.SECOND // 5)

    async def stream(request: Request, peer: Peer):
        await peer.stream()
        if server.count("subscriptions/listen") == 1:
            for _ in range(100):
                await peer.chunk(b": " + b"x" * 1_000 + b"\n\n")
            await peer.event(CHANGED)

    async with (
        FaultServer(listening(stream)) as server,
        HttpHouse(server.url, idle_ms=400, stream_bytes=50_000) as house,
    ):
        await house.up()
        await house.watcher.until("changed")
        await until(lambda: server.count("subscriptions/listen") >= 2)


@pytest.mark.parametrize(
    ("status", "kind"), [(200, "application/json"), (503, "text/event-stream")]
)
async def test_what_is_no_stream_of_events_has_a_size(status: int, kind: str):
    """An answer without an end took 1.3 GB in 1.5 s."""

    async def stream(request: Request, peer: Peer):
        with suppress(ConnectionError):
            await peer.raw(
                f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n"
                "Transfer-Encoding: chunked\r\n\r\n".encode()
            )
            while True:
                await peer.chunk(b" " * 50_000)
        ended.set()

    ended = asyncio.Event()
    async with (
        FaultServer(listening(stream)) as server,
        HttpHouse(server.url, response_bytes=100_000) as house,
    ):
        await house.up()
        await asyncio.wait_for(ended.wait(), 5)


async def test_the_end_of_the_hub_ends_the_stream():
    async def stream(request: Request, peer: Peer):
        await peer.stream()

    async with FaultServer(listening(stream)) as server:
        async with HttpHouse(server.url) as house:
            await house.up()
            await until(lambda: server.count("subscriptions/listen") == 1)
        await until(lambda: server.open == 0)
        assert server.count("subscriptions/listen") == 1


async def test_a_stream_that_rests_is_not_opened_after_the_end():
    async def stream(request: Request, peer: Peer):
        peer.reset()

    async with FaultServer(listening(stream)) as server:
        async with HttpHouse(server.url) as house:
            await house.up()
            await until(lambda: house.upstream._listening._timer is not None)
        before = len(server.requests)
        await asyncio.sleep(0.1)
        assert len(server.requests) == before


async def test_an_old_server_that_tells_only_of_resources_is_listened_to():
    updated = {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {}}

    async def stream(request: Request, peer: Peer):
        await peer.stream()
        await peer.event(updated)

    legacy = Legacy(stream=stream, capabilities={"resources": {"subscribe": True}})
    async with FaultServer(legacy) as server, HttpHouse(server.url) as house:
        await house.up()
        heard = await house.watcher.until("changed")
        assert heard[1] == "notifications/resources/updated"


def watch(house: HttpHouse, uri: str, method: str = "resources/subscribe"):
    receiver, _ = house.send(Outgoing(method, uri, {}, {}, house.clock.now() + 10 * SECOND))
    return asyncio.wait_for(receiver.reply, 5)


class Watchable:
    """A new server of which each stream stays open; `refuses` says which it does not take."""

    def __init__(self, refuses: Callable[[dict], bool] = lambda _: False):
        self.open: list[dict] = []
        self.refuses = refuses

    async def __call__(self, request: Request, peer: Peer):
        wanted = request.message["params"]["notifications"]
        if self.refuses(wanted):
            await peer.error(request, -32602, 400)
            return
        await peer.stream()
        self.open.append(wanted)
        method = "notifications/subscriptions/acknowledged"
        await peer.event({"jsonrpc": "2.0", "method": method, "params": {}})
        await peer.reader.read(1)
        self.open.remove(wanted)


LISTS = {"toolsListChanged": True}


async def test_a_new_server_is_told_what_is_watched_by_a_stream_that_takes_over():
    stream = Watchable()
    async with FaultServer(listening(stream)) as server, HttpHouse(server.url) as house:
        await house.up()
        await until(lambda: stream.open == [LISTS])
        assert (await watch(house, "a:1")).ending is Ending.RESULT
        await until(lambda: stream.open == [{**LISTS, "resourceSubscriptions": ["a:1"]}])
        await watch(house, "a:1", "resources/unsubscribe")
        await until(lambda: stream.open == [LISTS])
        assert server.count("resources/subscribe") == 0


async def test_a_new_server_without_lists_is_listened_to_while_somebody_watches():
    stream = Watchable()
    async with (
        FaultServer(listening(stream, {"resources": {"subscribe": True}})) as server,
        HttpHouse(server.url) as house,
    ):
        await house.up()
        await watch(house, "a:1")
        assert stream.open == [{"resourceSubscriptions": ["a:1"]}]
        await watch(house, "a:1", "resources/unsubscribe")
        await until(lambda: stream.open == [])


async def test_a_filter_that_is_refused_leaves_the_stream_that_was(monkeypatch):
    monkeypatch.setattr("agenthub.outbound.watching.PATIENCE", SECOND // 10)
    stream = Watchable(lambda wanted: "resourceSubscriptions" in wanted)
    async with FaultServer(listening(stream)) as server, HttpHouse(server.url) as house:
        await house.up()
        await until(lambda: stream.open == [LISTS])
        await watch(house, "a:1")
        assert server.count("subscriptions/listen") == 2
        assert stream.open == [LISTS]


async def test_a_change_of_the_filter_while_the_stream_rests_opens_it_at_once(monkeypatch):
    monkeypatch.setattr(http_own, "REST", 30 * SECOND)
    stream = Watchable()

    async def first_breaks(request: Request, peer: Peer):
        if server.count("subscriptions/listen") == 1:
            peer.reset()
        else:
            await stream(request, peer)

    async with FaultServer(listening(first_breaks)) as server, HttpHouse(server.url) as house:
        await house.up()
        await until(lambda: house.upstream._listening._timer is not None)
        await watch(house, "a:1")
        assert stream.open == [{**LISTS, "resourceSubscriptions": ["a:1"]}]
