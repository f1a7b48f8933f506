"""The database's reading thread: it answers in order, cannot write, and gives up in time."""

import sqlite3
from contextlib import closing
from queue import SimpleQueue

import pytest

from agenthub.outbound.database_reader import TOO_LONG, Reader

SQL = {
    "all": "SELECT n FROM t WHERE n >= ?1",
    "write": "DELETE FROM t",
    "endless": "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n)"
    " SELECT max(n) FROM n",
}


@pytest.fixture
def told():
    return SimpleQueue()


@pytest.fixture
def reader(tmp_path, told):
    with closing(sqlite3.connect(tmp_path / "db")) as db:
        db.executescript("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1), (2)")
    return Reader(lambda: sqlite3.connect(tmp_path / "db"), SQL, str, told.put)


def test_questions_are_answered_in_their_order(reader, told):
    for number in range(3):
        reader.ask((number, "all", (number,), 5))
    assert [told.get(timeout=5) for _ in range(3)] == [
        ("done", 0, [(1,), (2,)]), ("done", 1, [(1,), (2,)]), ("done", 2, [(2,)]),
    ]  # fmt: skip


def test_it_cannot_write(reader, told):
    reader.ask((1, "write", (), 5))
    kind, _, words = told.get(timeout=5)
    assert (kind, words) == ("failed", "attempt to write a readonly database")
    reader.ask((2, "all", (0,), 5))
    assert told.get(timeout=5) == ("done", 2, [(1,), (2,)])


def test_a_question_that_takes_too_long_is_ended_and_the_next_one_answered(reader, told):
    reader.ask((1, "endless", (), 0))
    assert told.get(timeout=5) == ("failed", 1, TOO_LONG)
    reader.ask((2, "all", (2,), 5))
    assert told.get(timeout=5) == ("done", 2, [(2,)])


def test_a_value_that_cannot_be_asked_for_ends_nothing(reader, told):
    reader.ask((1, "all", (2**70,), 5))
    assert told.get(timeout=5)[:2] == ("failed", 1)
    reader.ask((2, "all", (2,), 5))
    assert told.get(timeout=5) == ("done", 2, [(2,)])
