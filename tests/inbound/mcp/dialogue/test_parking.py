"""Calls of new clients to old servers that ask: parked between two requests of the client."""

import asyncio

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from msgspec import structs
from support.asking import (
    ACCEPT,
    ADD,
    NAME,
    ROOTS,
    TOWN,
    again,
    asks_live,
    call,
    is_question,
    is_refused,
    notes,
)
from support.fake_upstream import OK, Act, result, tool
from support.house import ANNA, BERT, server
from support.machines import machine
from support.mcp_hub import doors
from support.virtual_time import VirtualLoop, settled, virtual_time

from agenthub.domain.caller import KeyTerms
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.domain.tool_set import ToolSet
from agenthub.domain.view import View
from agenthub.gateway import PARKED_MAX
from agenthub.inbound.mcp.dialogue import parking as parking_module
from agenthub.ports import Question

PROGRESS = ("notifications/progress", b'{"progressToken":"p","progress":1}')


def hub_with(*acts, **more):
    """A hub whose one server answers calls so."""
    answers = list(acts)

    def prepare(fake):
        fake.answers["add"] = answers

    return doors(server("calc", **more), prepare={"calc": prepare})


@virtual_time()
async def test_a_question_ends_the_round_and_the_answer_reaches_the_waiting_server():
    async with hub_with(asks_live(NAME)) as hub:
        asked = await hub(call())
        assert is_question(asked)
        (question,) = asked.result["inputRequests"].values()
        assert question == {
            "method": "elicitation/create",
            "params": {"message": "Your name?", "requestedSchema": {}},
        }
        done = await hub(again(asked))
        assert done.result["content"] == [{"type": "text", "text": "5"}]
        assert done.result["resultType"] == "complete"
        assert hub["calc"].answered == [(7, msgspec.json.encode(ACCEPT), b"")]
        assert hub["calc"].executed("add") == 1
        assert not hub.door.door.dialogue.parking.kept
        assert hub.at_rest()


@virtual_time()
async def test_questions_that_come_together_go_to_the_client_together():
    async with hub_with(asks_live(NAME, TOWN, ROOTS)) as hub:
        asked = await hub(call())
        assert len(asked.result["inputRequests"]) == 3
        methods = {key: one["method"] for key, one in asked.result["inputRequests"].items()}
        roots = {"roots": [{"uri": "file:///home"}]}
        answers = {key: roots if m == "roots/list" else ACCEPT for key, m in methods.items()}
        assert not is_question(await hub(again(asked, answers=answers)))
        assert {one[0] for one in hub["calc"].answered} == {7, "town", 8}


@virtual_time()
async def test_what_was_not_answered_is_asked_again_and_what_was_not_asked_is_ignored():
    async with hub_with(asks_live(NAME, TOWN)) as hub:
        asked = await hub(call())
        first, second = asked.result["inputRequests"]
        more = await hub(again(asked, answers={first: ACCEPT, "other": ACCEPT}))
        assert list(more.result["inputRequests"]) == [second]
        assert more.result["requestState"] != asked.result["requestState"]
        none = await hub(again(more, answers={}))
        assert list(none.result["inputRequests"]) == [second]
        assert not is_question(await hub(again(none)))


@virtual_time()
async def test_a_question_that_comes_late_is_asked_in_the_next_round():
    async with hub_with(asks_live(NAME, ends_after=2)) as hub:
        asked = await hub(call())
        (attempt,) = hub["calc"].flying
        attempt.ask(TOWN)
        more = await hub(again(asked))
        assert is_question(more)
        (question,) = more.result["inputRequests"].values()
        assert question["params"]["message"] == "Your town?"
        assert not is_question(await hub(again(more)))


@virtual_time()
async def test_an_answer_of_the_wrong_shape_is_refused_and_costs_no_round():
    async with hub_with(asks_live(NAME)) as hub:
        asked = await hub(call())
        (key,) = asked.result["inputRequests"]
        for wrong in ({"action": "maybe"}, {}, 7, "accept", None, [], {"roots": []}):
            refused = await hub(again(asked, answers={key: wrong}))
            assert (refused.status, refused.code) == (400, -32602)
            assert not is_refused(refused)
        state = asked.result["requestState"]
        for params in ({"inputResponses": 7}, {"inputResponses": [ACCEPT]}):
            refused = await hub(call({**ADD, "requestState": state, **params}))
            assert (refused.status, refused.code) == (400, -32602)
        assert not hub["calc"].answered
        assert not is_question(await hub(again(asked)))


@virtual_time()
async def test_a_state_is_good_for_one_round():
    """A37: replayed."""
    async with hub_with(asks_live(NAME)) as hub:
        asked = await hub(call())
        await hub(again(asked))
        for _ in range(3):
            assert is_refused(await hub(again(asked)))
        assert hub["calc"].executed("add") == 1


@virtual_time()
async def test_a_state_is_bound_to_its_caller_face_tool_and_arguments():
    """A37, A38: from another user, or edited, or for something else; it takes nothing from its
    owner either.
    """
    tools = {"add": tool("add"), "sub": tool("sub")}

    def prepare(fake):
        fake.tools = tools
        fake.answers["add"] = asks_live(NAME)

    async with doors("calc", "other", prepare={"calc": prepare, "other": prepare}) as hub:
        asked = await hub(call())
        state = asked.result["requestState"]
        merged = {**ADD, "name": "calc__add"}
        for wrong in (
            again(asked, caller=BERT),
            again(asked, path="/mcp/other"),
            again(asked, merged, path="/mcp"),
            again(asked, {**ADD, "name": "sub"}),
            again(asked, {**ADD, "arguments": {"a": 2}}),
            again(asked, state=state[:-1] + ("A" if state[-1] != "A" else "B")),
            again(asked, state=""),
            again(asked, state="x" * 10_000),
            again(asked, state=f"{state}.{state}"),
        ):
            assert is_refused(await hub(wrong))
        number = await hub(call({**ADD, "requestState": 7}))
        assert (number.status, number.code) == (400, -32602)
        assert hub["calc"].executed("add") == 1
        assert hub["calc"].executed("sub") == hub["other"].executed("add") == 0
        assert not hub["calc"].answered
        assert not is_question(await hub(again(asked)))


@virtual_time()
async def test_a_state_is_good_at_the_address_only_where_it_was_given():
    """A37: the same caller, the same tool, and another door to it."""
    views = {name: View(name, allow=("calc__*",)) for name in ("one", "two")}
    merged, places = {**ADD, "name": "calc__add"}, ("/mcp", "/mcp/v/one", "/mcp/v/two")
    for place in places:
        async with hub_with(asks_live(NAME), OK) as hub:
            await hub.catalog.views.reload(views, "agenthub.yaml")
            asked = await hub(call(merged, path=place))
            for other in places:
                if other != place:
                    assert is_refused(await hub(again(asked, merged, path=other)))
            assert hub["calc"].executed("add") == 1
            assert not is_question(await hub(again(asked, merged, path=place)))


@virtual_time()
async def test_a_client_that_never_comes_back_costs_a_bounded_time_and_then_is_too_late():
    async with hub_with(asks_live(NAME)) as hub:
        asked = await hub(call())
        await asyncio.sleep(601)
        assert is_refused(await hub(again(asked)))
        assert hub["calc"].executed("add") == 1
        assert not hub["calc"].answered
        assert not hub.door.door.dialogue.parking.kept
        assert hub.at_rest()


@virtual_time()
async def test_a_hub_that_was_started_anew_knows_no_round_and_runs_nothing_again():
    async with hub_with(asks_live(NAME)) as hub:
        asked = await hub(call())
    async with hub_with(OK) as hub:
        assert is_refused(await hub(again(asked)))
        assert hub["calc"].executed("add") == 0


@virtual_time()
async def test_a_client_that_hangs_up_after_the_round_cancels_nothing():
    async with hub_with(asks_live(NAME)) as hub:
        asked = await hub(call())
        asked.gone()
        await asyncio.sleep(10)
        assert not is_question(await hub(again(asked)))


@virtual_time()
async def test_a_client_that_hangs_up_while_the_round_runs_cancels_the_call():
    async with hub_with(Act(None, questions=(NAME,))) as hub:
        asked = await hub(call())
        running = await hub(again(asked))
        assert not running.over
        running.gone()
        await asyncio.sleep(0.1)
        assert not hub["calc"].flying
        assert is_refused(await hub(again(asked)))
        assert hub.at_rest()


@virtual_time()
async def test_a_client_that_hangs_up_a_moment_after_the_question_cancels_the_call():
    async with hub_with(asks_live(NAME)) as hub:
        first = await hub(call(), seconds=0.002)
        assert not first.over
        first.gone()
        await asyncio.sleep(1)
        assert not hub["calc"].flying
        assert not hub.door.door.dialogue.parking.kept
        assert hub.at_rest()


@virtual_time()
async def test_progress_and_logs_go_to_the_request_that_is_open_under_its_own_token():
    async with hub_with(Act(None, questions=(NAME,))) as hub:
        first = await hub(call(meta={"progressToken": "p"}), seconds=0)
        (attempt,) = hub["calc"].flying
        attempt.note(*PROGRESS)
        await asyncio.sleep(0.1)
        assert notes(first, PROGRESS[0]) == [{"progressToken": "p", "progress": 1}]
        attempt.note(*PROGRESS)  # nobody listens: kept
        level = {"io.modelcontextprotocol/logLevel": "info", "progressToken": 9}
        second = await hub(again(first, meta=level))
        attempt.note(*PROGRESS)
        attempt.note("notifications/message", b'{"level":"error","data":1}')
        told = notes(second, PROGRESS[0])
        assert told == [{"progressToken": 9, "progress": 1}] * 2
        assert notes(second, "notifications/message") == [{"level": "error", "data": 1}]


@virtual_time()
async def test_who_gave_no_token_in_this_round_hears_no_progress():
    async with hub_with(Act(None, questions=(NAME,))) as hub:
        first = await hub(call(meta={"progressToken": "p"}))
        (attempt,) = hub["calc"].flying
        second = await hub(again(first))
        attempt.note(*PROGRESS)
        assert not second.streaming


@virtual_time()
async def test_what_comes_while_nobody_listens_is_kept_in_a_small_number_only():
    async with hub_with(Act(None, questions=(NAME,))) as hub:
        first = await hub(call(meta={"progressToken": "p"}))
        (attempt,) = hub["calc"].flying
        for _ in range(1_000):
            attempt.note(*PROGRESS)
        second = await hub(again(first, meta={"progressToken": "p"}))
        assert len(notes(second, PROGRESS[0])) == parking_module.NOTES_MAX
        attempt.ask(TOWN)
        await asyncio.sleep(0.1)
        large = b'{"progressToken":"p","progress":1,"message":"%b"}'
        attempt.note(PROGRESS[0], large % (b"x" * parking_module.NOTES_BYTES))
        attempt.note(*PROGRESS)
        third = await hub(again(second, meta={"progressToken": "p"}))
        assert len(notes(third, PROGRESS[0])) == 1


@virtual_time()
async def test_a_server_that_ends_while_the_client_is_away_is_heard_in_the_next_round():
    end = Act(OK.reply, 300 * MILLISECOND, questions=(NAME,))
    async with hub_with(end) as hub:
        asked = await hub(call())
        await asyncio.sleep(1)
        assert hub.at_rest()
        done = await hub(again(asked))
        assert done.result["content"] == [{"type": "text", "text": "5"}]
        assert is_refused(await hub(again(asked)))


@virtual_time()
async def test_a_server_that_dies_while_the_client_is_away_is_told_and_not_asked_again():
    async with hub_with(asks_live(NAME), attempts=3, trust=True) as hub:
        asked = await hub(call())
        hub["calc"].die()
        hub["calc"].revive()
        await asyncio.sleep(5)
        done = await hub(again(asked))
        assert done.json["error"]["data"]["code"] == "outcome_unknown"
        assert hub["calc"].executed("add") == 1


@virtual_time()
async def test_a_result_that_is_too_large_to_keep_is_an_error_that_says_it_ran():
    large = b'{"content":[],"x":"%b"}' % (b"x" * parking_module.HELD_BYTES)
    end = Act(result(large).reply, 300 * MILLISECOND, questions=(NAME,))
    async with hub_with(end) as hub:
        asked = await hub(call())
        await asyncio.sleep(1)
        facts = (await hub(again(asked))).json["error"]["data"]
        assert (facts["code"], facts["executed"]) == ("response_too_large", "yes")


@virtual_time()
async def test_a_server_that_ends_before_the_round_does_is_simply_done():
    end = Act(OK.reply, 5 * MILLISECOND, questions=(NAME,))
    async with hub_with(end) as hub:
        assert not is_question(await hub(call()))
        assert not hub.door.door.dialogue.parking.kept


@virtual_time()
async def test_what_was_not_declared_is_refused_to_the_server_alone():
    """A35: the tool may go on without."""
    url = Question(9, "elicitation/create", b'{"mode":"url","url":"https://x.test"}')
    async with hub_with(asks_live(NAME, url, ROOTS)) as hub:
        asked = await hub(call(declared={"elicitation": {}}))
        assert len(asked.result["inputRequests"]) == 1
        assert {one[0] for one in hub["calc"].answered} == {9, 8}
        assert all(b"did not declare" in error for _, _, error in hub["calc"].answered)


@virtual_time()
async def test_what_only_the_old_era_has_is_taken_out_of_a_question():
    old = b'{"mode":"url","url":"https://x.test","elicitationId":"e","task":{"ttl":1},"x":1.0}'
    async with hub_with(asks_live(Question(9, "elicitation/create", old))) as hub:
        asked = await hub(call())
        (question,) = asked.result["inputRequests"].values()
        assert question["params"] == {"mode": "url", "url": "https://x.test", "x": 1.0}


@virtual_time()
async def test_a_server_that_asks_without_end_is_refused():
    flood = tuple(structs.replace(NAME, id=number) for number in range(100))
    async with hub_with(asks_live(*flood)) as hub:
        asked = await hub(call())
        assert len(asked.result["inputRequests"]) == 32
        assert len(hub["calc"].answered) == 68


@virtual_time()
async def test_one_caller_cannot_leave_calls_behind_without_end():
    """Not even such as have ended meanwhile: what they answered is kept for so many only."""
    end = Act(OK.reply, 300 * MILLISECOND, questions=(NAME,))
    async with hub_with(end, concurrency=200, private_sessions=200) as hub:
        begun = [hub.send(call()) for _ in range(PARKED_MAX)]
        await asyncio.sleep(1)
        assert all(is_question(one) for one in begun)
        assert hub.at_rest()
        assert not is_question(await hub(call()))
        assert b"Too many questions" in hub["calc"].answered[-1][2]
        assert is_question(await hub(call(caller=BERT)))
        await hub(again(begun[0]))
        assert is_question(await hub(call()))


@virtual_time()
async def test_a_call_of_a_key_that_is_revoked_waits_for_nobody():
    """Its server is free for others at once, and not only when the time to answer is over."""
    async with hub_with(asks_live(NAME)) as hub:
        row, token = await hub.keys.create("k")
        caller = hub.keys.authenticate(token.encode())
        mine = await hub(call(caller=caller))
        other = await hub(call(caller=BERT))
        await hub.keys.change(row.id, KeyTerms(search="on"))
        assert len(hub["calc"].flying) == 2, "it may still come in"
        await hub.keys.revoke(row.id)
        await asyncio.sleep(1)
        assert len(hub["calc"].flying) == 1
        assert (await hub(again(mine, caller=caller))).code == -32602
        assert not is_question(await hub(again(other, caller=BERT)))
        assert hub.at_rest()


@virtual_time()
async def test_a_call_of_a_key_that_expires_waits_for_nobody():
    """Not for the ten minutes that its client would have had."""
    async with hub_with(asks_live(NAME)) as hub:
        ends = hub.clock.wall() // SECOND + 20
        _, token = await hub.keys.create("k", expires_at=ends)
        caller = hub.keys.authenticate(token.encode())
        assert is_question(await hub(call(caller=caller)))
        await asyncio.sleep(15)
        assert len(hub["calc"].flying) == 1
        await asyncio.sleep(6)
        assert not hub["calc"].flying
        assert hub.at_rest()


@virtual_time()
async def test_a_call_goes_on_when_the_token_of_its_client_was_renewed_meanwhile():
    async with hub_with(asks_live(NAME)) as hub:
        ends = hub.clock.now() + 20 * SECOND
        hub.door.door.dialogue.parking.left = lambda _: max(ends - hub.clock.now(), 0)
        asked = await hub(call())
        await asyncio.sleep(15)
        ends += 30 * SECOND
        await asyncio.sleep(20)
        assert not is_question(await hub(again(asked)))


@virtual_time()
async def test_a_call_of_a_server_that_is_removed_waits_for_nobody():
    async with hub_with(asks_live(NAME)) as hub:
        asked = await hub(call())
        await hub.catalog.remove("calc")
        await asyncio.sleep(2)
        assert not hub["calc"].flying
        assert (await hub(again(asked))).status == 404


@virtual_time()
async def test_a_call_at_a_view_that_is_removed_waits_for_nobody_and_those_elsewhere_go_on():
    """Its state is good at that address only, so nobody could come back to it."""
    merged, views = {**ADD, "name": "calc__add"}, ("one", "two")
    async with hub_with(asks_live(NAME), asks_live(NAME), asks_live(NAME)) as hub:
        for name in views:
            await hub.catalog.views.add(View(name, allow=("calc__*",)))
        places = ("/mcp", "/mcp/v/one", "/mcp/v/two")
        asked = {place: await hub(call(merged, path=place)) for place in places}
        await hub.catalog.views.remove("one")
        await asyncio.sleep(2)
        assert len(hub["calc"].flying) == 2
        for place in ("/mcp", "/mcp/v/two"):
            assert not is_question(await hub(again(asked[place], merged, path=place)))
        assert hub.at_rest()


@virtual_time()
async def test_a_key_that_may_not_call_a_tool_any_more_does_not_go_on_with_it():
    async with hub_with(asks_live(NAME)) as hub:
        row, token = await hub.keys.create("k")
        mine = await hub(call(caller=hub.keys.authenticate(token.encode())))
        await hub.keys.change(row.id, KeyTerms(ToolSet(("calc__other",))))
        late = await hub(again(mine, caller=hub.keys.authenticate(token.encode())))
        assert late.json["error"]["data"]["code"] == "unknown_target"
        assert not hub["calc"].answered


@virtual_time()
async def test_a_call_with_a_key_goes_on_and_its_key_is_held_while_it_is_parked():
    """R33, A46."""
    key = {"io.agenthub/idempotencyKey": "k"}
    async with hub_with(asks_live(NAME), OK) as hub:
        asked = await hub(call(meta=key))
        twin = await hub(call(meta=key))
        assert not twin.over
        clash = await hub(call({**ADD, "arguments": {"a": 2}}, meta=key))
        assert clash.json["error"]["data"]["code"] == "idempotency_conflict"
        done = await hub(again(asked, meta=key))
        assert not is_question(done)
        assert twin.result["content"] == done.result["content"]
        later = await hub(call(meta=key))
        assert later.result["content"] == done.result["content"]
        assert hub["calc"].executed("add") == 1


@virtual_time()
async def test_a_hub_that_stops_ends_open_rounds_with_an_error_and_waits_for_no_client():
    async with hub_with(Act(None, questions=(NAME,)), Act(None)) as hub:
        away = await hub(call())
        running = await hub(call())
        await hub.gateway.drain(0)
        assert running.json["error"]
        hub.door.close()
        assert not hub.door.door.dialogue.parking.kept
        assert is_refused(await hub(again(away)))
        assert hub.at_rest()


# ---------------------------------------------------------------- the table, in any order


class ParkedCalls(RuleBasedStateMachine):
    """Two callers, in any order: rounds, replays, answers of others, expiry, hanging up."""

    states = Bundle("states")

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        calc = server("calc", concurrency=200, private_sessions=200)
        self.doors = doors(calc, prepare={"calc": self._prepare})
        self.hub = self.runner.run(self.doors.__aenter__())
        self.alive = {}
        """State → when its call began: each is good for one round."""
        self.late = set()
        """States of calls whose time is over, or about to be."""
        self.begun = {}
        """When a call began, by its number."""

    @staticmethod
    def _prepare(fake):
        fake.answers["add"] = Act(None, questions=(NAME,))

    def teardown(self):
        self.runner.run(self.doors.__aexit__(None, None, None))
        self.runner.close()

    def ask(self, exchange, seconds=0.1):
        return self.runner.run(self.hub(exchange, seconds))

    def note(self, exchange, caller, number):
        state = exchange.result["requestState"]
        self.alive[state] = self.begun[number]
        return state, caller, number

    def retry(self, given, caller=None, number=None):
        state, owner, own = given
        params = {"name": "add", "arguments": {"n": own if number is None else number}}
        params |= {"requestState": state, "inputResponses": {}}
        return call(params, caller=caller or owner)

    @rule(target=states, caller=st.sampled_from([ANNA, BERT]))
    def begin(self, caller):
        number = len(self.begun) + 1
        self.begun[number] = self.hub.clock.now()
        params = {"name": "add", "arguments": {"n": number}}
        return self.note(self.ask(call(params, caller=caller)), caller, number)

    @rule(target=states, given=states)
    def next_round(self, given):
        answer = self.ask(self.retry(given))
        if self.alive.pop(given[0], None) is not None:
            return self.note(answer, *given[1:])
        # In the last moments the end of the call may be heard, but it is an end.
        assert is_refused(answer) or given[0] in self.late
        assert "error" in answer.json
        return given

    @rule(given=states)
    def foreign(self, given):
        other = BERT if given[1] is ANNA else ANNA
        assert is_refused(self.ask(self.retry(given, other)))

    @rule(given=states)
    def other_arguments(self, given):
        assert is_refused(self.ask(self.retry(given, number=0)))

    @rule(given=states)
    def hang_up(self, given):
        """While the round runs: the call is over."""
        if self.alive.pop(given[0], None) is None:
            return
        answer = self.retry(given)

        async def ask_and_leave():
            self.hub.send(answer)
            answer.gone()
            await asyncio.sleep(0.1)
            await settled()

        self.runner.run(ask_and_leave())
        assert is_refused(self.ask(self.retry(given)))

    @rule(seconds=st.sampled_from([1, 100, 400]))
    def wait(self, seconds):
        self.runner.run(asyncio.sleep(seconds))
        now = self.hub.clock.now()
        for state, begun in list(self.alive.items()):
            if now - begun > 595_000 * MILLISECOND:
                del self.alive[state]
                self.late.add(state)

    @invariant()
    def nothing_is_run_twice_and_what_is_kept_is_what_can_go_on(self):
        assert self.hub["calc"].executed("add") == len(self.begun)
        assert not self.hub["calc"].answered
        waiting = set(self.hub.door.door.dialogue.parking.waiting)
        assert self.alive.keys() <= waiting <= self.alive.keys() | self.late
        assert len(self.alive) <= len(self.hub["calc"].flying) <= len(waiting)


TestParkedCalls = ParkedCalls.TestCase
TestParkedCalls.settings = machine(30, 60, 25)


@pytest.mark.parametrize("leaves", ["answer", "let it be"])
def test_a_parked_call_costs_little_memory(leaves):
    """At most 50 KB beside the server's session."""
    import tracemalloc

    @virtual_time()
    async def run():
        async with hub_with(
            Act(None, questions=(NAME,)), concurrency=200, private_sessions=200
        ) as hub:
            hub.send(call())
            await asyncio.sleep(0.1)
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            begun = [hub.send(call()) for _ in range(50)]
            await asyncio.sleep(0.1)
            assert all(is_question(one) for one in begun)
            assert (tracemalloc.get_traced_memory()[0] - before) / 50 < 50_000
            tracemalloc.stop()
            if leaves == "answer":
                await hub(again(begun[0]))

    run()
