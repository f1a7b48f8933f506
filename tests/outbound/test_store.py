"""The store's contract, against real files and the real database process."""

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from support.store_rows import call_row, key_row, until

from agenthub.domain.caller import KeyTerms
from agenthub.domain.circuit_breaker import BreakerConfig
from agenthub.domain.endpoint import Endpoint, RateLimit, ToolPolicy
from agenthub.domain.errors import StorageFailed
from agenthub.domain.pinning import Pin
from agenthub.domain.tool_set import ToolSet
from agenthub.domain.view import Renamed, View
from agenthub.outbound.store import open_store
from agenthub.ports import BreakerRow, CallFilter

OLD, ADD, SUB = Pin(b"0" * 32, b"{}"), Pin(b"1" * 32, b'{"name":"add"}'), Pin(b"2" * 32)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
async def store(home):
    async with open_store(home) as store:
        yield store


async def reopened(home):
    async with open_store(home) as store:
        return await store.load()


def rows_in(home, table):
    with closing(sqlite3.connect(home / "agenthub.db")) as db:
        return db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()


async def test_a_new_home_is_empty_but_for_its_secrets(store):
    kept = await store.load()
    assert (kept.endpoints, kept.keys, kept.breakers, kept.lists, kept.pins) == ((), (), (), {}, {})
    assert {name: len(value) for name, value in kept.secrets.items()} == {
        "key-hmac": 32,
        "session": 32,
    }


async def test_credentials_go_with_their_server_and_no_other_secret_does(home):
    async with open_store(home) as store:
        for name in ("a", "b"):
            await store.put_endpoint(Endpoint(name, url="http://x/"))
            await store.put_secret(f"oauth:{name}", b"1")
        await store.put_secret("oauth:b", b"2")
        await store.put_secret("oauth:c", b"3")
        await store.delete_endpoint("a")
        await store.delete_secret("oauth:c")
        await store.delete_endpoint("key-hmac")
    secrets = (await reopened(home)).secrets
    assert {name for name in secrets if name != "oauth:b"} == {"key-hmac", "session"}
    assert secrets["oauth:b"] == b"2"


async def test_views_and_the_terms_of_keys_are_there_after_a_restart(home):
    view = View("web", "Hi", {"find": Renamed("web__search")}, ("docs__*",), search="on")
    terms = KeyTerms(ToolSet(("web__*",), read_only=True), ("web",), "auto", "spec")
    async with open_store(home) as store:
        await store.put_view(View("web", allow=("*",)))
        await store.put_view(view)
        await store.put_view(View("gone", allow=("*",)))
        await store.delete_view("gone")
        await store.put_key(key_row(terms=terms))
    kept = await reopened(home)
    assert (kept.views, kept.keys[0].terms) == ((view,), terms)


async def test_a_view_that_cannot_be_read_is_left_out_and_a_key_opens_nothing(home, caplog):
    """A limit that cannot be read must not be lost."""
    async with open_store(home) as store:
        await store.put_view(View("web", allow=("*",)))
        await store.put_key(key_row())
    with closing(sqlite3.connect(home / "agenthub.db")) as db:
        db.execute("UPDATE view SET data = x'7b'")
        db.execute("UPDATE client_key SET terms = x'7b'")
        db.commit()
    kept = await reopened(home)
    assert (kept.views, kept.keys[0].terms.tools) == ((), ToolSet(()))
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "A key's terms are unreadable; it opens nothing",
        "A kept view is unreadable and left out",
    ]


async def test_what_was_put_is_there_after_a_restart(home):
    endpoint = Endpoint(
        name="calculator",
        command=("python", "-m", "x"),
        env={"TOKEN": "${CALC_TOKEN}"},
        rate_limit=RateLimit(rps=2.5, burst=3),
        breaker=BreakerConfig(failure_threshold=9),
        tools={"add": ToolPolicy(replay="safe")},
    )
    keys = (
        key_row(),
        key_row("k2", endpoints=("a", "b"), expires_at=5, revoked=True, created_at=2),
    )
    async with open_store(home) as store:
        secrets = (await store.load()).secrets
        await store.put_endpoint(Endpoint(name="calculator", url="http://old/"))
        await store.put_endpoint(endpoint)
        for key in keys:
            await store.put_key(key)
        await store.put_list("calculator", b'{"tools":[]}', {"add": OLD, "sub": SUB})
        await store.put_pins("calculator", {"add": ADD})
        await store.put_breakers(
            [BreakerRow("calculator", b"{}"), BreakerRow("calculator/add", b"1")]
        )
    kept = await reopened(home)
    assert kept.endpoints == (endpoint,)
    assert set(kept.keys) == set(keys)
    assert kept.breakers == (BreakerRow("calculator", b"{}"), BreakerRow("calculator/add", b"1"))
    assert kept.lists == {"calculator": b'{"tools":[]}'}
    assert kept.pins == {("calculator", "add"): ADD, ("calculator", "sub"): SUB}
    assert kept.secrets == secrets


async def test_deleting_a_server_takes_what_belongs_to_it_and_nothing_else(home):
    async with open_store(home) as store:
        for name in ("a", "a0", "ab"):
            await store.put_endpoint(Endpoint(name=name, url="http://x/"))
            await store.put_breakers([BreakerRow(name, b"{}"), BreakerRow(f"{name}/t", b"{}")])
            await store.put_list(name, b"{}", {"t": ADD})
            await store.put_transition(name, b'{"n":1}')
        store.call_log.add(call_row(endpoint="a"))
        await store.delete_endpoint("a")
        kept = await store.load()
        assert [e.name for e in kept.endpoints] == ["a0", "ab"]
        assert [b.key for b in kept.breakers] == ["a0", "a0/t", "ab", "ab/t"]
        assert set(kept.lists) == {"a0", "ab"}
        assert set(kept.pins) == {("a0", "t"), ("ab", "t")}
        assert await store.transitions("a", 10) == []
        assert await store.transitions("ab", 10) == [{"n": 1}]
        assert len((await store.calls(CallFilter())).rows) == 1


async def test_one_unreadable_server_does_not_stop_the_others(home, caplog):
    async with open_store(home) as store:
        await store.put_endpoint(Endpoint(name="good", url="http://x/"))
    with closing(sqlite3.connect(home / "agenthub.db")) as db, db:
        db.execute("INSERT INTO endpoint VALUES ('bad', x'7b')")
    assert [e.name for e in (await reopened(home)).endpoints] == ["good"]
    assert "left out" in caplog.text


async def test_history_is_newest_first_and_bounded(store):
    await asyncio.gather(*(store.put_transition("s", b'{"n":%d}' % n) for n in range(230)))
    shown = await store.transitions("s", 1000)
    assert [entry["n"] for entry in shown] == list(range(229, 29, -1))
    assert [entry["n"] for entry in await store.transitions("s", 2)] == [229, 228]
    assert len(await store.transitions("s", -1)) == 1


async def test_call_rows_are_kept_in_order_and_paged(store):
    for n in range(120):
        store.call_log.add(call_row(n))
    seen, before = [], None
    while True:
        page = await store.calls(CallFilter(before=before, limit=50))
        seen += page.rows
        before = page.next_before
        if before is None:
            break
    assert [number for number, _ in seen] == list(range(120, 0, -1))
    assert [row for _, row in seen] == [call_row(n) for n in range(119, -1, -1)]


async def test_call_rows_become_durable_by_themselves(store, home):
    store.call_log.add(call_row())
    await until(lambda: store.call_log.waiting == 0)
    assert len(rows_in(home, "call")) == 1


async def test_filters_choose_and_a_sparse_page_ends_where_the_next_begins(store, monkeypatch):
    monkeypatch.setattr("agenthub.outbound.store.WINDOW_ROWS", 10)
    monkeypatch.setattr("agenthub.outbound.store.WINDOWS_MAX", 3)
    for n in range(100):
        store.call_log.add(call_row(n, endpoint="rare" if n == 5 else "often", outcome="ok"))
    page = await store.calls(CallFilter(endpoint="rare"))
    assert (page.rows, page.next_before) == ((), 71)
    found, before = [], page.next_before
    while before is not None:
        page = await store.calls(CallFilter(endpoint="rare", before=before))
        found += page.rows
        before = page.next_before
    assert [number for number, _ in found] == [6]
    both = await store.calls(CallFilter(endpoint="often", outcome="ok", caller="key-1", limit=3))
    assert [number for number, _ in both.rows] == [100, 99, 98]
    assert (await store.calls(CallFilter(caller="other"))).rows == ()


HOSTILE = [
    "'; DROP TABLE call; --",
    "' OR '1'='1",
    "%",
    "_",
    "\\",
    '"',
    "x' UNION SELECT 1",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_filters_are_values_never_sql(store, text):
    """A52."""
    store.call_log.add(call_row(1))
    store.call_log.add(call_row(2, endpoint=text, outcome=text, caller=text))
    for which in ({"endpoint": text}, {"outcome": text}, {"caller": text}):
        page = await store.calls(CallFilter(**which))
        assert [row.id for _, row in page.rows] == [call_row(2).id]
    await store.put_endpoint(Endpoint(name=text, url="http://x/"))
    await store.delete_endpoint(text)
    assert len((await store.calls(CallFilter())).rows) == 2


@pytest.mark.parametrize("text", ["\ud800", "a\x00b", "x" * 1_000_000])
async def test_a_filter_that_no_row_can_fit_finds_nothing_or_is_refused(store, text):
    store.call_log.add(call_row(1))
    try:
        assert (await store.calls(CallFilter(endpoint=text))).rows == ()
    except StorageFailed as error:
        assert str(error) == "A value does not fit into the database."  # noqa: PT017
    assert len((await store.calls(CallFilter())).rows) == 1
    assert store.process.restarts == 0


@pytest.mark.parametrize("limit", [-1, 0, 501, 2**63 - 1])
async def test_a_page_has_from_one_to_five_hundred_rows(store, limit):
    for n in range(600):
        store.call_log.add(call_row(n))
    page = await store.calls(CallFilter(limit=limit))
    assert len(page.rows) == (500 if limit > 0 else 1)


@pytest.mark.parametrize("before", [-(2**63), -1, 0, 1, 2**63, 2**200])
async def test_any_page_number_is_bound(store, before):
    for n in range(3):
        store.call_log.add(call_row(n))
    page = await store.calls(CallFilter(before=before))
    assert len(page.rows) == (3 if before > 3 else 0)
    assert page.next_before is None


async def test_long_and_hostile_texts_are_one_row_cut_short(store):
    """A47: newlines, escapes, a megabyte."""
    store.call_log.add(call_row(name="\n\x1b[31m%s{}" + "x" * 1_000_000, endpoint="e" * 1_000_000))
    ((_, row),) = (await store.calls(CallFilter())).rows
    assert row.name.startswith("\n\x1b[31m%s{}xxx")
    assert (len(row.name), len(row.endpoint)) == (400, 200)


async def test_one_row_that_fits_no_column_costs_no_other(store):
    store.call_log.add(call_row(1))
    store.call_log.add(call_row(2, bytes_in=2**70))
    store.call_log.add(call_row(3, name="\ud800"))
    store.call_log.add(call_row(4))
    page = await store.calls(CallFilter())
    assert [row.id for _, row in page.rows] == [call_row(4).id, call_row(1).id]
    assert store.call_log.dropped == 2


async def test_only_the_newest_rows_are_kept(home, monkeypatch):
    async with open_store(home, keep_rows=1_000) as store:
        for n in range(3_000):
            store.call_log.add(call_row(n))
    assert [row[0] for row in rows_in(home, "call")] == list(range(2_001, 3_001))


async def test_rows_past_their_days_go_but_numbers_are_never_used_again(home):
    async with open_store(home, keep_days=1) as store:
        for n in range(10):
            store.call_log.add(call_row(n, at_us=1))
    assert [row[0] for row in rows_in(home, "call")] == [10]
    async with open_store(home, keep_days=1) as store:
        store.call_log.add(call_row(11))
    assert [row[0] for row in rows_in(home, "call")] == [11]


async def test_files_are_for_the_owner_only(store, home):
    """A54."""
    await store.put_list("a", b"{}", {})
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in home.iterdir()}
    assert modes.pop("agenthub.db-wal") == 0o600
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def resident_kib(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    facts = dict(line.split(":", 1) for line in status.splitlines())
    return int(facts["VmRSS"].split()[0])


async def test_the_database_process_is_small(store):
    assert resident_kib(store.process.pid) < 16_000


async def test_what_cannot_be_loaded_is_told_with_its_file(home):
    async with open_store(home) as store:
        (home / "agenthub.db").rename(home / "aside.db")
        with pytest.raises(StorageFailed, match=r"agenthub\.db: .* deleted while the hub ran"):
            await store.load()
