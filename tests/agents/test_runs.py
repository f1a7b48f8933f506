"""Runs: who may start, follow and stop them, and what is left of them."""

import asyncio
import contextlib
import json
import logging

import pytest
from msgspec import structs
from support.agent_house import CAROL, DAVE, SAFE, agents, of, provider, says, text_of, wishes
from support.fake_upstream import HANGS, tool
from support.house import server
from support.virtual_time import LoopClock, passes, settled, virtual_time

from agenthub.agents.events import Piece
from agenthub.agents.run import EVENT_BYTES, RunUnderWay
from agenthub.agents.runs import GONE, KEPT, KEPT_MAX, PAGE_BYTES, RUNS_EACH, RUNS_MAX, mended
from agenthub.agents.tools import BOXES_MAX, TOOLS_MAX
from agenthub.conversations import MESSAGES_MAX, Run, RunState
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.dialogue import Message, Role, ToolCall
from agenthub.domain.errors import Conflict, InvalidParams, Overloaded, StorageFailed, UnknownTarget
from agenthub.domain.provider import Llm
from agenthub.domain.span import SECOND
from agenthub.domain.tool_set import ToolSet

ADMIN = Caller("admin", frozenset({Scope.ADMIN}))


@virtual_time()
async def test_who_comes_back_gets_what_was_missed_and_the_rest_and_nothing_twice():
    async with agents("calc") as hub:
        hub.model(wishes(("calc__add", {"a": 1}), after=2 * SECOND), says("one two three"))
        run = await hub.begin_run()
        whole = asyncio.ensure_future(hub.events_of(run))
        first = []
        async for some in run.follow(0):
            first += some
            if len(first) >= 2:
                break
        await passes(20 * SECOND)
        rest = await hub.events_of(run, after=first[-1].number)
        assert [json.loads(one.data) for one in first] + rest == await whole
        assert await hub.events_of(run, after=10_000) == []


@virtual_time()
async def test_who_waits_hears_now_and_then_that_it_goes_on():
    async with agents() as hub:
        hub.model(HANGS)
        run = await hub.begin_run()
        beats = 0
        async with contextlib.aclosing(run.follow(2)) as following:
            async for some in following:
                beats += not some
                if beats == 3:
                    break
        assert not run._news, "who has gone is forgotten"


@virtual_time()
async def test_a_run_that_tells_too_much_forgets_its_oldest_events():
    run = RunUnderWay("r", "c", "anna", "m", LoopClock(), SECOND)
    for _ in range(6):
        run.tell(Piece("x" * (EVENT_BYTES // 4)))
    assert len(run._events) == 3
    assert run._size <= EVENT_BYTES
    run.finish(RunState.DONE)
    (some,) = [some async for some in run.follow(0)]
    assert some[0].number == 4


@virtual_time()
async def test_a_conversation_goes_on_with_its_model_and_all_that_was_said():
    async with agents() as hub:
        hub.model(says("Hi"))
        run = await hub.begin_run("Hello")
        await hub.events_of(run)
        await hub.talk("Again", conversation=run.conversation, model="")
        assert [one["content"] for one in hub.asked_of_model()["messages"][1:]] == [
            "Hello", "Hi", "Again"
        ]  # fmt: skip
        known = await hub.conversations.find(run.conversation)
        assert (known.title, known.messages, known.model) == ("Hello", 4, "p/small")


@virtual_time()
async def test_one_answer_at_a_time_in_a_conversation():
    async with agents() as hub:
        hub.model(HANGS)
        run = await hub.begin_run()
        with pytest.raises(Conflict, match="under way in this conversation"):
            await hub.begin_run(conversation=run.conversation)
        hub.runs.cancel(run)
        await hub.events_of(run)
        hub.model(says("Hi"))
        assert text_of(await hub.talk(conversation=run.conversation)) == "Hi"


@virtual_time()
async def test_what_cannot_be_started_leaves_nothing():
    async with agents() as hub:
        hub.model(says("Hi"))
        with pytest.raises(InvalidParams, match="message"):
            await hub.begin_run("  ")
        with pytest.raises(UnknownTarget, match="conversation"):
            await hub.begin_run(conversation="none")
        with pytest.raises(UnknownTarget, match="Unknown model"):
            await hub.begin_run(model="x" * 300)
        with pytest.raises(InvalidParams, match="approval"):
            await hub.begin_run(approval="never")
        assert not hub.conversations.known
        hub.conversations.broken = True
        with pytest.raises(StorageFailed):
            await hub.begin_run()
        hub.conversations.broken = False
        assert not hub.runs._busy
        assert not hub.runs._runs
        assert not hub["p"].arrived("small")
        assert text_of(await hub.talk()) == "Hi"


@virtual_time()
async def test_a_conversation_that_is_deleted_while_one_begins_is_gone():
    async with agents() as hub:
        hub.model(says("Hi"))
        first = await hub.begin_run()
        await hub.events_of(first)
        messages = hub.conversations.messages

        async def late(name, **more):
            found = await messages(name, **more)
            await hub.conversations.delete(first.conversation)
            return found

        hub.conversations.messages = late
        with pytest.raises(UnknownTarget, match="There is no conversation"):
            await hub.begin_run(conversation=first.conversation)


@virtual_time()
async def test_nobody_sees_anothers_runs_and_conversations_but_an_admin():
    async with agents() as hub:
        hub.model(says("Hi"))
        run = await hub.begin_run()
        await hub.events_of(run)
        for what in (
            lambda: hub.runs.find(run.conversation, DAVE),
            lambda: hub.runs.rename(run.conversation, "x", DAVE),
            lambda: hub.runs.delete(run.conversation, DAVE),
            lambda: hub.begin_run(conversation=run.conversation, caller=DAVE),
        ):
            with pytest.raises(UnknownTarget):
                await what()
        with pytest.raises(UnknownTarget):
            hub.runs.running(run.id, DAVE)
        assert hub.runs.running(run.id, ADMIN) is run
        assert (await hub.runs.find(run.conversation, ADMIN)).caller == "carol"


@virtual_time()
async def test_each_caller_and_the_hub_have_so_many_runs_at_a_time():
    async with agents() as hub:
        hub.model(HANGS)
        for _ in range(RUNS_EACH):
            await hub.begin_run()
        with pytest.raises(Overloaded) as caught:
            await hub.begin_run()
        assert caught.value.retry_after_ms
        for number in range(RUNS_MAX - RUNS_EACH):
            await hub.begin_run(caller=structs.replace(CAROL, id=f"c{number // RUNS_EACH}"))
        with pytest.raises(Overloaded):
            await hub.begin_run(caller=DAVE)


@virtual_time()
async def test_what_is_over_is_forgotten_after_a_while():
    async with agents() as hub:
        hub.model(says("Hi"))
        run = await hub.begin_run()
        await hub.events_of(run)
        await passes(KEPT)
        await hub.talk()
        with pytest.raises(UnknownTarget, match="over long ago"):
            hub.runs.running(run.id, CAROL)
        for _ in range(KEPT_MAX + 5):
            await hub.talk()
        assert len(hub.runs._runs) <= KEPT_MAX + 1


@virtual_time()
async def test_a_conversation_is_renamed_and_deleted_with_what_is_under_way_in_it():
    async with agents() as hub:
        hub.model(HANGS)
        run = await hub.begin_run()
        assert (await hub.runs.rename(run.conversation, " New ", CAROL)).title == "New"
        with pytest.raises(InvalidParams, match="title"):
            await hub.runs.rename(run.conversation, " ", CAROL)
        other = await hub.begin_run()
        await hub.runs.delete(run.conversation, CAROL)
        events = await hub.events_of(run)
        assert events[-1]["state"] == "cancelled"
        assert await hub.conversations.find(run.conversation) is None
        assert other.ended is None


@virtual_time()
async def test_what_was_begun_with_a_key_that_is_revoked_ends():
    async with agents() as hub:
        hub.model(HANGS)
        run, other = await hub.begin_run(), await hub.begin_run(caller=DAVE)
        hub.runs.forget_caller("carol")
        assert (await hub.events_of(run))[-1]["state"] == "cancelled"
        assert other.ended is None


@virtual_time()
async def test_a_page_is_the_users_to_show_and_no_word_of_the_system():
    async with agents() as hub:
        hub.model(says("Hi"))
        await hub.talk("What is this?", page="A shop. " + "x" * 100_000)
        system, user = hub.asked_of_model()["messages"]
        assert "A shop" not in system["content"]
        assert "A shop" in user["content"]
        assert len(user["content"]) < PAGE_BYTES + 1_000
        assert "cut here" in user["content"]


@virtual_time()
async def test_the_last_event_comes_when_all_that_was_said_is_kept():
    async with agents() as hub:
        hub.model(says("Hi"))
        run, add = await hub.begin_run(), hub.conversations.add

        async def slowly(*values):
            await asyncio.sleep(3)
            return await add(*values)

        hub.conversations.add = slowly
        events = await hub.events_of(run)
        assert events[-1]["type"] == "done"
        assert [one.text for one in hub.said(run)] == ["Hello", "Hi"]
        assert (await hub.conversations.find_run(run.id)).state is RunState.DONE


@virtual_time()
async def test_a_disk_that_is_full_is_told_and_the_answer_is_not_held_back():
    async with agents() as hub:
        hub.model(says("Hi", after=SECOND))
        run = await hub.begin_run()
        hub.conversations.broken = True
        events = await hub.events_of(run)
        assert text_of(events) == "Hi"
        assert "could not be kept" in of(events, "error")[0]["message"]
        assert events[-1]["type"] == "done"


@virtual_time()
async def test_a_bug_of_a_runner_is_told_in_words_and_logged(caplog):
    async with agents() as hub:

        class Broken:
            name = "own"

            async def run(self, task, desk):
                raise ZeroDivisionError

        hub.runs._runners = {"own": Broken()}
        with caplog.at_level(logging.CRITICAL, "agenthub.agents.runs"):
            events = await hub.talk()
        assert of(events, "error")[0]["message"].startswith("The agent failed")
        assert events[-1]["state"] == "failed"


@virtual_time()
async def test_what_a_hub_that_died_had_under_way_is_interrupted_at_the_next_start(caplog):
    async with agents() as hub:
        hub.conversations.kept_runs["r9"] = Run("r9", "c9", RunState.RUNNING, 1)
        await hub.runs.open()
        assert (await hub.conversations.find_run("r9")).state is RunState.INTERRUPTED
        await hub.runs.open()
        assert len([one for one in caplog.records if "interrupted" in one.message]) == 1


@virtual_time()
async def test_what_is_under_way_when_the_hub_stops_is_interrupted_and_kept():
    async with agents("calc") as hub:
        hub["calc"].answers["add"] = HANGS
        hub.model(wishes(("calc__add", {}), text="Let me see"))
        run = await hub.begin_run()
        await passes(SECOND)
        await hub.runs.close()
        assert (await hub.conversations.find_run(run.id)).state is RunState.INTERRUPTED
        assert [one.role for one in hub.said(run)] == [Role.USER, Role.ASSISTANT]
        await settled()
        assert not hub.gateway.in_flight
        hub.runs._closing = False
        hub.model(says("Well"))
        await hub.talk("Go on", conversation=run.conversation)
        told = [one for one in hub.asked_of_model()["messages"] if one["role"] == "tool"]
        assert told == [{"role": "tool", "tool_call_id": "w0", "content": GONE}]


def test_a_call_without_a_result_is_told_to_be_looked_at():
    user, calls = Message(Role.USER, "x"), Message(
        Role.ASSISTANT, "", calls=(ToolCall("1", "a", ""), ToolCall("2", "b", ""))
    )  # fmt: skip
    done = Message(Role.TOOL, "r", call_id="1")
    gone = Message(Role.TOOL, GONE, call_id="2", tool="b", is_error=True)
    assert mended([user, calls, done, user]) == (user, calls, done, gone, user)
    assert mended([user, calls, done]) == (user, calls, done, gone)
    assert mended([user]) == (user,)


@virtual_time()
async def test_only_what_is_open_can_be_answered_and_once():
    async with agents("disk", tools={"disk": {"wipe": tool("wipe")}}) as hub:
        hub.model(wishes(("disk__wipe", {})), says("Done"))
        run = await hub.begin_run()
        with pytest.raises(UnknownTarget, match="open approval"):
            run.approved("1", allow=True)
        await passes(SECOND)
        with pytest.raises(UnknownTarget, match="open elicitation"):
            run.answered("1", b'{"action":"accept"}')
        with pytest.raises(InvalidParams, match="action"):
            run.answered("1", b'{"action":"maybe"}')
        run.approved("1", allow=True)
        with pytest.raises(Conflict, match="answered already"):
            run.approved("1", allow=False)
        await hub.events_of(run)
        assert hub["disk"].executed("wipe") == 1


# ------------------------------------------------------------ which model, which tools


@pytest.mark.parametrize(
    ("prices", "wires", "chosen"),
    [
        ("p", ("chat", "messages", "gemini"), "chat"), ("p", ("messages", "gemini"), "messages"),
        ("anthropic", ("chat", "messages"), "messages"), ("google", ("chat", "gemini"), "gemini"),
        ("google", ("chat",), "chat"), ("p", ("gemini",), "gemini"),
    ],
)  # fmt: skip
@virtual_time()
async def test_a_model_is_asked_in_the_wire_that_its_provider_likes_best(prices, wires, chosen):
    async with agents(provider("q", wires, prices=prices)) as hub:
        assert hub.runs._asker.wire("q/small", CAROL) == chosen


@virtual_time()
async def test_the_model_where_nobody_says_is_that_of_the_settings_or_the_first_alias():
    async with agents(provider("q", ("embeddings",))) as hub:
        with pytest.raises(UnknownTarget, match="Which model"):
            hub.runs.model(CAROL)
        hub.catalog.models.reload({"vectors": ["q/small"], "fast": ["p/small"]})
        assert hub.runs.model(CAROL) == "fast"
        assert hub.chat_with(model="p/large").model(CAROL) == "p/large"


@virtual_time()
async def test_a_model_that_a_provider_claims_is_asked_of_no_other():
    claims = structs.replace(provider("q", ("messages",)), llm=Llm(
        provider="q", wires=("messages",), models=("claude-*",)))  # fmt: skip
    async with agents(claims) as hub:
        assert hub.runs._asker.wire("claude-5", CAROL) == "messages"
        assert hub.runs._asker.wire("other", CAROL) == "chat"


@virtual_time()
async def test_the_tools_of_a_caller_are_made_once_for_each_change():
    async with agents("calc", "other") as hub:
        boxes = hub.runs._runners["own"]._house.toolboxes
        box = boxes.of(CAROL)
        assert list(box.tools) == ["calc__add", "other__add"]
        assert boxes.of(CAROL) is box
        await hub.catalog.remove("other")
        assert list(boxes.of(CAROL).tools) == ["calc__add"]
        only = structs.replace(CAROL, endpoints=frozenset({"nothing"}))
        assert not boxes.of(only).tools
        for number in range(BOXES_MAX + 5):
            boxes.of(structs.replace(CAROL, id=str(number)))
        assert len(boxes._kept) == BOXES_MAX


@virtual_time()
async def test_tools_that_a_caller_may_not_touch_are_not_told_nor_more_than_a_model_takes():
    tools = {"calc": {f"t{n:03}": tool(f"t{n:03}", description="d" * 5_000, **SAFE)
                      for n in range(TOOLS_MAX + 9)}}  # fmt: skip
    async with agents(server("calc"), tools=tools) as hub:
        boxes = hub.runs._runners["own"]._house.toolboxes
        box = boxes.of(CAROL)
        assert (len(box.tools), box.left_out) == (TOOLS_MAX, 9)
        assert len(box.specs[0].description) == 1_024
        limited = structs.replace(
            CAROL, reach=hub_reach(ToolSet(allow=("calc__t00*",)))
        )  # fmt: skip
        assert len(boxes.of(limited).tools) == 10


def hub_reach(tools):
    from agenthub.domain.caller import Reach

    return Reach(tools, None)


@virtual_time()
async def test_a_full_conversation_says_so_and_begins_nothing():
    async with agents() as hub:
        hub.model(says("Hi"))
        run = await hub.begin_run()
        await hub.events_of(run)
        hub.conversations._set(run.conversation, messages=MESSAGES_MAX)
        with pytest.raises(Conflict, match="full"):
            await hub.begin_run("More", conversation=run.conversation)
        assert len(hub.conversations.kept_runs) == 1


@virtual_time()
async def test_what_finds_no_room_in_its_conversation_is_told_to_be_not_kept(monkeypatch):
    monkeypatch.setattr("support.fake_conversations.MESSAGES_MAX", 1)
    async with agents() as hub:
        hub.model(says("Hi"))
        events = await hub.talk()
        assert [one["code"] for one in of(events, "error")] == ["not_kept"]
        assert len(hub.said()) == 1
