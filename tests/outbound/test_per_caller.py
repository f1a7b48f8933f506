"""Which connection a caller's call goes by, and when that ends: fakes in virtual time."""

import asyncio

from support.caller_hub import subject
from support.fake_store import FakeStore
from support.fake_upstream import OK, Act, FakeUpstream, lost
from support.token_house import ISSUER, URL, Script
from support.virtual_time import LoopClock, settled, virtual_time

from agenthub.domain.endpoint import Endpoint, OAuth
from agenthub.domain.outcome import Cause, Ending, Written
from agenthub.domain.span import SECOND
from agenthub.outbound import oauth_tokens, per_caller, sign_in
from agenthub.outbound.logins import Logins
from agenthub.outbound.per_caller import IDLE, PerCaller
from agenthub.outbound.vault import Vault
from agenthub.ports import Outgoing, Question
from agenthub.tasks import Tasks

EXCHANGE = OAuth("token_exchange", "hub", "secret", issuer=ISSUER)
PERSON = OAuth(per="caller")
SLOW = Act(OK.reply, 10 * SECOND)


class Receiver:
    def __init__(self):
        self.replies, self.notes, self.questions = [], [], []

    def notified(self, method, params):
        self.notes.append((method, params))

    def asked(self, question):
        self.questions.append(question)

    def finished(self, reply):
        self.replies.append(reply)


class Watcher:
    def __init__(self):
        self.heard = []

    def changed(self, kind, params):
        self.heard.append(kind)

    def connected(self):
        self.heard.append("connected")

    def lost(self, loss, detail):
        self.heard.append("lost")

    def unreachable(self, detail):
        self.heard.append("unreachable")


class House:
    def __init__(self, monkeypatch, oauth=EXCHANGE):
        self.script = Script()
        for module in (oauth_tokens, sign_in):
            monkeypatch.setattr(module, "server", self.script)
        self.clock, self.tasks, self.watcher = LoopClock(), Tasks(), Watcher()
        self.store = FakeStore()
        vault = Vault({}, self.store, lambda: b"k" * 32)
        self.logins = Logins(vault, self.clock, self.tasks)
        self.logins.callers.address = "http://hub.test"
        self.endpoint = Endpoint("git", url=URL, oauth=oauth)
        self.made = []
        self.answer = OK
        own = self.logins.source_of(self.endpoint)
        self.upstream = PerCaller(
            self.make, own, lambda out: self.logins.callers.source_for(self.endpoint, own, out),
            self.logins.callers, self.watcher, self.clock, self.tasks,
        )  # fmt: skip

    def make(self, watcher, tokens):
        fake = FakeUpstream(self.endpoint, watcher, self.clock)
        fake.otherwise, fake.tokens = self.answer, tokens
        self.made.append(fake)
        return fake

    def begin(self, principal="anna", shown=None, capabilities=b"{}", method="tools/call"):
        receiver = Receiver()
        deadline = self.clock.now() + 60 * SECOND
        out = Outgoing(
            method, "add", {}, {}, deadline, capabilities, principal=principal,
            subject=shown or subject(principal),
        )  # fmt: skip
        attempt = self.upstream.send(out, receiver)
        assert not receiver.replies, "finished from inside send"
        return receiver, attempt

    async def call(self, *args, **more):
        receiver, _ = self.begin(*args, **more)
        await asyncio.sleep(0.1)
        (reply,) = receiver.replies
        return reply


@virtual_time()
async def test_the_hubs_own_questions_go_by_its_own_connection_and_calls_by_their_callers(
    monkeypatch,
):
    house = House(monkeypatch)
    house.upstream.start()
    await house.call("")
    assert len(house.made) == 1
    for who in ("anna", "bert", "anna"):
        assert (await house.call(who)).ending is Ending.RESULT
    own, anna, bert = house.made
    assert [len(fake.journal) for fake in (own, anna, bert)] == [1, 2, 1]
    assert len({own.tokens, anna.tokens, bert.tokens}) == 3
    assert house.upstream.state == own.state


@virtual_time()
async def test_a_connection_that_nobody_called_by_is_closed_and_its_token_forgotten(monkeypatch):
    house = House(monkeypatch)
    await house.call()
    await asyncio.sleep(IDLE / SECOND - 10)
    await house.call()
    await asyncio.sleep(IDLE / SECOND - 10)
    anna = house.made[1]
    anna.otherwise = SLOW
    receiver, _ = house.begin()
    await asyncio.sleep(IDLE / SECOND - 5)
    receiver, _ = house.begin()
    await asyncio.sleep(8)
    assert not anna.closed, "a call is under way"
    await asyncio.sleep(IDLE / SECOND)
    assert receiver.replies[0].ending is Ending.RESULT
    assert not anna.closed
    await asyncio.sleep(20)
    assert anna.closed
    await house.call()
    assert house.made[2].tokens is not anna.tokens


@virtual_time()
async def test_who_rests_for_longest_makes_room_and_who_calls_does_not(monkeypatch):
    monkeypatch.setattr(per_caller, "CALLERS_MAX", 2)
    house = House(monkeypatch)
    await house.call("anna")
    await house.call("bert")
    await house.call("anna")
    await house.call("carl")
    _, anna, bert, carl = house.made
    assert (anna.closed, bert.closed, carl.closed) == (False, True, False)
    house.answer = SLOW
    anna.otherwise = carl.otherwise = SLOW
    house.begin("anna")
    house.begin("carl")
    reply = await house.call("dora")
    assert (reply.status, reply.written) == (401, Written.NONE)
    assert "2 callers are using it" in reply.detail


@virtual_time()
async def test_losses_of_two_connections_never_count_as_one(monkeypatch):
    house = House(monkeypatch)
    house.answer = house.made[0].otherwise = lost(1)
    losses = {(await house.call(who)).loss for who in ("anna", "bert", "")}
    assert len(losses) == 3
    assert 1 in losses
    assert "unreachable" not in house.watcher.heard


@virtual_time()
async def test_a_call_can_be_cancelled_paused_and_answered_as_any_other(monkeypatch):
    house = House(monkeypatch)
    question = Question(1, "elicitation/create", b"{}")
    house.answer = Act(OK.reply, 10 * SECOND, notes=(("n", b"{}"),), questions=(question,))
    receiver, attempt = house.begin(capabilities=b'{"elicitation":{}}')
    await asyncio.sleep(1)
    attempt.pause()
    attempt.resume()
    attempt.answer(1, b"{}")
    assert receiver.questions == [question]
    attempt.cancel(Cause.CLIENT)
    await settled()
    assert [reply.ending for reply in receiver.replies] == [Ending.CANCELLED]
    attempt.cancel(Cause.CLIENT)
    assert len(receiver.replies) == 1


@virtual_time()
async def test_a_refusal_that_is_cancelled_ends_once(monkeypatch):
    house = House(monkeypatch, PERSON)
    receiver, attempt = house.begin()
    attempt.pause()
    attempt.resume()
    attempt.answer(1, b"{}")
    attempt.cancel(Cause.CLIENT)
    await asyncio.sleep(1)
    assert [reply.ending for reply in receiver.replies] == [Ending.CANCELLED]


@virtual_time()
async def test_only_a_client_that_opens_pages_during_a_call_is_asked_to(monkeypatch):
    house = House(monkeypatch, PERSON)
    pages = b'{"elicitation":{"url":{}}}'
    asked = await house.call(capabilities=pages)
    assert (asked.ending, asked.code, asked.written) == (Ending.ERROR, -32042, Written.NONE)
    for more in ({}, {"capabilities": pages, "method": "completion/complete"}):
        told = await house.call(**more)
        assert (told.ending, told.status) == (Ending.STATUS, 401)
        assert "open http://hub.test/oauth/sign-in?ticket=" in told.detail
    house.logins.callers.address = ""
    assert "run `agenthub serve`" in (await house.call()).detail
    assert len(house.made) == 1, "no connection was made for anybody"


@virtual_time()
async def test_an_address_to_sign_in_at_is_the_same_for_a_while_and_then_another(monkeypatch):
    house = House(monkeypatch, PERSON)
    first = (await house.call()).detail
    assert (await house.call()).detail == first
    await asyncio.sleep(599)
    assert (await house.call()).detail == first
    await asyncio.sleep(2)
    assert (await house.call()).detail != first


@virtual_time()
async def test_after_the_end_nothing_is_open_and_nothing_is_sent(monkeypatch):
    house = House(monkeypatch)
    await house.call()
    await house.upstream.close()
    assert all(fake.closed for fake in house.made)
    assert "the server is closed" in (await house.call()).detail
    await asyncio.sleep(2 * IDLE / SECOND)
    assert len(house.made) == 2


@virtual_time()
async def test_what_a_server_says_of_its_lists_on_any_connection_is_heard(monkeypatch):
    house = House(monkeypatch)
    await house.call()
    watcher = house.made[1].watcher
    watcher.changed("notifications/tools/list_changed", b"{}")
    watcher.lost(1, "x")
    watcher.unreachable("x")
    watcher.connected()
    assert house.watcher.heard == ["notifications/tools/list_changed"]


@virtual_time()
async def test_an_exchanged_token_is_renewed_in_time_with_what_the_caller_showed_last(monkeypatch):
    house = House(monkeypatch)
    ends = house.clock.wall() + 1_000 * SECOND
    house.begin(shown=subject("one", ends=ends))
    source = house.made[1].tokens
    source.want()
    await asyncio.sleep(1)
    assert house.script.grants[-1]["subject_token"] == "one"
    house.begin(shown=subject("two", ends=ends + SECOND))
    await asyncio.sleep(80)
    assert [grant["subject_token"] for grant in house.script.grants] == ["one", "two"]
    assert source.header() == "Bearer access-2"
    assert not house.store.secrets.get("oauth:git/anna")


@virtual_time()
async def test_a_token_that_is_over_is_not_exchanged(monkeypatch):
    house = House(monkeypatch)
    house.begin(shown=subject("one", ends=house.clock.wall()))
    source = house.made[1].tokens
    source.want()
    await asyncio.sleep(1)
    assert house.script.grants == []
    assert "the access token that the caller came in with is over" in source.problem.problem
    house.begin(shown=subject("two"))
    source.want()
    await asyncio.sleep(1)
    assert source.header() == "Bearer access-1"


@virtual_time()
async def test_a_changed_record_gives_nobody_what_was_got_for_the_old_one(monkeypatch):
    house = House(monkeypatch)
    await house.call()
    source = house.made[1].tokens
    callers, own = house.logins.callers, house.logins.source_of(house.endpoint)
    out = Outgoing("x", "", {}, {}, 0, principal="anna", subject=subject("anna"))
    assert callers.source_for(house.endpoint, own, out) is source
    moved = Endpoint("git", url="https://moved.test/mcp", oauth=EXCHANGE)
    assert callers.source_for(moved, own, out) is not source


@virtual_time()
async def test_who_signed_in_is_known_again_and_forgotten_with_the_server(monkeypatch):
    house = House(monkeypatch, PERSON)
    address = (await house.call()).detail
    ticket = address.partition("ticket=")[2].partition(" ")[0]
    url = await house.logins.callers.accept(ticket, "b" * 43)
    state = url.partition("state=")[2].partition("&")[0]
    assert await house.logins.finish({"state": state, "code": "c"}, "b" * 43) == "git"
    assert (await house.call()).ending is Ending.RESULT
    assert list(house.store.secrets)[-1] == "oauth:git/anna"
    house.logins._forget("git")
    await settled()
    assert "oauth:git/anna" not in house.store.secrets


@virtual_time()
async def test_tokens_of_other_rights_go_by_another_connection(monkeypatch):
    house = House(monkeypatch)
    await house.call("anna", subject("x", rights="a"))
    await house.call("anna", subject("y", rights="b"))
    assert len(house.made) == 3
