"""An old server on a pipe asks its client: real processes, one for each caller who can be asked."""

import asyncio

import msgspec
import pytest
from support.stdio_hub import House, Receiver, alive, outgoing, server, text_of, until

from agenthub.domain.call import Era
from agenthub.domain.outcome import Cause, Ending, Written
from agenthub.outbound.asking import ASKED_MAX, OPEN_MAX
from agenthub.outbound.private_sessions import PrivateSessions
from agenthub.tasks import Tasks

ALL = b'{"elicitation":{},"roots":{},"sampling":{}}'
LOG_LEVEL = "io.modelcontextprotocol/logLevel"


def asking(declared=ALL):
    return House(server("asking"), declared=declared)


async def ask(house, tool, meta=None, **arguments):
    """The attempt, and its first question."""
    receiver, attempt = house.begin(tool, meta, **arguments)
    await receiver.until_asked()
    return receiver, attempt, receiver.questions[0]


async def test_the_server_is_told_at_once_what_this_client_answers():
    async with asking(b'{"roots":{"listChanged":true}}') as house:
        await house.up()
        about = msgspec.json.decode(text_of(await house.call("about")))
        assert about["declared"] == [{"roots": {"listChanged": True}}]
        assert house.upstream.state.era is Era.LEGACY


@pytest.mark.parametrize(
    ("tool", "method"),
    [
        ("elicit", "elicitation/create"),
        ("sample", "sampling/createMessage"),
        ("roots", "roots/list"),
    ],
)
@pytest.mark.parametrize("server_id", [0, 7, "q", ""])
async def test_the_clients_answer_reaches_the_tool_that_asked(tool, method, server_id):
    async with asking() as house:
        receiver, attempt, question = await ask(house, tool, id=server_id)
        assert question.method == method
        attempt.answer(question.id, b'{\n "x" : [1.50, "\\u00e9"]\r\n}')
        answer = msgspec.json.decode(text_of(await receiver.reply))
        assert answer == {"result": {"x": [1.5, "é"]}}


async def test_an_error_of_the_client_reaches_the_tool():
    async with asking() as house:
        receiver, attempt, question = await ask(house, "elicit")
        attempt.answer(question.id, b"", b'{"code":-1,"message":"no"}')
        assert msgspec.json.decode(text_of(await receiver.reply)) == {
            "error": {"code": -1, "message": "no"}
        }


async def test_several_questions_are_open_at_a_time_and_answered_in_any_order():
    async with asking() as house:
        receiver, attempt = house.begin("all")
        questions = await receiver.until_asked(3)
        for question in reversed(questions):
            attempt.answer(question.id, msgspec.json.encode({"for": question.method}))
        assert msgspec.json.decode(text_of(await receiver.reply)) == {
            "elicit": {"for": "elicitation/create"},
            "sample": {"for": "sampling/createMessage"},
            "roots": {"for": "roots/list"},
        }


async def test_progress_and_logs_of_the_call_come_at_the_clients_own_level():
    async with asking() as house:
        await house.up()
        meta = {"progressToken": "mine", LOG_LEVEL: "info"}
        receiver, attempt, question = await ask(house, "elicit", meta)
        attempt.answer(question.id, b"{}")
        await receiver.reply
        assert [method for method, _ in receiver.notes] == [
            "notifications/progress", "notifications/message",
        ]  # fmt: skip
        assert b'"mine"' in receiver.notes[0][1]
        about = msgspec.json.decode(text_of(await house.call("about")))
        assert about["levels"] == ["info"]


@pytest.mark.parametrize(("tool", "code"), [("url", -32602), ("sample", -32601)])
async def test_what_the_client_did_not_declare_is_refused_and_the_call_goes_on(tool, code):
    async with asking(b'{"elicitation":{}}') as house:
        receiver, _ = house.begin(tool)
        answer = msgspec.json.decode(text_of(await receiver.reply))
        assert answer["error"]["code"] == code
        assert receiver.questions == []


async def test_an_id_that_is_used_again_gets_no_other_questions_answer():
    async with asking() as house:
        receiver, attempt = house.begin("reuse")
        harmless, dangerous = await receiver.until_asked(2)
        attempt.answer(harmless.id, b'{"action":"accept"}')
        await asyncio.sleep(0.1)
        assert not receiver.reply.done()
        attempt.answer(dangerous.id, b'{"action":"decline"}')
        assert "decline" in text_of(await receiver.reply)


async def test_an_id_that_is_open_twice_is_one_question():
    async with asking() as house:
        receiver, attempt, question = await ask(house, "twice")
        attempt.answer(question.id, b'{"a":1}')
        assert msgspec.json.decode(text_of(await receiver.reply)) == {"result": {"a": 1}}
        assert len(receiver.questions) == 1


async def test_ten_thousand_questions_end_the_call_and_not_the_hub():
    async with asking() as house:
        await house.up()
        receiver, _ = house.begin("flood", count=10_000)
        reply = await receiver.reply
        assert (reply.ending, reply.written) == (Ending.PROTOCOL, Written.ALL)
        assert "more than its client can answer" in reply.detail
        assert len(receiver.questions) == OPEN_MAX < ASKED_MAX


async def test_an_answer_after_the_end_of_the_call_is_nothing():
    async with asking() as house:
        receiver, attempt, question = await ask(house, "forget")
        assert text_of(await receiver.reply) == "not waited for"
        attempt.answer(question.id, b"{}")
        receiver, attempt, question = await ask(house, "elicit", id=5)
        attempt.cancel(Cause.CLIENT)
        assert receiver.reply.result().ending is Ending.CANCELLED
        attempt.answer(question.id, b"{}")
        assert text_of(await house.call("next")) == "next"


@pytest.mark.parametrize(("era", "heard"), [(Era.LEGACY, 1), (Era.MODERN, 0)])
async def test_an_old_client_hears_that_it_is_done_on_the_web_page(era, heard):
    async with asking(b'{"elicitation":{"url":{}}}') as house:
        await house.up()
        receiver = Receiver()
        out = msgspec.structs.replace(outgoing("done_on_page"), era=era)
        house.upstream.send(out, receiver)
        await receiver.reply
        done = ("notifications/elicitation/complete", b'{"elicitationId": "e1"}')
        assert receiver.notes == [done] * heard
        assert house.watcher.heard == [("connected",)]


# ---------------------------------------------------------------- processes of callers


class Private:
    """A server's private sessions, over real processes."""

    def __init__(self, limit=4):
        self.house = House(server("asking"))
        self.upstream = PrivateSessions(
            self.make, self.house.watcher, self.house.clock, Tasks(), limit
        )

    def make(self, watcher, declared):
        one = self.house
        made = House(one.endpoint.command, declared=declared).upstream
        made._watcher, made._way._nursery = watcher, one.nursery
        return made

    async def __aenter__(self):
        self.upstream.start()
        await self.house.watcher.until("connected")
        return self

    async def __aexit__(self, *_):
        await self.upstream.close()
        await self.house.nursery.close()

    def begin(self, tool, principal="anna", **arguments):
        receiver = Receiver()
        out = outgoing(tool, **arguments)
        out = msgspec.structs.replace(out, capabilities=ALL, principal=principal)
        return receiver, self.upstream.send(out, receiver)

    async def about(self, principal):
        receiver, _ = self.begin("about", principal)
        return msgspec.json.decode(text_of(await receiver.reply))


async def test_each_caller_has_a_process_and_asks_cross_nowhere():
    async with Private() as private:
        calls = [(name, *private.begin("elicit", name)) for name in ("anna", "bert", "carl")]
        for name, receiver, attempt in calls:
            (question,) = await receiver.until_asked()
            attempt.answer(question.id, msgspec.json.encode({"name": name}))
        for name, receiver, _ in calls:
            answer = msgspec.json.decode(text_of(await receiver.reply))
            assert answer == {"result": {"name": name}}
        pids = {(await private.about(name))["pid"] for name in ("anna", "bert", "carl")}
        assert len(pids) == 3
        assert private.upstream.state.pid not in pids
        assert (await private.about("anna"))["pid"] in pids


async def test_a_process_that_dies_in_a_call_ends_that_call_only():
    async with Private() as private:
        other, attempt = private.begin("elicit", "bert")
        (question,) = await other.until_asked()
        receiver, _ = private.begin("die")
        reply = await receiver.reply
        assert (reply.ending, reply.loss) == (Ending.LOST, -1)
        attempt.answer(question.id, b"{}")
        assert (await other.reply).ending is Ending.RESULT
        assert private.house.watcher.count("lost") == 0
        assert (await private.about("anna"))["declared"] == [msgspec.json.decode(ALL)]


async def test_a_cancelled_calls_process_is_ended_and_leaves_no_orphan():
    async with Private(limit=1) as private:
        pid = (await private.about("anna"))["pid"]
        receiver, attempt = private.begin("hold")
        attempt.cancel(Cause.CLIENT)
        assert receiver.reply.result().ending is Ending.CANCELLED
        await until(lambda: not alive(pid))
        assert (await private.about("anna"))["pid"] != pid
