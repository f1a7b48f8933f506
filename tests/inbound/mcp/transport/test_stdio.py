"""MCP over stdin and stdout: real pipes, a real loop, fake servers."""

import asyncio
import contextlib
import os

import msgspec
import pytest
from mcp_types import CallToolResult, DiscoverResult, InitializeResult
from support.asking import ACCEPT, EVERY, FORM, NAME, asks_back, asks_live
from support.exchange import CAPABILITIES, META, VERSION, body_of
from support.fake_upstream import HANGS, OK, Act, tool
from support.house import house, server
from support.mcp_hub import McpHub
from support.stdio_hub import until

from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.domain.view import Renamed, View
from agenthub.inbound.mcp.dialogue.questions import GONE
from agenthub.inbound.mcp.transport.channel import ChannelReplies
from agenthub.inbound.mcp.transport.stdio import StdioDoor
from agenthub.settings import LimitSettings

ADD = {"name": "calc__add", "arguments": {}}
OLD = {"protocolVersion": "2025-06-18", "capabilities": {}}
PROGRESS = ("notifications/progress", b'{"progressToken":"p","progress":1}')
UPDATED = "notifications/resources/updated"
URI = "agenthub://calc/a:b"


class RealClock:
    def now(self):
        return round(asyncio.get_running_loop().time() * SECOND)

    def wall(self):
        return 1_800_000_000 * SECOND + self.now()

    def chance(self):
        return 0.5

    def after(self, span, callback):
        return asyncio.get_running_loop().call_later(span / SECOND, callback)


class Client:
    """The other end of the door's pipes."""

    def __init__(self, hub, door, to_door, from_door):
        self.hub, self.door = hub, door
        self._to, self._from = to_door, from_door
        self._rest = b""
        self.running = None

    def write(self, data):
        os.write(self._to, data)

    def send(self, method, params=None, message_id=None, *, meta=None):
        """In the new era, unless `meta` is False."""
        if meta is not False:
            params = {**(params or {}), "_meta": {**META, **(meta or {})}}
        self.write(body_of(method, params, message_id) + b"\n")

    def note(self, method, params=None):
        self.write(body_of(method, params, False) + b"\n")

    async def line(self):
        while b"\n" not in self._rest:
            chunk = await asyncio.wait_for(asyncio.to_thread(os.read, self._from, 65_536), 5)
            assert chunk, "the door has closed"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return msgspec.json.decode(line)

    async def ask(self, method, params=None, message_id=None, *, meta=None):
        self.send(method, params, message_id, meta=meta)
        return await self.line()

    async def end(self):
        """End the input: what the door still says, to its end."""
        self.hang_up()
        await asyncio.wait_for(self.running, 10)
        rest = self._rest
        os.set_blocking(self._from, False)
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._from, 65_536):
                rest += chunk
        return [msgspec.json.decode(line) for line in rest.splitlines()]

    def hang_up(self):
        if self._to is not None:
            os.close(self._to)
            self._to = None


@contextlib.asynccontextmanager
async def client(*endpoints, face=None, limits=None, prepare=None):
    async with house(*(endpoints or ("calc",)), clock=RealClock(), prepare=prepare) as built:
        hub = McpHub(built, limits or LimitSettings(drain_ms=300))
        stdin, to_door = os.pipe()
        from_door, stdout = os.pipe()
        one = Client(hub, StdioDoor(hub, face, stdin, stdout), to_door, from_door)
        async with asyncio.TaskGroup() as group:
            one.running = group.create_task(one.door.run())
            try:
                yield one
            finally:
                one.hang_up()
                await asyncio.wait({one.running}, timeout=10)
        for fd in (stdin, from_door, stdout):
            os.close(fd)


# ---------------------------------------------------------------- the new era


async def test_a_modern_client_is_served_at_once():
    async with client() as me:
        found = await me.ask("server/discover", message_id="d")
        assert found["id"] == "d"
        DiscoverResult.model_validate(found["result"])
        answer = await me.ask("tools/call", ADD)
        CallToolResult.model_validate(answer["result"])
        assert me.hub.rows[-1].door == "stdio"
        assert me.hub.rows[-1].caller == "stdio"
        assert await me.end() == []


async def test_one_face_has_its_own_names():
    async with client("calc", "files", face="calc") as me:
        tools = (await me.ask("tools/list"))["result"]["tools"]
        assert [one["name"] for one in tools] == ["add"]
        assert "result" in await me.ask("tools/call", {"name": "add"})
        await me.end()


VIEW = View("some", names={"plus": Renamed("calc__add")})


async def test_a_view_has_its_own_names_and_is_what_it_is_now():
    async with client("calc", "files", face="v/some") as me:
        refused = await me.ask("tools/list")
        assert refused["error"]["data"]["code"] == "unknown_target", "there is no such view yet"
        views = me.hub.catalog.views
        await views.add(VIEW)
        tools = (await me.ask("tools/list"))["result"]["tools"]
        assert [one["name"] for one in tools] == ["plus"]
        assert "result" in await me.ask("tools/call", {"name": "plus"})
        assert (await me.ask("tools/call", {"name": "files__add"}))["error"]["code"] == -32602
        listening = {"notifications": {"toolsListChanged": True}}
        told = await me.ask("subscriptions/listen", listening, "l")
        assert told["params"]["notifications"] == {"toolsListChanged": True}
        await views.replace(View("some", allow=("files__*",)))
        assert (await me.line())["method"] == "notifications/tools/list_changed"
        assert "result" in await me.ask("tools/call", {"name": "files__add"})
        await views.remove("some")
        while "id" not in (ended := await me.line()):  # The end of a view may be told as a change.
            assert ended["method"] == "notifications/tools/list_changed"
        assert ended["id"] == "l"
        assert (await me.ask("tools/list"))["error"]["data"]["code"] == "unknown_target"


async def test_a_view_speaks_the_old_era_too():
    async with client("calc", face="v/some") as me:
        views = me.hub.catalog.views
        assert (await me.ask("initialize", OLD, meta=False))["error"]["code"] == -32602
        await views.add(VIEW)
        await me.ask("initialize", OLD, meta=False)
        assert "result" in await me.ask("tools/call", {"name": "plus"}, meta=False)
        await views.replace(View("some", allow=("none__*",)))
        assert (await me.ask("tools/call", {"name": "plus"}, meta=False))["error"]["code"] == -32602
        await views.remove("some")
        assert (await me.ask("ping", meta=False))["error"]["data"]["code"] == "unknown_target"


async def test_answers_come_as_they_are_ready():
    async with client() as me:
        me.hub["calc"].answers["add"] = [Act(OK.reply, after=300 * MILLISECOND), OK]
        me.send("tools/call", ADD, 1)
        me.send("tools/call", ADD, 2)
        assert [(await me.line())["id"], (await me.line())["id"]] == [2, 1]


async def test_each_request_says_how_it_is_meant():
    async with client() as me:
        await me.ask("server/discover")
        for meta, code in [
            ({VERSION: "2030-01-01"}, -32022), ({VERSION: 7}, -32602),
            ({CAPABILITIES: []}, -32602), (False, -32602),
        ]:  # fmt: skip
            assert (await me.ask("tools/list", meta=meta))["error"]["code"] == code
        refused = (await me.ask("initialize", OLD))["error"]
        assert refused["code"] == -32601
        assert "2026-07-28" in refused["data"]["supported"]
        assert (await me.ask("ping"))["error"]["code"] == -32601


async def test_a_call_that_is_refused_at_once_is_answered_at_once():
    async with client() as me:
        me.hub.catalog.get("calc").lane.breaker.force_open(me.hub.clock.now(), "", None)
        answer = await me.ask("tools/call", ADD)
        assert answer["error"]["code"] == -31001


def test_a_notification_that_finds_no_room_is_dropped():
    class Door:
        is_full = True
        written = ()

        def write(self, message):
            self.written += (message,)

    door = Door()
    ChannelReplies(door, b"1").notify(*PROGRESS)
    assert door.written == ()
    door.is_full = False
    ChannelReplies(door, b"1").notify(*PROGRESS)
    assert len(door.written) == 1


def test_what_is_over_before_it_is_under_way_is_listed_nowhere():
    """A refused call would be listed for as long as its client lives, for nobody takes it out."""

    class Door:
        listed = 0

        def write(self, message): ...
        def ended(self, message_id, replies): ...

        def began(self, message_id, replies):
            self.listed += 1

    door = Door()
    for replies, is_over in (
        (ChannelReplies(door, b"1"), True),
        (ChannelReplies(door, b"2"), False),
    ):
        if is_over:
            replies.error(-32602, "No")
        replies.attend(None)
        assert door.listed == (0 if is_over else 1)


async def test_progress_and_logs_come_before_the_answer():
    async with client() as me:
        me.hub["calc"].answers["add"] = Act(OK.reply, notes=(PROGRESS,))
        me.send("tools/call", ADD, 1, meta={"progressToken": "p"})
        assert (await me.line())["method"] == PROGRESS[0]
        assert (await me.line())["id"] == 1


async def test_whoever_cancels_a_request_hears_no_more_of_it():
    async with client() as me:
        me.hub["calc"].answers["add"] = HANGS
        me.send("tools/call", ADD, 1)
        me.send("tools/call", ADD, 1)
        me.send("tools/call", ADD, "1")
        me.note("notifications/cancelled", {"requestId": 1})
        me.note("notifications/cancelled")
        me.note("notifications/other")
        me.write(b'{"jsonrpc":"2.0","id":9,"result":{}}\n')
        assert (await me.ask("tools/list", message_id=2))["id"] == 2
        assert len(me.hub.gateway.in_flight) == 1
        (last,) = await me.end()
        assert last["id"] == "1"
        assert "error" in last


async def test_a_client_listens_and_is_told_the_end():
    async with client() as me:
        ask = {"notifications": {"toolsListChanged": True}}
        first = await me.ask("subscriptions/listen", ask, "l")
        assert first["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": "l"}
        me.hub["calc"].tools = {"other": tool("other")}
        me.hub["calc"].watcher.changed("notifications/tools/list_changed", b"{}")
        assert (await me.line())["method"] == "notifications/tools/list_changed"
        await me.ask("subscriptions/listen", ask, "l")
        await me.ask("subscriptions/listen", ask, "m")
        assert (await me.ask("subscriptions/listen", {}, "n"))["error"]["code"] == -32602
        me.note("notifications/cancelled", {"requestId": "m"})
        (last,) = await me.end()
        assert (last["id"], last["result"]["resultType"]) == ("l", "complete")


# ---------------------------------------------------------------- the old era


async def test_an_old_client_begins_a_session_for_the_life_of_the_process():
    async with client() as me:
        assert (await me.ask("ping", meta=False))["result"] == {}
        assert (await me.ask("tools/list", meta=False))["error"]["code"] == -32602
        assert (await me.ask("initialize", {}, meta=False))["error"]["code"] == -32602
        me.note("notifications/initialized")
        hello = await me.ask("initialize", OLD, meta=False)
        InitializeResult.model_validate(hello["result"])
        assert hello["result"]["protocolVersion"] == "2025-06-18"
        me.note("notifications/initialized")
        me.note("notifications/initialized")
        assert (await me.ask("initialize", OLD, meta=False))["error"]["code"] == -32600
        answer = await me.ask("tools/call", ADD, meta=False)
        assert "resultType" not in answer["result"]
        assert (await me.ask("logging/setLevel", {"level": "error"}, meta=False))["result"] == {}
        assert (await me.ask("server/discover"))["error"]["code"] == -32601


def subscribable(fake):
    fake.capabilities = {"tools": {}, "resources": {"subscribe": True}}
    fake.answers["resources/subscribe"] = OK


async def test_an_old_client_hears_news_without_asking_twice():
    async with client(prepare={"calc": subscribable}) as me:
        await me.ask("initialize", OLD, meta=False)
        me.note("notifications/initialized")
        assert (await me.ask("resources/subscribe", {"uri": URI}, meta=False))["result"] == {}
        me.hub["calc"].watcher.changed(UPDATED, b'{"uri":"a:b"}')
        news = await me.line()
        assert (news["method"], news["params"]) == (UPDATED, {"uri": URI})
        assert await me.end() == []


async def test_an_old_client_cancels_its_own_request():
    async with client() as me:
        await me.ask("initialize", OLD, meta=False)
        me.hub["calc"].answers["add"] = HANGS
        me.send("tools/call", ADD, 5, meta=False)
        me.note("notifications/cancelled", {"requestId": 5})
        assert (await me.ask("ping", message_id=6, meta=False))["id"] == 6
        assert await me.end() == []
        assert me.hub.house.at_rest()


# ---------------------------------------------------------------- bad input, slow clients, the end


@pytest.mark.parametrize(
    ("line", "code", "message_id"),
    [
        (b"no json", -32700, None), (b'{"a":1,"a":2}', -32700, None), (b"[]", -32600, None),
        (b'{"jsonrpc":"2.0","id":3,"method":7}', -32600, 3), (b"\xff\xfe", -32700, None),
        (b'{"jsonrpc":"2.0","id":3,"method":"a","params":{"_meta":1}}', -32602, 3),
    ],
)  # fmt: skip
async def test_what_is_no_message_is_answered_and_the_next_one_is_read(line, code, message_id):
    async with client() as me:
        me.write(line + b"\n\n")
        answer = await me.line()
        assert (answer["error"]["code"], answer["id"]) == (code, message_id)
        assert "result" in await me.ask("tools/list")


async def test_a_line_over_the_limit_is_refused():
    async with client(limits=LimitSettings(body_bytes=2_000, drain_ms=300)) as me:
        me.write(b"x" * 5_000 + b"\n")
        assert (await me.line())["error"]["code"] == -32600
        assert "result" in await me.ask("tools/list")


async def test_an_answer_is_one_line_whatever_the_server_wrote():
    async with client() as me:
        raw = b'{"resultType":"complete",\n\r\n"content":[]}'
        me.hub["calc"].answers["add"] = Act(Reply(Ending.RESULT, result=raw))
        assert (await me.ask("tools/call", ADD))["result"]["content"] == []


async def test_at_the_end_what_runs_is_finished():
    async with client(limits=LimitSettings(drain_ms=5_000)) as me:
        me.hub["calc"].answers["add"] = Act(OK.reply, after=200 * MILLISECOND)
        me.send("tools/call", ADD, 1)
        me.send("tools/call", ADD, 2)
        assert sorted(message["id"] for message in await me.end()) == [1, 2]


async def test_at_the_end_what_hangs_is_given_up():
    async with client(limits=LimitSettings(drain_ms=50)) as me:
        me.hub["calc"].answers["add"] = HANGS
        me.send("tools/call", ADD, 1)
        (last,) = await me.end()
        assert last["id"] == 1
        assert me.hub.house.at_rest()


async def test_a_client_that_does_not_read_is_not_read_and_loses_no_answer():
    limits = LimitSettings(client_buffer_bytes=1_024, drain_ms=5_000)
    async with client(server("calc", concurrency=100), limits=limits) as me:
        raw = b'{"resultType":"complete","content":["%b"]}' % (b"x" * 50_000)
        me.hub["calc"].answers["add"] = Act(Reply(Ending.RESULT, result=raw), notes=(PROGRESS,))
        listening = {"notifications": {"toolsListChanged": True}}
        await me.ask("subscriptions/listen", listening, "l")
        for number in range(8):
            me.send("tools/call", ADD, number)
        await until(lambda: me.door.is_full)
        assert me.door._writer.backlog < 8 * 60_000
        got = []
        while len(got) < 8:
            message = await me.line()
            if "result" in message:
                got.append(message["id"])
        assert sorted(got) == list(range(8))
        assert [m["id"] for m in await me.end() if "result" in m] == ["l"]


async def test_a_stop_cancels_what_runs():
    async with client() as me:
        me.hub["calc"].answers["add"] = HANGS
        me.send("tools/call", ADD, 1)
        await until(lambda: me.hub.gateway.in_flight)
        me.running.cancel()
        assert (await me.line())["id"] == 1
        assert me.hub.house.at_rest()


# ---------------------------------------------------------------- questions


def asking(*acts):
    return {"calc": lambda fake: fake.answers.update(add=list(acts))}


async def initialized(me, declared=EVERY):
    begun = {"protocolVersion": "2025-11-25", "capabilities": declared}
    await me.ask("initialize", begun, meta=False)


def respond(me, question, result=None):
    told = {"jsonrpc": "2.0", "id": question["id"], "result": result or ACCEPT}
    me.write(msgspec.json.encode(told) + b"\n")


async def test_an_old_client_is_asked_in_the_middle_of_a_call():
    async with client(prepare=asking(asks_live(NAME))) as me:
        await initialized(me)
        question = await me.ask("tools/call", ADD, "c", meta=False)
        assert question["method"] == "elicitation/create"
        respond(me, question)
        answer = await me.line()
        assert (answer["id"], answer["result"]["content"][0]["text"]) == ("c", "5")
        respond(me, question)
        assert len(me.hub["calc"].answered) == 1
        assert await me.end() == []


async def test_an_old_client_is_asked_for_a_new_server_and_its_answers_go_on():
    async with client(prepare=asking(asks_back("s", a=FORM), OK)) as me:
        await initialized(me)
        question = await me.ask("tools/call", ADD, "c", meta=False)
        respond(me, question)
        assert (await me.line())["id"] == "c"
        assert bytes(me.hub["calc"].sent[-1].params["requestState"]) == b'"s"'
        assert await me.end() == []


async def test_a_new_client_comes_back_to_a_parked_call():
    declared = {CAPABILITIES: EVERY}
    async with client(prepare=asking(asks_live(NAME))) as me:
        asked = (await me.ask("tools/call", ADD, meta=declared))["result"]
        (key,) = asked["inputRequests"]
        more = {"requestState": asked["requestState"], "inputResponses": {key: ACCEPT}}
        done = await me.ask("tools/call", {**ADD, **more}, meta=declared)
        assert done["result"]["content"]
        late = await me.ask("tools/call", {**ADD, **more}, meta=declared)
        assert late["error"]["code"] == -32602
        assert await me.end() == []


async def test_a_client_that_ends_its_input_will_not_answer():
    async with client(prepare=asking(asks_live(NAME)), limits=LimitSettings(drain_ms=9_000)) as me:
        await initialized(me)
        await me.ask("tools/call", ADD, "c", meta=False)
        (answer,) = await me.end()
        assert answer["id"] == "c"
        assert me.hub["calc"].answered == [(7, b"", GONE)]


async def test_a_question_that_needs_no_answer_any_more_is_taken_back():
    end = Act(OK.reply, 200 * MILLISECOND, questions=(NAME,))
    async with client(prepare=asking(end)) as me:
        await initialized(me)
        question = await me.ask("tools/call", ADD, "c", meta=False)
        taken = await me.line()
        assert taken["method"] == "notifications/cancelled"
        assert taken["params"]["requestId"] == question["id"]
        assert (await me.line())["id"] == "c"
        await me.end()


async def test_a_client_that_leaves_parked_calls_behind_leaves_nothing():
    async with client(prepare=asking(Act(None, questions=(NAME,)))) as me:
        await me.ask("tools/call", ADD, meta={CAPABILITIES: EVERY})
        assert me.hub.gateway.in_flight
        await me.end()
        await until(lambda: not me.hub.gateway.in_flight)


async def test_a_client_of_the_new_era_is_asked_between_rounds_only():
    async with client() as me:
        replies = ChannelReplies(me.door, b"1")
        assert not replies.ask("roots/list", b"{}", lambda result, error: None)
        await me.end()
