"""A session's stream of news that is lost and resumed, also at another process.

Provenance: MCP specification 2025-11-25, "Resumability and Redelivery"; attack A17.
"""

import asyncio

import msgspec
import pytest
from support.exchange import ACCEPT, initialize, legacy, post
from support.fake_upstream import OK
from support.house import ANNA, BERT
from support.mcp_hub import doors
from support.news import URI, docs
from support.virtual_time import virtual_time

from agenthub.inbound.mcp.transport.session_feed import State, read_state
from agenthub.wire import base64url

LISTS = {f"notifications/{kind}/list_changed" for kind in ("tools", "prompts", "resources")}
UPDATED = "notifications/resources/updated"


def hub_with_docs():
    return doors("docs", prepare={"docs": docs})


async def begun(hub, version="2025-11-25", caller=ANNA):
    return (await hub(initialize(version, caller=caller))).header(b"mcp-session-id")


async def listening(hub, session, seen=None, caller=ANNA):
    headers = [ACCEPT, (b"mcp-session-id", session)]
    if seen is not None:
        headers.append((b"last-event-id", seen))
    return await hub(post(b"", headers, method="GET", caller=caller))


async def ask(hub, session, method, params):
    return await hub(legacy(method, params, session=session))


def news(exchange):
    return [event["method"] for event in exchange.events]


def update(hub):
    hub["docs"].watcher.changed(UPDATED, b'{"uri":"a:b"}')


@virtual_time()
async def test_a_stream_of_news_has_an_id_from_the_start_and_each_event_another():
    async with hub_with_docs() as hub:
        session = await begun(hub)
        stream = await listening(hub, session)
        (first,) = stream.blocks
        assert first == {"id": first["id"], "retry": b"1000", "data": b""}
        hub["docs"].tools = {}
        hub["docs"].watcher.changed("notifications/tools/list_changed", b"{}")
        await asyncio.sleep(1)
        ids = [block["id"] for block in stream.blocks]
        assert len(ids) == len(set(ids)) > 1


@virtual_time()
async def test_older_clients_hear_only_messages():
    async with hub_with_docs() as hub:
        session = await begun(hub, "2025-06-18")
        stream = await listening(hub, session)
        await ask(hub, session, "resources/subscribe", {"uri": URI})
        assert not stream.blocks
        update(hub)
        await asyncio.sleep(1)
        (told,) = stream.blocks
        assert (told["message"]["method"], "id" in told) == (UPDATED, True)


@virtual_time()
async def test_who_comes_back_hears_that_everything_may_have_changed():
    async with hub_with_docs() as hub:
        session = await begun(hub)
        stream = await listening(hub, session)
        await ask(hub, session, "resources/subscribe", {"uri": URI})
        stream.gone()
        update(hub)
        again = await listening(hub, session, stream.last_id)
        assert sorted(news(again)) == sorted([*LISTS, UPDATED])
        assert again.events[-1]["params"] == {"uri": URI}
        update(hub)
        await asyncio.sleep(1)
        assert news(again).count(UPDATED) == 2


@virtual_time()
async def test_who_comes_back_before_the_hub_knows_that_it_went_takes_the_stream_over():
    async with hub_with_docs() as hub:
        session = await begun(hub)
        stream = await listening(hub, session)
        again = await listening(hub, session, stream.last_id)
        assert stream.over
        assert not again.over
        before = len(stream.chunks)
        await ask(hub, session, "resources/subscribe", {"uri": URI})
        update(hub)
        await asyncio.sleep(1)
        assert len(stream.chunks) == before
        assert UPDATED in news(again)


@virtual_time()
async def test_another_process_learns_from_the_client_what_it_subscribed_to_and_its_log_level():
    async with hub_with_docs() as hub:
        session = await begun(hub)
        stream = await listening(hub, session)
        assert (await ask(hub, session, "resources/subscribe", {"uri": URI})).result == {}
        assert (await ask(hub, session, "logging/setLevel", {"level": "error"})).result == {}
        seen = stream.last_id
    async with hub_with_docs() as second:
        again = await listening(second, session, seen)
        assert ("resources/subscribe", "a:b") in second["docs"].asked
        update(second)
        await asyncio.sleep(1)
        assert news(again).count(UPDATED) == 2
        second["docs"].otherwise = OK
        await ask(second, session, "tools/call", {"name": "docs__add", "arguments": {}})
        level = second["docs"].sent[-1].meta["io.modelcontextprotocol/logLevel"]
        assert bytes(level) == b'"error"'
        assert read_state(again.last_id) == State("error", [URI])


@virtual_time()
async def test_what_was_unsubscribed_does_not_come_back():
    async with hub_with_docs() as hub:
        session = await begun(hub)
        stream = await listening(hub, session)
        for method in ("resources/subscribe", "resources/unsubscribe"):
            await ask(hub, session, method, {"uri": URI})
        seen = stream.last_id
        assert read_state(seen) == State("info", [])
        refused = await ask(hub, session, "resources/subscribe", {"uri": "agenthub://nobody/x"})
        assert refused.code == -32602
        assert stream.last_id == seen, "nothing was said that matters"


@virtual_time()
async def test_this_process_knows_better_than_an_old_id():
    async with hub_with_docs() as hub:
        session = await begun(hub)
        stream = await listening(hub, session)
        await ask(hub, session, "logging/setLevel", {"level": "error"})
        seen = stream.last_id
        await ask(hub, session, "logging/setLevel", {"level": "debug"})
        stream.gone()
        again = await listening(hub, session, seen)
        assert read_state(again.last_id).log_level == "debug"


@virtual_time()
async def test_an_id_grants_nothing_that_could_not_be_asked_for():
    """A17."""
    said = base64url.encode(msgspec.json.encode(["loud", [URI, "agenthub://nobody/x"]]))
    async with hub_with_docs() as hub:
        session = await begun(hub)
        forged = f"x.1.{said}".encode()
        stolen = await listening(hub, session, forged, BERT)
        assert (stolen.status, stolen.streaming) == (404, False)
        stream = await listening(hub, session, forged)
        assert read_state(stream.last_id) == State("info", [URI])


@virtual_time()
async def test_a_long_list_of_subscriptions_is_not_carried():
    async with doors("docs", prepare={"docs": docs}) as hub:
        session = await begun(hub)
        stream = await listening(hub, session)
        for number in range(100):
            await ask(hub, session, "resources/subscribe", {"uri": f"{URI}{number}-{'x' * 20}"})
        assert read_state(stream.last_id) == State("info", [])
        assert max(len(block["id"]) for block in stream.blocks) < 3_000


@virtual_time()
async def test_after_the_stream_has_gone_the_session_can_still_say_things():
    async with hub_with_docs() as hub:
        session = await begun(hub)
        stream = await listening(hub, session)
        stream.gone()
        before = len(stream.chunks)
        assert (await ask(hub, session, "resources/subscribe", {"uri": URI})).result == {}
        assert len(stream.chunks) == before


@pytest.mark.parametrize(
    "text", [b"", b"a.b", b"a.1.MQ", b"a.1.!", b"a.1.W10", b"\xff.1.W10", b"a.1.WzEsW11d"]
)
def test_what_is_no_id_of_a_stream_of_news_is_none(text):
    assert read_state(text) is None
