"""The process that alone opens the database file. A script: it imports nothing of the hub.

    hub ── frames on stdin ──►  this process  ──►  agenthub.db (WAL)
        ◄─ frames on stdout ──

- A *change*, or a step of the *ledger*, is written whole or not at all, and durable when it is
  answered (`synchronous=FULL`); those that come together share one transaction.
- *Call rows* come in batches without an answer each; they are written at most half a second later,
  in one transaction, and the number of the last one kept is told. Rows carry their number, so a
  batch that is sent again after a crash is written once.
- End of input means: write what waits, and go. Signals are ignored, so that nothing is lost when
  a terminal or a service manager signals the whole group.

The file itself: `database_file.py`. The ledger's steps: `database_ledger.py`. Questions that may
take long are answered beside: `database_reader.py`. Why a process: docs/adr/0006. It is run as
`python -I -S database.py FILE KEEP_ROWS KEEP_DAYS [new]` and stays small; only with `new` may it
make a file that is not there.
"""

# pathlib and typing would cost this small process two megabytes.
# ruff: noqa: PTH100, PTH120

from __future__ import annotations

import _thread
import gc
import marshal
import os
import select
import signal
import sqlite3
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING or __name__ != "__main__":
    from agenthub.outbound.database_file import SQL, UNFIT, DatabaseFile, Refused
    from agenthub.outbound.database_ledger import Ledger
    from agenthub.outbound.database_reader import Reader
else:  # a script without a package: its own folder, after all others
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    from database_file import SQL, UNFIT, DatabaseFile, Refused
    from database_ledger import Ledger
    from database_reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Final, TypeAlias

    Value: TypeAlias = str | int | bytes | None
    Change: TypeAlias = Sequence[tuple[str, Sequence[Sequence[Value]]]]

FRAME: Final = struct.Struct("<IB")
"""Length of what follows, and its kind."""
CALLS, CHANGE, READ, LEDGER, SURVEY = 1, 2, 3, 4, 5
FIRST: Final = struct.Struct("<Q")
"""The number of the first row of a batch; its rows follow, marshalled."""
KEEP_SECONDS: Final = 0.5
"""Call rows wait at most this long before they are durable."""
RETRY_SECONDS: Final = 1.0
BATCH_BYTES: Final = 4 * 1024 * 1024
"""As many call rows are written at once, sooner than after half a second."""
DRAIN_SECONDS: Final = 5.0
PRUNE_ROWS: Final = 5_000
"""Old rows deleted in one step, so that no step takes long."""
AGE_SECONDS: Final = 10.0
"""Between two looks for rows past their days."""

TELLING: Final = _thread.allocate_lock()


class Misfit(str):
    """In words, why what was asked can never be written."""

    __slots__ = ()


class Database:
    """The open file, and the call rows that wait to be written."""

    def __init__(self, path: str, keep_rows: int, keep_days: int, *, new: bool) -> None:
        self.file = DatabaseFile(path, new=new)
        self.db = self.file.db
        self.ledger = Ledger(self.db, SQL).operations
        self.keep_rows, self.keep_days = keep_rows, keep_days
        self.waiting: list[tuple[int, bytes]] = []
        self.waiting_bytes, self.due, self._aged = 0, 0.0, 0.0
        self.unfit = 0
        """Call rows that no table can hold; they are left out, and told."""
        low, high = self.db.execute(SQL["call_range"]).fetchone()
        self.last_id: int = high or 0
        self._first_id: int = low or 1

    def change(self, group: Sequence[Callable[[], object]]) -> list[object]:
        """Carry them out together: what each returned, or in words what failed.

        A value that does not fit is the fault of one, and harms no other.
        """
        try:
            self.file.begin()
            results = self._all(group)
            self.db.execute("COMMIT")
        except sqlite3.Error as error:
            problem = self.file.undo(error)
            return [problem for _ in group]
        return results

    def _all(self, group: Sequence[Callable[[], object]]) -> list[object]:
        """Mostly all of them fit; if not, they are carried out anew, each in its savepoint, which
        costs 2 us a step.
        """
        try:
            return [write() for write in group]
        except UNFIT:
            self.db.execute("ROLLBACK")
            self.file.begin()
            return [self._one(write) for write in group]

    def _one(self, write: Callable[[], object]) -> object:
        self.db.execute("SAVEPOINT one")
        try:
            result = write()
        except UNFIT as error:
            self.db.execute("ROLLBACK TO one")
            result = Misfit(self.file.words(error))
        self.db.execute("RELEASE one")
        return result

    def write(self, change: Change) -> int:
        """How many rows its last statement changed."""
        run = self.db.executemany
        return [run(SQL[name], rows).rowcount for name, rows in change][-1]

    def add_calls(self, first: int, rows: bytes) -> None:
        if not self.waiting:
            self.due = time.monotonic() + KEEP_SECONDS
        self.waiting.append((first, rows))
        self.waiting_bytes += len(rows)
        if self.waiting_bytes > BATCH_BYTES:
            self.due, self.waiting_bytes = time.monotonic(), 0

    def keep_calls(self) -> str:
        """Write the rows that wait; an empty text, or why they wait on."""
        if not self.waiting:
            return ""
        last, oldest = self.last_id, self._first_id
        try:
            self.file.begin()
            for first, data in self.waiting:
                last = max(last, self._insert(first, data, last))
            self._prune(last)
            self.db.execute("COMMIT")
        except (sqlite3.Error, *UNFIT) as error:
            self.due, self._first_id = time.monotonic() + RETRY_SECONDS, oldest
            return self.file.undo(error)
        self.last_id, self.waiting_bytes = last, 0
        self.waiting.clear()
        return ""

    def _insert(self, first: int, data: bytes, last: int) -> int:
        """Write a batch but for what was written before; the number of its last row."""
        rows: list[tuple[Value, ...]] = marshal.loads(data)  # noqa: S302 - from the hub
        numbered = [(number, *row) for number, row in enumerate(rows, first) if number > last]
        self.db.execute("SAVEPOINT batch")
        try:
            self.db.executemany(SQL["put_call"], numbered)
        except UNFIT:
            # One bad row must not take the others with it.
            self.db.execute("ROLLBACK TO batch")
            for row in numbered:
                try:
                    self.db.execute(SQL["put_call"], row)
                except UNFIT:
                    self.unfit += 1
        self.db.execute("RELEASE batch")
        return first + len(rows) - 1

    def _prune(self, last: int) -> None:
        """Drop old rows in small steps, never the newest: its number is where numbering goes on."""
        step = max(PRUNE_ROWS, 2 * (last - self.last_id))
        surplus = last - self._first_id + 1 - self.keep_rows
        if surplus > 0:
            until = min(last - self.keep_rows, self._first_id + step)
            self.db.execute(SQL["prune_by_number"], (until,))
            self._first_id = until + 1
        now = time.monotonic()
        if now - self._aged > AGE_SECONDS:
            self._aged = now
            oldest = (int(time.time()) - self.keep_days * 86_400) * 1_000_000
            until = min(last, self._first_id + PRUNE_ROWS)
            self.db.execute(SQL["prune_by_age"], (until, oldest))
            (low,) = self.db.execute("SELECT min(id) FROM call").fetchone()
            self._first_id = low or last


class Serving:
    """The conversation with the hub, over stdin and stdout."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.trouble = ""
        self.changes: list[tuple[int, Callable[[], object]]] = []
        self.reader = Reader(database.file.connect, SQL, database.file.words, tell)

    def run(self) -> None:
        database = self.database
        tell(("hello", database.last_id, database.file.created, sqlite3.sqlite_version))
        received = bytearray()
        while True:
            wait = max(0.0, database.due - time.monotonic()) if database.waiting else None
            if select.select([0], [], [], wait)[0]:
                try:
                    chunk = os.read(0, 262_144)
                except ConnectionResetError:  # The hub was killed, and had not read all answers.
                    chunk = b""
                if not chunk:
                    break
                received += chunk
                self._take(received)
            if database.waiting and time.monotonic() >= database.due:
                self._keep()
        self._drain()

    def _take(self, received: bytearray) -> None:
        start = 0
        while len(received) - start >= FRAME.size:
            length, kind = FRAME.unpack_from(received, start)
            body = start + FRAME.size
            if len(received) - body < length:
                break
            start = body + length
            self._frame(kind, bytes(memoryview(received)[body:start]))
        self._change()
        del received[:start]

    def _frame(self, kind: int, body: bytes) -> None:
        if kind == CALLS:
            self.database.add_calls(FIRST.unpack_from(body)[0], body[FIRST.size :])
            return
        # The other end is the hub, which made this process: its frames are trusted.
        number, what, values = marshal.loads(body)  # noqa: S302
        if kind == CHANGE:
            self.changes.append((number, lambda: self.database.write(what)))
            return
        if kind == LEDGER:
            self.changes.append((number, lambda: self.database.ledger[what](*values)))
            return
        self._change()
        if kind == SURVEY:
            self.reader.ask((number, what, *values))
            return
        if what in {"calls", "call_range"}:
            self._keep()
        try:
            tell(("done", number, self.database.db.execute(SQL[what], values).fetchall()))
        except (sqlite3.Error, *UNFIT) as error:
            tell(("failed", number, self.database.file.words(error)))

    def _change(self) -> None:
        """Make the changes that came together."""
        group, self.changes = self.changes, []
        if group:
            results = self.database.change([write for _, write in group])
            tell(*map(_answer, group, results))

    def _keep(self) -> None:
        waited = len(self.database.waiting)
        problem = self.database.keep_calls()
        if not problem and waited:
            tell(("kept", self.database.last_id, self.database.unfit))
        elif problem and problem != self.trouble:
            tell(("trouble", problem))
        self.trouble = problem

    def _drain(self) -> None:
        """The hub has gone, or stops: what it sent is still written."""
        end = time.monotonic() + DRAIN_SECONDS
        self._keep()
        while self.database.waiting and time.monotonic() < end:
            time.sleep(0.2)
            self._keep()
        self.database.db.close()


def _answer(asked: tuple[int, object], result: object) -> tuple[str, int, object]:
    if isinstance(result, Misfit):
        return "misfit", asked[0], str(result)
    return "failed" if isinstance(result, str) else "done", asked[0], result


def tell(*messages: tuple[Any, ...]) -> None:
    """Send frames to the hub; nothing when it has gone, for there is work to finish."""
    bodies = [marshal.dumps(message) for message in messages]
    frames = memoryview(b"".join(FRAME.pack(len(body), 0) + body for body in bodies))
    with TELLING:
        try:
            while frames:
                frames = frames[os.write(1, frames) :]
        except OSError:
            return


def main(path: str, keep_rows: str, keep_days: str, new: str = "") -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    gc.disable()  # there are no circles here
    try:
        database = Database(os.path.abspath(path), int(keep_rows), int(keep_days), new=bool(new))
    except Refused as refused:
        tell(("refused", str(refused)))
        return 2
    Serving(database).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
