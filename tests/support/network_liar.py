"""A server that lies over the network: in both eras of Streamable HTTP, and over HTTP+SSE.

`network_liar.py PORT` says its port. `/new` speaks the new era, `/old` the one of 2025 and `/sse`
that of 2024. `/first/LIE` lies from its first word on, `/self/much` of itself, `/list/LIE` about
its tools, `/news/LIE` on the stream that no call owns, and `/sse/LIE` in its answers to what is
posted. `/seen` tells how often each address was asked. Not a test.
"""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import json
from support.http_servers import DISCOVERED, FaultServer
from support.raw_lies import RAW

from agenthub.tasks import Tasks

FORM = {"message": "Your name?", "requestedSchema": {"type": "object", "properties": {}}}
ASK = {"method": "elicitation/create", "params": FORM}
WORDS = (
    "well", "ask", "late", "twice", "foreign", "undeclared", "crowd", "flood", "huge", "split",
    "sealed", "die", "again",
)  # fmt: skip
DATA = "a\n\ndata: {}\r\n\r\nevent: x\u2028\u2029\x85b"


def result(number, value):
    return {"id": number, "result": {"content": [{"type": "text", "text": value}]}}


class Bare:
    """A stream that is open already: what is said on it has no head of its own."""

    def __init__(self, peer):
        self._peer = peer

    async def raw(self, data):
        await self._peer.raw(data.partition(b"\r\n\r\n")[2] if data.startswith(b"HTTP") else data)


class Liar(FaultServer):
    def __init__(self):
        super().__init__(self._answer)
        self.seen = Counter()
        self._asked = {}
        self._sessions = {}
        self._count = 0
        self._tasks = Tasks()

    async def _answer(self, request, peer):
        path, _, query = request.target.partition("?")
        base, _, lie = path[1:].partition("/")
        self.seen[path] += 1
        if path == "/seen":
            await peer.json(self.seen)
        elif base == "messages":
            await self._posted(lie, request, peer, self._sessions[query])
        elif base == "sse":
            await (self._sse(lie, peer) if request.verb == "GET" else peer.answer(405, kind=""))
        elif base == "first":
            await RAW[lie](peer, request.id)
        elif request.verb == "GET":
            await self._news(base, lie, peer)
        elif request.verb == "DELETE" or (request.id is None and request.method):
            await peer.answer(202, kind="")
        else:
            await self._post(base, lie, request, peer)

    async def _sse(self, lie, peer):
        self._count += 1
        self._sessions[f"s={self._count}"] = peer
        await peer.stream()
        await peer.chunk(f"event: endpoint\ndata: /messages/{lie}?s={self._count}\n\n".encode())
        await asyncio.Event().wait()

    async def _posted(self, lie, request, peer, stream):
        """A message over HTTP+SSE."""
        if lie and request.method == "tools/call":
            await RAW[lie](peer, request.id)
            return
        await peer.answer(202, kind="")
        if request.method == "tools/call" and request.tool in RAW:
            self._tasks.start(RAW[request.tool](Bare(stream), request.id), "a lie")
        else:
            self._tasks.start(self._take(request, stream.event), "a message")

    @staticmethod
    async def _news(base, lie, peer):
        if base == "old":
            await peer.stream()
            await asyncio.Event().wait()
        elif lie == "over":
            await peer.stream()
            await peer.end()
        elif lie:
            await RAW[lie](peer, 0)
        else:
            await peer.answer(405, kind="")

    async def _post(self, base, lie, request, peer):
        is_new = base == "new"
        if request.method == "server/discover" and not is_new:
            await peer.answer(404, kind="")
        elif request.method == "tools/call" and request.tool in RAW:
            await RAW[request.tool](peer, request.id)
        elif request.method == "tools/call":
            await peer.stream()
            with suppress(ConnectionError):
                await self._call(request, peer.event, is_new)
                await peer.end()
        elif request.method == "tools/list" and base == "list":
            await self._list(lie, request, peer)
        elif request.method == "initialize" and base == "self":
            much = {"capabilities": {"tools": {}, "x": "x" * 9_000_000}}
            made = {**self._plain(request, is_new=False)["result"], **much}
            await peer.result(request, made)
        elif request.method:
            await peer.json({"jsonrpc": "2.0", "id": request.id, **self._plain(request, is_new)},
                            mcp_session_id="s")  # fmt: skip
        else:
            self._heard(request)
            await peer.answer(202, kind="")

    async def _take(self, request, say):
        with suppress(ConnectionError):
            if request.method == "tools/call":
                await self._call(request, say, False)
            elif not request.method:
                self._heard(request)
            elif request.id is not None:
                await say({"jsonrpc": "2.0", "id": request.id, **self._plain(request, False)})

    @staticmethod
    def _plain(request, is_new):
        names = (*WORDS, *RAW)
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
        listed = {"ttlMs": 0, "cacheScope": "private", "resultType": "complete", "tools": tools}
        known = {
            "initialize": {
                "protocolVersion": "2025-06-18", "serverInfo": {"name": "liar", "version": "1"},
                "capabilities": {"tools": {"listChanged": True}, "logging": {}},
            },
            "server/discover": DISCOVERED if is_new else None,
            "ping": {}, "tools/list": listed,
        }  # fmt: skip
        found = known.get(request.method)
        error = {"code": -32601, "message": "no such method"}
        return {"error": error} if found is None else {"result": found}

    @staticmethod
    async def _list(lie, request, peer):
        tool = {"name": "well", "inputSchema": {"type": "object"}}
        more = {}
        if lie == "endless":
            more = {"tools": [tool], "nextCursor": os.urandom(8).hex()}
        elif lie == "circle":
            more = {"tools": [tool], "nextCursor": "same"}
        elif lie == "crowd":
            more = {"tools": [{**tool, "name": f"t{one}"} for one in range(50_000)]}
        elif lie == "wrong":
            more = {"tools": {"well": [tool]}, "nextCursor": 7}
        elif lie == "strange":
            more = {"tools": [None, 7, [], {}, {"name": 7}, {"name": "x"}, tool]}
        elif lie == "values":
            more = {"tools": [0] * 4_000_000}
        elif lie == "objects":
            more = {"tools": [{}] * 3_000_000}
        await peer.json({"jsonrpc": "2.0", "id": request.id, "result": more})

    # ---------------------------------------------------------------- what it says of a call

    def _heard(self, request):
        waiting = self._asked.pop(request.id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(request.message)

    async def _ask(self, say, name, question=None):
        """What the client says to a question, or None."""
        answer = self._asked[name] = asyncio.get_running_loop().create_future()
        await say({"jsonrpc": "2.0", "id": name, **(question or ASK)})
        with suppress(TimeoutError):
            return await asyncio.wait_for(answer, 15)
        return None

    async def _call(self, request, event, is_new):  # noqa: C901, PLR0912, PLR0915 - a branch for each lie
        name, number = request.tool, request.id
        token = request.message["params"].get("_meta", {}).get("progressToken", "")

        async def say(message):
            await event({"jsonrpc": "2.0", **message})

        async def told(**more):
            params = {"progressToken": token, "progress": 1, **more}
            await say({"method": "notifications/progress", "params": params})

        if name == "die":
            os._exit(3)
        elif name == "ask":
            self._count += 1  # No two sessions may ask under one id.
            said = await self._ask(say, f"q{self._count}")
            await say(result(number, json.encode(said).decode()))
        elif name == "late":
            await say(result(number, "done"))
            await asyncio.sleep(0.05)
            await say({"id": f"q{number}", **ASK})
            await say(result(number, "again"))
        elif name == "twice":
            await say(result(number, "first"))
            await say(result(number, "second"))
        elif name == "foreign":
            near = (number - 1, number + 1, str(number), [number])
            for other in (*near, -1, "x", None, number + 0.5, 2**70, True):
                await say(result(other, "foreign"))
            await say(result(number, "own"))
        elif name == "undeclared":
            if is_new:
                asked = {"x": {"method": "sampling/createMessage", "params": {}}}
                more = {"resultType": "input_required", "inputRequests": asked}
                await say({"id": number, "result": more})
                return
            said = [
                await self._ask(say, f"{number}{method}", {"method": method, "params": {}})
                for method in ("sampling/createMessage", "roots/list", "tools/call")
            ]
            codes = [one and one.get("error", {}).get("code") for one in said]
            await say(result(number, json.encode(codes).decode()))
        elif name == "crowd":
            for one in range(300):
                await say({"id": f"c{one}", **ASK})
            await asyncio.sleep(20)
        elif name == "flood":
            for one in range(3_000):
                await told(progress=one)
                await say({"method": "notifications/tools/list_changed"})
                data = {"level": "error", "data": "x" * 99}
                await say({"method": "notifications/message", "params": data})
            await say(result(number, "said"))
        elif name == "huge":
            await say(result(number, "x" * 9_000_000))
        elif name == "split":
            await told(message=DATA)
            await say(result(number, DATA))
        elif name == "sealed":
            made = {"resultType": "input_required", "inputRequests": {}, "requestState": "mine"}
            await say({"id": number, "result": made})
        else:
            await say(result(number, "well"))


@contextmanager
def running(port=0):
    """A process of its own; gives its port."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(port)], stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate(timeout=5)


async def main():
    liar = Liar()
    liar.port = int(sys.argv[1])
    async with liar:
        print(liar.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
