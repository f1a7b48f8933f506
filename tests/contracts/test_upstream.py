"""What ports.Upstream promises, of every implementation and of the fake that stands in for them.

A test of the waist is worth no more than the fake that it is run with.
"""

import asyncio

import pytest
from msgspec import json
from support import upstream_subjects
from support.stdio_hub import text_of

from agenthub.domain.judge import judge
from agenthub.domain.outcome import Cause, Certainty, Ending, Written

FORMS = upstream_subjects.FORMS
KINDS = ["fake", "stdio", "http", "private_stdio", "private_http"]


@pytest.fixture(params=KINDS)
def make(request):
    return getattr(upstream_subjects, request.param)


@pytest.fixture
async def subject(make):
    """Started and connected; its client can be asked by form."""
    async with make(FORMS, there=True) as subject:
        subject.upstream.start()
        await subject.watcher.until("connected")
        yield subject


async def ended(receiver, seconds=10):
    return await asyncio.wait_for(asyncio.shield(receiver.reply), seconds)


@pytest.mark.parametrize(
    ("tool", "ending", "certainty"),
    [
        ("echo", Ending.RESULT, Certainty.DONE_OK),
        ("tool_error", Ending.RESULT, Certainty.DONE_ERR),
        ("refuse", Ending.ERROR, Certainty.REFUSED),
        ("inside", Ending.ERROR, Certainty.UNKNOWN),
        ("die", Ending.LOST, Certainty.UNKNOWN),
        ("shape", Ending.PROTOCOL, Certainty.UNKNOWN),
        ("huge", Ending.TOO_LARGE, Certainty.UNKNOWN),
    ],
)
async def test_how_an_attempt_ends_and_whether_it_may_have_run(subject, tool, ending, certainty):
    receiver, _ = subject.begin(tool)
    reply = await ended(receiver)
    assert (reply.ending, reply.written) == (ending, Written.ALL)
    assert judge(reply, None).certainty is certainty
    assert bool(reply.loss) == (ending is Ending.LOST)
    assert bool(reply.result) == (ending is Ending.RESULT)
    assert bool(reply.error) == (ending is Ending.ERROR)


async def test_what_a_server_says_of_an_error_comes_as_it_said_it(subject):
    reply = await ended(subject.begin("refuse")[0])
    assert (reply.code, json.decode(reply.error)["code"]) == (-32602, -32602)


async def test_an_attempt_that_reached_nobody_was_not_sent(make):
    async with make(FORMS, there=False) as subject:
        subject.upstream.start()
        reply = await ended(subject.begin("echo")[0])
        assert (reply.ending, reply.written) == (Ending.UNREACHED, Written.NONE)
        assert judge(reply, None).certainty is Certainty.NOT_SENT
        await subject.watcher.until("unreachable")
        assert not subject.upstream.state.connected


@pytest.mark.parametrize("cause", [Cause.CLIENT, Cause.DEADLINE])
async def test_a_cancelled_attempt_ends_soon_once_and_as_such(subject, cause):
    """P17: within 250 ms; R14: the hub knows the cause, the adapter what had been written."""
    receiver, attempt = subject.begin("hold")
    await asyncio.sleep(0.3)
    attempt.cancel(cause)
    attempt.cancel(cause)
    reply = await ended(receiver, 0.25)
    assert (reply.ending, reply.written) == (Ending.CANCELLED, Written.ALL)
    assert judge(reply, cause).certainty is Certainty.UNKNOWN
    attempt.cancel(cause)
    assert text_of(await ended(subject.begin("echo")[0])) == "5", "others go on"


async def test_to_cancel_what_is_over_is_nothing(subject):
    receiver, attempt = subject.begin("echo")
    reply = await ended(receiver)
    attempt.cancel(Cause.CLIENT)
    await asyncio.sleep(0.05)
    assert receiver.reply.result() is reply


async def test_one_that_hangs_holds_up_no_other(subject):
    receiver, _ = subject.begin("hold")
    assert text_of(await ended(subject.begin("echo")[0])) == "5"
    assert not receiver.reply.done()


async def test_notifications_come_in_order_before_the_end_under_the_clients_token(subject):
    receiver, _ = subject.begin("notes", {"progressToken": "mine"})
    await ended(receiver)
    assert {method for method, _ in receiver.notes} == {"notifications/progress"}
    params = [json.decode(params) for _, params in receiver.notes]
    assert params == [{"progressToken": "mine", "progress": step} for step in (1, 2, 3)]


@pytest.mark.parametrize(
    ("result", "error", "heard"),
    [
        (b'{"action":"accept"}', b"", {"result": {"action": "accept"}}),
        (b"", b'{"code":-1,"message":"no"}', {"error": {"code": -1, "message": "no"}}),
    ],
    ids=["answer", "error"],
)
async def test_a_question_waits_for_its_answer_and_takes_one(subject, result, error, heard):
    receiver, attempt = subject.begin("ask")
    (question,) = await receiver.until_asked()
    assert question.method == "elicitation/create"
    assert json.decode(question.params) == upstream_subjects.PARAMS
    attempt.answer("another", b'{"action":"decline"}')
    await asyncio.sleep(0.1)
    assert not receiver.reply.done()
    attempt.answer(question.id, result, error)
    attempt.answer(question.id, b'{"action":"decline"}')
    reply = await ended(receiver)
    attempt.answer(question.id, b'{"action":"decline"}')
    assert subject.answer_heard(reply) == heard


async def test_what_the_client_did_not_declare_is_refused_and_the_call_goes_on(make):
    async with make(b"{}", there=True) as subject:
        subject.upstream.start()
        await subject.watcher.until("connected")
        receiver, _ = subject.begin("ask")
        reply = await ended(receiver)
        assert receiver.questions == []
        assert subject.answer_heard(reply)["error"]["code"] == -32601


async def test_a_call_whose_client_is_asked_can_be_cancelled(subject):
    receiver, attempt = subject.begin("ask")
    (question,) = await receiver.until_asked()
    attempt.cancel(Cause.CLIENT)
    assert (await ended(receiver, 0.25)).ending is Ending.CANCELLED
    attempt.answer(question.id, b"{}")


async def test_closing_ends_what_is_under_way_as_unknown_and_can_be_repeated(subject):
    receiver, _ = subject.begin("hold")
    await asyncio.sleep(0.3)
    async with asyncio.timeout(5):
        await subject.upstream.close()
        await subject.upstream.close()
    reply = await ended(receiver)
    assert judge(reply, None).certainty is Certainty.UNKNOWN
    assert not subject.upstream.state.connected
