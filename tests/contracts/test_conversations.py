"""What conversations.ConversationStorage promises, of the fake and of the hub's database."""

import asyncio
import os
import signal

import pytest
from support.fake_conversations import FakeConversations
from support.store_rows import until

from agenthub.conversations import MESSAGES_MAX, Conversation, Run, RunState
from agenthub.domain.dialogue import Message, Role, ToolCall
from agenthub.outbound.conversations import DatabaseConversations
from agenthub.outbound.store import open_store

AT = 1_700_000_000
HELLO = Message(Role.USER, "Hello", context="a page")
CALLS = Message(Role.ASSISTANT, "", calls=(ToolCall("1", "calc__add", '{"a":1}', "s"),))
RESULT = Message(Role.TOOL, "2", call_id="1", tool="calc__add", is_error=True)


def conversation(name="c", caller="anna", at_s=AT):
    return Conversation(name, caller, f"About {name}", "m", at_s, at_s, 0)


async def create(storage, one=None):
    """A conversation that begins with HELLO, and the run that answers it."""
    one = one or conversation()
    run = Run(f"r-{one.id}", one.id, RunState.RUNNING, one.created_at_s)
    assert await storage.begin(run, HELLO, one)


async def begin(storage, name, at_s=AT):
    return await storage.begin(Run(name, "c", RunState.RUNNING, at_s), HELLO)


@pytest.fixture(params=["fake", "file"])
async def storage(request, tmp_path):
    if request.param == "fake":
        yield FakeConversations(3)
        return
    async with open_store(tmp_path / "home") as store:
        yield DatabaseConversations(store.process, 3)


async def test_what_was_said_is_found_again_in_its_order(storage):
    await create(storage)
    assert await storage.add("c", "r1", [CALLS, RESULT], AT + 2) == 3
    said = await storage.messages("c")
    assert [one.number for one in said] == [1, 2, 3]
    assert [one.message for one in said] == [HELLO, CALLS, RESULT]
    assert (said[0].run, said[0].at_s) == ("r-c", AT)
    assert [one.number for one in await storage.messages("c", after=1, limit=1)] == [2]
    found = await storage.find("c")
    assert (found.messages, found.changed_at_s, found.created_at_s) == (3, AT + 2, AT)


async def test_nothing_is_added_to_a_conversation_that_is_gone(storage):
    assert await storage.add("c", "r", [HELLO], AT) is None
    assert await begin(storage, "r") is False
    assert await storage.find_run("r") is None
    assert await storage.find("c") is None
    assert await storage.messages("c") == []
    assert await storage.rename("c", "x", AT) is False
    assert await storage.delete("c") is False


async def test_the_last_one_that_was_spoken_in_comes_first_page_by_page(storage):
    for number, name in enumerate("abc"):
        await create(storage, conversation(name, "anna" if name != "b" else "bert", AT + number))
    await storage.add("a", "r", [HELLO], AT + 9)
    assert [one.id for one in await storage.list(None, limit=9)] == ["a", "c", "b"]
    assert [one.id for one in await storage.list("anna", limit=9)] == ["a", "c"]
    first = await storage.list(None, limit=1)
    last = first[-1]
    rest = await storage.list(None, limit=9, before=(last.changed_at_s, last.id))
    assert [one.id for one in rest] == ["c", "b"]
    assert await storage.list("carl", limit=9) == []
    at = (last.changed_at_s, last.id)
    assert [one.id for one in await storage.list("anna", limit=9, before=at)] == ["c"]


async def test_the_one_that_nobody_spoke_in_for_longest_is_forgotten_beyond_the_bound(storage):
    for number, name in enumerate("abcd"):
        await create(storage, conversation(name, at_s=AT + number))
        await storage.add(name, "r", [HELLO], AT + number)
    assert [one.id for one in await storage.list(None, limit=9)] == ["d", "c", "b"]
    assert await storage.messages("a") == []
    assert await storage.find_run("r-a") is None
    assert await storage.find_run("r-b") is not None


async def test_another_title_and_a_summary(storage):
    await create(storage)
    await storage.add("c", "r", [CALLS, RESULT], AT)
    assert await storage.rename("c", "New", AT + 5) is True
    await storage.summarise("c", "In short", 2)
    await storage.summarise("c", "Older", 1)
    await storage.summarise("gone", "x", 1)
    found = await storage.find("c")
    assert (found.title, found.changed_at_s) == ("New", AT + 5)
    assert (found.summary, found.summarised) == ("In short", 2)


async def test_what_is_deleted_is_gone_with_all_that_was_in_it(storage):
    await create(storage)
    assert await storage.delete("c") is True
    assert await storage.find("c") is None
    assert await storage.messages("c") == []
    assert await storage.runs("c") == []
    await create(storage)
    assert await storage.add("c", "r", [HELLO], AT) == 2


async def test_a_run_ends_once(storage):
    await create(storage)
    assert await begin(storage, "r1")
    assert await begin(storage, "r0")
    await storage.end("r1", RunState.FAILED, "no", AT + 2)
    await storage.end("r1", RunState.DONE, "", AT + 3)
    await storage.end("r9", RunState.DONE, "", AT + 3)
    assert await storage.find_run("r1") == Run("r1", "c", RunState.FAILED, AT, AT + 2, "no")
    assert [one.id for one in await storage.runs("c")] == ["r0", "r1", "r-c"]
    assert await storage.find_run("r9") is None


async def test_runs_that_another_process_had_are_interrupted(storage):
    await create(storage)
    await begin(storage, "r1")
    await begin(storage, "r2")
    await storage.end("r2", RunState.DONE, "", AT)
    await storage.end("r-c", RunState.DONE, "", AT)
    assert await storage.interrupt(AT + 7) == 1
    assert await storage.interrupt(AT + 8) == 0
    assert await storage.find_run("r1") == Run("r1", "c", RunState.INTERRUPTED, AT, AT + 7)
    assert (await storage.find_run("r2")).state is RunState.DONE


async def test_numbers_have_no_gaps_whoever_speaks_at_once(storage):
    await create(storage)
    await asyncio.gather(*(storage.add("c", f"r{n}", [HELLO, RESULT], AT) for n in range(40)))
    assert [one.number for one in await storage.messages("c")] == list(range(1, 82))
    runs = [one.run for one in await storage.messages("c", after=1)]
    assert runs[::2] == runs[1::2], "what is said together stands together"


async def test_any_text_is_kept(storage):
    await create(storage)
    odd = Message(Role.USER, "a\0b \N{GRINNING FACE} \u202e" + "x" * 250_000)
    await storage.add("c", "r", [odd], AT)
    assert (await storage.messages("c"))[1].message == odd


async def test_killed_in_the_middle_nothing_is_lost_double_or_out_of_order(tmp_path):
    async with open_store(tmp_path / "home") as store:
        storage = DatabaseConversations(store.process)
        await create(storage)
        for turn in range(3):
            adding = [
                asyncio.ensure_future(
                    storage.add("c", "r", [Message(Role.USER, f"{turn}-{n}")], AT)
                )
                for n in range(100)
            ]
            await asyncio.sleep(0)
            restarts, killed = store.process.restarts, store.process.pid
            os.kill(killed, signal.SIGKILL)
            await asyncio.gather(*adding)
            await until(lambda r=restarts: store.process.restarts > r)
        said = await storage.messages("c")
        assert [one.number for one in said] == list(range(1, 302))
        texts = [one.message.text for one in said[1:]]
        assert texts == [f"{turn}-{n}" for turn in range(3) for n in range(100)]


async def test_a_message_that_cannot_be_read_is_left_out(tmp_path, caplog):
    async with open_store(tmp_path / "home") as store:
        storage = DatabaseConversations(store.process)
        await create(storage)
        row = ("c", "t", "r", AT, b'{"role":"king"}', 9, "")
        await store.process.change(("add_message", [row]))
        await storage.add("c", "r", [HELLO], AT)
        assert [one.number for one in await storage.messages("c")] == [1, 3]
        assert "unreadable" in caplog.text
        assert await storage.add("c", "r", [], AT) == 3
        assert await storage.add("gone", "r", [], AT) is None


async def test_a_full_conversation_takes_all_of_what_is_said_or_nothing(storage):
    await create(storage)
    assert await storage.add("c", "r", [HELLO] * (MESSAGES_MAX - 2), AT) == MESSAGES_MAX - 1
    assert await storage.add("c", "r", [CALLS, RESULT], AT) is None
    assert (await storage.find("c")).messages == MESSAGES_MAX - 1
    assert await storage.add("c", "r", [CALLS], AT) == MESSAGES_MAX
    assert await begin(storage, "r9") is False
    assert await storage.find_run("r9") is None


async def test_a_run_of_an_unknown_state_counts_as_interrupted(tmp_path, caplog):
    async with open_store(tmp_path / "home") as store:
        storage = DatabaseConversations(store.process)
        await create(storage)
        await store.process.change(("end_run", [("r-c", "dreaming", "", AT)]))
        assert (await storage.find_run("r-c")).state is RunState.INTERRUPTED
    assert "unknown" in caplog.text
