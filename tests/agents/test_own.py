"""The own loop: what it tells, what it has done, and how it ends, whatever the model wishes."""

import json

import pytest
from msgspec import structs
from support.agent_house import CAROL, SAFE, agents, chunk, of, says, streams, text_of, wishes
from support.fake_upstream import HANGS, OK, Act, error, lost, result, tool
from support.house import server
from support.virtual_time import passes, settled, virtual_time

from agenthub.agents.own import BESIDE, WISHES_MAX
from agenthub.domain.budget import Budget
from agenthub.domain.caller import Reach, Scope
from agenthub.domain.dialogue import Role
from agenthub.domain.endpoint import ToolPolicy, ToolPrice
from agenthub.domain.money import USD
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.domain.tool_set import ToolSet
from agenthub.ports import Question

ADD = ("calc__add", {"a": 2, "b": 3})
FORM = b'{"message":"How many?","requestedSchema":{"type":"object"}}'


@virtual_time()
async def test_an_answer_is_told_as_it_comes_and_kept():
    async with agents("calc") as hub:
        hub.model(says("Good morning to you"))
        events = await hub.talk("Hello")
        assert [one["type"] for one in events] == [
            "run", "context", "delta", "delta", "delta", "delta", "usage", "done"
        ]  # fmt: skip
        assert text_of(events) == "Good morning to you"
        assert events[0]["runner"] == "own"
        assert (events[1]["messages"], events[1]["tools"]) == (1, 1)
        assert events[-1]["state"] == "done"
        assert [(one.role, one.text) for one in hub.said()] == [
            (Role.USER, "Hello"), (Role.ASSISTANT, "Good morning to you")
        ]  # fmt: skip
        asked = hub.asked_of_model()
        assert asked["messages"][0]["role"] == "system"
        assert asked["tools"][0]["function"]["name"] == "calc__add"


@virtual_time()
async def test_its_usage_and_cost_are_those_of_the_ledger():
    async with agents() as hub:
        hub.model(says("Hi", used=(1_000, 100)))
        events = await hub.talk()
        (used,) = of(events, "usage")
        (row,) = hub.ledger.rows.values()
        assert (used["input_tokens"], used["output_tokens"]) == (1_000, 100)
        assert used["cost_usd"] == used["run_cost_usd"] == events[-1]["cost_usd"] == "0.0015"
        assert row.hold.facts.session == events[0]["run"]
        assert row.hold.facts.door == "chat"


@virtual_time()
async def test_a_tool_is_called_through_the_gateway_and_its_result_told_to_the_model():
    async with agents("calc") as hub:
        hub.model(wishes(ADD, text="Let me see"), says("It is 5"))
        run = await hub.begin_run("2+3?")
        events = await hub.events_of(run)
        (began,), (ended,) = of(events, "tool_start"), of(events, "tool_end")
        assert (began["server"], began["tool"], began["arguments"]) == (
            "calc", "add", {"a": 2, "b": 3}
        )  # fmt: skip
        assert (ended["outcome"], ended["text"], ended["served_by"]) == ("ok", "5", "calc")
        assert hub["calc"].executed("add") == 1
        told = hub.asked_of_model()["messages"][-1]
        assert told == {"role": "tool", "tool_call_id": "w0", "content": "5"}
        assert [one.role for one in hub.said()] == [
            Role.USER, Role.ASSISTANT, Role.TOOL, Role.ASSISTANT
        ]  # fmt: skip
        row = next(row for row in hub.rows if row.method == "tools/call")
        assert (row.door, row.caller, row.outcome) == ("chat", "carol", "ok")
        assert (events[-1]["model_calls"], events[-1]["tool_calls"]) == (2, 1)


@virtual_time()
async def test_tools_are_used_side_by_side_and_told_in_their_order():
    async with agents("calc") as hub:
        acts = [
            Act(Reply(Ending.RESULT, result=b'{"content":[{"type":"text","text":"%d"}]}' % n),
                after=(20 - n) * 100 * MILLISECOND)
            for n in range(20)
        ]  # fmt: skip
        hub["calc"].answers["add"] = acts
        hub.model(wishes(*[("calc__add", {"n": n}) for n in range(20)]), says("Done"))
        await hub.talk()
        assert hub["calc"].most_at_once == BESIDE
        told = [one["content"] for one in hub.asked_of_model()["messages"] if one["role"] == "tool"]
        assert len(told) == 20
        assert [one.call_id for one in hub.said() if one.role is Role.TOOL] == [
            f"w{n}" for n in range(20)
        ]


@virtual_time()
async def test_wishes_beyond_what_is_borne_are_told_so():
    async with agents("calc") as hub:
        hub["calc"].answers["add"] = OK
        calls = [("calc__add", {"n": n}) for n in range(WISHES_MAX + 2)]
        hub.model(wishes(*calls), says("Done"))
        await hub.talk()
        assert hub["calc"].executed("add") == WISHES_MAX
        assert [one.text for one in hub.said()][-2].startswith("Not called")


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (("calc__ad", {}), "There is no tool 'calc__ad'. There are, among others: calc__add"),
        (("nothing", {}), "calc__add"),
        (("calc__add", "{oops"), "no JSON object"),
        (("calc__add", "[1]"), "no JSON object"),
        (("calc__add", "[" * 9_999), "no JSON object"),
    ],
    ids=range(5),
)
@virtual_time()
async def test_what_cannot_be_called_is_told_and_nothing_is_called(wish, words):
    async with agents("calc") as hub:
        hub.model(wishes(wish), says("Sorry"))
        events = await hub.talk()
        assert of(events, "tool_end")[0]["outcome"] == "refused"
        assert words in hub.said()[2].text
        assert hub.said()[2].is_error
        assert hub["calc"].arrived("add") == 0
        assert events[-1]["state"] == "done"


@virtual_time()
async def test_without_arguments_there_are_none():
    async with agents("calc") as hub:
        hub.model(wishes(("calc__add", "")), says("Done"))
        await hub.talk()
        assert bytes(hub["calc"].sent[-1].params["arguments"]) == b"{}"


# ------------------------------------------------------------ what the guards say


async def told(hub, act=None):
    """What the model hears of a tool that is guarded or fails."""
    if act is not None:
        hub["calc"].answers["add"] = act
    hub.model(wishes(ADD), says("Sorry"))
    events = await hub.talk()
    assert events[-1]["state"] == "done"
    return of(events, "tool_end")[0]["outcome"], hub.said()[2].text


@virtual_time()
async def test_an_open_breaker_is_told_with_when_to_try_again():
    async with agents("calc") as hub:
        hub.catalog.get("calc").lane.breaker.force_open(hub.clock.now(), "test", 60 * SECOND)
        outcome, text = await told(hub)
        assert outcome == "not_delivered"
        assert text.startswith("The tool was not called: ")
        assert "It can be tried again in" in text
        assert hub["calc"].arrived("add") == 0


@virtual_time()
async def test_what_may_have_run_is_told_to_be_looked_at():
    async with agents("calc") as hub:
        outcome, text = await told(hub, lost())
        assert outcome == "not_delivered"
        assert "It may have run" in text
        assert "Trying again does not help" in text


@virtual_time()
async def test_the_servers_own_errors_are_told():
    async with agents("calc") as hub:
        assert await told(hub, error(-32603)) == (
            "tool_error", "The server answered with an error: no"
        )  # fmt: skip
        hub.conversations.known.clear()
        failed = result(b'{"content":[{"type":"text","text":"bad"}],"isError":true}', is_error=True)
        assert await told(hub, failed) == ("tool_error", "bad")
        hub.conversations.known.clear()
        odd = Act(Reply(Ending.ERROR, error=b"[", code=-1))
        assert (await told(hub, odd))[0] == "tool_error"


@virtual_time()
async def test_a_task_that_a_server_makes_is_nobodys():
    async with agents("calc") as hub:
        outcome, text = await told(hub, result(b'{"taskId":"1"}', result_type="task"))
        assert outcome == "not_delivered"
        assert "did not finish" in text


@virtual_time()
async def test_who_answered_in_the_servers_stead_is_told():
    records = server("calc", fallbacks=("twin",), attempts=1), "twin"
    tools = {"calc": {"add": tool("add", **SAFE)}}
    async with agents(*records, tools=tools) as hub:
        hub["calc"].die()
        outcome, text = await told(hub)
        assert (outcome, hub["twin"].executed("add")) == ("ok", 1)
        assert text.startswith("(Answered by twin, for calc is not available.)\n")
        hub.model(wishes(("calc__add", {"a": 7})), says("Done"))
        only = structs.replace(CAROL, endpoints=frozenset({"p", "calc"}))
        events = await hub.talk(caller=only)
        assert of(events, "tool_end")[0]["served_by"] == "another"
        assert "twin" not in str(events)


@virtual_time()
async def test_a_tool_that_has_no_room_in_a_budget_is_told_and_the_rest_goes_on():
    priced = server("calc", tools={"add": ToolPolicy(price=ToolPrice("0.01"))})
    async with agents(priced, tools={"calc": {"add": tool("add", **SAFE)}}) as hub:
        hub.model(wishes(ADD), says("Well"))
        events = await hub.talk()
        assert of(events, "tool_end")[0]["cost_usd"] == "0.01"
        assert events[-1]["cost_usd"] == "0.0103", "the model's two answers and the tool"
        budget = Budget("b", USD // 1_000, blocked=100)
        hub.ledger.kept = {"b": budget}
        hub.gateway.till.take([budget])
        facts = [row.hold.facts for row in hub.ledger.rows.values()]
        assert {one.session for one in facts} == {events[0]["run"]}


@virtual_time()
async def test_a_model_that_has_no_room_in_a_budget_ends_the_run_in_words():
    async with agents() as hub:
        budget = Budget("b", 1, blocked=100)
        hub.ledger.kept = {"b": budget}
        hub.gateway.till.take([budget])
        hub.model(says("Never"))
        events = await hub.talk()
        (problem,) = of(events, "error")
        assert (problem["code"], problem["retry_in_ms"]) == ("budget_exceeded", None)
        assert events[-1]["state"] == "failed"
        assert hub["p"].arrived("small") == 0


# ------------------------------------------------------------ approval

WIPE = ("disk__wipe", {"all": True})
DISK = {"disk": {"wipe": tool("wipe"), "look": tool("look", **SAFE)}}


@virtual_time()
async def test_what_may_destroy_waits_for_the_users_word():
    async with agents("disk", tools=DISK) as hub:
        hub.model(wishes(WIPE), says("Done"))
        run = await hub.begin_run()
        await passes(SECOND)
        (asked,) = of(await told_so_far(run), "approval")
        assert (asked["state"], asked["server"], asked["tool"]) == ("asked", "disk", "wipe")
        assert asked["arguments"] == {"all": True}
        assert hub["disk"].arrived("wipe") == 0
        run.approved(asked["id"], allow=True)
        events = await hub.events_of(run)
        assert [one["state"] for one in of(events, "approval")] == ["asked", "allowed"]
        assert hub["disk"].executed("wipe") == 1


async def told_so_far(run):
    return [json.loads(one.data) for one in run._events]


@virtual_time()
async def test_what_is_not_allowed_is_not_called_nor_is_what_nobody_answers():
    async with agents("disk", tools=DISK) as hub:
        hub.model(wishes(WIPE), says("Then not"))
        run = await hub.begin_run()
        await passes(SECOND)
        run.approved("1", allow=False)
        events = await hub.events_of(run)
        assert of(events, "tool_end")[0]["outcome"] == "denied"
        assert "did not allow" in hub.said(run)[2].text
        hub.model(wishes(WIPE), says("Then not"))
        late = await hub.talk()
        assert [one["state"] for one in of(late, "approval")] == ["asked", "expired"]
        assert hub["disk"].arrived("wipe") == 0


@pytest.mark.parametrize(
    ("chat", "page", "name", "asks"),
    [
        ("destructive", "", "look", False), ("destructive", "", "wipe", True),
        ("none", "", "wipe", False), ("none", "a page", "wipe", True),
        ("none", "a page", "look", False), ("all", "", "look", True),
    ],
)  # fmt: skip
@virtual_time()
async def test_which_tools_wait_for_a_word(chat, page, name, asks):
    async with agents("disk", tools=DISK, chat={"approval": chat}) as hub:
        hub.model(wishes((f"disk__{name}", {})), says("Done"))
        run = await hub.begin_run(page=page)
        await passes(SECOND)
        assert bool(of(await told_so_far(run), "approval")) is asks
        assert (hub["disk"].arrived(name) == 0) is asks


@virtual_time()
async def test_the_operators_word_on_a_tool_counts_before_the_servers():
    policy = {"wipe": ToolPolicy(read_only=True), "look": ToolPolicy(read_only=False)}
    async with agents(server("disk", tools=policy), tools=DISK) as hub:
        hub.model(wishes(WIPE, ("disk__look", {})), says("Done"))
        run = await hub.begin_run()
        await passes(SECOND)
        assert [one["tool"] for one in of(await told_so_far(run), "approval")] == ["look"]
        assert hub["disk"].executed("wipe") == 1


# ------------------------------------------------------------ what servers ask


@virtual_time()
async def test_what_an_old_server_asks_is_answered_by_the_user():
    async with agents("calc") as hub:
        questions = (
            Question(7, "elicitation/create", FORM), Question(8, "roots/list", b"{}"),
        )  # fmt: skip
        hub["calc"].answers["add"] = Act(None, questions=questions[:1], after_answers=1)
        hub.model(wishes(ADD), says("Done"))
        run = await hub.begin_run()
        await passes(SECOND)
        (asked,) = of(await told_so_far(run), "elicitation")
        assert (asked["server"], asked["state"]) == ("calc", "asked")
        assert asked["params"]["message"] == "How many?"
        run.answered(asked["id"], b'{"action":"accept","content":{"n":3}}')
        events = await hub.events_of(run)
        assert of(events, "elicitation")[1]["state"] == "accept"
        assert of(events, "tool_end")[0]["outcome"] == "ok"
        assert hub["calc"].answered == [(7, b'{"action":"accept","content":{"n":3}}', b"")]


@virtual_time()
async def test_what_an_agent_does_not_answer_is_refused_and_what_nobody_answers_is_cancelled():
    async with agents("calc") as hub:
        hub["calc"].answers["add"] = Act(
            None, questions=(Question(7, "elicitation/create", FORM),), after_answers=1
        )
        hub.model(wishes(ADD), says("Done"))
        events = await hub.talk()
        assert of(events, "elicitation")[1]["state"] == "cancel"
        assert hub["calc"].answered == [(7, b'{"action":"cancel"}', b"")]


ASKS = {
    "resultType": "input_required", "requestState": "s1",
    "inputRequests": {
        "k": {"method": "elicitation/create", "params": json.loads(FORM)},
        "r": {"method": "roots/list", "params": {}},
    },
}  # fmt: skip


def asks(**said):
    return result(json.dumps({**ASKS, **said}).encode(), result_type="input_required")


@virtual_time()
async def test_what_a_new_server_asks_goes_back_to_it_in_the_next_round():
    async with agents("calc") as hub:
        hub["calc"].answers["add"] = [asks(), OK]
        hub.model(wishes(ADD), says("Done"))
        run = await hub.begin_run()
        await passes(SECOND)
        run.answered("e1", b'{"action":"decline"}')
        events = await hub.events_of(run)
        assert of(events, "tool_end")[0]["outcome"] == "ok"
        params = hub["calc"].sent[-1].params
        assert json.loads(bytes(params["inputResponses"])) == {
            "k": {"action": "decline"}, "r": {"action": "cancel"}
        }  # fmt: skip
        assert bytes(params["requestState"]) == b'"s1"'


@virtual_time()
async def test_who_asked_gets_the_answer_also_where_it_stood_in_for_another():
    records = server("calc", fallbacks=("twin",), attempts=1), "twin"
    async with agents(*records, tools={"calc": {"add": tool("add", **SAFE)}}) as hub:
        hub["calc"].die()
        hub["twin"].answers["add"] = [asks(), OK]
        hub.model(wishes(ADD), says("Done"))
        run = await hub.begin_run()
        await passes(SECOND)
        hub["calc"].revive()
        await passes(SECOND)
        run.answered("e1", b'{"action":"decline"}')
        events = await hub.events_of(run)
        assert of(events, "tool_end")[0]["served_by"] == "twin"
        assert (hub["calc"].executed("add"), hub["twin"].arrived("add")) == (0, 2)


@virtual_time()
async def test_a_server_that_asks_for_ever_or_oddly_is_not_answered_for_ever():
    async with agents("calc") as hub:
        hub["calc"].answers["add"] = asks(inputRequests={}, requestState="s")
        hub.model(wishes(ADD), says("Done"))
        events = await hub.talk()
        assert of(events, "tool_end")[0]["outcome"] == "not_delivered"
        assert hub["calc"].arrived("add") == 11
        hub["calc"].answers["add"] = asks(inputRequests={"k": {"method": "x/y"}})
        hub.model(wishes(("calc__add", {"b": 1})), says("Done"))
        events = await hub.talk()
        assert of(events, "tool_end")[0]["outcome"] == "not_delivered"
        assert hub["calc"].arrived("add") == 12


@virtual_time()
async def test_a_round_without_questions_and_state_is_just_asked_again():
    async with agents("calc") as hub:
        again = result(b'{"resultType":"input_required"}', result_type="input_required")
        hub["calc"].answers["add"] = [again, OK]
        hub.model(wishes(ADD), says("Done"))
        events = await hub.talk()
        assert of(events, "tool_end")[0]["outcome"] == "ok"
        assert set(hub["calc"].sent[-1].params) == {"name", "arguments"}


# ------------------------------------------------------------ limits


@virtual_time()
async def test_the_same_call_with_the_same_result_is_noted_refused_and_then_it_is_over():
    async with agents("calc") as hub:
        hub.model(wishes(ADD))
        events = await hub.talk()
        outcomes = [one["outcome"] for one in of(events, "tool_end")]
        assert outcomes == ["ok"] * 5 + ["refused"] * 2 + ["cancelled"]
        texts = [one.text for one in hub.said() if one.role is Role.TOOL]
        assert ["Note of the hub" in one for one in texts] == [False] * 2 + [True] * 3 + [False] * 2
        assert hub["calc"].executed("add") == 5
        assert of(events, "error")[0]["code"] == "loop"
        assert events[-1]["state"] == "failed"


@virtual_time()
async def test_what_polls_is_asked_as_often_as_the_run_may():
    polls = server("calc", tools={"add": ToolPolicy(polls=True)})
    tools = {"calc": {"add": tool("add", **SAFE)}}
    async with agents(polls, tools=tools, chat={"rounds": 12}) as hub:
        hub.model(wishes(ADD))
        events = await hub.talk()
        assert hub["calc"].executed("add") == 12
        assert (of(events, "error")[0]["code"], events[-1]["state"]) == ("run_limit", "failed")
        assert "12 times" in of(events, "error")[0]["message"]


@pytest.mark.parametrize(
    ("chat", "words"),
    [
        ({"tool_calls": 2}, "called tools 2 times"),
        ({"max_cost_usd": "0.0002"}, "The run cost $0.0003"),
        ({"tokens": 200}, "tokens, its limit"),
    ],
    ids=["tools", "cost", "tokens"],
)
@virtual_time()
async def test_a_run_has_limits(chat, words):
    async with agents("calc", chat=chat) as hub:
        hub.model(*(wishes(("calc__add", {"n": n})) for n in range(9)))
        events = await hub.talk()
        assert words in of(events, "error")[0]["message"]
        assert events[-1]["state"] == "failed"
        assert hub["calc"].executed("add") <= 2


@virtual_time()
async def test_a_run_may_be_asked_to_cost_less_and_not_more():
    async with agents("calc", chat={"max_cost_usd": "0.0002"}) as hub:
        hub.model(*(wishes(("calc__add", {"n": n})) for n in range(9)))
        await hub.talk(cost=1)
        assert hub["p"].arrived("small") == 1
        await hub.talk(cost=USD)
        assert hub["p"].arrived("small") == 3


@virtual_time()
async def test_a_run_that_takes_too_long_is_ended_and_its_calls_with_it():
    async with agents("calc", chat={"run_ms": 5_000}) as hub:
        hub["calc"].answers["add"] = HANGS
        hub.model(wishes(ADD))
        events = await hub.talk()
        assert of(events, "tool_end")[0]["outcome"] == "cancelled"
        assert of(events, "error")[0]["code"] == "run_limit"
        await settled()
        assert not hub.gateway.in_flight


# ------------------------------------------------------------ the model's failures


def refuses(number, body=b"", **facts):
    reply = Reply(Ending.ERROR, error=body, status=number, **facts)
    return Act(reply, after=MILLISECOND, runs=False)


@virtual_time()
async def test_a_model_that_is_busy_is_asked_again_and_that_is_told():
    async with agents() as hub:
        busy = refuses(429, b'{"error":{"message":"slow down"}}', retry_after_ms=7_000)
        hub.model(*[busy] * 6, says("At last"))
        events = await hub.talk()
        problems = of(events, "error")
        assert [one["retry_in_ms"] for one in problems] == [7_000] * 3
        assert "slow down" in problems[0]["message"]
        assert (text_of(events), events[-1]["state"]) == ("At last", "done")


@virtual_time()
async def test_one_that_stays_busy_ends_the_run():
    async with agents() as hub:
        hub.model(refuses(503, b'{"error":{"message":"down"}}'))
        events = await hub.talk()
        *again, last = of(events, "error")
        assert len(again) == 3
        assert [one["retry_in_ms"] for one in again[:2]] == [2_000, 4_000]
        assert last["retry_in_ms"] is None
        assert events[-1]["state"] == "failed"


@virtual_time()
async def test_one_that_asks_for_too_long_a_pause_ends_the_run():
    async with agents() as hub:
        hub.model(refuses(429, retry_after_ms=600_000))
        assert len(of(await hub.talk(), "error")) == 1


@pytest.mark.parametrize(
    "act",
    [
        refuses(400, b'{"error":{"message":"too long"}}'),
        refuses(429, b'{"error":{"message":"no credit"}}', exhausted=True),
    ],
    ids=["wrong", "exhausted"],
)
@virtual_time()
async def test_what_another_try_would_not_help_ends_the_run_at_once(act):
    async with agents() as hub:
        hub.model(act)
        events = await hub.talk()
        (problem,) = of(events, "error")
        assert problem["code"] == "model_error"
        assert "The model's provider answered" in problem["message"]


@virtual_time()
async def test_after_the_first_word_it_is_not_asked_again_and_the_words_are_kept():
    async with agents() as hub:
        lost_then = {"ending": Ending.LOST, "loss": 1, "seen": None}
        pieces = chunk(content="Well "), chunk(content="then")
        hub.model(streams(*pieces, **lost_then), says("Never"))
        events = await hub.talk()
        assert hub["p"].arrived("small") == 1
        assert (text_of(events), events[-1]["state"]) == ("Well then", "failed")
        last = hub.said()[-1]
        assert (last.text, last.cut) == ("Well then", True)


@virtual_time()
async def test_nor_is_a_model_that_is_busy_in_the_middle_of_its_answer():
    async with agents() as hub:
        busy = structs.replace(refuses(503), notes=(("llm/chunk", chunk(content="Well")),))
        hub.model(busy, says("Never"))
        events = await hub.talk()
        assert hub["p"].arrived("small") == 1
        assert (text_of(events), len(of(events, "error"))) == ("Well", 1)


@pytest.mark.parametrize(
    ("act", "code", "kept"),
    [
        (streams(chunk(content="We")), "model_error", "We"),
        (streams(chunk(content="We"), b'data: {"error":{"message":"boom"}}\n\n'), "model_error",
         "We"),
        (says("We", finish="length"), "too_long", "We"),
    ],
    ids=["cut", "error", "long"],
)  # fmt: skip
@virtual_time()
async def test_an_answer_that_is_not_whole_is_kept_and_told(act, code, kept):
    async with agents() as hub:
        hub.model(act)
        events = await hub.talk()
        assert of(events, "error")[0]["code"] == code
        assert (hub.said()[-1].text, hub.said()[-1].cut) == (kept, True)


@virtual_time()
async def test_a_refusal_of_the_model_is_an_answer():
    async with agents() as hub:
        hub.model(says("I will not", finish="content_filter"))
        events = await hub.talk()
        assert (text_of(events), events[-1]["state"]) == ("I will not", "done")


@virtual_time()
async def test_a_provider_that_answers_at_once_is_heard_too():
    async with agents() as hub:
        body = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
        hub.model(streams(result=json.dumps(body).encode()))
        hub["p"].answers["small"][0] = structs.replace(hub["p"].answers["small"][0], notes=())
        assert text_of(await hub.talk()) == "Hi"
        body["choices"][0]["message"]["content"] = ""
        empty = streams(result=json.dumps(body).encode())
        hub.model(structs.replace(empty, notes=()))
        assert text_of(await hub.talk()) == ""


@virtual_time()
async def test_a_stream_that_comes_in_one_piece_is_a_stream():
    async with agents("calc") as hub:
        whole = wishes(ADD)
        pieces = b"".join(piece for _, piece in whole.notes)
        reply = structs.replace(whole.reply, result=pieces)
        hub.model(Act(reply, notes=whole.notes[:1], after=MILLISECOND), says("Done"))
        assert text_of(await hub.talk()) == "Done"
        assert hub["calc"].executed("add") == 1


@virtual_time()
async def test_a_long_answer_waits_for_its_reader():
    async with agents() as hub:
        words = "x" * 100_000
        hub.model(streams(*[chunk(content=words)] * 20, chunk("stop")))
        events = await hub.talk()
        assert len(hub.said()[-1].text) > 240_000
        assert events[-1]["state"] == "done"


# ------------------------------------------------------------ long conversations


@virtual_time()
async def test_what_does_not_fit_the_model_is_summarised_once():
    async with agents("calc", chat={"window_tokens": 2_000}) as hub:
        hub.model(says("x" * 2_500))
        run = await hub.begin_run("first " + "y" * 2_000)
        await hub.events_of(run)
        hub.model(says("In short"), says("Fine"))
        events = await hub.talk("second " + "z" * 2_000, conversation=run.conversation)
        told = of(events, "context")[-1]
        assert (told["summarised"], told["messages"]) == (2, 3)
        assert len(of(events, "usage")) == 2
        messages = hub.asked_of_model()["messages"]
        assert "In short" in messages[1]["content"]
        assert messages[-1]["content"].startswith("second")
        known = await hub.conversations.find(run.conversation)
        assert (known.summary, known.summarised) == ("In short", 2)
        hub.model(says("Fine"))
        events = await hub.talk("third", conversation=run.conversation)
        assert of(events, "context")[-1]["summarised"] == 0
        assert "In short" in hub.asked_of_model()["messages"][1]["content"]


@virtual_time()
async def test_one_message_that_is_too_long_by_itself_is_the_providers_to_refuse():
    async with agents(chat={"window_tokens": 1_000}) as hub:
        hub.model(says("Fine"))
        events = await hub.talk("y" * 9_000)
        assert of(events, "context")[0]["summarised"] == 0
        assert events[-1]["state"] == "done"


# ------------------------------------------------------------ cancelling


@pytest.mark.parametrize("after_ms", [0, 1, 300, 900, 1_500, 2_500])
@virtual_time(seeds=3)
async def test_it_can_be_cancelled_at_every_point_and_nothing_is_left(after_ms):
    async with agents("calc") as hub:
        slow = Act(OK.reply, after=SECOND)
        hub["calc"].answers["add"] = slow
        hub.model(
            wishes(ADD, text="Let me see", after=500 * MILLISECOND),
            says("It is five", after=SECOND),
        )
        run = await hub.begin_run()
        await passes(after_ms * MILLISECOND)
        hub.runs.cancel(run)
        hub.runs.cancel(run)
        events = await hub.events_of(run)
        assert events[-1]["state"] == "cancelled"
        kept = await hub.conversations.find_run(run.id)
        assert kept.state.value == "cancelled"
        await passes(20 * SECOND)
        assert hub.at_rest()
        assert all(row.charge.state.value != "reserved" for row in hub.ledger.rows.values())
        hub.model(says("Again"))
        hub["calc"].answers["add"] = OK
        again = await hub.talk("Go on", conversation=run.conversation)
        assert (text_of(again), again[-1]["state"]) == ("Again", "done")


@virtual_time()
async def test_a_key_that_may_use_no_tools_has_none():
    async with agents("calc") as hub:
        hub.model(says("Hi"))
        llm = structs.replace(CAROL, scopes=frozenset({Scope.LLM}))
        events = await hub.talk(caller=llm)
        assert of(events, "context")[0]["tools"] == 0
        assert "tools" not in hub.asked_of_model()


@virtual_time()
async def test_a_tool_that_a_key_may_not_touch_is_as_if_it_were_not_there():
    async with agents("disk", tools=DISK) as hub:
        limited = structs.replace(CAROL, reach=Reach(ToolSet(allow=("*__look",)), None))
        hub.model(wishes(WIPE), says("Sorry"))
        events = await hub.talk(caller=limited)
        assert not of(events, "approval")
        assert "There is no tool" in of(events, "tool_end")[0]["text"]


@virtual_time()
async def test_who_starts_a_run_may_want_more_to_be_approved_and_not_less():
    async with agents("disk", tools=DISK, chat={"approval": "all"}) as hub:
        hub.model(wishes(("disk__look", {})), says("Done"))
        run = await hub.begin_run(approval="destructive")
        await passes(SECOND)
        assert of(await told_so_far(run), "approval")
    async with agents("disk", tools=DISK) as hub:
        hub.model(wishes(("disk__look", {})), says("Done"))
        run = await hub.begin_run(approval="all")
        await passes(SECOND)
        assert of(await told_so_far(run), "approval")


@virtual_time()
async def test_a_server_that_is_added_has_its_tools_in_the_next_turn():
    async with agents("calc") as hub:

        def add(_):
            hub.tasks.start(hub.catalog.add(server("more")), "add")
            return OK

        hub["calc"].answers["add"] = lambda sent: (add(sent), Act(OK.reply, after=2 * SECOND))[1]
        hub.model(wishes(ADD), says("Done"))
        events = await hub.talk()
        assert [one["tools"] for one in of(events, "context")] == [1, 2]
