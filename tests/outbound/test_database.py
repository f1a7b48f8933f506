"""What the database process does with its frames, without the process; test_store has the rest."""

import marshal
import os
import sqlite3
from contextlib import closing
from functools import partial

import pytest
from msgspec import structs
from support.store_rows import call_row

from agenthub.outbound.database import SQL, Database


@pytest.fixture
def database(tmp_path):
    database = Database(str(tmp_path / "agenthub.db"), 100, 100, new=True)
    with closing(database.db):
        yield database


def batch(*numbers):
    return marshal.dumps([structs.astuple(call_row(n)) for n in numbers])


def written(database, *changes):
    return database.change([partial(database.write, change) for change in changes])


def call_ids(database):
    rows = database.db.execute("SELECT id, call_id FROM call ORDER BY id").fetchall()
    return [(number, name) for number, name in rows]


def test_a_batch_that_is_sent_again_is_written_once(database):
    """The hub cannot know how far a process came that died: it sends all it was not told of."""
    database.add_calls(1, batch(1, 2))
    assert database.keep_calls() == ""
    database.add_calls(1, batch(1, 2))
    database.add_calls(3, batch(3))
    assert database.keep_calls() == ""
    assert call_ids(database) == [(n, call_row(n).id) for n in (1, 2, 3)]
    assert database.unfit == 0


def test_a_change_that_fails_leaves_nothing_and_harms_no_later_one(database):
    fits, misfit = ("put_listing", [("a", b"{}")]), ("put_listing", [("b", 2**70)])
    assert written(database, [fits, misfit]) == ["A value does not fit into the database."]
    assert not database.db.in_transaction
    assert database.db.execute(SQL["listings"]).fetchall() == []
    assert written(database, [fits]) == [1]


def test_of_changes_that_came_together_only_the_misfit_fails(database):
    group = [[("put_listing", [(name, data)])] for name, data in (("a", b""), ("b", "\ud800"))]
    assert written(database, *group) == [1, "A value does not fit into the database."]
    assert database.db.execute(SQL["listings"]).fetchall() == [("a", b"")]


def test_what_came_before_a_misfit_has_its_effect_once(database):
    """The group is carried out anew then; what had been done of it is not."""
    written(database, [("put_listing", [("a", b"")])])
    delete, misfit = [("delete_listing", [("a",)])], [("put_listing", [("b", 2**70)])]
    assert written(database, delete, misfit) == [1, "A value does not fit into the database."]
    assert database.db.execute(SQL["listings"]).fetchall() == []


def test_after_a_failed_fsync_the_process_ends_and_tries_nothing_again(database):
    """F42: what is on disk is unknown. The hub starts another, which looks, and sends all again."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC

    def fails():
        raise error

    with pytest.raises(SystemExit):
        database.change([fails])
    assert not database.db.in_transaction


def test_a_full_disk_says_how_much_of_it_is_free(database, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "agenthub.outbound.database_file.os.statvfs",
        lambda folder: (folder == str(tmp_path)) and os.statvfs_result((0, 512, 9, 9, 7, *[0] * 5)),
    )
    database.db.execute("PRAGMA max_page_count = 1").fetchone()
    change = [("put_listing", [("a", b"x" * 100_000)])]
    assert written(database, change) == ["The disk is full (3 KiB free)."]
