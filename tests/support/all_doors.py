"""Every door of a hub, open at once before one real waist of fake servers.

    async with every_door("calculator") as hub:
        assert await DOORS["rest"](hub).ask("calculator", "add") == "ok"

A door is a class with `name`, as the call log has it, and `ask`, which gives "ok" or the refusal.
"""

import asyncio
import contextlib
import io
import json
import os
from contextlib import asynccontextmanager

from support.cli_hub import put_private, running
from support.edge_hub import ADMIN_TOKEN, SECRET, KeyStore, StockListener, settings
from support.edge_hub import Client as Connection
from support.exchange import META, initialize, modern
from support.house import house
from support.mcp_hub import McpHub
from support.rest_hub import RestHealth, RestSignIns
from support.stdio_hub import RealClock, until

from agenthub.agents.model import Answered
from agenthub.agents.own import House as Chatting
from agenthub.agents.own import OwnRunner
from agenthub.agents.runs import Runs
from agenthub.app.agents import chat_of
from agenthub.cli.ending import run
from agenthub.cli.root import root
from agenthub.domain.caller import KeyTerms
from agenthub.domain.dialogue import Stop, ToolCall, Turn
from agenthub.domain.view import View
from agenthub.inbound.listener import Listener
from agenthub.inbound.mcp.transport.stdio import StdioDoor
from agenthub.keys import KeyRing
from agenthub.settings.chat import ChatSettings

BOUND_S = 10


class Hub(McpHub):
    """What every door expects, listening twice: by the hub's own protocol, and by uvicorn's."""

    def __init__(self, built, home):
        super().__init__(built, None)
        self.settings = settings()
        self.health = RestHealth()
        self.sign_ins = RestSignIns()
        self.home = home
        self.listener = Listener(self, self.door.hot)
        self.stock = StockListener(self, self.door.hot)
        self.ports = {}

    def key_ring(self):
        return KeyRing([], SECRET, ADMIN_TOKEN, KeyStore(), self.house.clock)

    async def key(self, *scopes, endpoints=None, **terms):
        _, token = await self.keys.create("k", scopes, endpoints, terms=KeyTerms(**terms))
        return token


@asynccontextmanager
async def every_door(home, *endpoints, **more):
    async with house(*endpoints, clock=RealClock(), listed=False, **more) as built:
        await until(lambda: all(one.listing is not None for one in built.catalog.all_servers()))
        hub = Hub(built, home)
        hub.ports = {"own": await hub.listener.start(), "uvicorn": await hub.stock.start()}
        try:
            yield hub
        finally:
            for fakes in built.upstreams.values():
                for fake in fakes:
                    await fake.close()
            hub.door.close()
            await hub.listener.close(500)
            await hub.stock.close(500)


async def post(hub, by, path, headers, body, key):
    """A POST of JSON with this key, by a real socket: the whole answer."""
    port = hub.ports[by]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [
        f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json",
        f"Content-Length: {len(body)}", f"Authorization: Bearer {key}", "Connection: close",
        *(f"{name.decode()}: {_text(value)}" for name, value in headers),
    ]  # fmt: skip
    try:
        return await Connection(reader, writer).ask(
            "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        )
    finally:
        writer.transport.abort()


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


def _word(message):
    """Of a JSON-RPC answer."""
    if "result" in message:
        return "ok"
    return message["error"].get("data", {}).get("code", message["error"]["code"])


class Http:
    """MCP over HTTP in the new era."""

    name = "mcp"
    is_keyed = True
    takes_idempotency_keys = True

    def __init__(self, hub, by, *, own_face):
        self.hub, self.by, self.own_face = hub, by, own_face

    def address(self, server, tool):
        return (f"/mcp/{server}", tool) if self.own_face else ("/mcp", f"{server}__{tool}")

    async def ask(self, server, tool, *, key=ADMIN_TOKEN, once=None, **arguments):
        path, name = self.address(server, tool)
        request = modern("tools/call", {"name": name, "arguments": arguments}).request
        return await self.send(path, request.headers, request.body, key, once)

    async def send(self, path, headers, body, key, once):
        more = [] if once is None else [(b"idempotency-key", once)]
        answer = await post(self.hub, self.by, path, [*headers, *more], body, key)
        return _word(answer.json) if "jsonrpc" in answer.json else answer.json["code"]


class InView(Http):
    """A view of all that there is."""

    search = "off"

    def __init__(self, hub, by):
        super().__init__(hub, by, own_face=False)

    async def send(self, path, headers, body, key, once):
        if "all" not in self.hub.catalog.views.all:
            await self.hub.catalog.views.add(View("all", allow=("*",), search=self.search))
        return await super().send("/mcp/v/all", headers, body, key, once)


class BySearch(InView):
    """`call_tool`, which stands for every tool."""

    search = "on"

    async def ask(self, server, tool, *, key=ADMIN_TOKEN, once=None, **arguments):
        wish = {"name": f"{server}__{tool}", "arguments": arguments}
        request = modern("tools/call", {"name": "call_tool", "arguments": wish}).request
        return await self.send("", request.headers, request.body, key, once)


class Legacy(Http):
    """MCP over HTTP in the old era: a session first."""

    async def ask(self, server, tool, *, key=ADMIN_TOKEN, once=None, **arguments):
        path, name = self.address(server, tool)
        hello = initialize().request
        welcome = await post(self.hub, self.by, path, hello.headers, hello.body, key)
        if welcome.status != 200 or "error" in welcome.json:
            return welcome.json["code"] if "code" in welcome.json else _word(welcome.json)
        session = welcome["mcp-session-id"]
        params = {"name": name, "arguments": arguments}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = [
            (b"accept", "application/json, text/event-stream"), (b"mcp-session-id", session),
            (b"mcp-protocol-version", "2025-11-25"),
        ]  # fmt: skip
        return await self.send(path, headers, json.dumps(body).encode(), key, once)


class Sse:
    """HTTP+SSE of 2024-11-05: a stream, and posts beside it."""

    name = "mcp"
    is_keyed = True
    takes_idempotency_keys = True

    def __init__(self, hub, by, *, own_face):
        self.hub, self.by, self.own_face = hub, by, own_face

    async def ask(self, server, tool, *, key=ADMIN_TOKEN, once=None, **arguments):
        name = tool if self.own_face else f"{server}__{tool}"
        port = self.hub.ports[self.by]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        path = f"/sse/{server}" if self.own_face else "/sse"
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Authorization: Bearer {key}\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        try:
            async with asyncio.timeout(BOUND_S):
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if b"text/event-stream" not in head:
                    size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                    said = json.loads(await reader.readexactly(size))
                    return said["code"] if "code" in said else _word(said)
                address = (await _field(reader, b"data: ")).decode()
                await self.post(address, initialize().request.body, key)
                await _field(reader, b"data: ")
                params = {"name": name, "arguments": arguments}
                body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
                answer = await self.post(address, json.dumps(body).encode(), key, once)
                if answer.status != 202:
                    return answer.json["code"]
                return _word(json.loads(await _field(reader, b"data: ")))
        finally:
            writer.transport.abort()

    async def post(self, address, body, key, once=None):
        more = [] if once is None else [(b"idempotency-key", once)]
        return await post(self.hub, self.by, address, more, body, key)


async def _field(reader, name):
    """The next line of the stream that begins so, without that."""
    while not (line := await reader.readline()).startswith(name):
        assert line, "the stream ended"
    return line.removeprefix(name).strip()


class Rest:
    name = "rest"
    is_keyed = True
    takes_idempotency_keys = True

    def __init__(self, hub, by):
        self.hub, self.by = hub, by

    async def ask(self, server, tool, *, key=ADMIN_TOKEN, once=None, **arguments):
        wish = {"server": server, "tool": tool, "arguments": arguments}
        if once is not None:
            wish["idempotency_key"] = once
        body = json.dumps(wish).encode()
        answer = await post(self.hub, self.by, "/api/tools/call", [], body, key)
        return "ok" if answer.status == 200 else answer.json["code"]


class Stdio:
    """MCP over pipes, in either era; who starts it needs no key."""

    name = "stdio"
    is_keyed = False
    takes_idempotency_keys = True

    def __init__(self, hub, *, old, own_face):
        self.hub, self.old, self.own_face = hub, old, own_face

    async def ask(self, server, tool, *, once=None, **arguments):
        name = tool if self.own_face else f"{server}__{tool}"
        params = {"name": name, "arguments": arguments}
        meta = {} if self.old else dict(META)
        if once is not None:
            meta["io.agenthub/idempotencyKey"] = once
        messages = [(1, "tools/call", params | ({"_meta": meta} if meta else {}))]
        if self.old:
            hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {
                "name": "old", "version": "1"}}  # fmt: skip
            messages.insert(0, (0, "initialize", hello))
        lines = [
            json.dumps({"jsonrpc": "2.0", "id": i, "method": m, "params": p})
            for i, m, p in messages
        ]
        return await self.say("\n".join(lines).encode() + b"\n", server if self.own_face else None)

    async def say(self, text, face):
        """One client's whole life: what it says, and the last thing it hears."""
        stdin, to_door = os.pipe()
        from_door, stdout = os.pipe()
        try:
            os.write(to_door, text)
            os.close(to_door)
            await asyncio.wait_for(StdioDoor(self.hub, face, stdin, stdout).run(), BOUND_S)
            os.set_blocking(from_door, False)
            heard = [json.loads(line) for line in os.read(from_door, 1 << 20).splitlines()]
        finally:
            for fd in (stdin, from_door, stdout):
                with contextlib.suppress(OSError):
                    os.close(fd)
        return _word(next(message for message in heard if message.get("id") == 1))


class Cli:
    """`agenthub call`, which asks the hub that runs; what it was refused for is in the call log."""

    name = "rest"
    is_keyed = True
    takes_idempotency_keys = False

    def __init__(self, hub):
        self.hub = hub

    async def ask(self, server, tool, *, key=ADMIN_TOKEN, **arguments):
        before = len(self.hub.rows)
        words = [
            "call",
            server,
            tool,
            "--home",
            str(self.hub.home),
            "--json",
            json.dumps(arguments),
        ]
        said = io.StringIO()
        with running(self.hub.home, f"http://127.0.0.1:{self.hub.ports['own']}"):
            put_private(self.hub.home / "admin-token", key)
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                code = await asyncio.to_thread(run, root, words)
        if not code:
            return "ok"
        if len(self.hub.rows) > before:
            return self.hub.rows[-1].outcome
        return said.getvalue()


class Chat:
    """The hub's own agent, whose model wishes for nothing but this call."""

    name = "chat"
    is_keyed = False  # The keys of these tests may ask no model: test_no_way_round_chat.py.
    takes_idempotency_keys = False

    def __init__(self, hub):
        self.hub = hub

    async def ask(self, server, tool, *, key=ADMIN_TOKEN, **arguments):
        house = self.hub.house
        wish = ToolCall("1", f"{server}__{tool}", json.dumps(arguments))
        asker = Wishing([Turn("", (wish,), Stop.END), Turn("Done", (), Stop.END)])
        own = OwnRunner(
            Chatting(house.gateway, house.catalog, house.clock, house.ids, asker, house.ledger)
        )
        chat = chat_of(ChatSettings(approval="none"), 60_000)
        house.runs = Runs(
            house.conversations, {"own": own}, asker, house.clock, house.ids, house.tasks, chat,
            lambda caller: "m",
        )  # fmt: skip
        before = len(self.hub.rows)
        answer = await post(self.hub, "own", "/api/chat", [], b'{"message":"Hello"}', key)
        if answer.status != 202:
            return answer.json["code"]
        run = house.runs._runs[answer.json["run"]]
        ends = []
        async for some in run.follow(0):
            ends += [json.loads(one.data) for one in some if one.name == "tool_end"]
        (end,) = ends
        if end["outcome"] == "ok":
            return "ok"
        if len(self.hub.rows) > before:
            return self.hub.rows[-1].outcome
        return "unknown_target" if end["text"].startswith("There is no tool") else end["text"]


class Wishing:
    """agents.ModelAsker that has all turns written down."""

    def __init__(self, turns):
        self._turns = turns

    def wire(self, model, caller):
        return "chat"

    async def ask(self, ask, asker, told):
        return Answered(self._turns.pop(0), None, "p", "none")


DOORS = {
    "chat, own loop": Chat,
    "mcp, own protocol": lambda hub: Http(hub, "own", own_face=False),
    "mcp/{endpoint}, own protocol": lambda hub: Http(hub, "own", own_face=True),
    "mcp, uvicorn": lambda hub: Http(hub, "uvicorn", own_face=False),
    "mcp/{endpoint}, uvicorn": lambda hub: Http(hub, "uvicorn", own_face=True),
    "mcp/v/{view}, own protocol": lambda hub: InView(hub, "own"),
    "mcp/v/{view}, uvicorn": lambda hub: InView(hub, "uvicorn"),
    "call_tool": lambda hub: BySearch(hub, "own"),
    "old mcp, own protocol": lambda hub: Legacy(hub, "own", own_face=False),
    "old mcp/{endpoint}, own protocol": lambda hub: Legacy(hub, "own", own_face=True),
    "old mcp, uvicorn": lambda hub: Legacy(hub, "uvicorn", own_face=False),
    "old mcp/{endpoint}, uvicorn": lambda hub: Legacy(hub, "uvicorn", own_face=True),
    "sse, own protocol": lambda hub: Sse(hub, "own", own_face=False),
    "sse/{endpoint}, own protocol": lambda hub: Sse(hub, "own", own_face=True),
    "sse, uvicorn": lambda hub: Sse(hub, "uvicorn", own_face=False),
    "sse/{endpoint}, uvicorn": lambda hub: Sse(hub, "uvicorn", own_face=True),
    "stdio": lambda hub: Stdio(hub, old=False, own_face=False),
    "stdio ENDPOINT": lambda hub: Stdio(hub, old=False, own_face=True),
    "old stdio": lambda hub: Stdio(hub, old=True, own_face=False),
    "old stdio ENDPOINT": lambda hub: Stdio(hub, old=True, own_face=True),
    "rest, own protocol": lambda hub: Rest(hub, "own"),
    "rest, uvicorn": lambda hub: Rest(hub, "uvicorn"),
    "cli": Cli,
}
