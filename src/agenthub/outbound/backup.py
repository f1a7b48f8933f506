"""A copy of the hub's database as it was at one moment: while a hub writes it, and while none runs.

It is read by a connection that cannot write and makes no checkpoints, for one process alone does
both (docs/adr/0006). Source: https://sqlite.org/lang_vacuum.html, "VACUUM with an INTO clause".
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from agenthub.domain.errors import StorageFailed
from agenthub.outbound.database_file import APPLICATION_ID, WORDS
from agenthub.outbound.disk import why

WAIT_S: Final = 5.0
"""For another program that has the database locked."""


def back_up(database: Path, copy: Path) -> int:
    """Copies it, for its owner alone; the size of the copy in bytes, which is on the disk then.

    Raises:
        StorageFailed: In words. Nothing is left of the copy, and what was there before is as it
            was: no file is overwritten.
    """
    if not database.exists():
        raise StorageFailed(f"There is no {database}: no hub has run there yet.")
    try:
        made = os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise StorageFailed(f"{copy} is there already; name a file that is not.") from None
    except OSError as error:
        raise StorageFailed(f"{copy} cannot be made: {why(error, copy)}.") from error
    try:
        _copy(database, copy)
        os.fsync(made)
        size = os.fstat(made).st_size
        _sync_folder(copy.parent)
    except BaseException as error:
        copy.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StorageFailed(f"{copy} cannot be written: {why(error, copy)}.") from error
        raise
    finally:
        os.close(made)
    return size


def _copy(database: Path, copy: Path) -> None:
    try:
        with closing(_opened(database)) as db:
            if db.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
                raise StorageFailed(f"{database} is a database of another program.")
            db.execute("VACUUM INTO ?", (str(copy),))
    except sqlite3.Error as error:
        raise StorageFailed(f"{database} cannot be copied: {_words(error)}") from error


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.as_uri()}?mode=ro", WAIT_S, isolation_level=None, uri=True)


def _words(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return "The disk is full."
    return WORDS.get(code, f"{type(error).__name__}.")


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
