"""A thread of the database process that reads, so that long questions hold up no writing.

Part of the script `database.py`. It has a connection of its own, which cannot write, and gives each
question only so long: a reader that holds on to an old state would let the WAL grow for ever.
"""

from __future__ import annotations

# threading and queue would cost this small process a megabyte, and it needs neither.
import _thread
import sqlite3
import time
from _queue import SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Final, TypeAlias

    Value: TypeAlias = str | int | bytes | None
    Question: TypeAlias = tuple[int, str, Sequence[Value], int]

STEPS: Final = 10_000
"""Of SQLite's machine between two looks at the clock: about a millisecond."""
TOO_LONG: Final = "It took too long to read; ask for a shorter span, or for less at once."


class Reader:
    """Answers questions in their order."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        sql: Mapping[str, str],
        words: Callable[[Exception], str],
        tell: Callable[[tuple[Any, ...]], None],
    ) -> None:
        self._connect, self._sql, self._words, self._tell = connect, sql, words, tell
        self._questions: SimpleQueue[Question] = SimpleQueue()
        self._runs = False
        self._until = 0.0

    def ask(self, question: Question) -> None:
        """Number, statement, values, and for how many seconds it may read."""
        self._questions.put(question)
        if not self._runs:
            self._runs = True
            _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        db: sqlite3.Connection | None = None
        while True:
            number, name, values, seconds = self._questions.get()
            try:
                if db is None:
                    db = self._connect()
                    # One connection alone writes and makes checkpoints: SQLite from 3.7.0 to
                    # 3.51.2 may damage the file if two do (sqlite.org/wal.html, "WAL-reset bug").
                    db.execute("PRAGMA query_only = ON")
                    db.execute("PRAGMA wal_autocheckpoint = 0").fetchone()
                    db.set_progress_handler(self._late, STEPS)
                self._until = time.monotonic() + seconds
                self._tell(("done", number, db.execute(self._sql[name], values).fetchall()))
            except (sqlite3.Error, OverflowError, UnicodeError) as error:
                code = getattr(error, "sqlite_errorcode", 0)
                late = code == sqlite3.SQLITE_INTERRUPT
                self._tell(("failed", number, TOO_LONG if late else self._words(error)))

    def _late(self) -> bool:
        return time.monotonic() > self._until
