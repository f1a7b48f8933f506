"""The ASGI application by itself: its gate, the adapter of the hot doors, REST on demand."""

import asyncio
import json
import subprocess
import sys

import pytest
from support.edge_hub import ADMIN_TOKEN, EdgeHub, HotDoors, StockListener, open_house, settings
from support.stdio_hub import until

from agenthub.inbound import web as web_module
from agenthub.inbound.gate import Gate
from agenthub.inbound.web import Web

HEADERS = [
    (b"host", b"127.0.0.1:8787"), (b"authorization", b"Bearer " + ADMIN_TOKEN.encode() + b" "),
    (b"content-type", b"application/json"),
]  # fmt: skip


class Client:
    """An ASGI server: one request at a time, what was sent is kept."""

    def __init__(self, **made):
        self.hub = EdgeHub(settings(**made))
        self.doors = HotDoors()
        self.web = Web(self.hub, Gate(self.hub.settings, self.hub.keys, 8787), self.doors)
        self.sent = []
        self.incoming = asyncio.Queue()
        self.on_send = None

    async def send(self, message):
        self.sent.append(message)
        if self.on_send is not None:
            await self.on_send(message)

    async def ask(self, method="POST", path="/mcp", body=(b"{}",), headers=HEADERS, **more):
        pieces = list(body)
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            self.incoming.put_nowait({"type": "http.request", "body": piece, "more_body": not last})
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1), "state": {},
        }  # fmt: skip
        await self.web(scope | more, self.incoming.get, self.send)
        return self

    def gone(self):
        self.incoming.put_nowait({"type": "http.disconnect"})

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def body(self):
        return b"".join(one.get("body", b"") for one in self.sent[1:])

    def header(self, name):
        return [value for key, value in self.sent[0]["headers"] if key == name]


@pytest.fixture
async def client():
    return Client()


async def test_a_hot_door_answers_through_the_adapter(client):
    await client.ask(body=(b'{"a"', b":1}"))
    assert client.status == 200
    assert json.loads(client.body)["body"] == '{"a":1}'
    assert client.header(b"content-type") == [b"application/json"]
    assert client.header(b"content-length") == [str(len(client.body)).encode()]
    assert client.header(b"x-content-type-options") == [b"nosniff"]


async def test_the_gate_is_here_too(client):
    """Whoever mounts the application elsewhere is as safe."""
    bare = [HEADERS[0], HEADERS[2]]
    await client.ask(headers=bare)
    assert (client.status, client.doors.seen) == (401, [])
    problem = json.loads(client.body)
    assert problem["request_id"].startswith("r-")


async def test_the_gate_looks_at_the_raw_path_alone(client):
    """CVE-2026-48710: never at what a server made of it."""
    await client.ask(path="/healthz", raw_path=b"/api/keys", headers=[HEADERS[0]])
    assert client.status == 401
    other = await Client().ask(path="/mcp", raw_path=b"/%6dcp")
    assert other.status == 404
    plain = await Client().ask(path="/mcp", raw_path=None)
    assert plain.status == 200


async def test_without_a_peer_nobody_is_on_loopback():
    client = Client(anonymous=True)
    await client.ask(headers=[HEADERS[0]], body=(b"",), client=None)
    assert client.status == 401
    other = Client(anonymous=True)
    await other.ask(headers=[HEADERS[0]], body=(b"",))
    assert other.status == 200


async def test_a_stream_is_passed_on_piece_by_piece(client):
    asked = asyncio.ensure_future(client.ask(path="/mcp/stream"))
    await until(lambda: client.doors.held)
    held = client.doors.held[0]
    for piece in (b"one", b"", b"two"):
        held.write(piece)
    await until(lambda: len(client.sent) == 3)
    assert not asked.done()
    held.end()
    await asked
    assert client.body == b"onetwo"
    assert [one["more_body"] for one in client.sent[1:]] == [True, True, False]
    held.write(b"late")
    held.end()
    held.answer(200, b"late")
    held.begin(200, [])
    assert client.body == b"onetwo"


@pytest.mark.parametrize("path", ["/mcp/hold", "/mcp/stream"])
async def test_the_door_hears_once_that_the_client_has_gone(client, path):
    asked = asyncio.ensure_future(client.ask(path=path))
    await until(lambda: client.doors.held)
    client.gone()
    await asked
    assert client.doors.gone == client.doors.held


async def test_a_server_that_fails_to_send_is_a_client_that_has_gone(client, caplog):
    async def broken(message):
        raise OSError("gone")

    client.on_send = broken
    with pytest.raises(ExceptionGroup):
        await client.ask(path="/mcp/stream")
    assert client.doors.gone == client.doors.held
    assert "A request failed" in caplog.text


async def test_a_client_that_goes_before_its_body_is_whole_is_not_served(client):
    client.gone()
    await client.ask(body=())
    assert client.sent == []
    assert client.doors.seen == []


async def test_the_backlog_is_what_the_server_has_not_taken(client):
    may_go_on = asyncio.Event()

    async def slow(message):
        if message.get("body"):
            await may_go_on.wait()

    client.on_send = slow
    asked = asyncio.ensure_future(client.ask(path="/mcp/stream"))
    await until(lambda: client.doors.held)
    held = client.doors.held[0]
    drained = []
    held.drained = lambda: drained.append(held.backlog)
    for _ in range(4):
        held.write(b"x" * 10_000)
    assert held.backlog == 40_000
    await asyncio.sleep(0.01)
    assert drained == []
    may_go_on.set()
    await until(lambda: drained)
    assert drained == [10_000]
    held.end()
    await asked
    assert held.backlog == 0


async def test_a_body_is_bounded_however_it_comes():
    client = Client(body_bytes=1024)
    await client.ask(body=[b"x" * 100] * 20)
    assert (client.status, client.doors.seen) == (413, [])
    assert client.header(b"connection") == [b"close"]


async def test_a_body_that_does_not_come_is_a_timeout():
    client = Client(body_timeout_ms=100)
    client.incoming.put_nowait({"type": "http.request", "body": b"{", "more_body": True})
    await client.ask(body=())
    assert client.status == 408


async def test_a_door_with_a_bug_is_a_plain_500(client, caplog):
    def bug(exchange):
        raise RuntimeError("/secret/path")

    client.doors.bug = bug
    await client.ask()
    assert client.status == 500
    assert b"secret" not in client.body
    (record,) = [one for one in caplog.records if one.message == "A request failed"]
    assert record.request_id == json.loads(client.body)["request_id"]


async def test_a_door_with_a_bug_in_its_stream_leaves_it_unfinished(client):
    def bug(exchange):
        exchange.begin(200, [])
        raise RuntimeError

    client.doors.bug = bug
    await client.ask()
    assert client.status == 200
    assert all(one.get("more_body", True) for one in client.sent[1:])


@pytest.mark.parametrize("status", [202, 204])
async def test_an_empty_answer_has_no_kind(client, status):
    asked = asyncio.ensure_future(client.ask(path="/mcp/hold"))
    await until(lambda: client.doors.held)
    client.doors.held[0].answer(status, b"")
    await asked
    assert client.header(b"content-type") == []
    assert client.header(b"content-length") == ([b"0"] if status == 202 else [])


async def test_a_door_says_its_own_content_type_and_one_header_a_line(client):
    asked = asyncio.ensure_future(client.ask(path="/mcp/hold"))
    await until(lambda: client.doors.held)
    held = client.doors.held[0]
    with pytest.raises(ValueError, match="no header"):
        held.answer(200, b"{}", [(b"x", b"a\r\nb: c")])
    held.answer(200, b"x", [(b"content-type", b"text/x")])
    await asked
    assert client.header(b"content-type") == [b"text/x"]


async def test_head_gets_no_body(client):
    await client.ask("HEAD", body=(b"",))
    assert (client.status, client.body) == (200, b"")


async def test_rest_is_loaded_once_by_the_first_request_that_needs_it(monkeypatch):
    made = []
    create = web_module.create_rest

    def counted(hub):
        made.append(hub)
        return create(hub)

    monkeypatch.setattr(web_module, "create_rest", counted)
    async with open_house() as house:
        await house.ask(house.head("GET /healthz HTTP/1.1"))
        await house.ask(house.head(body=b"{}"))
        assert made == []
        lines = ["GET /api/endpoints HTTP/1.1"] * 5 + ["GET /metrics HTTP/1.1"] * 5
        answers = await asyncio.gather(*(house.ask(house.head(line)) for line in lines))
        assert [one.status for one in answers] == [200] * 10
        assert made == [house.hub]


def test_the_edge_is_made_without_loading_fastapi():
    """Start to first answered call is 0.6 s at most."""
    code = (
        "import sys; import agenthub.inbound.listener; "
        "sys.exit(any(name in sys.modules for name in ('fastapi', 'pydantic', 'starlette')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("listener", [None, StockListener])
async def test_a_caller_is_the_same_for_rest_and_the_hot_doors(listener):
    more = {} if listener is None else {"listener": listener}
    async with open_house(**more) as house:
        body = b'{"name":"limited","endpoints":["calculator"]}'
        made = await house.ask(house.head("POST /api/keys HTTP/1.1", body=body))
        key, key_id = made.json["key"], made.json["id"]
        hot = await house.ask(house.head(key=key, body=b"{}"))
        assert hot.json["caller"] == key_id
        seen = await house.ask(house.head("GET /api/endpoints HTTP/1.1", key=key))
        assert [one["name"] for one in seen.json["endpoints"]] == ["calculator"]


async def test_a_rest_request_has_its_body_and_hears_of_the_clients_going():
    client = Client()
    asked = asyncio.ensure_future(client.ask("GET", "/api/events", body=(b"",)))
    await until(lambda: client.sent, 10)
    assert client.status == 200
    client.gone()
    await asyncio.wait_for(asked, 5)


async def test_websockets_are_not_spoken(client):
    await client.web({"type": "websocket"}, client.incoming.get, client.send)
    assert client.sent == [{"type": "websocket.close", "code": 1008}]
