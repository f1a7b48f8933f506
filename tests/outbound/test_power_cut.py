"""The power is cut at any moment: what was told to be durable is there, the file is whole (F43).

It is the real SQL, in the real group commits, over SQLite's file system with a disk that forgets.
"""

import random
import shutil
from contextlib import closing
from types import SimpleNamespace

import apsw
import pytest
from support.money import AT_S, budget, hold, settlement
from support.power import Connection, Cut, Disk

from agenthub.outbound.database import SQL, Database
from agenthub.outbound.database_ledger import Ledger
from agenthub.outbound.ledger import _settled, _written

BUDGETS = (budget("a", 10**9), budget("b", 10**9))
GROUPS = 25
OPERATIONS = 450
"""Of the disk, that so many groups take."""


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A new database, at its first start."""
    file = tmp_path_factory.mktemp("power") / "agenthub.db"
    with closing(Database(str(file), 1, 1, new=True).db) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return file


def steps(chance, number):
    """Some calls that begin, and of those before some that end."""
    new = [f"{number} {n}" for n in range(chance.randint(1, 6))]
    held = [("reserve", (*_written(hold(name, 9, *BUDGETS)), AT_S)) for name in new]
    if number == 0:
        return held
    old = f"{number - 1} 0"
    ended = chance.choice([
        ("settle", _settled(settlement(old, chance.randint(1, 12)))),
        ("release", (old, (), AT_S)),
        ("recover", ("another", AT_S)),
        ("top_up", (old, 20, AT_S)),
    ])  # fmt: skip
    return [*held, ended]


def worked(path, seed, until, synchronous):
    """Which steps were told to be durable before the power was cut."""
    disk, chance, told = Disk(seed, until), random.Random(seed), []
    db = None
    try:
        db = Connection(disk, path, synchronous)
        file = SimpleNamespace(begin=lambda: db.execute("BEGIN IMMEDIATE"), undo=None)
        database = Database.__new__(Database)
        database.db, database.file = db, file
        operations = Ledger(db, SQL).operations
        for number in range(GROUPS):
            group = steps(chance, number)
            writes = [lambda s=step: operations[s[0]](*s[1]) for step in group]
            assert not any(isinstance(one, str) for one in database.change(writes))
            told += group
    except (Cut, apsw.Error):
        pass
    finally:
        if db is not None:
            db.close()
        disk.forget()
        disk.unregister()
    return told, disk.done


def lost(path, told):
    """Of what was told, what is not there. Raises if the file is not whole."""
    database = Database(str(path), 1, 1, new=False)
    with closing(database.db) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for name in ("differing_windows", "differing_slots"):
            assert db.execute(SQL[name]).fetchone() == (0,)
        rows = {call: rest for call, *rest in db.execute("SELECT call, state, cost FROM charge")}
        missing = []
        for operation, values in told:
            name = values[0][0] if operation == "reserve" else values[0]
            if (
                (operation in {"reserve", "top_up"} and name not in rows)
                or (operation == "settle" and rows.get(name) != ["settled", values[1]])
                or (operation == "release" and rows.get(name, ["reserved"])[0] == "reserved")
            ):
                missing.append((operation, name))
        assert isinstance(database.change([lambda: database.ledger["recover"]("", AT_S)])[0], int)
    return missing


def cut(empty, tmp_path, seed, synchronous="FULL"):
    path = tmp_path / f"{seed}.db"
    shutil.copy(empty, path)
    told, _ = worked(path, seed, random.Random(f"cut {seed}").randint(1, OPERATIONS), synchronous)
    return told, lost(path, told)


@pytest.mark.parametrize(
    "cuts", [150, pytest.param(2_000, marks=(pytest.mark.soak, pytest.mark.timeout(600)))]
)
def test_what_was_told_to_be_durable_outlives_any_power_cut(empty, tmp_path, cuts):
    durable = 0
    for seed in range(cuts):
        told, missing = cut(empty, tmp_path, seed)
        assert missing == [], f"seed {seed}"
        durable += len(told)
    assert durable > cuts * 10


def test_a_disk_that_need_not_sync_does_lose(empty, tmp_path):
    """The test can fail: what is not synced is not durable."""
    assert any(cut(empty, tmp_path, f"normal {seed}", "NORMAL")[1] for seed in range(10))
