"""The contract of ports.ClaimLog, by the real database and by the fake; and the real one's own."""

import asyncio
import os
import resource
import signal
import sqlite3
from contextlib import closing
from functools import partial

import pytest
from support.claims import AT_S, InProcess, asked, claim, earlier
from support.fake_claims import FakeClaims
from support.store_rows import until

from agenthub.domain.errors import Overloaded, StorageFailed
from agenthub.domain.idempotency import KEPT_S, NOT_KEPT
from agenthub.outbound import claim_log
from agenthub.outbound.claim_log import START_SWEEP_ROWS, SWEEP_ROWS, StoredClaims
from agenthub.outbound.store import open_store


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
async def store(home):
    async with open_store(home) as store:
        yield store


class Soon:
    """The part of ports.Clock that the fake uses."""

    def after(self, span, callback):
        return asyncio.get_running_loop().call_later(span / 1e9, callback)


@pytest.fixture(params=["stored", "fake"])
async def log(request, home):
    if request.param == "fake":
        yield FakeClaims(Soon(), claims_max=3, bytes_max=10)
        return
    async with open_store(home) as store:
        store.claim_log.caller_claims_max = 3
        store.claim_log.caller_bytes_max = 10
        yield store.claim_log


def rows_in(home, what="count(*)", table="claim"):
    with closing(sqlite3.connect(home / "agenthub.db")) as db:
        return db.execute(f"SELECT {what} FROM {table} ORDER BY 1").fetchall()


class TestContract:
    async def test_the_first_has_the_scope_and_the_others_are_told_of_it(self, log):
        first = claim(digest=b"one")
        assert await asked(log, first) is None
        for other in (claim(call_id="c-2", digest=b"one"), claim(call_id="c-3", digest=b"two")):
            assert await asked(log, other) == earlier(first)

    async def test_the_answer_is_kept_once_and_by_its_own_call_only(self, log):
        first, other = claim(), claim(call_id="c-2")
        await asked(log, first)
        log.finish(other, b"wrong")
        log.finish(first, b"right")
        log.finish(first, b"later")
        log.forget(first)
        assert await asked(log, other) == earlier(first, b"right")

    async def test_what_is_forgotten_may_be_claimed_again(self, log):
        first, other = claim(), claim(call_id="c-2")
        await asked(log, first)
        log.forget(other)
        assert await asked(log, other) == earlier(first)
        log.forget(first)
        assert await asked(log, other) is None

    async def test_a_claim_is_over_after_its_time_to_the_second(self, log):
        first = claim()
        await asked(log, first)
        log.finish(first, b"a")
        last = claim(call_id="c-2", at_s=AT_S + KEPT_S - 1)
        assert await asked(log, last) == earlier(first, b"a")
        assert await asked(log, claim(call_id="c-3", at_s=AT_S + KEPT_S)) is None

    async def test_a_caller_has_so_many_claims_and_another_has_its_own(self, log):
        for key in "abc":
            assert await asked(log, claim(key)) is None
        assert isinstance(await asked(log, claim("d")), Overloaded)
        assert await asked(log, claim("a", call_id="c-2")) == earlier(claim("a"))
        assert await asked(log, claim("d", caller="bert")) is None
        log.forget(claim("b"))
        assert await asked(log, claim("d")) is None

    async def test_an_answer_for_which_there_is_no_room_is_known_to_have_come(self, log):
        for key, answer in (("a", b"x" * 6), ("b", b"x" * 5), ("c", b"x" * 4)):
            await asked(log, claim(key))
            log.finish(claim(key), answer)
        again = [await asked(log, claim(key, call_id="c-2")) for key in "abc"]
        assert [found.answer for found in again] == [b"x" * 6, NOT_KEPT, b"x" * 4]


class TestBounds:
    async def test_all_callers_together_have_so_many_claims_and_bytes(self, store, home):
        log = store.claim_log
        log.claims_max, log.bytes_max = 2, 5
        for caller in ("anna", "bert"):
            assert await asked(log, claim(caller=caller)) is None
            log.finish(claim(caller=caller), b"xxx")
        found = await asked(log, claim(caller="bert", call_id="c-2"))
        assert found.answer == NOT_KEPT
        assert isinstance(await asked(log, claim(caller="carl")), Overloaded)
        assert rows_in(home, "*", "claim_use") == [("", 2, 3), ("anna", 1, 3), ("bert", 1, 0)]

    async def test_what_is_over_makes_room_in_small_steps(self, store, home):
        log, count = store.claim_log, 3 * SWEEP_ROWS
        await asyncio.gather(*(asked(log, claim(str(n), call_id=str(n))) for n in range(count)))
        for n in range(count):
            log.finish(claim(str(n), call_id=str(n)), b"x")
        left = []
        for n in range(4):
            await asked(log, claim(f"new {n}", caller="bert", at_s=AT_S + KEPT_S))
            left.append(rows_in(home)[0][0] - n - 1)
        assert left == [2 * SWEEP_ROWS, SWEEP_ROWS, 0, 0]
        assert rows_in(home, "*", "claim_use") == [("", 4, 0), ("bert", 4, 0)]

    async def test_a_start_sweeps_what_is_over(self, home):
        with_claims = [AT_S - 2, AT_S - 1, AT_S]
        async with open_store(home) as store:
            for n, at_s in enumerate(with_claims):
                await asked(store.claim_log, claim(str(n), at_s=at_s))
            await store.claim_log.begin(AT_S + claim_log.GAP_MAX_S)
            assert len(rows_in(home)) == 1
            assert rows_in(home, "at_s") == [(AT_S - 2,), (AT_S - 1,), (AT_S,)]
            await asked(store.claim_log, claim("newest", at_s=AT_S + 300))
            await store.claim_log.begin(AT_S + KEPT_S - 1)
            assert rows_in(home, "at_s") == [(AT_S,), (AT_S + 300,)]
        assert START_SWEEP_ROWS > SWEEP_ROWS

    @pytest.mark.parametrize("gap", [-1, 24 * 3600 + 1, 10**9])
    async def test_over_a_gap_that_no_clock_can_vouch_for_all_claims_live_on(
        self, store, home, gap
    ):
        """R17: a step of the wall clock between two runs makes no call run twice."""
        await asked(store.claim_log, claim("old", at_s=AT_S - 100))
        await asked(store.claim_log, claim("new"))
        await store.claim_log.begin(AT_S + gap)
        assert rows_in(home, "at_s") == [(AT_S + gap,)] * 2

    async def test_the_hub_begins_with_it(self, home, monkeypatch):
        async with open_store(home) as store:
            await asked(store.claim_log, claim(at_s=5))
        monkeypatch.setattr("agenthub.outbound.store.time.time", lambda: 1e9)
        async with open_store(home) as store:
            await store.load()
        assert rows_in(home, "at_s") == [(10**9,)]


class TestTrouble:
    async def test_a_restart_finds_what_was_claimed_and_what_was_finished(self, home):
        async with open_store(home) as store:
            for key in "ab":
                await asked(store.claim_log, claim(key))
            store.claim_log.finish(claim("a"), b"answer")
        async with open_store(home) as store:
            found = [await asked(store.claim_log, claim(key, call_id="c-2")) for key in "ab"]
        assert [one.answer for one in found] == [b"answer", None]

    async def test_a_claim_over_which_the_database_died_is_made_once(self, store, home):
        log = store.claim_log
        waiting = [asyncio.ensure_future(asked(log, claim(str(n)))) for n in range(50)]
        await asyncio.sleep(0)
        os.kill(store.process.pid, signal.SIGKILL)
        found = await asyncio.gather(*waiting)
        assert all(one in {None, earlier(claim(str(n)))} for n, one in enumerate(found))
        assert rows_in(home) == [(50,)]
        assert store.process.restarts == 1

    async def test_a_full_disk_refuses_claims_in_words_and_heals(self, store, home):
        pid = store.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
        refused = await asked(store.claim_log, claim())
        assert isinstance(refused, StorageFailed)
        assert "could not be kept, so nothing was sent. The disk" in str(refused)
        assert refused.executed == "unknown", "an earlier call with the key may have run (R32)"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert await asked(store.claim_log, claim()) is None

    async def test_a_database_that_stands_still_is_waited_for_only_so_long(
        self, store, home, monkeypatch
    ):
        monkeypatch.setattr(claim_log, "CLAIM_S", 0.05)
        os.kill(store.process.pid, signal.SIGSTOP)
        refused = await asked(store.claim_log, claim())
        store.claim_log.forget(claim())
        os.kill(store.process.pid, signal.SIGCONT)
        assert isinstance(refused, StorageFailed)
        assert str(refused).endswith("The database does not answer.")
        monkeypatch.setattr(claim_log, "CLAIM_S", 5)
        assert await asked(store.claim_log, claim("other")) is None
        assert rows_in(home, "scope") == [(b"anna/other",)]

    async def test_a_locked_database_refuses_and_nobody_waits_for_the_lock_for_ever(
        self, store, home, monkeypatch
    ):
        monkeypatch.setattr(claim_log, "CLAIM_S", 0.05)
        with closing(sqlite3.connect(home / "agenthub.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert isinstance(await asked(store.claim_log, claim()), StorageFailed)
            other.execute("ROLLBACK")

    async def test_an_end_that_could_not_be_kept_is_told_in_the_log(self, home, caplog):
        async with open_store(home) as store:
            log, pid = store.claim_log, store.process.pid
            await asked(log, claim())
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
            log.finish(claim(), b"x" * 5_000)
            await until(lambda: "was not kept" in caplog.text)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
            assert await asked(log, claim(call_id="c-2")) == earlier(claim())

    async def test_after_the_stop_nothing_is_claimed(self, home, caplog):
        async with open_store(home) as store:
            pass
        refused = await asked(store.claim_log, claim())
        assert str(refused).endswith("The hub stops.")
        store.claim_log.finish(claim(), b"x")
        assert "was not kept" in caplog.text


class TestGroupCommit:
    def commits(self, database):
        seen = []
        database.db.set_trace_callback(lambda sql: seen.append(sql) if sql == "COMMIT" else None)
        return seen

    def test_changes_that_come_together_share_one_transaction(self, home):
        home.mkdir()
        database = InProcess(home / "db").database
        seen = self.commits(database)
        puts = [[("put_secret", [(str(n), b"x")])] for n in range(200)]
        assert database.change([partial(database.write, put) for put in puts]) == [1] * 200
        assert len(seen) == 1
        database.db.close()

    def test_one_that_does_not_fit_takes_no_other_with_it(self, home):
        home.mkdir()
        database = InProcess(home / "db").database
        puts = [[("put_secret", [(str(n), b"x")])] for n in range(3)]
        puts[1] = [("put_secret", [("kept", b"x")]), ("put_secret", [("1", None)])]
        words = database.change([partial(database.write, put) for put in puts])
        assert words == [1, "The database failed: IntegrityError.", 1]
        names = database.db.execute("SELECT name FROM secret ORDER BY 1").fetchall()
        assert names == [("0",), ("2",)]
        database.db.close()

    async def test_many_claims_at_once_take_few_transactions(self, store, home):
        """What waits while one transaction is written goes into the next one."""
        os.kill(store.process.pid, signal.SIGSTOP)
        waiting = [asyncio.ensure_future(asked(store.claim_log, claim(str(n)))) for n in range(300)]
        await until(lambda: len(store.process._asked) == 300)
        wal = home / "agenthub.db-wal"
        before = wal.stat().st_size
        os.kill(store.process.pid, signal.SIGCONT)
        assert await asyncio.gather(*waiting) == [None] * 300
        frames = (wal.stat().st_size - before) // 4_120
        assert frames < 300, "each transaction of its own would write five pages or more"


def test_the_bounds_of_one_caller_leave_room_for_others():
    assert claim_log.CALLER_CLAIMS_MAX * 2 <= claim_log.CLAIMS_MAX
    assert claim_log.CALLER_BYTES_MAX * 2 <= claim_log.BYTES_MAX
    assert StoredClaims(None).claims_max == claim_log.CLAIMS_MAX
