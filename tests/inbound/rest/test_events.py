import asyncio
from collections import deque

import pytest
from support.rest_hub import ADMIN, LIMITED, Gate
from support.store_rows import until

from agenthub.bus import QUEUE, SUBSCRIPTIONS_MAX
from agenthub.domain.events import CallEnded, ClockEvent, ServerChanged
from agenthub.inbound.rest import create_rest, events


def server(name="calculator", detail=""):
    return ServerChanged(1, name, "connected", detail)


def call(endpoint="calculator"):
    return CallEnded(2, "c1", endpoint, endpoint, "tools/call", "add", "ok", 1, 5)


class Listener:
    """An ASGI server with one client of the stream."""

    def __init__(self, hub, query="", last=None, caller=ADMIN):
        gate = Gate(create_rest(hub))
        gate.caller = caller
        headers = [] if last is None else [(b"last-event-id", last.encode())]
        scope = {
            "type": "http", "method": "GET", "path": "/api/events", "raw_path": b"/api/events",
            "query_string": query.encode(), "headers": headers, "scheme": "http",
            "server": ("hub.test", 80), "client": ("127.0.0.1", 1), "root_path": "",
            "http_version": "1.1", "asgi": {"version": "3.0"},
        }  # fmt: skip
        self.received = deque()
        self.status = None
        self.broken = False
        self.headers = {}
        self.gone = asyncio.Event()
        self.reading = asyncio.Event()
        self.reading.set()
        self.done = asyncio.ensure_future(gate(scope, self.receive, self.send))

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
            return
        await self.reading.wait()
        if self.broken:
            raise OSError("gone")
        self.received.append(message["body"])

    @property
    def text(self):
        return b"".join(self.received).decode()

    async def has(self, text):
        await until(lambda: text in self.text)

    async def leave(self):
        self.gone.set()
        async with asyncio.timeout(5):
            await self.done


@pytest.fixture
async def listen(hub):
    listeners = []

    async def listen(*args, **more):
        listener = Listener(hub, *args, **more)
        listeners.append(listener)
        await until(lambda: listener.status is not None)
        return listener

    yield listen
    for listener in listeners:
        await listener.leave()


async def test_events_come_as_they_happen(hub, listen):
    listener = await listen()
    assert listener.headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    hub.bus.event(server())
    await listener.has("connected")
    assert listener.text == (
        "retry: 2000\n\n"
        "id: 1\nevent: server\n"
        'data: {"event":"server","at_ms":1,"endpoint":"calculator","state":"connected",'
        '"detail":""}\n\n'
    )


async def test_a_client_that_comes_back_gets_what_it_missed(hub, listen):
    for _ in range(3):
        hub.bus.event(server())
    listener = await listen(last="1")
    await listener.has("id: 3")
    assert "id: 1\n" not in listener.text


@pytest.mark.parametrize("last", ["", "x", "-1", "1e3", "²", "9" * 5000, "1\x00"])
async def test_a_garbled_number_starts_anew(hub, listen, last):
    hub.bus.event(server())
    listener = await listen(last=last)
    hub.bus.event(server())
    await listener.has("id: 2")
    assert "id: 1\n" not in listener.text


async def test_only_the_chosen_kinds_come(hub, listen):
    listener = await listen(query="event=call&event=clock")
    for event in (server(), call(), ClockEvent(3, "stall", "40 s")):
        hub.bus.event(event)
    await listener.has("id: 3")
    assert "event: server" not in listener.text
    assert "event: call" in listener.text


async def test_an_unknown_kind_is_refused(listen):
    listener = await listen(query="event=everything")
    assert listener.status == 400


async def test_traffic_has_no_number(hub, listen, monkeypatch):
    listener = await listen()
    hub.bus._tick()
    await listener.has("traffic")
    assert "id:" not in listener.text


async def test_a_limited_key_hears_of_its_servers_only(hub, listen):
    listener = await listen(caller=LIMITED)
    for event in (server("other"), call("other"), server()):
        hub.bus.event(event)
    await listener.has("id: 3")
    assert "other" not in listener.text


async def test_a_line_break_in_a_value_cannot_make_an_event(hub, listen):
    """A47."""
    listener = await listen()
    hub.bus.event(server(detail="x\n\nevent: forged\r\ndata: {}\u2028"))
    await listener.has("id: 1")
    assert listener.text.count("\n\n") == 2
    assert "\r" not in listener.text


async def test_a_silent_stream_shows_that_it_lives(listen, monkeypatch):
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.01)
    listener = await listen()
    await listener.has(": alive\n\n: alive\n\n")


async def test_a_slow_client_is_told_what_it_lost_and_holds_up_nobody(hub, listen):
    listener = await listen()
    await listener.has("retry")
    listener.reading.clear()
    hub.bus.event(server())
    await asyncio.sleep(0)
    for _ in range(QUEUE + 7):
        hub.bus.event(server())
    listener.reading.set()
    await listener.has(f"id: {QUEUE + 8}\n")
    assert 'event: dropped\ndata: {"events":' in listener.text
    assert listener.text.count("event: dropped") == 1


async def test_a_client_that_leaves_frees_its_place(hub, listen):
    listener = await listen()
    assert hub.bus.listening()
    await listener.leave()
    assert not hub.bus.listening()


async def test_a_client_that_breaks_frees_its_place_quietly(hub, caplog):
    listener = Listener(hub)
    await until(lambda: listener.status is not None)

    listener.broken = True
    hub.bus.event(server())
    await asyncio.wait([listener.done], timeout=5)
    assert listener.done.done()
    assert not hub.bus.listening()
    assert caplog.text == ""


async def test_a_client_that_leaves_while_an_event_comes_frees_its_place(hub, listen):
    listener = await listen()
    await listener.has("retry")
    hub.bus.event(server())
    listener.gone.set()
    await listener.leave()
    assert not hub.bus.listening()


async def test_only_so_many_may_listen(hub, listen):
    subscriptions = [hub.bus.subscribe() for _ in range(SUBSCRIPTIONS_MAX)]
    listener = await listen()
    assert listener.status == 503
    assert '"code":"overloaded"' in listener.text
    for subscription in subscriptions:
        subscription.close()


async def test_a_stop_ends_the_stream(hub, listen):
    listener = await listen()
    hub.bus.event(server())
    hub.bus.close()
    async with asyncio.timeout(5):
        await listener.done
    assert "id: 1" in listener.text
    assert not hub.bus.listening()
