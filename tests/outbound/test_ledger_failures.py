"""What becomes of money when processes die, disks fill, and files are not what they should be."""

import asyncio
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support import money_writer
from support.money import AT_S, FACTS, Teller, budget, hold, settlement
from support.python_env import python_env
from support.store_rows import until

from agenthub.domain.errors import StorageFailed
from agenthub.ledger import Proof, Standing
from agenthub.outbound.store import open_store

B = budget()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
async def store(home):
    async with open_store(home) as store:
        await store.ledger.put_budget(B)
        yield store


async def standing(store):
    (found,) = await store.usage.standing([B.hold_on(FACTS, AT_S)])
    return found


# ------------------------------------------------------------ death


class Writer:
    """A money_writer, and its database."""

    def __init__(self, home, journal, seed):
        command = [sys.executable, money_writer.__file__, str(home), str(journal), seed]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=python_env())
        self.database = int(self.process.stdout.readline())

    def child(self):
        pid = self.process.pid
        return next(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()), None)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def truth(journal):
    """What was charged, what was told to be durable, what was released."""
    found = {"C": {}, "A": {}, "R": {}}
    for line in journal.read_text().splitlines():
        kind, name, *cost = line.split()
        assert name not in found[kind], "billed twice"
        found[kind][name] = int(cost[0]) if cost else 0
    return found["C"], found["A"], found["R"]


async def opened_again(home):
    """The last database may still write what it was handed."""
    for _ in range(200):
        try:
            async with open_store(home) as store:
                await store.ledger.recover("the last", store.ledger.now_s())
                return await store.usage.rebuild()
        except StorageFailed:
            await asyncio.sleep(0.05)
    raise AssertionError("the database of the last hub does not end")


@pytest.mark.parametrize(
    "kills",
    [6, pytest.param(60, marks=(pytest.mark.soak, pytest.mark.timeout(600)))],
)
async def test_after_any_kill_no_charge_is_lost_or_doubled_and_no_hold_stays(home, tmp_path, kills):
    """P3, P5: hubs and databases are killed in the middle of it; the provider's journal judges."""
    journal, chance = tmp_path / "journal", random.Random(kills)
    writer, generation = Writer(home, journal, "0"), 0
    for number in range(kills):
        await asyncio.sleep(chance.uniform(0.1, 0.6))
        if number % 3:
            os.kill(writer.database, signal.SIGKILL)
        if number % 3 != 1:
            writer.kill()
            generation += 1
            writer = Writer(home, journal, str(generation))
        else:
            await until(lambda w=writer: w.child() not in {None, w.database})
            writer.database = writer.child()
    writer.kill()
    assert await opened_again(home) == Proof(0, 0)
    charged, told, released = truth(journal)
    with closing(sqlite3.connect(home / "agenthub.db")) as db:
        rows = {
            call: rest for call, *rest in db.execute("SELECT call, state, hold, cost FROM charge")
        }
        windows = db.execute("SELECT reserved, settled FROM budget_window").fetchall()
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert len(charged) > 20 * kills
    for name, cost in charged.items():
        state, held, booked = rows[name]
        assert (state, booked) in {("settled", cost), ("unknown", held)}, name
        assert booked >= cost
    assert all(rows[name][0] == "settled" for name in told)
    assert all(rows[name][0] in {"released", "unknown"} for name in released)
    assert [reserved for reserved, _ in windows] == [0, 0]
    spent = sum(cost for _, _, cost in rows.values())
    assert windows == [(0, spent)] * 2
    assert sum(charged.values()) <= spent <= money_writer.LIMIT


async def test_steps_under_way_when_the_database_dies_are_carried_out_once(store):
    tell = Teller(store.ledger)
    held = [tell.reserve(hold(str(number), 1, B)) for number in range(200)]
    await asyncio.sleep(0)
    os.kill(store.process.pid, signal.SIGKILL)
    answers = await asyncio.gather(*held)
    assert answers.count(None) == 100
    assert await standing(store) == Standing(100)
    assert store.process.restarts == 1


async def test_what_was_handed_over_is_written_though_the_database_dies_at_the_stop(home):
    async with open_store(home) as store:
        await store.ledger.put_budget(B)
        await Teller(store.ledger).reserve(hold("1", 60, B))
        os.kill(store.process.pid, signal.SIGSTOP)
        ending = Teller(store.ledger).settle(settlement("1", 40))
        asyncio.get_running_loop().call_later(0.05, os.kill, store.process.pid, signal.SIGKILL)
    assert await ending is None
    async with open_store(home) as store:
        assert await standing(store) == Standing(0, 40)


# ------------------------------------------------------------ disks and files


async def test_on_a_full_disk_nothing_is_held_and_it_heals_without_a_restart(store):
    """F41; a file size limit stands for the full disk."""
    tell, pid = Teller(store.ledger), store.process.pid
    await tell.reserve(hold("1", 60, B))
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    refused = await tell.reserve(hold("2", 10, B))
    assert isinstance(refused, StorageFailed)
    assert str(refused)
    assert await standing(store) == Standing(60), "reading goes on"
    ending = tell.settle(settlement("1", 40))
    await asyncio.sleep(0.3)
    assert not ending.done()
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert await ending is None
    assert await tell.reserve(hold("2", 60, B)) is None
    assert await standing(store) == Standing(60, 40)


async def test_into_a_file_that_was_replaced_nothing_is_held(store, home):
    """F45: nobody would find it again."""
    (home / "agenthub.db").rename(home / "aside.db")
    (home / "agenthub.db").write_bytes((home / "aside.db").read_bytes())
    refused = await Teller(store.ledger).reserve(hold("1", 60, B))
    assert "replaced while the hub ran" in str(refused)


async def test_while_another_program_has_the_lock_the_loop_goes_on_and_holds_are_refused(
    store, home
):
    """F44: with a bound."""
    loop, lag = asyncio.get_running_loop(), []
    with closing(sqlite3.connect(home / "agenthub.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = loop.time()
        told = asyncio.ensure_future(Teller(store.ledger).reserve(hold("1", 60, B)))
        while not told.done():
            before = loop.time()
            await asyncio.sleep(0.01)
            lag.append(loop.time() - before)
        assert isinstance(await told, StorageFailed)
        assert loop.time() - began < 5
        assert max(lag) < 1
        other.execute("ROLLBACK")
    await until(lambda: store.ledger.unwritten == 0)
    assert await standing(store) == Standing()


async def test_a_long_question_holds_up_no_writing_and_is_ended(store, monkeypatch):
    """F46: a reader that never ended would let the WAL grow for ever."""
    slots = [[0, 2**33 + n] for n in range(3_000)]
    tell = Teller(store.ledger)
    await fill(store, tell)
    asked = asyncio.ensure_future(
        store.process.survey("totals", str(slots), "key", *[None] * 7, seconds=1)
    )
    await asyncio.sleep(0.05)
    assert await tell.reserve(hold("x", 1, B)) is None
    assert not asked.done(), "the question goes on"
    with pytest.raises(StorageFailed, match="took too long to read"):
        await asked
    assert (await standing(store)).reserved == 1


async def fill(store, tell):
    """Some thousand slots."""
    rows = []
    for number in range(3_000):
        one = hold(f"f{number}", 0, at_s=AT_S + number * 900)
        rows.append((one, settlement(one.id, 0)))
    assert await store.ledger.book(rows) == 3_000


@pytest.mark.skipif(not shutil.which("strace"), reason="strace makes the disk fail")
async def test_after_a_disk_error_all_is_looked_at_and_written_anew(store, home):
    """F42: an fsync that failed is never tried again; what it left is unknown until it is read."""
    tell, pid = Teller(store.ledger), store.process.pid
    await tell.reserve(hold("1", 60, B))
    inject = "inject=fdatasync,fsync:error=EIO:when=1"
    tracer = await asyncio.create_subprocess_exec(
        "strace", "-qq", "-e", "trace=fdatasync,fsync", "-e", inject, "-p", str(pid),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        await until(lambda: traced(pid) or tracer.returncode is not None)
        if tracer.returncode is not None:
            pytest.skip("this machine lets nobody trace")
        assert await tell.reserve(hold("2", 30, B)) is None
    finally:
        if tracer.returncode is None:
            tracer.kill()
        await tracer.communicate()
    assert store.process.restarts == 1
    assert await standing(store) == Standing(90)
    assert await store.usage.rebuild() == Proof(0, 0)


def traced(pid):
    """Whether strace has taken hold of it."""
    return "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text()
