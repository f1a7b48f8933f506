"""Streams of the old era that are lost and resumed.

Provenance: MCP specification 2025-11-25, "Resumability and Redelivery"; SEP-1699; attack A17.
"""

import asyncio

import msgspec
import pytest
from support.asking import (
    ADD,
    EVERY,
    NAME,
    PATH,
    TOWN,
    OldClient,
    asks_live,
    notes,
    questions,
)
from support.exchange import initialize, post
from support.fake_upstream import HANGS, OK, Act, error, later, result
from support.house import BERT, server
from support.mcp_hub import doors
from support.virtual_time import virtual_time

from agenthub.domain.endpoint import Timeouts
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.settings import LimitSettings

PROGRESS = "notifications/progress"
LIKES_STREAMS = {"accept": b"text/event-stream, application/json"}


def step(number):
    return PROGRESS, b'{"progressToken":1,"progress":%d}' % number


def hub_with(*acts, limits=None, **more):
    def prepare(fake):
        fake.answers["add"] = list(acts)

    return doors(server("calc", **more), prepare={"calc": prepare}, limits=limits)


async def client_of(hub, version="2025-11-25", **more):
    began = await hub(initialize(version, capabilities=EVERY, path=PATH, **more))
    return OldClient(hub, began.header(b"mcp-session-id"), PATH, began.caller)


def streams_first(client, message_id=1, method="tools/call", params=ADD):
    """A request of a client that names event streams before JSON."""
    request = client.request(method, params, message_id=message_id)
    headers = [pair for pair in request.request.headers if pair[0] != b"accept"]
    headers.append((b"accept", LIKES_STREAMS["accept"]))
    return post(request.request.body, headers, PATH, request.caller)


async def back(client, seen, *, session=None, caller=None, seconds=0.5):
    """The client comes for what came after this event."""
    headers = [
        (b"accept", b"text/event-stream"),
        (b"mcp-session-id", session or client.session),
        (b"last-event-id", seen),
    ]
    caller = caller or client.request().caller
    return await client.hub(post(b"", headers, PATH, caller, "GET"), seconds)


def numbers(exchange):
    return [one["progress"] for one in notes(exchange, PROGRESS)]


def now(hub):
    (attempt,) = hub["calc"].flying
    return attempt


# ---------------------------------------------------------------- what a stream begins with


@virtual_time()
async def test_a_stream_begins_with_an_id_and_how_long_to_wait_before_coming_back():
    async with hub_with(Act(OK.reply, after=SECOND, notes=[step(1)])) as hub:
        client = await client_of(hub)
        told = await client.call()
        first, second = told.blocks
        assert first == {"id": first["id"], "retry": b"1000", "data": b""}
        assert second["id"] != first["id"]
        await asyncio.sleep(1)
        ids = [block["id"] for block in told.blocks]
        assert len(set(ids)) == len(ids) == 3
        assert told.result["content"]


@pytest.mark.parametrize("version", ["2025-06-18", "2025-03-26"])
def test_older_clients_get_no_event_without_a_message(version):
    """They would take it for a broken message."""

    @virtual_time()
    async def run():
        async with hub_with(Act(OK.reply, after=SECOND, notes=[step(1), step(2)])) as hub:
            client = await client_of(hub, version)
            told = await client.call()
            assert all("message" in block and "retry" not in block for block in told.blocks)
            told.gone()
            again = await back(client, told.blocks[0]["id"], seconds=2)
            assert numbers(again) == [2]
            assert all("message" in block for block in again.blocks)
            assert again.result["content"]

    run()


@virtual_time()
async def test_an_answer_that_is_one_object_is_not_kept():
    async with hub_with(OK) as hub:
        client = await client_of(hub)
        told = await client.call()
        assert not told.streaming
        assert hub.door.desk.store.size == 0
        session = hub.door.sessions.find(client.session.decode(), told.caller, "calc")
        assert not session.shelf.streams


# ---------------------------------------------------------------- lost and resumed


@virtual_time(seeds=20)
async def test_a_client_that_lost_its_stream_gets_what_it_missed_and_then_the_rest():
    async with hub_with(HANGS) as hub:
        client = await client_of(hub)
        told = await client.call()
        for number in (1, 2):
            now(hub).note(*step(number))
        seen = told.last_id
        told.gone()
        for number in (3, 4):
            now(hub).note(*step(number))
        again = await back(client, seen)
        assert (again.status, again.header(b"content-type")) == (200, b"text/event-stream")
        assert again.blocks[0] == {"id": seen, "retry": b"1000", "data": b""}
        assert numbers(again) == [3, 4]
        now(hub).note(*step(5))
        now(hub).end(OK.reply)
        assert numbers(again) == [3, 4, 5]
        assert again.over
        assert again.result["content"]
        assert told.chunks[-1] != again.chunks[-1]


@virtual_time()
async def test_an_answer_waits_for_its_client_as_long_as_it_is_kept():
    async with hub_with(Act(OK.reply, after=20 * SECOND, notes=[step(1)])) as hub:
        client = await client_of(hub)
        told = await client.call()
        told.gone()
        await asyncio.sleep(79)
        again = await back(client, told.last_id)
        assert again.over
        assert again.result["content"]
        assert hub["calc"].executed("add") == 1
        await asyncio.sleep(2)
        late = await back(client, told.last_id)
        assert late.over
        assert (late.code, late.json["error"]["data"]["executed"]) == (-31007, "unknown")
        assert late.json["id"] == msgspec.json.decode(told.request.body)["id"]
        assert hub.door.desk.store.size == 0


@virtual_time()
async def test_an_answer_that_was_written_but_never_arrived_is_there_again():
    async with hub_with(Act(OK.reply, after=SECOND, notes=[step(1)])) as hub:
        client = await client_of(hub)
        told = await client.call(message_id="a")
        await asyncio.sleep(1)
        again = await back(client, told.blocks[1]["id"])
        assert again.over
        assert again.json == told.json
        nothing = await back(client, told.last_id)
        assert nothing.over
        assert not nothing.events


@virtual_time()
async def test_who_comes_back_before_the_hub_knows_that_it_went_takes_the_stream_over():
    async with hub_with(HANGS) as hub:
        client = await client_of(hub)
        told = await client.call()
        now(hub).note(*step(1))
        again = await back(client, told.blocks[0]["id"])
        assert told.over
        assert told.closed is None
        assert numbers(again) == [1]
        now(hub).end(OK.reply)
        assert again.result["content"]
        assert not told.json.get("result")


@virtual_time()
async def test_a_stream_can_be_lost_many_times():
    async with hub_with(HANGS) as hub:
        client = await client_of(hub)
        told = await client.call()
        now(hub).note(*step(0))
        for number in range(1, 6):
            told.gone()
            now(hub).note(*step(number))
            told = await back(client, told.last_id)
            assert numbers(told) == [number]
        now(hub).end(OK.reply)
        assert told.over


@virtual_time()
async def test_a_server_that_was_paused_for_a_slow_client_goes_on_when_it_comes_back():
    limits = LimitSettings(client_buffer_bytes=1_024)
    async with hub_with(HANGS, limits=limits) as hub:
        client = await client_of(hub)
        told = await client.call()
        now(hub).note(*step(1))
        told.backlog = 1_025
        now(hub).note(*step(2))
        assert now(hub).paused == 1
        again = await back(client, told.last_id)
        assert now(hub).paused == 0
        assert told.drained is None
        now(hub).end(OK.reply)
        assert again.over


@virtual_time()
async def test_a_stream_without_a_word_is_kept_alive_again_after_it_was_resumed():
    async with hub_with(later(OK, 100 * SECOND), timeouts=Timeouts(call_ms=200_000)) as hub:
        client = await client_of(hub)
        told = await client.call()
        await asyncio.sleep(16)
        (block,) = told.blocks
        told.gone()
        silent = len(told.chunks)
        again = await back(client, block["id"])
        await asyncio.sleep(16)
        assert b": keep-alive\n\n" in again.chunks
        assert len(told.chunks) == silent


# ---------------------------------------------------------------- questions


@virtual_time()
async def test_a_question_that_was_lost_is_put_again_and_answered():
    async with hub_with(asks_live(TOWN), limits=LimitSettings()) as hub:
        client = await client_of(hub)
        told = await client.call()
        (asked,) = questions(told)
        told.gone()
        again = await back(client, told.blocks[0]["id"])
        assert questions(again) == [asked]
        await client.answer(asked)
        assert again.over
        assert again.result["content"]


@virtual_time()
async def test_a_question_that_comes_while_the_client_is_away_waits_for_it():
    async with hub_with(asks_live(NAME, ends_after=2)) as hub:
        client = await client_of(hub)
        told = await client.call()
        seen = told.last_id
        told.gone()
        now(hub).ask(TOWN)
        await asyncio.sleep(30)
        again = await back(client, seen)
        (town,) = questions(again)
        assert town["params"]["message"] == "Your town?"
        for question in (*questions(told), town):
            await client.answer(question)
        assert again.over


@virtual_time()
async def test_who_stayed_away_too_long_is_asked_again_only_when_it_is_back():
    async with hub_with(asks_live(NAME, ends_after=9)) as hub:
        client = await client_of(hub)
        told = await client.call()
        told.gone()
        await asyncio.sleep(61)
        assert b"has gone" in hub["calc"].answered[0][2]
        now(hub).ask(TOWN)
        assert b"takes no question" in hub["calc"].answered[1][2]
        again = await back(client, told.last_id)
        now(hub).ask(TOWN)
        assert len(questions(again)) == 1


@virtual_time()
async def test_without_a_stream_nothing_can_come_back_and_nothing_is_asked():
    async with hub_with(Act(OK.reply, after=10 * SECOND)) as hub:
        client = await client_of(hub)
        told = await client.call()
        told.gone()
        now(hub).note(*step(1))
        now(hub).ask(NAME)
        assert b"takes no question" in hub["calc"].answered[0][2]
        await asyncio.sleep(20)
        assert hub.door.desk.store.size == 0
        assert hub.at_rest()


# ---------------------------------------------------------------- whose stream it is (A17)


@virtual_time()
async def test_an_id_opens_nothing_for_another_session_or_another_user():
    async with hub_with(Act(OK.reply, after=SECOND, notes=[step(1)])) as hub:
        client, other = await client_of(hub), await client_of(hub)
        foreign = await client_of(hub, caller=BERT)
        told = await client.call(message_id="secret")
        await asyncio.sleep(1)
        seen = told.blocks[0]["id"]
        for stranger in (other, foreign):
            got = await back(stranger, seen)
            assert got.over
            assert [event.get("error", {}).get("code") for event in got.events] == [-31007]
            assert b"content" not in b"".join(got.chunks)
        stolen = await back(foreign, seen, session=client.session)
        assert (stolen.status, stolen.streaming) == (404, False)
        assert (await back(client, seen)).result["content"]


@virtual_time()
async def test_an_id_is_of_one_stream_among_many():
    async with hub_with(HANGS) as hub:
        client = await client_of(hub)
        first, second = await client.call(message_id=1), await client.call(message_id=2)
        one, two = sorted(hub["calc"].flying, key=lambda attempt: attempt.receiver.started)
        one.note(*step(1))
        two.note(*step(2))
        seen = first.blocks[0]["id"]
        first.gone()
        second.gone()
        again = await back(client, seen)
        one.end(OK.reply)
        two.end(error(-1).reply)
        assert again.json["id"] == 1
        assert numbers(again) == [1]
        other = await back(client, second.blocks[0]["id"])
        assert other.json["id"] == 2
        assert numbers(other) == [2]


@virtual_time()
async def test_the_end_of_a_session_is_the_end_of_its_streams():
    async with hub_with(Act(OK.reply, after=20 * SECOND, notes=[step(1)])) as hub:
        client = await client_of(hub)
        done, running = await client.call(), await client.call()
        await asyncio.sleep(20)
        running = await client.call()
        headers = [(b"mcp-session-id", client.session)]
        assert (await hub(post(b"", headers, PATH, method="DELETE"))).status == 204
        assert hub.door.desk.store.size == 0
        assert (await back(client, done.last_id)).status == 404
        await asyncio.sleep(1)
        assert running.over
        assert hub.door.desk.store.size == 0


@pytest.mark.parametrize(
    "seen", [b"7", b"a.b.c", b"a.1.!", b"a.1.eyJ9", b"\xff", b"a.1.W10", b"x" * 5_000]
)
def test_an_id_that_the_hub_never_made_is_ignored(seen):
    @virtual_time()
    async def run():
        async with hub_with(OK) as hub:
            client = await client_of(hub)
            news = await back(client, seen)
            assert (news.status, news.over) == (200, False)

    run()


@virtual_time()
async def test_a_stream_of_another_process_is_told_to_be_lost():
    """The id says which request it was, so that its client need not wait for its own timeout."""
    async with hub_with(HANGS) as hub:
        client = await client_of(hub)
        told = await client.call(message_id="x-1")
        now(hub).note(*step(1))
        async with hub_with(OK) as second:
            moved = OldClient(second, client.session, PATH, told.caller)
            lost = await back(moved, told.last_id)
            assert lost.over
            assert lost.json["id"] == "x-1"
            assert lost.code == -31007
            assert (await moved.call()).result["content"]


# ---------------------------------------------------------------- bounds


@virtual_time()
async def test_what_does_not_fit_is_told_to_be_missing():
    limits = LimitSettings(resume_stream_bytes=2_048)
    async with hub_with(HANGS, limits=limits) as hub:
        client = await client_of(hub)
        told = await client.call()
        for number in range(20):
            now(hub).note(*step(number))
        again = await back(client, told.blocks[0]["id"])
        kept = numbers(again)
        assert kept == list(range(20 - len(kept), 20))
        assert 2 < len(kept) < 20
        assert b": %d events are not kept any more\n\n" % (20 - len(kept)) in again.chunks
        assert numbers(told) == list(range(20))


@virtual_time()
async def test_an_answer_that_is_too_large_to_keep_arrives_and_is_lost_only_when_missed():
    big = result(b'{"content":[{"type":"text","text":"%b"}]}' % (b"x" * 4_000))
    limits = LimitSettings(resume_stream_bytes=2_048)
    async with hub_with(Act(big.reply, after=SECOND, notes=[step(1)]), limits=limits) as hub:
        client = await client_of(hub)
        told = await client.call()
        await asyncio.sleep(1)
        assert len(told.result["content"][0]["text"]) == 4_000
        assert (await back(client, told.blocks[0]["id"])).code == -31007


# ---------------------------------------------------------------- clients that poll


@virtual_time()
async def test_a_client_that_names_streams_first_gets_one_for_what_the_hub_knows_itself():
    async with hub_with(OK) as hub:
        client = await client_of(hub)
        told = await hub(streams_first(client, 1, "tools/list", {}))
        assert told.streaming
        assert told.over
        assert told.result["tools"]
        assert hub.door.desk.store.size == 0


@virtual_time()
async def test_a_client_that_names_streams_first_comes_back_for_what_takes_its_time():
    async with hub_with(later(OK, 100 * MILLISECOND)) as hub:
        client = await client_of(hub)
        told = hub.send(streams_first(client))
        await asyncio.sleep(0.049)
        assert not told.streaming
        await asyncio.sleep(0.002)
        assert told.over
        first, then = told.blocks
        assert (first["data"], first["retry"]) == (b"", b"1000")
        assert then == {"retry": b"100"}
        again = await back(client, first["id"])
        assert again.over
        assert again.result["content"]
        assert hub["calc"].executed("add") == 1


@virtual_time()
async def test_a_client_that_polls_is_let_go_once():
    async with hub_with(later(OK, 10 * SECOND)) as hub:
        client = await client_of(hub)
        told = await hub(streams_first(client))
        again = await back(client, told.last_id, seconds=9)
        assert not again.over
        await asyncio.sleep(1)
        assert again.result["content"]


@virtual_time()
async def test_a_quick_answer_is_one_event_for_a_client_that_polls():
    async with hub_with(later(OK, 49 * MILLISECOND)) as hub:
        client = await client_of(hub)
        told = await hub(streams_first(client))
        (block,) = told.blocks
        assert block["message"]["result"]["content"]
        assert "id" not in block
        assert hub.door.desk.store.size == 0


@virtual_time()
async def test_a_client_that_polls_and_goes_before_it_is_let_go_cannot_come_back():
    async with hub_with(later(OK, SECOND)) as hub:
        client = await client_of(hub)
        told = hub.send(streams_first(client))
        told.gone()
        await asyncio.sleep(2)
        assert not told.streaming
        assert hub["calc"].executed("add") == 1


@virtual_time()
async def test_who_comes_back_for_a_stream_that_is_not_let_go_yet_is_not_let_go():
    async with hub_with(later(OK, SECOND)) as hub:
        client = await client_of(hub)
        told = hub.send(streams_first(client))
        now(hub).note(*step(1))
        again = await back(client, told.last_id, seconds=0.2)
        assert not again.over
        await asyncio.sleep(1)
        assert again.result["content"]


@virtual_time()
async def test_an_older_client_cannot_poll_and_is_not_let_go():
    async with hub_with(later(OK, SECOND)) as hub:
        client = await client_of(hub, "2025-06-18")
        told = await hub(streams_first(client), 2)
        assert told.over
        assert told.result["content"]


@pytest.mark.parametrize(
    ("accept", "streaming"),
    [
        (b"application/json, text/event-stream", False),
        (b"application/json,text/event-stream", False),
        (b"text/event-stream,application/json", True),
        (b"Text/Event-Stream; charset=utf-8, Application/JSON", True),
        (b"text/event-stream", True),
        (b"application/json", False),
        (b"*/*", False),
        (b"text/event-stream;q=0.5, application/json", False),
    ],
)
def test_who_prefers_streams(accept, streaming):
    @virtual_time()
    async def run():
        async with hub_with(OK) as hub:
            client = await client_of(hub)
            request = streams_first(client, 1, "ping", {})
            headers = [pair for pair in request.request.headers if pair[0] != b"accept"]
            told = await hub(post(request.request.body, [*headers, (b"accept", accept)], PATH))
            assert told.streaming is streaming
            assert told.result == {}

    run()
