"""Which session a call goes to, and what becomes of the session: fakes in virtual time."""

import asyncio

import pytest
from msgspec import structs
from support.fake_upstream import HANGS, OK, Act, FakeUpstream, error, lost
from support.virtual_time import LoopClock, settled, virtual_time

from agenthub.domain.call import Era
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.outcome import Cause, Ending, Written
from agenthub.domain.span import SECOND
from agenthub.outbound.private_sessions import IDLE, PrivateSessions
from agenthub.ports import Outgoing, Question
from agenthub.tasks import Tasks

FORMS = b'{"elicitation":{}}'
NAME = Question(1, "elicitation/create", b'{"message":"Your name?"}')
SLOW = Act(OK.reply, 10 * SECOND)


class Receiver:
    def __init__(self):
        self.questions = []
        self.notes = []
        self.replies = []

    def notified(self, method, params):
        self.notes.append((method, params))

    def asked(self, question):
        self.questions.append(question)

    def finished(self, reply):
        self.replies.append(reply)

    @property
    def reply(self):
        (reply,) = self.replies
        return reply


class Watcher:
    def __init__(self):
        self.heard = []

    def changed(self, kind, params):
        self.heard.append(kind)

    def connected(self):
        self.heard.append("connected")

    def lost(self, loss, detail):
        self.heard.append(loss)

    def unreachable(self, detail):
        self.heard.append(detail)


class House:
    def __init__(self, limit=8, era=Era.LEGACY):
        self.clock, self.tasks, self.watcher = LoopClock(), Tasks(), Watcher()
        self.made = []
        self.declared = []
        self.era = era
        self.answer = OK
        self.endpoint = Endpoint("house", url="http://x.test/mcp")
        self.upstream = PrivateSessions(self.make, self.watcher, self.clock, self.tasks, limit)

    def make(self, watcher, declared):
        fake = FakeUpstream(self.endpoint, watcher, self.clock)
        fake.era, fake.otherwise = self.era, self.answer
        self.made.append(fake)
        self.declared.append(declared)
        return fake

    @property
    def shared(self):
        return self.made[0]

    @property
    def private(self):
        return self.made[1:]

    @property
    def open(self):
        return sum(1 for one in self.private if not one.closed)

    async def up(self):
        self.upstream.start()
        await settled()
        await asyncio.sleep(0.01)
        return self

    def begin(self, capabilities=FORMS, principal="anna", method="tools/call", tool="add"):
        receiver = Receiver()
        deadline = self.clock.now() + 60 * SECOND
        out = Outgoing(method, tool, {}, {}, deadline, capabilities, principal=principal)
        attempt = self.upstream.send(out, receiver)
        assert not receiver.replies, "finished from inside send"
        return receiver, attempt

    async def call(self, *args, **more):
        receiver, _ = self.begin(*args, **more)
        await asyncio.sleep(0.1)
        return receiver.reply


async def legacy(limit=8, answer=OK):
    house = House(limit)
    house.answer = answer
    return await house.up()


@virtual_time()
async def test_a_call_whose_client_can_be_asked_has_a_session_that_declares_just_that():
    house = await legacy()
    both = b'{"sampling":{"tools":{}},"experimental":{"x":1},"elicitation":{"url":{}},"roots":null}'
    assert (await house.call(both)).ending is Ending.RESULT
    assert house.declared[1:] == [b'{"elicitation":{"url":{}},"sampling":{"tools":{}}}']
    assert house.shared.executed("add") == 0
    assert house.private[0].executed("add") == 1


@pytest.mark.parametrize("method", ["prompts/get", "resources/read"])
def test_prompts_and_resources_may_ask_too(method):
    async def run():
        house = await legacy()
        await house.call(method=method)
        assert len(house.private) == 1

    virtual_time()(run)()


@pytest.mark.parametrize(
    ("era", "limit", "sent"),
    [
        (Era.MODERN, 8, {}),
        (Era.LEGACY, 0, {}),
        (Era.LEGACY, 8, {"capabilities": b"{}"}),
        (Era.LEGACY, 8, {"capabilities": b'{ "experimental":{}}'}),
        (Era.LEGACY, 8, {"capabilities": b'{"roots":null}'}),
        (Era.LEGACY, 8, {"method": "completion/complete"}),
        (Era.LEGACY, 8, {"method": "tools/list"}),
    ],
)
def test_all_other_calls_share_one_session(era, limit, sent):
    async def run():
        house = await House(limit, era).up()
        await house.call(**sent)
        assert not house.private
        assert len(house.shared.sent) == 1

    virtual_time()(run)()


@virtual_time()
async def test_a_session_is_used_again_by_the_same_caller_with_the_same_abilities():
    house = await legacy()
    for _ in range(3):
        await house.call()
    assert len(house.private) == 1
    await house.call(b'{ "elicitation" : {} }')
    assert len(house.private) == 1, "spelled otherwise, it is the same"


@virtual_time()
async def test_a_session_is_never_another_callers_nor_of_other_abilities():
    house = await legacy()
    await house.call(principal="anna")
    await house.call(principal="bert")
    await house.call(b'{"roots":{}}', principal="anna")
    assert [len(one.sent) for one in house.private] == [1, 1, 1]


@virtual_time()
async def test_calls_at_the_same_time_have_a_session_each_and_the_warmest_is_used_again():
    house = await legacy(answer=SLOW)
    for _ in range(3):
        house.begin()
        await asyncio.sleep(1)
    assert [len(one.flying) for one in house.private] == [1, 1, 1]
    await asyncio.sleep(10)
    house.begin()
    assert len(house.private[2].sent) == 2, "ended last"


@virtual_time()
async def test_a_session_that_nobody_uses_is_closed_after_a_while():
    house = await legacy()
    await house.call()
    await asyncio.sleep(IDLE / SECOND - 1)
    assert house.open == 1
    await house.call()
    await asyncio.sleep(IDLE / SECOND - 1)
    assert house.open == 1
    await asyncio.sleep(2)
    assert house.open == 0


@virtual_time()
async def test_questions_answers_and_notes_pass():
    asks = Act(None, questions=(NAME,), after_answers=1, notes=(("notifications/progress", b"{}"),))
    house = await legacy(answer=asks)
    receiver, attempt = house.begin()
    attempt.pause()
    attempt.resume()
    await asyncio.sleep(0.1)
    assert receiver.questions == [NAME]
    assert receiver.notes == [("notifications/progress", b"{}")]
    attempt.answer(1, b'{"action":"accept"}')
    await asyncio.sleep(0.1)
    assert receiver.reply.ending is Ending.RESULT
    assert house.private[0].answered == [(1, b'{"action":"accept"}', b"")]
    house.private[0].otherwise = OK
    await house.call()
    assert len(house.private) == 1
    attempt.answer(1, b"{}")
    attempt.cancel(Cause.CLIENT)
    attempt.pause()
    attempt.resume()
    assert len(house.private[0].answered) == 1


@pytest.mark.parametrize(
    "act",
    [
        lost(),
        Act(OK.reply, 5_000_000, questions=(NAME,)),
        Act(structs.replace(OK.reply, ending=Ending.TIMEOUT)),
    ],
)
def test_a_session_of_which_something_may_be_left_is_not_used_again(act):
    async def run():
        house = await legacy(answer=act)
        await house.call()
        await asyncio.sleep(1)
        assert house.open == 0
        house.answer = OK
        assert (await house.call()).ending is Ending.RESULT
        assert len(house.private) == 2

    virtual_time()(run)()


@virtual_time()
async def test_an_error_of_the_tool_leaves_its_session_good():
    house = await legacy(answer=error(-32602))
    await house.call()
    await house.call()
    assert len(house.private) == 1


@virtual_time()
async def test_a_cancelled_call_ends_its_session():
    house = await legacy(answer=HANGS)
    receiver, attempt = house.begin()
    attempt.cancel(Cause.CLIENT)
    await asyncio.sleep(0.1)
    assert receiver.reply.ending is Ending.CANCELLED
    assert house.open == 0


@virtual_time()
async def test_a_death_is_its_own_calls_only_and_no_two_losses_are_one():
    house = await legacy(answer=HANGS)
    house.shared.otherwise = HANGS
    both = [house.begin()[0], house.begin()[0]]
    calm = house.begin(b"{}")[0]
    await asyncio.sleep(1)
    for private in house.private:
        private.die()
    await asyncio.sleep(0.1)
    losses = [receiver.reply.loss for receiver in both]
    assert [receiver.reply.ending for receiver in both] == [Ending.LOST] * 2
    assert losses == [-1, -2]
    assert not calm.replies
    assert house.watcher.heard == ["connected"]
    assert house.open == 0


@virtual_time()
async def test_an_idle_session_whose_server_died_is_left():
    house = await legacy()
    await house.call()
    house.private[0].die()
    assert (await house.call()).ending is Ending.RESULT
    assert len(house.private) == 2
    assert house.watcher.heard == ["connected"]


@virtual_time()
async def test_a_session_whose_server_went_under_a_call_that_ended_well_is_left_all_the_same():
    house = await legacy(answer=SLOW)
    receiver, _ = house.begin()
    await asyncio.sleep(1)
    house.private[0].watcher.unreachable("no more connections")
    assert house.open == 1
    await asyncio.sleep(10)
    assert receiver.reply.ending is Ending.RESULT
    assert house.open == 0


@virtual_time()
async def test_news_of_a_private_session_is_passed_on():
    house = await legacy()
    await house.call()
    house.private[0].watcher.connected()
    house.private[0].watcher.changed("notifications/tools/list_changed", b"{}")
    house.shared.watcher.changed("notifications/prompts/list_changed", b"{}")
    house.shared.die()
    heard = house.watcher.heard
    assert heard[:3] == [
        "connected", "notifications/tools/list_changed", "notifications/prompts/list_changed",
    ]  # fmt: skip
    assert isinstance(heard[3], int)
    house.shared.watcher.unreachable("gone")
    assert heard[4:] == ["gone"]


# ---------------------------------------------------------------- the bound


@virtual_time()
async def test_a_call_waits_until_a_session_is_free():
    house = await legacy(2, SLOW)
    first = [house.begin()[0] for _ in range(2)]
    third, _ = house.begin()
    await asyncio.sleep(1)
    assert len(house.private) == 2
    assert not third.replies
    await asyncio.sleep(10)
    assert all(receiver.replies for receiver in first)
    await asyncio.sleep(10)
    assert third.reply.ending is Ending.RESULT
    assert len(house.private) == 2


@virtual_time()
async def test_a_call_that_waited_in_vain_was_not_sent_and_is_told_why():
    house = await legacy(1, SLOW)
    house.begin()
    receiver, attempt = house.begin()
    attempt.answer(1, b"{}")
    attempt.pause()
    attempt.resume()
    attempt.cancel(Cause.DEADLINE)
    attempt.cancel(Cause.DEADLINE)
    assert (receiver.reply.ending, receiver.reply.written) == (Ending.CANCELLED, Written.NONE)
    assert "all 1 private sessions" in receiver.reply.detail
    await asyncio.sleep(30)
    assert house.private[0].executed("add") == 1


@virtual_time()
async def test_idle_sessions_of_others_make_room():
    house = await legacy(2)
    await house.call(principal="anna")
    await house.call(principal="bert")
    assert (await house.call(principal="carl")).ending is Ending.RESULT
    assert [one.closed for one in house.private] == [1, 0, 0], "idle for longest"
    await house.call(principal="bert")
    assert len(house.private) == 3


@virtual_time()
async def test_a_session_ends_for_another_caller_who_waits():
    house = await legacy(1, SLOW)
    house.begin(principal="anna")
    bert, _ = house.begin(principal="bert")
    anna, _ = house.begin(principal="anna")
    await asyncio.sleep(40)
    assert bert.reply.ending is anna.reply.ending is Ending.RESULT
    assert [len(one.sent) for one in house.private] == [1, 1, 1]
    assert [one.closed for one in house.private] == [1, 1, 0]


@virtual_time()
async def test_there_are_never_more_sessions_than_the_bound_those_included_that_close():
    house = await legacy(3, HANGS)
    for _ in range(30):
        _, attempt = house.begin()
        attempt.cancel(Cause.CLIENT)
        assert len(house.upstream._sessions) <= 3
        await settled()
    await asyncio.sleep(1)
    assert not house.upstream._sessions


# ---------------------------------------------------------------- before the era is known


@virtual_time()
async def test_a_call_that_comes_first_waits_for_the_era():
    for era, private in ((Era.LEGACY, 1), (Era.MODERN, 0)):
        house = House(era=era)
        house.shared.answers["ping"] = HANGS
        receiver, _ = house.begin()
        house.upstream.start()
        await asyncio.sleep(0.1)
        assert receiver.reply.ending is Ending.RESULT
        assert len(house.private) == private
        assert house.shared.arrived("add") == 1 - private


@virtual_time()
async def test_a_server_that_is_not_there_is_not_reached():
    house = House()
    house.shared.alive = False
    reply = await house.call()
    assert (reply.ending, reply.written) == (Ending.UNREACHED, Written.NONE)
    assert not house.private


@virtual_time()
async def test_a_call_that_waits_for_the_era_can_be_given_up():
    house = House()
    house.shared.answers["ping"] = HANGS
    receiver, attempt = house.begin()
    attempt.cancel(Cause.CLIENT)
    assert receiver.reply.written is Written.NONE
    await house.up()
    await asyncio.sleep(1)
    assert len(receiver.replies) == 1
    assert not house.private
    assert not house.shared.flying


# ---------------------------------------------------------------- the end


@virtual_time()
async def test_closing_ends_all_sessions_and_what_waits():
    house = await legacy(2)
    await house.call(principal="anna")
    house.answer = SLOW
    begun = [house.begin(principal="bert")[0] for _ in range(3)]
    await asyncio.sleep(0.5)
    await house.upstream.close()
    await asyncio.sleep(1)
    assert all(one.closed for one in house.made)
    assert all(len(receiver.replies) == 1 for receiver in begun)
    assert begun[2].reply.written is Written.NONE
    await asyncio.sleep(2 * IDLE / SECOND)


@virtual_time()
async def test_closing_ends_calls_that_wait_for_the_era():
    house = House()
    house.shared.answers["ping"] = HANGS
    receiver, _ = house.begin()
    await house.upstream.close()
    assert receiver.reply.written is Written.NONE


@virtual_time()
async def test_its_state_is_that_of_the_shared_session():
    house = await legacy()
    assert house.upstream.state == house.shared.state
    assert house.upstream.state.connected
