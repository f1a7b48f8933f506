"""A copy of the database: whole, private, and never in the place of another file."""

import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from support.money import AT_S, FACTS, Teller, budget, hold, settlement
from support.python_env import python_env

from agenthub.domain.errors import StorageFailed
from agenthub.ledger import Standing
from agenthub.outbound.backup import back_up
from agenthub.outbound.store import open_store

B = budget()


async def spent(home, cost):
    """A home in which so much was spent."""
    async with open_store(home) as store:
        await store.ledger.put_budget(B)
        tell = Teller(store.ledger)
        await tell.reserve(hold("1", cost, B))
        await tell.settle(settlement("1", cost))


async def standing(home):
    async with open_store(home) as store:
        return (await store.usage.standing([B.hold_on(FACTS, AT_S)]))[0]


async def test_a_copy_is_the_database_for_its_owner_alone(tmp_path):
    home, other, copy = tmp_path / "home", tmp_path / "other", tmp_path / "copy ?#%.db"
    await spent(home, 40)
    assert back_up(home / "agenthub.db", copy) == copy.stat().st_size > 10_000
    assert copy.stat().st_mode & 0o777 == 0o600
    other.mkdir(0o700)
    copy.rename(other / "agenthub.db")
    assert await standing(other) == Standing(0, 40)


DYING = """
import asyncio, os, sys
from pathlib import Path
from support.money import Teller, budget, hold
from agenthub.outbound.store import open_store

async def main():
    async with open_store(Path(sys.argv[1])) as store:
        await store.ledger.put_budget(budget())
        await Teller(store.ledger).reserve(hold("1", 60, budget()))
        os.kill(store.process.pid, 9)
        os._exit(0)

asyncio.run(main())
"""


def test_what_a_hub_that_died_left_in_its_wal_is_in_the_copy(tmp_path):
    home, copy = tmp_path / "home", tmp_path / "copy.db"
    subprocess.run([sys.executable, "-c", DYING, home], check=True, timeout=30, env=python_env())
    assert (home / "agenthub.db-wal").stat().st_size
    back_up(home / "agenthub.db", copy)
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("SELECT hold FROM charge").fetchall() == [(60,)]


async def test_a_file_that_is_there_is_not_touched(tmp_path):
    await spent(tmp_path / "home", 1)
    there = tmp_path / "there"
    there.write_text("mine")
    for place in (there, tmp_path):
        with pytest.raises(StorageFailed, match="is there already"):
            back_up(tmp_path / "home" / "agenthub.db", place)
    assert there.read_text() == "mine"


async def test_where_no_file_can_be_made_it_is_said(tmp_path):
    await spent(tmp_path / "home", 1)
    with pytest.raises(StorageFailed, match="cannot be made: No such file or directory"):
        back_up(tmp_path / "home" / "agenthub.db", tmp_path / "nowhere" / "copy.db")


def test_without_a_database_it_is_said(tmp_path):
    with pytest.raises(StorageFailed, match="no hub has run there yet"):
        back_up(tmp_path / "agenthub.db", tmp_path / "copy.db")


async def test_of_what_is_no_sound_database_of_the_hub_no_copy_is_left(tmp_path):
    await spent(tmp_path / "home", 1)
    file, copy = tmp_path / "home" / "agenthub.db", tmp_path / "copy.db"
    whole = file.read_bytes()
    with closing(sqlite3.connect(tmp_path / "of another.db")) as db:
        db.execute("CREATE TABLE t (a)")
        db.commit()
    cases = [
        ((tmp_path / "of another.db").read_bytes(), "another program"),
        (whole[:8_192] + b"\xff" * 40_960, "damaged"),
        (b"x" * 9_000, "not a database"),
    ]
    for data, words in cases:
        file.write_bytes(data)
        with pytest.raises(StorageFailed, match=words):
            back_up(file, copy)
        assert not copy.exists()


async def test_on_a_full_disk_nothing_is_left_of_it(tmp_path):
    """A limit of the file size stands for the full disk."""
    await spent(tmp_path / "home", 1)
    copy = tmp_path / "copy.db"
    pid = os.getpid()
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (8_192, hard))
    try:
        with pytest.raises(StorageFailed, match=r"disk (is full|failed)"):
            back_up(tmp_path / "home" / "agenthub.db", copy)
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    assert not copy.exists()
