"""Questions to clients of the old era, live: from old servers on the request's own stream."""

import asyncio

import msgspec
import pytest
from support.asking import (
    ACCEPT,
    ADD,
    NAME,
    PATH,
    ROOTS,
    TOWN,
    asks_live,
    notes,
    old_client,
    questions,
)
from support.exchange import post
from support.fake_upstream import OK, Act
from support.house import BERT, server
from support.mcp_hub import doors
from support.virtual_time import virtual_time

from agenthub.domain.span import MILLISECOND
from agenthub.inbound.mcp.dialogue.questions import GONE, Questions
from agenthub.ports import Question
from agenthub.wire.jsonrpc import read_message, result_message


def hub_with(*acts, **more):
    answers = list(acts)

    def prepare(fake):
        fake.answers["add"] = answers

    return doors(server("calc", **more), prepare={"calc": prepare})


@virtual_time()
async def test_a_question_goes_to_the_client_on_the_calls_stream_and_its_answer_back():
    async with hub_with(asks_live(NAME)) as hub:
        client = await old_client(hub)
        asked = await client.call()
        (question,) = questions(asked)
        assert question["method"] == "elicitation/create"
        assert question["params"]["message"] == "Your name?"
        assert question["id"] != NAME.id
        assert dict(asked.headers)[b"content-type"] == b"text/event-stream"
        taken = await client.answer(question)
        assert (taken.status, taken.body) == (202, b"")
        assert hub["calc"].answered == [(7, msgspec.json.encode(ACCEPT), b"")]
        assert asked.result["content"] == [{"type": "text", "text": "5"}]
        assert asked.over
        assert hub.at_rest()


@virtual_time()
async def test_several_questions_are_answered_in_any_order():
    async with hub_with(asks_live(NAME, TOWN)) as hub:
        client = await old_client(hub)
        asked = await client.call()
        for question in reversed(questions(asked)):
            await client.answer(question)
        assert {one[0] for one in hub["calc"].answered} == {7, "town"}
        assert asked.over


@virtual_time()
async def test_an_error_of_the_client_reaches_the_server_as_an_error():
    async with hub_with(asks_live(NAME)) as hub:
        client = await old_client(hub)
        asked = await client.call()
        await client.answer(questions(asked)[0], error={"code": -1, "message": "no"})
        assert hub["calc"].answered == [(7, b"", b'{"code":-1,"message":"no"}')]


@pytest.mark.parametrize("wrong", [7, None, "x", [1]])
def test_an_answer_that_is_no_object_is_an_error_to_the_server(wrong):
    @virtual_time()
    async def run():
        async with hub_with(asks_live(NAME)) as hub:
            client = await old_client(hub)
            asked = await client.call()
            await client.answer(questions(asked)[0], wrong)
            ((_, result, error),) = hub["calc"].answered
            assert result == b""
            assert b"no object" in error

    run()


@virtual_time()
async def test_answers_of_others_unknown_ones_and_second_ones_change_nothing():
    """A15, A40."""
    async with hub_with(asks_live(NAME, ends_after=9)) as hub:
        client, other = await old_client(hub), await old_client(hub)
        foreign = await old_client(hub, caller=BERT)
        asked = await client.call()
        (question,) = questions(asked)
        for stranger in (other, foreign):
            assert (await stranger.answer(question)).status == 202
        assert (await foreign.answer(question, session=client.session)).status == 404
        for wrong in (7, "7", "nobody's", 0):
            assert (await client.answer({"id": wrong})).status == 202
        assert not hub["calc"].answered
        await client.answer(question)
        await client.answer(question, {"action": "decline"})
        assert [one[1] for one in hub["calc"].answered] == [msgspec.json.encode(ACCEPT)]
        assert not asked.over


@virtual_time()
async def test_an_answer_without_its_session_reaches_nobody():
    async with hub_with(asks_live(NAME)) as hub:
        client = await old_client(hub)
        (question,) = questions(await client.call())
        told = result_message(msgspec.json.encode(question["id"]), b"{}")
        assert (await hub(post(told, path=PATH))).status == 400
        assert not hub["calc"].answered


@virtual_time()
async def test_a_client_that_takes_no_stream_is_not_asked_and_the_server_hears_it():
    async with hub_with(asks_live(NAME)) as hub:
        client = await old_client(hub)
        plain = client.request()
        plain.request = msgspec.structs.replace(
            plain.request,
            headers=((b"accept", b"application/json"), (b"mcp-session-id", client.session)),
        )
        done = await hub(plain)
        assert not done.streaming
        assert done.result["content"]
        assert b"takes no question" in hub["calc"].answered[0][2]


@virtual_time()
async def test_when_the_client_stays_away_the_server_hears_that_nobody_will_answer():
    async with hub_with(asks_live(NAME, ends_after=2)) as hub:
        client = await old_client(hub)
        asked = await client.call()
        asked.gone()
        await asyncio.sleep(59)
        assert not hub["calc"].answered
        await asyncio.sleep(1)
        assert hub["calc"].answered == [(7, b"", GONE)]
        (attempt,) = hub["calc"].flying
        attempt.ask(TOWN)
        await asyncio.sleep(0.1)
        assert b"takes no question" in hub["calc"].answered[1][2]
        await client.answer(questions(asked)[0])
        assert len(hub["calc"].answered) == 2
        assert hub.at_rest()


@virtual_time()
async def test_a_server_may_not_ask_what_the_client_did_not_declare():
    """A35."""
    url = Question(9, "elicitation/create", b'{"mode":"url","url":"https://x.test"}')
    async with hub_with(asks_live(url, ROOTS)) as hub:
        client = await old_client(hub, declared={"elicitation": {}})
        asked = await client.call()
        assert asked.result["content"]
        assert all(b"did not declare" in error for _, _, error in hub["calc"].answered)


@virtual_time()
async def test_cancelling_ends_the_call_and_a_late_answer_is_nothing():
    async with hub_with(asks_live(NAME)) as hub:
        client = await old_client(hub)
        running = await hub(client.request(message_id="m"))
        await client.note("notifications/cancelled", {"requestId": "m"})
        assert running.over
        await client.answer(questions(running)[0])
        assert not hub["calc"].answered
        assert not hub["calc"].flying
        assert hub.at_rest()


@virtual_time()
async def test_an_ended_session_ends_what_it_was_asked_in():
    async with hub_with(asks_live(NAME)) as hub:
        client = await old_client(hub)
        running = await client.call()
        ended = post(b"", [(b"mcp-session-id", client.session)], PATH, method="DELETE")
        assert (await hub(ended)).status == 204
        assert running.over
        assert hub.at_rest()


@virtual_time()
async def test_what_needs_no_answer_any_more_is_taken_back():
    end = Act(OK.reply, 300 * MILLISECOND, questions=(NAME,))
    async with hub_with(end) as hub:
        client = await old_client(hub)
        asked = await client.call()
        await asyncio.sleep(1)
        (question,) = questions(asked)
        (withdrawn,) = notes(asked, "notifications/cancelled")
        assert withdrawn["requestId"] == question["id"]
        assert asked.over


@virtual_time()
async def test_a_client_that_never_answers_costs_a_bounded_time():
    async with hub_with(asks_live(NAME)) as hub:
        client = await old_client(hub)
        asked = await client.call()
        await asyncio.sleep(590)
        assert not asked.over
        await asyncio.sleep(20)
        assert asked.json["error"]
        assert hub.at_rest()


@virtual_time()
async def test_an_old_client_cannot_bring_a_state_and_so_go_round_its_seal():
    """A37."""
    async with hub_with(OK) as hub:
        client = await old_client(hub)
        await client.call({**ADD, "requestState": "s", "inputResponses": {}})
        sent = hub["calc"].sent[-1].params
        assert sent.keys() == {"name", "arguments"}


@virtual_time()
async def test_an_old_client_hears_that_a_page_is_done():
    done = ("notifications/elicitation/complete", b'{"elicitationId":"e"}')
    async with hub_with(Act(OK.reply, 300 * MILLISECOND, notes=(done,))) as hub:
        client = await old_client(hub)
        asked = await client.call()
        assert notes(asked, done[0]) == [{"elicitationId": "e"}]


@virtual_time()
async def test_a_hub_that_stops_ends_calls_that_wait_for_their_client():
    async with hub_with(asks_live(NAME)) as hub:
        client = await old_client(hub)
        asked = await client.call()
        await hub.gateway.drain(20_000 * MILLISECOND)
        assert asked.json["error"]
        assert hub.at_rest()


def test_a_table_gives_up_the_questions_of_one_request_or_of_all():
    heard = []
    table = Questions()
    for owner in ("a", "b", "b", "other"):
        table.put(owner, lambda _, error, owner=owner: heard.append((owner, error)))
    assert len(table) == 4
    table.give_up("a")
    assert heard == [("a", GONE)]
    assert len(table.forget("b")) == 2
    assert len(table) == 1
    table.give_up()
    assert heard[1:] == [("other", GONE)]
    table.answer(read_message(b'{"jsonrpc":"2.0","id":1,"result":{}}'))
    assert len(heard) == 2


def test_an_answer_counts_once_and_no_id_can_be_guessed():
    heard, table = [], Questions()
    ids = [table.put("a", lambda result, error: heard.append((result, error))) for _ in range(2)]
    assert all(len(question_id) == 16 for question_id in ids)
    assert ids[0] != ids[1] != Questions().put("a", lambda result, error: None)
    answer = read_message(b'{"jsonrpc":"2.0","id":"%b","result":{}}' % ids[0].encode())
    table.answer(answer)
    table.answer(answer)
    assert heard == [(b"{}", b"")]
