"""A disk whose power is cut: what was written and not synced is there or not, sector by sector.

Source: SQLite's own crash tests (sqlite.org/testing.html, "Crash Testing").
"""

import random
import sqlite3
from contextlib import suppress
from pathlib import Path

import apsw

SECTOR = 512


class Cut(Exception):
    """There is no power."""


class Disk(apsw.VFS):
    """The machine's file system; its power is cut at operation number `until`."""

    def __init__(self, seed, until):
        self.name = f"disk {seed}"
        super().__init__(self.name, "unix")
        self.chance, self.until, self.done = random.Random(seed), until, 0
        self.files = []

    def xOpen(self, name, flags):  # noqa: N802 - SQLite's name
        file = File(self, name, flags)
        self.files.append(file)
        return file

    def work(self):
        """Before each operation."""
        self.done += 1
        if self.done > self.until:
            raise Cut

    def forget(self):
        """What the disk has when the power is back."""
        for file in self.files:
            file.forget(self.chance)


class File(apsw.VFSFile):
    def __init__(self, disk, name, flags):
        super().__init__("unix", name, flags)
        self.disk = disk
        self.path = Path(name if isinstance(name, str) else name.filename())
        self.synced = {}
        """Sector → its bytes at the last sync, if it was written since."""
        self.size = None

    def _remember(self, offset, length):
        if self.size is None:
            self.size = self.xFileSize()
        with self.path.open("rb") as file:
            for sector in range(offset // SECTOR, -(-(offset + length) // SECTOR)):
                if sector not in self.synced:
                    file.seek(sector * SECTOR)
                    self.synced[sector] = file.read(SECTOR).ljust(SECTOR, b"\0")

    def xWrite(self, data, offset):  # noqa: N802
        self.disk.work()
        self._remember(offset, len(data))
        super().xWrite(data, offset)

    def xTruncate(self, size):  # noqa: N802
        self.disk.work()
        self._remember(size, max(0, self.xFileSize() - size))
        super().xTruncate(size)

    def xSync(self, flags):  # noqa: N802
        self.disk.work()
        self.synced, self.size = {}, None

    def forget(self, chance):
        if not self.synced or not self.path.exists():
            return
        with self.path.open("r+b") as file:
            for sector, old in self.synced.items():
                if chance.random() < 0.5:
                    file.seek(sector * SECTOR)
                    file.write(old)
            if chance.random() < 0.3:
                file.truncate(self.size)


class Answer:
    """A cursor with the names of the standard library."""

    def __init__(self, db, rows):
        self._rows = rows
        self.lastrowid, self.rowcount = db.last_insert_rowid(), db.changes()

    def fetchone(self):
        return self._rows[0] if self._rows else None

    def fetchall(self):
        return self._rows


class Connection:
    """As sqlite3's, over a disk whose power is cut."""

    def __init__(self, disk, path, synchronous):
        self._db = apsw.Connection(str(path), vfs=disk.name, flags=apsw.SQLITE_OPEN_READWRITE)
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "wal_autocheckpoint = 30"):
            self.execute(f"PRAGMA {pragma}")
        self.execute(f"PRAGMA synchronous = {synchronous}")

    def execute(self, sql, values=()):
        return Answer(self._db, list(self._db.execute(sql, values)))

    def executemany(self, sql, rows):
        return Answer(self._db, list(self._db.executemany(sql, rows)))

    @property
    def in_transaction(self):
        return self._db.in_transaction

    def close(self):
        with suppress(Cut, apsw.Error, sqlite3.Error):
            self._db.close()
