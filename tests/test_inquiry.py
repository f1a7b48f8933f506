import sys

import msgspec
import pytest
from msgspec import Raw
from support.fake_upstream import (
    BUSY,
    GARBAGE,
    HANGS,
    OK,
    REFUSED,
    Act,
    FakeUpstream,
    error,
    later,
    lost,
    result,
    status,
    tool,
)  # fmt: skip
from support.house import server
from support.virtual_time import LoopClock, virtual_time

from agenthub import inquiry
from agenthub.domain.call import Era
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.span import SECOND
from agenthub.inquiry import VALUES_MAX, Inquiry
from agenthub.listing import Kind, Listing


class Watcher:
    def connected(self): ...


def asking(**facts):
    fake = FakeUpstream(server("calculator"), Watcher(), LoopClock())
    for name, value in facts.items():
        setattr(fake, name, value)
    fake.connect()
    return fake, Inquiry(fake, fake.clock)


def item(**members):
    return Raw(msgspec.json.encode(members))


@virtual_time()
async def test_a_question_has_an_answer():
    _, inquiry_ = asking()
    reply = await inquiry_.ask("ping", {}, SECOND)
    assert (reply.ending, reply.result) == (Ending.RESULT, b"{}")


@virtual_time()
async def test_a_server_that_does_not_answer_is_left_at_the_end_of_the_span():
    fake, inquiry_ = asking(mute=True)
    before = fake.clock.now()
    reply = await inquiry_.ask("ping", {}, 3 * SECOND)
    assert reply.ending is Ending.CANCELLED
    assert fake.clock.now() - before == 3 * SECOND
    assert not fake.flying


@virtual_time()
async def test_whoever_stops_asking_gives_the_question_up():
    import asyncio

    fake, inquiry_ = asking(mute=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await inquiry_.ask("ping", {}, 30 * SECOND)
    await asyncio.sleep(0.1)
    assert not fake.flying


@virtual_time()
async def test_a_call_cannot_be_sent_this_way():
    fake, inquiry_ = asking()
    for method in ("tools/call", "resources/read", "prompts/get", "completion/complete"):
        with pytest.raises(AssertionError, match="goes by the gateway"):
            await inquiry_.ask(method, {}, SECOND)
    assert fake.sent == []


@virtual_time()
async def test_progress_on_a_question_is_nobodys_business():
    _, inquiry_ = asking(
        answers={"ping": Act(OK.reply, notes=(("notifications/progress", b"{}"),))}
    )
    assert (await inquiry_.ask("ping", {}, SECOND)).ending is Ending.RESULT


@virtual_time()
async def test_each_era_is_asked_what_it_knows():
    fake, inquiry_ = asking()
    assert await inquiry_.is_alive(SECOND)
    assert fake.sent[-1].method == "server/discover"
    fake, inquiry_ = asking(era=Era.LEGACY)
    assert await inquiry_.is_alive(SECOND)
    assert fake.sent[-1].method == "ping"


TIMED_OUT = Act(Reply(Ending.TIMEOUT))


@pytest.mark.parametrize(
    ("act", "alive"),
    [
        (OK, True), (error(-32601), True), (error(-32603), True), (status(404), True), (BUSY, True),
        (REFUSED, False), (lost(), False), (HANGS, False), (GARBAGE, False), (status(503), False),
        (TIMED_OUT, False), (later(OK, 2 * SECOND), False),
    ],
)  # fmt: skip
@virtual_time()
async def test_who_answers_anything_is_alive(act, alive):
    _, inquiry_ = asking(answers={"server/discover": act})
    assert await inquiry_.is_alive(SECOND) is alive


@virtual_time()
async def test_all_pages_of_all_lists_are_fetched():
    fake, inquiry_ = asking(
        page=2,
        tools={name: tool(name) for name in "edcba"},
        prompts={"p": item(name="p")},
        resources={"r": item(uri="file:///r")},
        templates={"t": item(uriTemplate="file:///{t}")},
        instructions="Be brief.",
    )
    found = await inquiry_.lists(SECOND)
    assert [msgspec.json.decode(t)["name"] for t in found.tools] == list("abcde")
    assert [len(found.items(kind)) for kind in Kind] == [5, 1, 1, 1]
    assert (found.instructions, bytes(found.server_info)) == ("Be brief.", b'{"name":"fake"}')
    assert msgspec.json.decode(found.capabilities) == {"tools": {}, "prompts": {}, "resources": {}}
    assert found.listed_at_s == fake.clock.wall() // SECOND


@virtual_time()
async def test_what_a_server_does_not_declare_is_not_asked_for():
    fake, inquiry_ = asking(capabilities={"prompts": {}}, prompts={"p": item(name="p")})
    found = await inquiry_.lists(SECOND)
    assert [outgoing.method for outgoing in fake.sent] == ["prompts/list"]
    assert [len(found.items(kind)) for kind in Kind] == [0, 1, 0, 0]


@virtual_time()
async def test_a_server_may_have_resources_and_know_no_templates():
    _, inquiry_ = asking(
        resources={"r": item(uri="file:///r")}, tools={},
        answers={"resources/templates/list": error(-32601)},
    )  # fmt: skip
    found = await inquiry_.lists(SECOND)
    assert (len(found.resources), found.templates) == (1, [])


@pytest.mark.parametrize(
    ("act", "ending"),
    [
        (error(-32603), Ending.ERROR), (error(-32601), Ending.ERROR), (lost(), Ending.LOST),
        (HANGS, Ending.CANCELLED), (result(b"[]"), Ending.PROTOCOL),
        (result(b'{"tools":7}'), Ending.PROTOCOL),
        (result(b'{"tools":' + b"[" * 90_000 + b"]" * 90_000 + b"}"), Ending.PROTOCOL),
    ],
)  # fmt: skip
@virtual_time()
async def test_a_reply_that_is_no_list_is_what_comes_back(act, ending):
    _, inquiry_ = asking(answers={"tools/list": act})
    found = await inquiry_.lists(SECOND)
    assert isinstance(found, Reply)
    assert found.ending is ending


@virtual_time()
async def test_templates_that_fail_otherwise_fail_the_whole():
    _, inquiry_ = asking(
        resources={"r": item(uri="r:r")}, answers={"resources/templates/list": error(-32603)}
    )
    assert (await inquiry_.lists(SECOND)).code == -32603


@virtual_time()
async def test_all_lists_together_are_bounded_by_the_span():
    fake, inquiry_ = asking(
        prompts={"p": item(name="p")},
        answers={"tools/list": later(result(b'{"tools":[]}'), SECOND), "prompts/list": HANGS},
    )
    before = fake.clock.now()
    assert (await inquiry_.lists(3 * SECOND)).ending is Ending.CANCELLED
    assert fake.clock.now() - before == 3 * SECOND


@virtual_time()
async def test_pages_without_end_end():
    fake, inquiry_ = asking(answers={"tools/list": result(b'{"tools":[],"nextCursor":"again"}')})
    assert isinstance(await inquiry_.lists(60 * SECOND), Listing)
    assert len(fake.sent) == inquiry.PAGES_MAX


@pytest.mark.parametrize(
    "page", [{"tools": [], "nextCursor": None}, {"tools": []}, {"nothing": 1}, {}]
)
@virtual_time()
async def test_a_page_without_a_cursor_is_the_last(page):
    fake, inquiry_ = asking(answers={"tools/list": result(msgspec.json.encode(page))})
    assert (await inquiry_.lists(SECOND)).tools == []
    assert len(fake.sent) == 1


@pytest.mark.parametrize(("limit", "value"), [("ITEMS_MAX", 3), ("LIST_BYTES_MAX", 200)])
@virtual_time()
async def test_a_list_that_grows_too_large_ends(monkeypatch, limit, value):
    monkeypatch.setattr(inquiry, limit, value)
    fake, inquiry_ = asking(page=2, tools={f"t{n}": tool(f"t{n}") for n in range(20)})
    assert len((await inquiry_.lists(SECOND)).tools) == 4
    assert len(fake.sent) == 2


@virtual_time()
async def test_a_page_of_millions_of_values_is_not_read():
    """They would be millions of objects, and hold up everybody."""
    for count, is_read in ((VALUES_MAX, True), (VALUES_MAX + 2, False)):
        page = b'{"tools":[' + b",".join([b"0"] * count) + b"]}"
        _, inquiry_ = asking(answers={"tools/list": result(page)})
        found = await inquiry_.lists(SECOND)
        assert isinstance(found, Listing) == is_read
        assert is_read or found.ending is Ending.PROTOCOL


@virtual_time()
async def test_of_a_page_no_more_is_looked_at_than_is_kept(monkeypatch):
    monkeypatch.setattr(inquiry, "ITEMS_MAX", 3)
    _, inquiry_ = asking(answers={"tools/list": result(b'{"tools":[0,0,0,0,0,0,0,0]}')})
    assert len((await inquiry_.lists(SECOND)).excluded) == 4


@virtual_time()
async def test_what_was_left_out_is_said_up_to_a_limit():
    tools = {f"bad {n}": tool(f"bad {n}") for n in range(300)} | {"good": tool("good")}
    _, inquiry_ = asking(tools=tools)
    found = await inquiry_.lists(SECOND)
    assert len(found.tools) == 1
    assert len(found.excluded) == 100


@virtual_time()
async def test_an_item_does_not_hold_the_page_that_it_came_in():
    page = msgspec.json.encode({"tools": [tool("a"), tool("b")]})
    fake, inquiry_ = asking(answers={"tools/list": result(page)})
    before = sys.getrefcount(page)
    found = await inquiry_.lists(SECOND)
    fake.sent.clear()
    assert len(found.tools) == 2
    assert sys.getrefcount(page) == before
