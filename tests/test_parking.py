"""Calls in the middle of which the server asks the client: none of their clocks runs then."""

import asyncio

import pytest
from msgspec import Raw, structs
from support.fake_upstream import OK, Act
from support.house import ANNA, BERT, Heard, house, server
from support.virtual_time import settled, virtual_time

from agenthub.domain.breaker_record import State
from agenthub.domain.errors import InvalidParams
from agenthub.domain.outcome import Cause
from agenthub.domain.span import MILLISECOND
from agenthub.gateway import PARKED_MAX
from agenthub.passage import QUESTIONS_MAX
from agenthub.ports import Question

NAME = Question(7, "elicitation/create", b'{"message":"Your name?"}')
TOWN = Question("town", "elicitation/create", b'{"message":"Your town?"}')
ASKS = Act(None, questions=(NAME,), after_answers=1)
ASKS_TWICE = Act(None, questions=(NAME, TOWN), after_answers=2)
SILENT = Act(None, questions=(NAME,))


async def begin_asked(hub, tool="add", **more):
    heard, passage = hub.begin("calculator", tool, **more)
    await asyncio.sleep(0.1)
    assert heard.questions, "the server has asked"
    return heard, passage


@virtual_time()
async def test_the_clients_answer_reaches_the_server_and_the_call_ends():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = ASKS
        heard, passage = await begin_asked(hub)
        assert passage.is_parked
        passage.answer(7, b'{"action":"accept"}')
        assert not passage.is_parked
        await asyncio.sleep(0.1)
        assert hub["calculator"].answered == [(7, b'{"action":"accept"}', b"")]
        assert heard.answer.error is None
        assert hub.at_rest()


@virtual_time()
async def test_the_time_a_client_takes_is_no_time_of_the_call():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = ASKS
        heard, passage = await begin_asked(hub, seconds=5)
        await asyncio.sleep(300)
        assert passage.is_parked
        passage.answer(7, b"{}")
        await asyncio.sleep(0.1)
        assert heard.answer.error is None
        lane = hub.catalog.find("calculator", ANNA).lane
        assert lane.typical("add") < 200 * MILLISECOND
        assert lane.breaker.state is State.CLOSED


@virtual_time()
async def test_after_the_answer_the_rest_of_the_calls_time_counts():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = SILENT
        heard, passage = await begin_asked(hub, seconds=5)
        await asyncio.sleep(300)
        passage.answer(7, b"{}")
        await asyncio.sleep(4)
        assert not heard.answers
        await asyncio.sleep(2)
        assert heard.answer.error.slug == "outcome_unknown"
        assert hub.at_rest()


@virtual_time()
async def test_many_calls_that_wait_for_clients_open_no_breaker():
    async with house(server("calculator", concurrency=80, private_sessions=80)) as hub:
        hub["calculator"].answers["add"] = ASKS
        waiting = [await begin_asked(hub) for _ in range(30)]
        await asyncio.sleep(300)
        assert hub.catalog.find("calculator", ANNA).lane.breaker.state is State.CLOSED
        for _, passage in waiting:
            passage.cancel(Cause.CLIENT)
        await settled()
        assert hub.catalog.find("calculator", ANNA).lane.breaker.state is State.CLOSED
        assert hub.at_rest()


@virtual_time()
async def test_a_client_that_never_answers_costs_a_bounded_time_and_no_breaker_anything():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = SILENT
        for _ in range(10):
            heard, _ = await begin_asked(hub)
            await asyncio.sleep(599)
            assert not heard.answers
            await asyncio.sleep(2)
            assert heard.answer.error is not None
        assert hub.catalog.find("calculator", ANNA).lane.breaker.state is State.CLOSED
        assert hub.at_rest()


@virtual_time()
async def test_a_call_waits_until_all_questions_are_answered():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = ASKS_TWICE
        heard, passage = await begin_asked(hub)
        passage.answer("town", b'{"a":1}')
        assert passage.is_parked
        passage.answer(7, b"", b'{"code":-1,"message":"no"}')
        assert not passage.is_parked
        await asyncio.sleep(0.1)
        assert hub["calculator"].answered == [
            ("town", b'{"a":1}', b""),
            (7, b"", b'{"code":-1,"message":"no"}'),
        ]
        assert heard.answer.error is None


@virtual_time()
async def test_an_answer_counts_once_and_only_to_an_open_question():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = ASKS
        heard, passage = await begin_asked(hub)
        passage.answer(8, b"{}")
        passage.answer("7", b"{}")
        assert passage.is_parked
        passage.answer(7, b"{}")
        passage.answer(7, b"{}")
        await asyncio.sleep(0.1)
        passage.answer(7, b"{}")
        assert len(hub["calculator"].answered) == 1
        assert len(heard.answers) == 1


@virtual_time()
async def test_a_server_that_ends_without_waiting_for_the_answer_ends_the_call():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = Act(OK.reply, 300 * MILLISECOND, questions=(NAME,))
        heard, passage = await begin_asked(hub)
        await asyncio.sleep(1)
        assert heard.answer.error is None
        assert not passage.is_parked
        assert hub.at_rest()


@virtual_time()
async def test_a_server_that_dies_while_it_waits_is_never_asked_again():
    async with house(server("calculator", attempts=3, trust=True)) as hub:
        hub["calculator"].answers["add"] = ASKS
        heard, _ = await begin_asked(hub)
        hub["calculator"].die()
        hub["calculator"].revive()
        await asyncio.sleep(10)
        assert heard.answer.error.slug == "outcome_unknown"
        assert hub["calculator"].executed("add") == 1
        assert hub.at_rest()


@virtual_time()
async def test_cancelling_a_call_that_waits_for_its_client_tells_the_server():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = ASKS
        heard, passage = await begin_asked(hub)
        passage.cancel(Cause.CLIENT)
        await settled()
        await asyncio.sleep(0.1)
        assert heard.answers
        assert not hub["calculator"].flying
        assert hub.at_rest()


@virtual_time()
async def test_a_question_that_comes_with_the_cancelling_is_not_put():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = SILENT
        heard, passage = hub.begin("calculator", "add")
        attempt = next(iter(hub["calculator"].flying))
        passage.cancel(Cause.CLIENT)
        passage.asked(TOWN)
        assert not heard.questions
        await asyncio.sleep(0.1)
        passage.asked(attempt and NAME)
        assert not heard.questions


@virtual_time()
async def test_one_caller_cannot_hold_all_places_with_questions():
    places = PARKED_MAX + 10
    async with house(server("calculator", concurrency=300, private_sessions=300)) as hub:
        hub["calculator"].answers["add"] = ASKS
        begun = [hub.begin("calculator", "add") for _ in range(places)]
        await asyncio.sleep(1)
        assert sum(1 for _, passage in begun if passage.is_parked) == PARKED_MAX
        refused = [error for _, _, error in hub["calculator"].answered]
        assert len(refused) == 10
        assert all(b"Too many questions" in error for error in refused)
        heard = Heard()
        other = hub.call("calculator", "add", caller=BERT)
        passage = hub.gateway.start(other, heard)
        await asyncio.sleep(1)
        assert passage.is_parked
        await hub.gateway.drain(0)
        assert hub.at_rest()


@virtual_time()
@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"concurrency": 8}, 4), ({"concurrency": 8, "private_sessions": 4}, 2),
        ({"concurrency": 3}, 1), ({}, 18),
    ],
)  # fmt: skip
async def test_one_caller_cannot_hold_all_of_a_server_with_questions(settings, most):
    async with house(server("calculator", **settings), "other") as hub:
        hub["calculator"].answers["add"] = hub["other"].answers["add"] = ASKS
        parked = [await begin_asked(hub) for _ in range(most)]
        late, passage = hub.begin("calculator", "add")
        await asyncio.sleep(1)
        assert not late.questions
        assert b"Too many questions" in hub["calculator"].answered[0][2]
        bert = Heard()
        hub.gateway.start(hub.call("calculator", "add", caller=BERT), bert)
        elsewhere, _ = hub.begin("other", "add")
        await asyncio.sleep(1)
        assert bert.questions
        assert elsewhere.questions, "another server has seats of its own"
        passage.cancel(Cause.CLIENT)
        parked[0][1].cancel(Cause.CLIENT)
        await asyncio.sleep(1)
        await begin_asked(hub)


@virtual_time()
@pytest.mark.parametrize(("seats", "most"), [(8, 6), (4, 3), (2, 1)])
async def test_many_callers_together_leave_seats_to_calls_that_ask_nothing(seats, most):
    """Whoever holds two keys holds no more of a small server than who holds a hundred."""
    async with house(server("calculator", concurrency=seats)) as hub:
        fake = hub["calculator"]
        fake.answers["add"] = ASKS
        callers = [structs.replace(ANNA, id=f"key-{number}") for number in range(2 * seats)]
        begun = [hub.begin("calculator", "add", caller=caller) for caller in callers]
        await asyncio.sleep(1)
        assert sum(passage.is_parked for _, passage in begun) == most
        assert len(fake.answered) == 2 * seats - most
        assert all(b"Too many questions" in error for _, _, error in fake.answered)
        fake.answers["add"] = OK
        assert (await hub.ask("calculator", "add")).error is None
        await hub.gateway.drain(0)
        assert hub.at_rest()


@virtual_time()
async def test_a_hub_that_stops_waits_for_no_client():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = ASKS
        heard, _ = await begin_asked(hub)
        before = hub.clock.now()
        await hub.gateway.drain(20_000 * MILLISECOND)
        assert hub.clock.now() - before < 1_000 * MILLISECOND
        assert heard.answers


@virtual_time()
async def test_a_hub_that_stops_lets_no_call_begin_to_wait():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = Act(
            None, questions=(structs.replace(NAME),), after_answers=1
        )
        heard, _ = hub.begin("calculator", "add")
        await hub.gateway.drain(20_000 * MILLISECOND)
        assert not heard.questions
        assert b"Too many" in hub["calculator"].answered[0][2]


@virtual_time()
async def test_a_question_that_cannot_be_put_is_answered_with_an_error():
    class Broken(Heard):
        def asked(self, question, passage):
            raise RuntimeError(question.method)

    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = ASKS
        heard = Broken()
        hub.gateway.start(hub.call("calculator", "add"), heard)
        await asyncio.sleep(0.1)
        assert b"could not be put" in hub["calculator"].answered[0][2]
        assert heard.answer.error is None


@virtual_time()
async def test_who_awaits_a_call_is_never_asked():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = ASKS
        answer = await hub.ask("calculator", "add")
        assert answer.error is None
        assert b"could not be put" in hub["calculator"].answered[0][2]


@virtual_time()
async def test_an_answer_goes_to_the_server_that_asked_even_if_it_is_a_fallback():
    async with house(server("calculator", fallbacks=("twin",)), "twin") as hub:
        call = structs.replace(hub.call("calculator", "add"), only="twin")
        async with hub.gateway.open(call) as stream:
            assert (await stream.end()).served_by == "twin"
        assert hub["calculator"].executed("add") == 0


@virtual_time()
async def test_an_answer_for_a_server_that_is_gone_is_refused_in_words():
    async with house("calculator") as hub:
        call = structs.replace(hub.call("calculator", "add"), only="twin")
        with pytest.raises(InvalidParams, match="not there any more"):
            hub.gateway.start(call, Heard())


def test_the_rounds_of_one_call_have_one_digest():
    async def run():
        async with house("calculator") as hub:
            call = hub.call("calculator", "add", a=1)
            answers = {"inputResponses": Raw(b"{}"), "requestState": Raw(b'"x"')}
            later = structs.replace(call, params={**call.params, **answers})
            other = hub.call("calculator", "add", a=2)
            assert call.digest() == later.digest() != other.digest()

    virtual_time()(run)()


@virtual_time()
async def test_a_server_may_not_ask_without_end_in_one_call():
    flood = tuple(Question(number, NAME.method, NAME.params) for number in range(QUESTIONS_MAX + 9))
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = Act(None, questions=flood)
        heard, _ = await begin_asked(hub)
        assert len(heard.questions) == QUESTIONS_MAX
        assert len(hub["calculator"].answered) == 9
        assert all(b"Too many" in error for _, _, error in hub["calculator"].answered)
