"""What ports.Store promises, of the database and of the fake that stands in for it."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from support.fake_store import FakeStore
from support.store_rows import key_row

from agenthub.domain.caller import KeyTerms
from agenthub.domain.endpoint import Endpoint, RateLimit
from agenthub.domain.errors import StorageFailed
from agenthub.domain.pinning import Pin
from agenthub.domain.tool_set import ToolSet
from agenthub.domain.view import View
from agenthub.outbound.store import open_store
from agenthub.ports import BreakerRow, CallFilter, Rotation

OLD, NEW = Pin(b"0" * 32, b"{}"), Pin(b"1" * 32, b'{"name":"add"}')


class Database:
    """The store over its file; `restart` opens it again."""

    def __init__(self, home):
        self.home, self.stack = home, AsyncExitStack()

    async def restart(self):
        await self.stack.aclose()
        self.store = await self.stack.enter_async_context(open_store(self.home))
        return self.store

    @asynccontextmanager
    async def broken(self):
        aside = (self.home / "agenthub.db").rename(self.home / "aside.db")
        yield
        aside.rename(self.home / "agenthub.db")


class Fake:
    def __init__(self, home):
        self.store, self.stack = FakeStore(), AsyncExitStack()

    async def restart(self):
        self.store = FakeStore(await self.store.load(), self.store.history)
        return self.store

    @asynccontextmanager
    async def broken(self):
        self.store.broken = True
        yield
        self.store.broken = False


@pytest.fixture(params=[Fake, Database])
async def house(request, tmp_path):
    house = request.param(tmp_path / "home")
    await house.restart()
    yield house
    await house.stack.aclose()


def endpoint(name, url="http://x.test/"):
    return Endpoint(name=name, url=url)


async def test_a_new_store_is_empty_but_for_its_secrets(house):
    kept = await house.store.load()
    assert (kept.endpoints, kept.keys, kept.breakers, kept.views) == ((), (), (), ())
    assert (dict(kept.lists), dict(kept.pins)) == ({}, {})
    assert {name: len(secret) for name, secret in kept.secrets.items()} == {
        "key-hmac": 32,
        "session": 32,
    }
    page = await house.store.calls(CallFilter())
    assert (page.rows, page.next_before) == ((), None)
    assert list(await house.store.transitions("a", 10)) == []


async def test_what_was_put_last_is_there_after_a_restart_in_a_stable_order(house):
    store = house.store
    secrets = (await store.load()).secrets
    keys = [key_row("k1", created_at=3), key_row("k0", created_at=3), key_row("k2", created_at=1)]
    terms = KeyTerms(ToolSet(("web__*",), read_only=True), ("web",), rate_limit=RateLimit(0.5, 3))
    rotation = Rotation(2, b"\xff" * 32, 1_700_000_600)
    for name in ("b", "a"):
        await store.put_endpoint(endpoint(name, "http://old.test/"))
        await store.put_endpoint(endpoint(name))
        await store.put_view(View(name, "old", allow=("*",)))
        await store.put_view(View(name, "new", allow=("*",)))
    for key in keys:
        await store.put_key(key)
    await store.put_key(
        limited := key_row("k1", created_at=3, revoked=True, terms=terms, rotation=rotation)
    )
    await store.put_breakers([BreakerRow("b", b"1"), BreakerRow("a/t", b"2")])
    await store.put_breakers([BreakerRow("b", b"3")])
    kept = await (await house.restart()).load()
    assert kept.endpoints == (endpoint("a"), endpoint("b"))
    assert kept.views == tuple(View(name, "new", allow=("*",)) for name in "ab")
    assert kept.keys == (keys[2], keys[1], limited)
    assert kept.breakers == (BreakerRow("a/t", b"2"), BreakerRow("b", b"3"))
    assert kept.secrets == secrets


async def test_pins_are_added_and_replaced_and_outlive_their_tools(house):
    await house.store.put_list("a", b"[1]", {"add": OLD, "sub": OLD})
    await house.store.put_list("a", b"[2]", {})
    await house.store.put_pins("a", {"add": NEW})
    kept = await (await house.restart()).load()
    assert kept.lists == {"a": b"[2]"}
    assert kept.pins == {("a", "add"): NEW, ("a", "sub"): OLD}


async def test_deleting_a_server_takes_what_belongs_to_it_and_nothing_else(house):
    store = house.store
    for name in ("a", "a0", "ab"):
        await store.put_endpoint(endpoint(name))
        await store.put_breakers([BreakerRow(name, b"1"), BreakerRow(f"{name}/t", b"1")])
        await store.put_list(name, b"{}", {"t": OLD})
        await store.put_transition(name, b'{"n":1}')
    await store.delete_endpoint("a")
    await store.delete_endpoint("never there")
    kept = await store.load()
    assert [one.name for one in kept.endpoints] == ["a0", "ab"]
    assert [one.key for one in kept.breakers] == ["a0", "a0/t", "ab", "ab/t"]
    assert set(kept.lists) == {"a0", "ab"}
    assert set(kept.pins) == {("a0", "t"), ("ab", "t")}
    assert list(await store.transitions("a", 9)) == []
    assert list(await store.transitions("ab", 9)) == [{"n": 1}]


async def test_a_deleted_view_is_gone_and_can_be_deleted_again(house):
    await house.store.put_view(View("web", allow=("*",)))
    for _ in range(2):
        await house.store.delete_view("web")
    assert (await house.store.load()).views == ()


async def test_history_is_newest_first_and_bounded(house):
    store = house.store
    await asyncio.gather(*(store.put_transition("s", b'{"n":%d}' % n) for n in range(230)))
    await store.put_transition("other", b"{}")
    assert [one["n"] for one in await store.transitions("s", 1000)] == list(range(229, 29, -1))
    assert [one["n"] for one in await store.transitions("s", 2)] == [229, 228]
    assert [one["n"] for one in await store.transitions("s", -1)] == [229]
    restarted = await house.restart()
    assert len(await restarted.transitions("s", 1000)) == 200


async def test_of_changes_that_come_together_the_last_one_stays(house):
    urls = [f"http://{number}.test/" for number in range(20)]
    await asyncio.gather(*(house.store.put_endpoint(endpoint("a", url)) for url in urls))
    assert (await house.store.load()).endpoints == (endpoint("a", urls[-1]),)


async def test_what_was_loaded_does_not_change_afterwards(house):
    await house.store.put_list("a", b"1", {"add": OLD})
    kept = await house.store.load()
    await house.store.put_list("a", b"2", {"add": NEW})
    assert (dict(kept.lists), dict(kept.pins)) == ({"a": b"1"}, {("a", "add"): OLD})


WRITES = {
    "put_endpoint": lambda store: store.put_endpoint(endpoint("a", "http://new.test/")),
    "delete_endpoint": lambda store: store.delete_endpoint("a"),
    "put_key": lambda store: store.put_key(key_row("k2")),
    "put_view": lambda store: store.put_view(View("v2", allow=("*",))),
    "delete_view": lambda store: store.delete_view("v"),
    "put_list": lambda store: store.put_list("a", b"2", {"add": NEW}),
    "put_pins": lambda store: store.put_pins("a", {"add": NEW}),
    "put_breakers": lambda store: store.put_breakers([BreakerRow("a", b"2")]),
    "put_transition": lambda store: store.put_transition("a", b"{}"),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_that_fails_changes_nothing_and_is_told(house, write):
    store = house.store
    await store.put_endpoint(endpoint("a"))
    await store.put_key(key_row())
    await store.put_view(View("v", allow=("*",)))
    await store.put_list("a", b"1", {"add": OLD})
    await store.put_breakers([BreakerRow("a", b"1")])
    before = await store.load()
    async with house.broken():
        with pytest.raises(StorageFailed):
            await WRITES[write](store)
    assert await store.load() == before
    assert list(await store.transitions("a", 9)) == []
    await WRITES[write](store)
    restarted = await house.restart()
    assert await restarted.load() != before or write == "put_transition"
