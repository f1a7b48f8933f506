"""Lists of a server that does not say when they change: fetched again when they are too old."""

import pytest
from support.fake_upstream import error, tool
from support.house import house
from support.virtual_time import passes, virtual_time

from agenthub.domain.events import ServerChanged
from agenthub.domain.span import SECOND
from agenthub.listing import Kind
from agenthub.renewal import JITTER, POLL, RETRY_MAX

HOUR = 3600 * SECOND


def listings(fake):
    return sum(method == "tools/list" for method, _ in fake.asked)


def says(ttl_ms=None, **capability):
    def prepare(fake):
        fake.capabilities = {"tools": capability}
        fake.caching = {} if ttl_ms is None else {"ttlMs": ttl_ms, "cacheScope": "public"}

    return {"calculator": prepare}


def shown(hub):
    return hub.catalog.get("calculator").shown(Kind.TOOLS, prefixed=False)


@virtual_time()
async def test_lists_that_nobody_is_shown_are_not_fetched_again():
    async with house("calculator", prepare=says(1_000)) as hub:
        await passes(HOUR)
        assert listings(hub["calculator"]) == 1


@virtual_time()
async def test_lists_that_were_shown_are_fetched_once_more_when_they_are_too_old():
    async with house("calculator", prepare=says(200_000)) as hub:
        shown(hub)
        await passes(199 * SECOND)
        assert listings(hub["calculator"]) == 1
        await passes(int(200 * SECOND * JITTER) + 3 * SECOND)
        assert listings(hub["calculator"]) == 2
        await passes(HOUR)
        assert listings(hub["calculator"]) == 2


@virtual_time()
async def test_who_asks_for_lists_that_are_too_old_gets_them_and_hears_of_what_is_new():
    async with house("calculator", prepare=says(1_000)) as hub:
        fake, heard = hub["calculator"], []
        hub.catalog.listeners.append(lambda server, method, _: heard.append((server.name, method)))
        await passes(HOUR)
        fake.tools["sub"] = tool("sub")
        assert b"sub" not in shown(hub)
        await passes(2 * SECOND)
        assert listings(fake) == 2
        assert ("calculator", "notifications/tools/list_changed") in heard
        assert {item.name for item in hub.catalog.get("calculator").pending_tools()} == {"sub"}


@virtual_time()
async def test_a_crowd_that_asks_at_once_has_them_fetched_once():
    async with house("calculator", prepare=says(1_000)) as hub:
        await passes(HOUR)
        for _ in range(10_000):
            shown(hub)
        await passes(10 * SECOND)
        assert listings(hub["calculator"]) == 2


@virtual_time()
@pytest.mark.parametrize("ttl_ms", [None, 0, -5, 1, 10**20])
async def test_a_server_is_not_asked_all_the_time_nor_never_whatever_it_says(ttl_ms):
    async with house("calculator", prepare=says(ttl_ms)) as hub:
        for _ in range(3 * 600):
            shown(hub)
            await passes(6 * SECOND)
        most = 3 * HOUR // POLL
        assert 3 <= listings(hub["calculator"]) <= most + 1


@virtual_time()
async def test_a_server_that_says_when_its_lists_change_is_believed():
    async with house("calculator", prepare=says(0, listChanged=True)) as hub:
        for _ in range(100):
            shown(hub)
            await passes(60 * SECOND)
        assert listings(hub["calculator"]) == 1


@virtual_time()
async def test_lists_are_kept_fresh_while_somebody_listens_for_their_changes():
    async with house("calculator", prepare=says(0)) as hub:
        followed = ["calculator"]
        hub.catalog.followed = followed.__contains__
        await passes(10 * 60 * SECOND)
        assert 8 <= listings(hub["calculator"]) <= 11
        followed.clear()
        before = listings(hub["calculator"])
        await passes(HOUR)
        assert listings(hub["calculator"]) == before


@virtual_time()
async def test_a_server_that_refuses_is_asked_ever_more_rarely():
    async with house("calculator", prepare=says(0)) as hub:
        fake = hub["calculator"]
        hub.catalog.followed = lambda _: True
        fake.answers["tools/list"] = error(-32603)
        await passes(HOUR)
        assert listings(fake) <= HOUR // RETRY_MAX + 8
        assert b"add" in shown(hub)
        del fake.answers["tools/list"]
        before = listings(fake)
        await passes(HOUR)
        assert listings(fake) - before > 40


@virtual_time()
async def test_a_server_that_is_away_is_not_asked():
    async with house("calculator", prepare=says(0)) as hub:
        fake = hub["calculator"]
        hub.catalog.followed = lambda _: True
        fake.die()
        before = len(fake.sent)
        for _ in range(10):
            shown(hub)
            await passes(60 * SECOND)
        lists = [one for one in fake.sent[before:] if one.method == "tools/list"]
        assert lists == []


@virtual_time()
async def test_lists_that_are_as_they_were_are_no_news():
    async with house("calculator", prepare=says(0)) as hub:
        heard = []
        hub.catalog.listeners.append(lambda *news: heard.append(news))
        before, version = len(hub.events.of(ServerChanged)), hub.catalog.get("calculator").version
        hub.catalog.followed = lambda _: True
        await passes(600 * SECOND)
        assert heard == []
        assert len(hub.events.of(ServerChanged)) == before
        assert hub.catalog.get("calculator").version == version
