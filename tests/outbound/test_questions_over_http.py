"""An old server over HTTP asks its client: on the call's own stream, or on its session's."""

import asyncio
import gc
import tracemalloc

import msgspec
import pytest
from support.http_servers import FaultServer, HttpHouse, Legacy, Peer, Request, outgoing
from support.stdio_hub import Receiver, until

from agenthub.domain.call import Era
from agenthub.domain.outcome import Cause, Ending, Written
from agenthub.outbound.asking import OPEN_MAX

ALL = b'{"elicitation":{},"roots":{},"sampling":{}}'
FORM = {"message": "Your name?", "requestedSchema": {}}


def question(number, method="elicitation/create", params=FORM):
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


class Asking(Legacy):
    """Asks these questions, on the call's stream or its session's, and waits for the answers."""

    def __init__(self, *questions, listens=True, refuses=0):
        super().__init__(self.ask, stream=self.listen if listens else None)
        self.questions = questions
        self.refuses = refuses
        self.ears = {}
        """Streams of sessions."""
        self.bodies = []

    async def __call__(self, request: Request, peer: Peer):
        if request.method == "initialize":
            self.bodies.append(request.message["params"])
        if self.refuses and not request.method and request.verb == "POST":
            await peer.answer(self.refuses, kind="")
            return
        await super().__call__(request, peer)

    async def listen(self, request: Request, peer: Peer):
        await peer.stream()
        self.ears[request.headers["mcp-session-id"]] = peer
        await peer.reader.read(1)

    def answers(self):
        return [one for one in self.posted if "method" not in one]

    async def ask(self, request: Request, peer: Peer):
        already = len(self.answers())
        wanted = sum(1 for one in self.questions if "id" in one)
        await peer.stream()
        ear = self.ears[request.headers["mcp-session-id"]] if request.tool == "apart" else peer
        for one in self.questions:
            await ear.event(one)
        if request.tool == "silent":
            await peer.reader.read(1)
            return
        await until(lambda: len(self.answers()) >= already + wanted, 10)
        result = {
            "content": [{"type": "text", "text": msgspec.json.encode(self.answers()).decode()}]
        }
        await peer.event({"jsonrpc": "2.0", "id": request.id, "result": result})
        await peer.end()


async def ask(house, tool="own", **more):
    receiver, attempt = house.begin(tool, **more)
    await receiver.until_asked()
    return receiver, attempt


@pytest.mark.parametrize("tool", ["own", "apart"])
@pytest.mark.parametrize("server_id", [0, "q"])
async def test_the_clients_answer_reaches_the_server_under_its_own_id(tool, server_id):
    legacy = Asking(question(server_id))
    async with FaultServer(legacy) as server, HttpHouse(server.url, declared=ALL) as house:
        receiver, attempt = await ask(house, tool)
        (asked,) = receiver.questions
        assert msgspec.json.decode(asked.params) == FORM
        attempt.answer(asked.id, b'{ "action":"accept" }')
        assert (await receiver.reply).ending is Ending.RESULT
        assert legacy.answers() == [
            {"jsonrpc": "2.0", "id": server_id, "result": {"action": "accept"}}
        ]
        assert legacy.bodies[0]["capabilities"] == msgspec.json.decode(ALL)
        assert server.count("server/discover") == 0


async def test_a_call_begins_when_the_stream_is_there_on_which_it_may_be_asked():
    order = []

    class Slow(Asking):
        async def listen(self, request: Request, peer: Peer):
            await asyncio.sleep(0.2)
            order.append("listens")
            await super().listen(request, peer)

        async def ask(self, request: Request, peer: Peer):
            order.append("called")
            await super().ask(request, peer)

    async with (
        FaultServer(Slow(question(1))) as server,
        HttpHouse(server.url, declared=ALL) as house,
    ):
        receiver, attempt = await ask(house, "apart")
        assert order == ["listens", "called"]
        attempt.answer(receiver.questions[0].id, b"{}")
        assert (await receiver.reply).ending is Ending.RESULT


async def test_a_server_without_such_a_stream_is_called_all_the_same():
    legacy = Asking(question(1), listens=False)
    async with FaultServer(legacy) as server, HttpHouse(server.url, declared=ALL) as house:
        receiver, attempt = await ask(house)
        attempt.answer(receiver.questions[0].id, b"{}")
        assert (await receiver.reply).ending is Ending.RESULT


async def test_a_server_that_never_opens_its_stream_holds_a_call_up_for_a_second():
    class Mute(Asking):
        async def listen(self, request: Request, peer: Peer):
            await peer.reader.read(1)

    async with (
        FaultServer(Mute(question(1))) as server,
        HttpHouse(server.url, declared=ALL) as house,
    ):
        receiver, attempt = await ask(house)
        attempt.answer(receiver.questions[0].id, b"{}")
        assert (await receiver.reply).ending is Ending.RESULT


async def test_a_server_that_waits_for_the_client_may_be_silent_and_not_after_that():
    class Lazy(Asking):
        async def ask(self, request: Request, peer: Peer):
            await peer.stream()
            await peer.event(question(1))
            await peer.reader.read(1)

    async with (
        FaultServer(Lazy()) as server,
        HttpHouse(server.url, declared=ALL, idle_ms=200) as house,
    ):
        receiver, attempt = await ask(house)
        await asyncio.sleep(0.6)
        assert not receiver.reply.done()
        attempt.answer(receiver.questions[0].id, b"{}")
        await asyncio.sleep(0.1)
        assert not receiver.reply.done()
        assert (await asyncio.wait_for(receiver.reply, 2)).ending is Ending.TIMEOUT


async def test_a_question_that_was_taken_back_lets_the_servers_time_go_on():
    cancelled = {
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1},
    }  # fmt: skip
    legacy = Asking(question(1), cancelled)
    async with (
        FaultServer(legacy) as server,
        HttpHouse(server.url, declared=ALL, idle_ms=200) as house,
    ):
        receiver, attempt = await ask(house, "silent")
        assert (await asyncio.wait_for(receiver.reply, 2)).ending is Ending.TIMEOUT
        attempt.answer(receiver.questions[0].id, b"{}")
        assert legacy.answers() == []


@pytest.mark.parametrize("status", [404, 500])
async def test_an_answer_that_the_server_does_not_take_ends_the_call(status):
    legacy = Asking(question(1), refuses=status)
    async with FaultServer(legacy) as server, HttpHouse(server.url, declared=ALL) as house:
        receiver, attempt = await ask(house)
        attempt.answer(receiver.questions[0].id, b"{}")
        reply = await asyncio.wait_for(receiver.reply, 2)
        assert (reply.ending, reply.written) == (Ending.LOST, Written.ALL)
        assert reply.loss > 0
        assert "did not reach" in reply.detail


async def test_what_was_not_declared_is_refused_and_the_call_goes_on():
    legacy = Asking(question(1), question(2, "sampling/createMessage"), question(3, "roots/list"))
    async with (
        FaultServer(legacy) as server,
        HttpHouse(server.url, declared=b'{"roots":{}}') as house,
    ):
        receiver, attempt = await ask(house)
        (asked,) = receiver.questions
        assert asked.method == "roots/list"
        attempt.answer(asked.id, b"{}")
        assert (await receiver.reply).ending is Ending.RESULT
        codes = {one["id"]: one.get("error", {}).get("code") for one in legacy.answers()}
        assert codes == {1: -32601, 2: -32601, 3: None}


@pytest.mark.parametrize("tool", ["silent", "apart"])
async def test_ten_thousand_questions_end_the_call_and_not_the_hub(tool):
    legacy = Asking(*(question(number) for number in range(10_000)))
    async with FaultServer(legacy) as server, HttpHouse(server.url, declared=ALL) as house:
        receiver, _ = house.begin(tool)
        reply = await asyncio.wait_for(receiver.reply, 10)
        assert (reply.ending, reply.written) == (Ending.PROTOCOL, Written.ALL)
        assert len(receiver.questions) == OPEN_MAX
        if tool == "silent":
            await until(
                lambda: any(one.get("method") == "notifications/cancelled" for one in legacy.posted)
            )


async def test_an_answer_after_a_cancel_is_nothing():
    legacy = Asking(question(1))
    async with FaultServer(legacy) as server, HttpHouse(server.url, declared=ALL) as house:
        receiver, attempt = await ask(house)
        attempt.cancel(Cause.CLIENT)
        attempt.answer(receiver.questions[0].id, b"{}")
        assert receiver.reply.result().ending is Ending.CANCELLED
        await until(lambda: len(legacy.posted) == 2)
        assert legacy.posted[1]["method"] == "notifications/cancelled"
        assert legacy.answers() == []


async def test_an_answer_that_is_under_way_when_the_call_ends_changes_nothing():
    legacy = Asking(question(1), refuses=500)
    async with FaultServer(legacy) as server, HttpHouse(server.url, declared=ALL) as house:
        receiver, attempt = await ask(house)
        attempt.answer(receiver.questions[0].id, b"{}")
        attempt.cancel(Cause.CLIENT)
        assert receiver.reply.result().ending is Ending.CANCELLED
        await asyncio.sleep(0.1)


async def test_what_comes_between_calls_is_nobodys():
    legacy = Asking()
    async with FaultServer(legacy) as server, HttpHouse(server.url, declared=ALL) as house:
        receiver, _ = house.begin("own")
        await receiver.reply
        (ear,) = legacy.ears.values()
        for one in (question(1), question(2, "ping"), *(question(n) for n in range(3, 2_000))):
            await ear.event(one)
        await ear.event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        await house.watcher.until("changed")
        await until(lambda: len(legacy.answers()) >= 2)
        assert receiver.questions == []
        assert {one["id"]: "error" in one for one in legacy.answers()[:2]} == {1: True, 2: False}
        assert len(legacy.answers()) <= 1_000


@pytest.mark.parametrize(("era", "heard"), [(Era.LEGACY, 1), (Era.MODERN, 0)])
@pytest.mark.parametrize("tool", ["own", "apart"])
async def test_an_old_client_hears_that_it_is_done_on_the_web_page(era, heard, tool):
    done = {
        "jsonrpc": "2.0", "method": "notifications/elicitation/complete",
        "params": {"elicitationId": "e1"},
    }  # fmt: skip
    legacy = Asking(done, question(1))
    async with FaultServer(legacy) as server, HttpHouse(server.url, declared=ALL) as house:
        receiver = Receiver()
        out = msgspec.structs.replace(outgoing(tool), era=era)
        attempt = house.upstream.send(out, receiver)
        await receiver.until_asked()
        attempt.answer(receiver.questions[0].id, b"{}")
        (ear,) = legacy.ears.values()
        await receiver.reply
        note = ("notifications/elicitation/complete", b'{"elicitationId":"e1"}')
        assert receiver.notes == [note] * heard
        await ear.event(done)
        assert house.watcher.heard == [("connected",)]


async def test_a_call_that_waits_for_its_client_is_small():
    """What an attempt costs beside its session: at most 50 KB."""
    legacy = Asking(question(1))
    async with FaultServer(legacy) as server, HttpHouse(server.url, declared=ALL) as house:
        receiver, attempt = await ask(house)
        attempt.answer(receiver.questions[0].id, b"{}")
        await receiver.reply
        server.requests.clear()
        gc.collect()
        tracemalloc.start()
        kept = [await ask(house, "silent") for _ in range(20)]
        gc.collect()
        ours = [tracemalloc.Filter(True, "*/agenthub/*"), tracemalloc.Filter(True, "*/asyncio/*")]
        size = sum(
            one.size
            for one in tracemalloc.take_snapshot().filter_traces(ours).statistics("filename")
        )
        tracemalloc.stop()
        assert size / len(kept) < 50_000
        for _, attempt in kept:
            attempt.cancel(Cause.CLIENT)
