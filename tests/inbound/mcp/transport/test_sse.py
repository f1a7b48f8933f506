"""HTTP+SSE, the transport of 2024-11-05: a stream for everything, and an address to post to."""

import asyncio

import msgspec
import pytest
from support.asking import EVERY, NAME, asks_live
from support.exchange import META, body_of
from support.fake_upstream import HANGS, OK, Act, later, tool
from support.house import ANNA, BERT, server
from support.mcp_hub import doors
from support.sse_client import SseClient, get, pass_time
from support.virtual_time import virtual_time

from agenthub.domain.call import Era
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.span import SECOND
from agenthub.domain.view import View
from agenthub.inbound.mcp.news.subscriptions import PER_CALLER
from agenthub.inbound.mcp.transport.sse import HELD_MAX
from agenthub.settings import LimitSettings

ADD = {"name": "calc__add", "arguments": {"a": 1}}
TOOLS = "notifications/tools/list_changed"
NARROW_ANNA = Caller(ANNA.id, ANNA.scopes, frozenset({"files"}))
NARROW = Caller("narrow", frozenset({Scope.TOOLS}), frozenset({"files"}))


def methods(client):
    return [one.get("method", "answer") for one in client.heard]


# ---------------------------------------------------------------- a session


@virtual_time()
async def test_a_stream_begins_with_the_address_to_post_to():
    async with doors("calc") as hub:
        client = SseClient(hub)
        assert client.stream.status == 200
        assert client.stream.header(b"content-type") == b"text/event-stream"
        path, _, session = client.address.partition("?session=")
        assert path == "/messages"
        assert len(session) >= 32
        assert SseClient(hub).address != client.address


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("2024-11-05", "2024-11-05"), ("2025-03-26", "2025-03-26"), ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
    ],
)  # fmt: skip
@virtual_time()
async def test_the_version_is_negotiated_as_in_every_old_session(wanted, given):
    async with doors("calc") as hub:
        welcome = await SseClient(hub).begin(version=wanted)
        assert welcome["protocolVersion"] == given
        assert welcome["serverInfo"]["name"] == "agenthub"


@virtual_time()
async def test_calls_go_by_post_and_their_answers_by_the_stream():
    async with doors("calc", "files") as hub:
        client = SseClient(hub)
        await client.begin()
        sent = client.say("tools/call", ADD, 7)
        assert (sent.status, sent.body) == (202, b"")
        await pass_time()
        assert client.to(7)["result"]["content"] == [{"type": "text", "text": "5"}]
        tools = (await client.ask("tools/list", message_id=8))["result"]["tools"]
        assert [one["name"] for one in tools] == ["calc__add", "files__add"]
        assert (await client.ask("ping", message_id=9))["result"] == {}
        assert (hub.rows[-1].door, hub.rows[-1].caller) == ("mcp", ANNA.id)
        assert hub.at_rest()


@virtual_time()
async def test_each_server_has_a_stream_of_its_own():
    async with doors("calc", "files") as hub:
        client = SseClient(hub, "/sse/files")
        await client.begin()
        assert "result" in await client.ask("tools/call", {"name": "add"})
        assert hub["files"].executed("add") == 1
        assert not hub["calc"].executed("add")


@virtual_time()
async def test_a_view_has_a_stream_and_a_session_is_held_to_what_it_is_now():
    async with doors("calc", "files") as hub:
        await hub.catalog.views.add(View("some", allow=("calc__*",)))
        client = SseClient(hub, "/sse/v/some")
        await client.begin()
        tools = (await client.ask("tools/list"))["result"]["tools"]
        assert [one["name"] for one in tools] == ["calc__add"]
        assert "result" in await client.ask("tools/call", ADD, 2)
        await hub.catalog.views.replace(View("some", allow=("files__*",)))
        assert (await client.ask("tools/call", ADD, 3))["error"]["code"] == -32602
        await hub.catalog.views.remove("some")
        refused = await client.ask("ping", message_id=4)
        assert refused["error"]["data"]["code"] == "unknown_target"
        assert hub.send(get("/sse/v/some")).status == 404


@virtual_time()
async def test_an_address_without_a_server_has_no_stream():
    async with doors("calc", "files") as hub:
        for path, caller in (("/sse/nobody", BERT), ("/sse/calc", NARROW)):
            asked = hub.send(get(path, caller))
            assert (asked.status, asked.code, asked.streaming) == (404, -32602, False)
        for path in ("/sse/", "/sse/calc/x", "/messages/x", "/messages/"):
            assert hub.door.hot(path) is None


@virtual_time()
async def test_answers_come_as_they_are_ready_and_progress_before_them():
    async with doors("calc") as hub:
        token = {"_meta": {"progressToken": "p"}}
        note = ("notifications/progress", b'{"progressToken":"p","progress":1}')
        hub["calc"].answers["add"] = [Act(OK.reply, after=SECOND, notes=(note,)), OK]
        client = SseClient(hub)
        await client.begin()
        client.say("tools/call", {**ADD, **token}, 1)
        client.say("tools/call", ADD, 2)
        await pass_time(2)
        assert methods(client) == ["answer", "notifications/progress", "answer", "answer"]
        assert [one["id"] for one in client.heard if "result" in one] == ["init", 2, 1]


@virtual_time()
async def test_a_cancelled_call_is_given_up_and_not_answered():
    async with doors("calc") as hub:
        hub["calc"].answers["add"] = HANGS
        client = SseClient(hub)
        await client.begin()
        client.say("tools/call", ADD, 1)
        await pass_time()
        assert hub.gateway.in_flight
        client.say("notifications/cancelled", {"requestId": 1}, message_id=False)
        await pass_time()
        assert hub.at_rest()
        assert [one["id"] for one in client.heard] == ["init"]


@virtual_time()
async def test_what_a_server_asks_comes_on_the_stream_and_the_answer_by_post():
    old = {"calc": lambda fake: setattr(fake, "era", Era.LEGACY)}
    async with doors("calc", prepare=old) as hub:
        hub["calc"].answers["add"] = asks_live(NAME)
        client = SseClient(hub)
        await client.begin(EVERY)
        client.say("tools/call", ADD, 1)
        await pass_time()
        (question,) = [one for one in client.heard if one.get("method") == NAME.method]
        assert question["params"]["message"] == "calc: Your name?"
        assert client.answer(question).status == 202
        await pass_time()
        assert "result" in client.to(1)
        ((_, answer, _),) = hub["calc"].answered
        assert msgspec.json.decode(answer)["action"] == "accept"


@virtual_time()
async def test_before_initialize_only_a_ping_is_answered():
    async with doors("calc") as hub:
        client = SseClient(hub)
        assert (await client.ask("ping", message_id=1))["result"] == {}
        refused = await client.ask("server/discover", {"_meta": META}, 2)
        assert refused["error"]["code"] == -32602
        client.say("notifications/cancelled", {"requestId": 1}, message_id=False)
        client.answer({"id": "x"})
        await client.begin()
        assert "already" in (await client.ask("initialize", {}, 3))["error"]["message"]


@virtual_time()
async def test_an_initialize_of_the_wrong_shape_is_refused_and_may_come_again():
    async with doors("calc") as hub:
        client = SseClient(hub)
        assert (await client.ask("initialize", {}, 1))["error"]["code"] == -32602
        assert (await client.begin())["protocolVersion"] == "2024-11-05"


# ---------------------------------------------------------------- news


@virtual_time()
async def test_news_come_once_the_client_is_ready_for_them():
    async with doors("calc") as hub:
        client = SseClient(hub)
        hub["calc"].tools = {"add": tool("add"), "sub": tool("sub")}
        hub["calc"].watcher.changed(TOOLS, b"{}")
        await pass_time(1)
        assert client.heard == []
        await client.begin()
        assert methods(client) == ["answer", TOOLS]


@virtual_time()
async def test_a_resource_is_subscribed_to_and_its_news_come():
    def docs(fake):
        fake.capabilities = {"tools": {}, "resources": {"subscribe": True}}
        fake.answers["resources/subscribe"] = fake.answers["resources/unsubscribe"] = OK

    async with doors("docs", prepare={"docs": docs}) as hub:
        client = SseClient(hub, "/sse/docs")
        await client.begin()
        assert (await client.ask("resources/subscribe", {"uri": "a:b"}))["result"] == {}
        hub["docs"].watcher.changed("notifications/resources/updated", b'{"uri":"a:b"}')
        await pass_time(1)
        assert client.heard[-1]["params"]["uri"] == "a:b"
        client.stream.gone()
        await pass_time()
        assert ("resources/unsubscribe", "a:b") in hub["docs"].asked


@virtual_time()
async def test_a_stream_whose_server_has_gone_ends():
    async with doors("calc", "files") as hub:
        client, other = SseClient(hub, "/sse/calc"), SseClient(hub, "/sse/files")
        await client.begin()
        await hub.catalog.remove("calc")
        await pass_time(6)
        assert client.stream.over
        assert not other.stream.over
        assert client.say("ping", message_id=1).status == 404


@virtual_time()
async def test_a_silent_stream_is_kept_alive():
    async with doors("calc") as hub:
        client = SseClient(hub)
        await asyncio.sleep(16)
        assert client.stream.chunks[1:] == [b": keep-alive\n\n"]
        client.stream.backlog = 1 << 30
        await asyncio.sleep(60)
        assert len(client.stream.chunks) == 2


@virtual_time()
async def test_a_stream_on_which_something_comes_needs_nothing_to_keep_it_alive():
    async with doors("calc") as hub:
        client = SseClient(hub)
        for number in range(6):
            await pass_time(6)
            client.say("ping", message_id=number)
        assert b": keep-alive\n\n" not in client.stream.chunks


# ---------------------------------------------------------------- the end


@virtual_time()
async def test_a_stream_whose_server_is_hidden_ends_within_a_beat():
    async with doors("calc", "files") as hub:
        client = SseClient(hub, "/sse/calc")
        hub.catalog._servers["calc"].hidden = True
        await pass_time(6)
        assert client.stream.over


@virtual_time()
async def test_the_end_of_the_stream_is_the_end_of_the_session():
    async with doors("calc") as hub:
        hub["calc"].answers["add"] = HANGS
        client = SseClient(hub)
        await client.begin()
        client.say("tools/call", ADD, 1)
        await pass_time()
        client.stream.gone()
        await pass_time()
        assert hub.at_rest()
        assert hub.rows[-1].outcome == "cancelled"
        assert (client.say("tools/call", ADD, 2)).status == 404
        assert not hub.door.pulse.open


@virtual_time()
async def test_a_hub_that_stops_ends_its_streams():
    async with doors("calc") as hub:
        clients = [SseClient(hub), SseClient(hub)]
        await clients[0].begin()
        hub.door.close()
        assert all(client.stream.over for client in clients)
        late = hub.send(get())
        assert (late.status, late.streaming) == (503, False)
        assert late.json["error"]["data"]["request_id"]


# ---------------------------------------------------------------- attacks and limits


@virtual_time()
async def test_a17_a_session_is_of_no_use_to_anybody_else():
    async with doors("calc") as hub:
        client = SseClient(hub)
        await client.begin()
        call = body_of("tools/call", ADD, 1)
        forged = client.address[:-1] + ("A" if client.address[-1] != "A" else "B")
        for address in (
            "/messages", "/messages?session=", f"{client.address}&x=1", forged,
            client.address.replace("session", "sessionId"), f"{client.address}%41",
            "/messages?session=" + "A" * 4_000,
        ):  # fmt: skip
            refused = client.post(call, address=address)
            assert (refused.status, refused.code) == (404, -32600), address
            assert refused.json["id"] == 1
        assert client.post(call, caller=BERT).status == 404
        await pass_time()
        assert not hub["calc"].executed("add")


@virtual_time()
async def test_a40_an_id_cancels_nothing_in_another_session():
    async with doors("calc") as hub:
        hub["calc"].answers["add"] = later(OK, 2 * SECOND)
        mine, other = SseClient(hub), SseClient(hub)
        for client in (mine, other):
            await client.begin()
        mine.say("tools/call", ADD, 1)
        await pass_time()
        other.say("notifications/cancelled", {"requestId": 1}, message_id=False)
        await pass_time(3)
        assert "result" in mine.to(1)


@virtual_time()
async def test_what_is_no_message_is_refused():
    async with doors("calc") as hub:
        client = SseClient(hub)
        for body in (b"", b"[]", b"{", b'{"jsonrpc":"2.0","id":null,"method":"ping"}', b"\xff"):
            assert client.post(body).status == 400
        assert client.heard == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS"])
@virtual_time()
async def test_other_methods_are_refused(method):
    async with doors("calc") as hub:
        asked = hub.send(get(method=method))
        assert (asked.status, asked.header(b"allow")) == (405, b"GET")
        asked = SseClient(hub).post(b"", method=method)
        assert (asked.status, asked.header(b"allow")) == (405, b"POST")


@virtual_time()
async def test_headers_that_belong_to_another_transport_are_refused():
    version = b"mcp-protocol-version"
    async with doors("calc") as hub:
        client = SseClient(hub)
        ping = body_of("ping", None, 1)
        for value in (b"2026-07-28", b"2031-01-01", b"x"):
            assert client.post(ping, headers=[(version, value)]).code == -32022
            assert hub.send(get(headers=[(version, value)])).code == -32022
        twice = [(version, b"2024-11-05")] * 2
        assert client.post(ping, headers=twice).code == -32020
        assert client.post(ping, headers=twice[:1]).status == 202
        assert hub.send(get(headers=[(b"accept", b"application/json")])).status == 406


@virtual_time()
async def test_a61_one_key_has_so_many_streams_and_no_more():
    async with doors("calc") as hub:
        clients = [SseClient(hub) for _ in range(PER_CALLER)]
        refused = hub.send(get())
        assert (refused.status, refused.code) == (503, -31005)
        assert SseClient(hub, caller=BERT).stream.streaming
        clients[0].stream.gone()
        assert SseClient(hub).stream.streaming


@virtual_time()
async def test_a60_a_client_that_does_not_read_is_not_served_more():
    limits = LimitSettings(client_buffer_bytes=1_000)
    async with doors("calc", limits=limits) as hub:
        client = SseClient(hub)
        await client.begin()
        client.stream.backlog = 1_001
        calls = [client.say("tools/call", ADD, number) for number in range(HELD_MAX)]
        one_more = client.say("tools/call", ADD, "more")
        assert (one_more.status, one_more.code) == (503, -31005)
        cancel = client.say("notifications/cancelled", {"requestId": 99}, message_id=False)
        assert cancel.status == 202, "what frees something is always taken"
        await pass_time()
        assert not hub["calc"].executed("add")
        calls[0].gone()
        client.stream.backlog = 0
        client.stream.drained()
        await pass_time()
        assert [call.status for call in calls[1:]] == [202] * (HELD_MAX - 1)
        assert hub["calc"].executed("add") == HELD_MAX - 1


@virtual_time()
async def test_a60_what_waits_is_taken_in_its_order_and_as_far_as_there_is_room():
    async with doors("calc", limits=LimitSettings(client_buffer_bytes=1_000)) as hub:
        client = SseClient(hub)
        stream, write = client.stream, client.stream.write

        def fill(data):
            write(data)
            stream.backlog = 1_001

        stream.write, stream.backlog = fill, 1_001
        pings = [client.say("ping", message_id=1), client.say("ping", message_id=2)]
        stream.backlog = 0
        pings.append(client.say("ping", message_id=3))
        assert [ping.status for ping in pings] == [None] * 3
        for number in range(1, 4):
            stream.backlog = 0
            stream.drained()
            assert [one["id"] for one in client.heard] == list(range(1, number + 1))
        assert [ping.status for ping in pings] == [202] * 3


@virtual_time()
async def test_what_a_client_had_not_read_when_it_went_was_not_taken():
    limits = LimitSettings(client_buffer_bytes=1_000)
    async with doors("calc", limits=limits) as hub:
        client = SseClient(hub)
        await client.begin()
        client.stream.backlog = 1_001
        call = client.say("tools/call", ADD, 1)
        client.stream.gone()
        assert call.status == 404
        assert not hub["calc"].executed("add")


@virtual_time()
async def test_a35_a_client_that_does_not_read_gets_no_more_notifications():
    limits = LimitSettings(client_buffer_bytes=1_000)
    note = ("notifications/progress", b'{"progressToken":"p","progress":1}')
    async with doors("calc", limits=limits) as hub:
        hub["calc"].answers["add"] = Act(OK.reply, after=SECOND, notes=(note,) * 50)
        client = SseClient(hub)
        await client.begin()
        client.say("tools/call", {**ADD, "_meta": {"progressToken": "p"}}, 1)
        client.stream.backlog = 1_001
        hub["calc"].tools = {"add": tool("add"), "sub": tool("sub")}
        for _ in range(100):
            hub["calc"].watcher.changed(TOOLS, b"{}")
        await pass_time(3)
        assert methods(client) == ["answer", "answer"]
        client.stream.backlog = 0
        client.stream.drained()
        assert methods(client) == ["answer", "answer", TOOLS]


@virtual_time()
async def test_a_key_for_an_idempotent_call_is_taken_from_header_or_meta():
    async with doors("calc") as hub:
        client = SseClient(hub)
        await client.begin()
        for number in (1, 2):
            body = body_of("tools/call", ADD, number)
            client.post(body, headers=[(b"idempotency-key", b"k")])
            await pass_time()
            assert "result" in client.to(number)
        assert hub["calc"].executed("add") == 1


@virtual_time()
async def test_what_a_key_may_see_can_change_during_a_session():
    async with doors("calc", server("files")) as hub:
        client = SseClient(hub)
        await client.begin()
        client.post(body_of("tools/list", None, 1), caller=NARROW_ANNA)
        assert [one["name"] for one in client.to(1)["result"]["tools"]] == ["files__add"]


@virtual_time()
async def test_what_is_answered_is_under_way_no_longer():
    """A session may last for days: what it kept of each call would add up."""
    async with doors("calc") as hub:
        hub["calc"].answers["add"] = later(OK, SECOND)
        client = SseClient(hub)
        await client.begin()
        (stream,) = hub.door.sse._streams.values()
        client.say("tools/call", ADD, 1)
        await pass_time(0.1)
        assert len(stream._client.running._requests) == 1
        await pass_time(2)
        assert not stream._client.running._requests
