"""The process that alone opens the database file. A script: it imports nothing of the hub.

    hub ── frames on stdin ──►  this process  ──►  agenthub.db (WAL)
        ◄─ frames on stdout ──

- A *change* is written whole or not at all, and durable when it is answered (`synchronous=FULL`);
  those that come together share one transaction.
- *Call rows* come in batches without an answer each; they are written at most half a second later,
  in one transaction, and the number of the last one kept is told. Rows carry their number, so a
  batch that is sent again after a crash is written once.
- End of input means: write what waits, and go. Signals are ignored, so that nothing is lost when
  a terminal or a service manager signals the whole group.

Why a process: docs/adr/0006. It is run as `python -I -S database.py FILE KEEP_ROWS KEEP_DAYS [new]`
and stays small; only with `new` may it make a file that is not there.
"""

# pathlib and typing would cost this small process two megabytes.
# ruff: noqa: PTH100, PTH104, PTH108, PTH110, PTH116, PTH118, PTH119, PTH120, PTH123, PTH202, PTH208

from __future__ import annotations

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
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final, TypeAlias

    Value: TypeAlias = str | int | bytes | None
    Change: TypeAlias = Sequence[tuple[str, Sequence[Sequence[Value]]]]

APPLICATION_ID: Final = 0x41474842
"""`AGHB` in the file's header: says whose database it is."""
FRAME: Final = struct.Struct("<IB")
"""Length of what follows, and its kind."""
CALLS, CHANGE, READ = 1, 2, 3
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

WORDS: Final = {
    sqlite3.SQLITE_READONLY: "The database is not writable.",
    sqlite3.SQLITE_BUSY: "Another program holds the database locked.",
    sqlite3.SQLITE_IOERR: "The disk failed while the database was written or read.",
    sqlite3.SQLITE_CORRUPT: "The database file is damaged.",
    sqlite3.SQLITE_NOTADB: "The file is not a database.",
    sqlite3.SQLITE_CANTOPEN: "The database file cannot be opened.",
}
FSYNC_FAILED: Final = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
GONE: Final = "The database file was {} while the hub ran; restore it, or restart the hub."
UNFIT: Final = (sqlite3.IntegrityError, sqlite3.ProgrammingError, OverflowError, UnicodeError)
"""A value that no column can hold: the row's fault, not the file's."""
SQLITE_NEEDED: Final = (3, 37, 0)
"""For STRICT tables."""
SCHEMA: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "schema")


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


_PARTS: Final = _text(os.path.join(SCHEMA, "statements.sql")).split("-- name: ")[1:]
SQL: Final = {name: sql for name, _, sql in (part.partition("\n") for part in _PARTS)}
"""The statements of `schema/statements.sql`, by name."""


class Refused(Exception):
    """The file cannot be used, in words for people."""


def words(error: Exception, path: str) -> str:
    """What went wrong with the file, without SQL, paths or versions: callers hear it too."""
    if not isinstance(error, sqlite3.Error):
        return "A value does not fit into the database."
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}:
        disk = os.statvfs(os.path.dirname(path))
        return f"The disk is full ({disk.f_bavail * disk.f_frsize // 1024} KiB free)."
    return WORDS.get(code & 0xFF, "The database failed: " + type(error).__name__ + ".")


class Database:
    """The open file, and the call rows that wait to be written."""

    def __init__(self, path: str, keep_rows: int, keep_days: int, *, new: bool) -> None:
        self.path, self.keep_rows, self.keep_days = path, keep_rows, keep_days
        self.waiting: list[tuple[int, bytes]] = []
        self.created, self.waiting_bytes, self.due, self._aged = False, 0, 0.0, 0.0
        self.unfit = 0
        """Call rows that no table can hold; they are left out, and told."""
        try:
            self._open(new=new)
        except sqlite3.Error as error:
            raise Refused(words(error, path)) from error
        except OSError as error:
            raise Refused(f"The database cannot be opened: {error.strerror}.") from error

    def _open(self, *, new: bool) -> None:
        if sqlite3.sqlite_version_info < SQLITE_NEEDED:
            raise Refused(f"SQLite {sqlite3.sqlite_version} is too old; 3.37 or later is needed.")
        if not os.path.exists(self.path):
            if not new:
                raise Refused(GONE.format("deleted"))
            self._create()
        elif os.path.getsize(self.path) == 0:
            raise Refused("The database file is empty; restore it from a backup, or move it away.")
        self.db = self._connect(self.path)
        self._check()
        self.identity = os.stat(self.path)
        low, high = self.db.execute(SQL["call_range"]).fetchone()
        self.last_id: int = high or 0
        self._first_id: int = low or 1

    def _create(self) -> None:
        """A new database appears whole or not at all: made aside, then renamed."""
        wal = self.path + "-wal"
        if os.path.exists(wal) and os.path.getsize(wal):
            raise Refused(
                f"The database file is gone, but {os.path.basename(wal)} is there; restore the"
                " file, or move both away to start anew."
            )
        aside = self.path + ".new"
        if os.path.exists(aside):
            os.unlink(aside)
        db = sqlite3.connect(aside, isolation_level=None)
        db.execute("PRAGMA journal_mode = MEMORY").fetchone()
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._migrate(db)
        db.close()
        os.rename(aside, self.path)
        folder = os.open(os.path.dirname(self.path), os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        self.created = True

    def _connect(self, path: str) -> sqlite3.Connection:
        plain = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        db = sqlite3.connect(f"file:{plain}?mode=rw", uri=True, isolation_level=None)
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA busy_timeout = 5000")
        return db

    def _check(self) -> None:
        """Whose file it is, how old, whether it is whole and writable."""
        if self.db.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
            raise Refused("The file is a database of another program.")
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -1000"):
            self.db.execute(f"PRAGMA {pragma}").fetchone()
        self.db.execute("PRAGMA journal_size_limit = 67108864")
        self._migrate(self.db)
        tables = self.db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        # These may be large, and a start needs neither; a damaged page shows when it is read.
        for (table,) in {*tables} - {("call",), ("claim",)}:
            quoted = '"' + table.replace('"', '""') + '"'
            if self.db.execute(f"PRAGMA quick_check({quoted})").fetchone() != ("ok",):
                raise Refused(WORDS[sqlite3.SQLITE_CORRUPT])
        self.db.executescript("BEGIN IMMEDIATE; ROLLBACK")

    @staticmethod
    def _migrate(db: sqlite3.Connection) -> None:
        scripts = sorted(name for name in os.listdir(SCHEMA) if name[0].isdigit())
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > len(scripts):
            raise Refused(
                f"The database was written by a newer AgentHub (its schema is {version}, this one"
                f" knows {len(scripts)}); use that one, or restore a backup."
            )
        for number, script in enumerate(scripts[version:], version + 1):
            db.executescript(
                f"BEGIN IMMEDIATE; {_text(os.path.join(SCHEMA, script))};"
                f" PRAGMA user_version = {number}; COMMIT;"
            )

    def change(self, group: Sequence[Change]) -> list[int | str]:
        """Write them together: of each the rows that its last statement changed, or what failed.

        A value that does not fit is one change's fault; the others are then written one by one.
        """
        try:
            self._begin()
            write = self.db.executemany
            counts: list[int | str] = [
                [write(SQL[name], rows).rowcount for name, rows in change][-1] for change in group
            ]
            self.db.execute("COMMIT")
        except (sqlite3.Error, *UNFIT) as error:
            problem = self._undo(error)
            if len(group) == 1 or not isinstance(error, UNFIT):
                return [problem for _ in group]
            return [self.change([change])[0] for change in group]
        return counts

    def _begin(self) -> None:
        """Never write into a file that nobody will find again."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            raise sqlite3.OperationalError("deleted") from None
        if not os.path.samestat(status, self.identity):
            raise sqlite3.OperationalError("replaced")
        self.db.execute("BEGIN IMMEDIATE")

    def _undo(self, error: Exception) -> str:
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        if getattr(error, "sqlite_errorcode", 0) in FSYNC_FAILED:
            # What a failed fsync left on disk is unknown, and trying again proves nothing:
            # the hub starts this process anew, which looks at what is really there.
            raise SystemExit(3)
        if str(error) in {"deleted", "replaced"}:
            return GONE.format(error)
        return words(error, self.path)

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
            self._begin()
            for first, data in self.waiting:
                last = max(last, self._insert(first, data, last))
            self._prune(last)
            self.db.execute("COMMIT")
        except (sqlite3.Error, *UNFIT) as error:
            self.due, self._first_id = time.monotonic() + RETRY_SECONDS, oldest
            return self._undo(error)
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
        self.changes: list[tuple[int, Change]] = []

    def run(self) -> None:
        database = self.database
        tell(("hello", database.last_id, database.created, sqlite3.sqlite_version))
        received = bytearray()
        while True:
            wait = max(0.0, database.due - time.monotonic()) if database.waiting else None
            if select.select([0], [], [], wait)[0]:
                chunk = os.read(0, 262_144)
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
            self.changes.append((number, what))
            return
        self._change()
        if what in {"calls", "call_range"}:
            self._keep()
        try:
            tell(("done", number, self.database.db.execute(SQL[what], values).fetchall()))
        except (sqlite3.Error, *UNFIT) as error:
            tell(("failed", number, words(error, self.database.path)))

    def _change(self) -> None:
        """Make the changes that came together."""
        group, self.changes = self.changes, []
        counts = self.database.change([change for _, change in group]) if group else ()
        for (number, _), count in zip(group, counts, strict=True):
            tell(("failed" if isinstance(count, str) else "done", number, count))

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


def tell(message: tuple[Any, ...]) -> None:
    """Send one frame to the hub; nothing when it has gone, for there is work to finish."""
    body = marshal.dumps(message)
    frame = memoryview(FRAME.pack(len(body), 0) + body)
    try:
        while frame:
            frame = frame[os.write(1, frame) :]
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
