"""The database file: whose it is, whether it is whole, its schema, and what goes wrong with it.

Part of the script `database.py`: it imports nothing of the hub.
"""

# pathlib and typing would cost this small process two megabytes.
# ruff: noqa: PTH100, PTH108, PTH110, PTH104, PTH116, PTH118, PTH119, PTH120, PTH123, PTH202, PTH208

from __future__ import annotations

import os
import sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

APPLICATION_ID: Final = 0x41474842
"""`AGHB` in the file's header: says whose database it is."""
WORDS: Final = {
    sqlite3.SQLITE_READONLY: "The database is not writable.",
    sqlite3.SQLITE_BUSY: "Another program holds the database locked.",
    sqlite3.SQLITE_IOERR: "The disk failed while the database was written or read.",
    sqlite3.SQLITE_CORRUPT: "The database file is damaged.",
    sqlite3.SQLITE_NOTADB: "The file is not a database.",
    sqlite3.SQLITE_CANTOPEN: "The database file cannot be opened.",
}
FSYNC_FAILED: Final = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
LARGE: Final = {
    (name,)
    for name in (
        "call", "claim", "charge", "charge_hold", "charge_attempt", "entry", "usage_slot",
        "message",
    )
}  # fmt: skip
WAL_MAX: Final = 256 * 1024 * 1024
"""More is not written while someone reads an old state: no byte of it could be used again."""
STARVED: Final = (
    "A program has been reading the database for too long, and what was written meanwhile cannot"
    " be put in its place; end that program."
)
GONE: Final = "The database file was {} while the hub ran; restore it, or restart the hub."
UNFIT: Final = (sqlite3.IntegrityError, sqlite3.ProgrammingError, OverflowError, UnicodeError)
"""A value that no column can hold: the row's fault, not the file's."""
SQLITE_NEEDED: Final = (3, 37, 0)
"""For STRICT tables."""
SCHEMA: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "schema")


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


_FILES: Final = [_text(os.path.join(SCHEMA, name)) for name in ("statements.sql", "ledger.sql")]
_PARTS: Final = [part for text in _FILES for part in text.split("-- name: ")[1:]]
SQL: Final = {name: sql for name, _, sql in (part.partition("\n") for part in _PARTS)}
"""The statements of `schema/`, by name."""


class Refused(Exception):
    """The file cannot be used, in words for people."""


class DatabaseFile:
    """The open file."""

    def __init__(self, path: str, *, new: bool) -> None:
        self.path, self.created = path, False
        try:
            self._open(new=new)
        except sqlite3.Error as error:
            raise Refused(self.words(error)) from error
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
        self.db = self.connect()
        self._check()
        self.identity = os.stat(self.path)

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

    def connect(self) -> sqlite3.Connection:
        plain = self.path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        db = sqlite3.connect(f"file:{plain}?mode=rw", uri=True, isolation_level=None)
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA busy_timeout = 5000")
        return db

    def _check(self) -> None:
        """Whose file it is, how old, whether it is whole and writable."""
        if self.db.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
            raise Refused("The file is a database of another program.")
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -4000"):
            self.db.execute(f"PRAGMA {pragma}").fetchone()
        self.db.execute("PRAGMA wal_autocheckpoint = 4000").fetchone()
        self.db.execute("PRAGMA journal_size_limit = 67108864")
        self._migrate(self.db)
        tables = self.db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        # These may be large, and a start needs none of them; a damaged page shows when it is read.
        for (table,) in {*tables} - LARGE:
            quoted = '"' + table.replace('"', '""') + '"'
            if self.db.execute(f"PRAGMA quick_check({quoted})").fetchone() != ("ok",):
                raise Refused(WORDS[sqlite3.SQLITE_CORRUPT])
        self.db.executescript("BEGIN IMMEDIATE; ROLLBACK")
        self._make_sure()

    def _make_sure(self) -> None:
        """Write once more, and sync, what a process before this one wrote.

        It may have died, or its sync may have failed: then the change is to be read, from memory,
        and is on no disk. Sent again it changes nothing, and so would be told to be durable.
        """
        _, log, done = self.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if log != done:  # Another program reads an old state, for which the rest stays in the WAL.
            wal = os.open(self.path + "-wal", os.O_RDWR)
            try:
                os.fsync(wal)
            finally:
                os.close(wal)

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

    def begin(self) -> None:
        """Never write into a file that nobody will find again."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            raise sqlite3.OperationalError("deleted") from None
        if not os.path.samestat(status, self.identity):
            raise sqlite3.OperationalError("replaced")
        self._keep_wal_small()
        self.db.execute("BEGIN IMMEDIATE")

    def _keep_wal_small(self) -> None:
        """A reader that never ends would let it grow until the disk is full."""
        try:
            size = os.stat(self.path + "-wal").st_size
        except FileNotFoundError:
            return
        if size > WAL_MAX:
            # Nobody waits for the reader here: who writes next tries again.
            self.db.execute("PRAGMA busy_timeout = 0").fetchone()
            (busy, _, _) = self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.db.execute("PRAGMA busy_timeout = 5000").fetchone()
            if busy:
                raise sqlite3.OperationalError("starved")

    def undo(self, error: Exception) -> str:
        """Roll back; in words, why."""
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        if getattr(error, "sqlite_errorcode", 0) in FSYNC_FAILED:
            # What a failed fsync left on disk is unknown, and trying again proves nothing:
            # the hub starts this process anew, which looks at what is really there.
            raise SystemExit(3)
        if str(error) in {"deleted", "replaced"}:
            return GONE.format(error)
        return STARVED if str(error) == "starved" else self.words(error)

    def words(self, error: Exception) -> str:
        """What went wrong with the file, without SQL, paths or versions: callers hear it too."""
        if not isinstance(error, sqlite3.Error):
            return "A value does not fit into the database."
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}:
            disk = os.statvfs(os.path.dirname(self.path))
            return f"The disk is full ({disk.f_bavail * disk.f_frsize // 1024} KiB free)."
        return WORDS.get(code & 0xFF, "The database failed: " + type(error).__name__ + ".")
