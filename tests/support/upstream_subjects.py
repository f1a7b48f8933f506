"""One MCP server behind each implementation of ports.Upstream, for their common contract."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass

from msgspec import Raw, json
from support.fake_upstream import (
    GARBAGE,
    HANGS,
    OK,
    TOOL_ERROR,
    Act,
    FakeUpstream,
    error,
    lost,
)  # fmt: skip
from support.http_servers import FaultServer, HttpHouse, Legacy, hang
from support.stdio_hub import House, RealClock, Receiver, Watcher, server, text_of, until

from agenthub.domain.call import Era
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.outbound.http_connection import HttpLimits
from agenthub.outbound.mcp_http import HttpUpstream
from agenthub.outbound.mcp_stdio import StdioUpstream
from agenthub.outbound.private_sessions import PrivateSessions
from agenthub.ports import Outgoing, Question
from agenthub.settings import LimitSettings
from agenthub.tasks import Tasks

CAP = 64 * 1024
FORMS = b'{"elicitation":{}}'
PARAMS = {"message": "Name?", "requestedSchema": {}}


@dataclass
class Subject:
    upstream: object
    watcher: Watcher
    declared: bytes

    def begin(self, tool, meta=None):
        receiver = Receiver()
        attempt = self.upstream.send(
            Outgoing(
                "tools/call", tool, {"arguments": Raw(b"{}")},
                {name: Raw(json.encode(value)) for name, value in (meta or {}).items()},
                RealClock().now() + 20 * SECOND, self.declared, era=Era.LEGACY, principal="anna",
            ),
            receiver,
        )  # fmt: skip
        assert not receiver.reply.done(), "finished from inside send"
        return receiver, attempt

    def answer_heard(self, reply):
        """What the server heard from the client."""
        return json.decode(text_of(reply))


# ---------------------------------------------------------------- the fake


class FakeSubject(Subject):
    def answer_heard(self, reply):
        del reply
        (given,) = self.upstream.answered
        _, result, refused = given
        return {"error": json.decode(refused)} if refused else {"result": json.decode(result)}


def _notes(outgoing):
    token = json.decode(outgoing.meta["progressToken"])
    notes = [json.encode({"progressToken": token, "progress": step}) for step in (1, 2, 3)]
    return Act(
        OK.reply, 50 * MILLISECOND, notes=tuple(("notifications/progress", n) for n in notes)
    )


ACTS = {
    "echo": OK, "tool_error": TOOL_ERROR, "refuse": error(-32602), "inside": error(-32603),
    "hold": HANGS, "shape": GARBAGE, "huge": Act(Reply(Ending.TOO_LARGE)), "notes": _notes,
    "ask": Act(
        None, questions=(Question(1, "elicitation/create", json.encode(PARAMS)),), after_answers=1
    ),
}  # fmt: skip


@asynccontextmanager
async def fake(declared, *, there):
    clock, watcher = RealClock(), Watcher()
    made = FakeUpstream(Endpoint("house", url="http://house.test/mcp"), watcher, clock)
    made.era, made.answers, made.alive = Era.LEGACY, ACTS | {"die": lost()}, there
    yield FakeSubject(made, watcher, declared)
    await made.close()


# ---------------------------------------------------------------- stdio


@asynccontextmanager
async def stdio(declared, *, there):
    command = server("contract") if there else ("/no/such/program",)
    async with House(command, declared=declared, response_bytes=CAP) as house:
        yield Subject(house.upstream, house.watcher, declared)


# ---------------------------------------------------------------- HTTP


class HttpServer(Legacy):
    def __init__(self):
        super().__init__(self.answer)

    async def answer(self, request, peer):
        does = getattr(self, f"_{request.tool}", None)
        await (does(request, peer) if does else hang(request, peer))

    async def _echo(self, request, peer):
        await peer.result(request, {"content": [{"type": "text", "text": "5"}]})

    async def _tool_error(self, request, peer):
        await peer.result(request, {"content": [], "isError": True})

    async def _refuse(self, request, peer):
        await peer.error(request, -32602)

    async def _inside(self, request, peer):
        await peer.error(request, -32603)

    async def _die(self, request, peer):
        peer.reset()

    async def _shape(self, request, peer):
        await peer.result(request, 7)

    async def _huge(self, request, peer):
        await peer.answer(body=b"x" * 1_000_000)

    async def _notes(self, request, peer):
        token = request.message["params"]["_meta"]["progressToken"]
        await peer.stream()
        for step in (1, 2, 3):
            params = {"progressToken": token, "progress": step}
            await peer.event(
                {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
            )
            await asyncio.sleep(0.15)
        await self._last(request, peer, "5")

    async def _ask(self, request, peer):
        await peer.stream()
        asked = {"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": PARAMS}
        await peer.event(asked)
        await until(lambda: any("method" not in one for one in self.posted))
        (heard,) = (one for one in self.posted if "method" not in one)
        await self._last(
            request,
            peer,
            json.encode(
                {name: heard[name] for name in ("result", "error") if name in heard}
            ).decode(),
        )

    async def _last(self, request, peer, text):
        result = {"content": [{"type": "text", "text": text}]}
        await peer.event({"jsonrpc": "2.0", "id": request.id, "result": result})
        await peer.end()


@asynccontextmanager
async def http(declared, *, there):
    async with FaultServer(HttpServer()) as peer:
        url = peer.url
        if not there:
            await peer.stop()
        async with HttpHouse(url, declared=declared, response_bytes=CAP, event_bytes=CAP) as house:
            yield Subject(house.upstream, house.watcher, declared)


# ---------------------------------------------------------------- as the hub wires them


@asynccontextmanager
async def private_stdio(declared, *, there):
    command = server("contract") if there else ("/no/such/program",)
    async with House(command, response_bytes=CAP) as house:

        def make(watcher, session):
            return StdioUpstream(
                house.endpoint, watcher, house.clock, LimitSettings(response_bytes=CAP),
                house.nursery, session,
            )  # fmt: skip

        async with _private(make, house.clock, declared) as subject:
            yield subject


@asynccontextmanager
async def private_http(declared, *, there):
    async with FaultServer(HttpServer()) as peer:
        url = peer.url
        if not there:
            await peer.stop()
        async with HttpHouse(url) as house:

            def make(watcher, session):
                return HttpUpstream(
                    house.endpoint, watcher, house.clock, house.tasks,
                    HttpLimits(response_bytes=CAP, event_bytes=CAP), session,
                )  # fmt: skip

            async with _private(make, house.clock, declared) as subject:
                yield subject


@asynccontextmanager
async def _private(make, clock, declared):
    watcher, tasks = Watcher(), Tasks()
    upstream = PrivateSessions(make, watcher, clock, tasks, 8)
    try:
        yield Subject(upstream, watcher, declared)
    finally:
        await upstream.close()
        await tasks.close()
