"""Lines that wait to be delivered, in files that outlive the process that wrote them.

    add ─► own segment (locked) ─► full, or asked for ─► batch ─► delivered: gone
                                                           ├─► refused: put aside
    segments of dead processes ───────────────────────────┘ └─► not yet: stays

A segment is locked (flock) by who writes or delivers it, so processes may share a folder, and one
that was killed leaves what another takes up. Lines are in the file before `add` returns: a killed
process loses none, a machine without power those of the last seconds.
"""

import fcntl
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

LINES_MAX: Final = 500
"""In one batch."""
LINE_BYTES: Final = 64 * 1024
"""Of one line; a longer one is not taken."""
SEGMENT, REFUSED = ".jsonl", ".refused"


class Batch:
    """A segment that nobody else touches; `close`, or one of the others, ends that."""

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self._file = file

    def lines(self) -> list[bytes]:
        """Those that are whole: the last one may be cut where its writer was killed."""
        return [line for line in self.path.read_bytes().split(b"\n") if _is_whole(line)]

    def delivered(self) -> None:
        with suppress(FileNotFoundError):
            self.path.unlink()
        self.close()

    def refused(self) -> None:
        """It is kept for a person to look at, and not sent again."""
        self.path.rename(self.path.with_suffix(REFUSED))
        self.close()

    def close(self) -> None:
        os.close(self._file)


class Spool:
    """A folder. Safe for threads, and for processes that share it."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        """Raises OSError: it cannot be used."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._batch: Batch | None = None
        self._file = -1
        self._lines = 0
        self.dropped = 0
        """Lines that were not taken: too long, or the folder is full, or cannot be written."""

    def add(self, line: bytes) -> bool:
        """False: it was dropped. One line, without its end."""
        with self._lock:
            if len(line) > LINE_BYTES or not self._write(line):
                self.dropped += 1
                return False
            return True

    def _write(self, line: bytes) -> bool:
        try:
            if self._batch is None or self._lines >= LINES_MAX:
                self._end()
                if sum(map(_size, self._all())) >= self._bytes_max:
                    return False
                self._begin()
            os.write(self._file, line + b"\n")
        except OSError:
            return False
        self._lines += 1
        return True

    def _begin(self) -> None:
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}{SEGMENT}"
        path = self._folder / name
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._batch, self._lines = Batch(path, self._file), 0

    def _end(self) -> None:
        if self._batch is not None:
            self._batch.close()
            self._batch = None

    def batches(self) -> Iterator[Batch]:
        """What there is to deliver, oldest first; what this process wrote, and what dead ones left.

        Who takes one ends it.
        """
        with self._lock:
            self._end()
        for path in sorted(self._all()):
            batch = _taken(path)
            if batch is not None:
                yield batch

    def _all(self) -> list[Path]:
        return list(self._folder.glob(f"*{SEGMENT}"))

    def forget(self) -> None:
        """After a fork, in whose moment the parent may have been at anything here."""
        self._lock = threading.Lock()
        with suppress(OSError):
            self._end()
        self._batch = None


def _size(path: Path) -> int:
    """0 of one that was just delivered."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _taken(path: Path) -> Batch | None:
    """None: somebody else has it, or had it."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file), path.stat()):
            return Batch(path, file)
    except OSError:
        pass
    os.close(file)
    return None


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
