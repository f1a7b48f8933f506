"""Small files of the home that nobody else may read: the admin token, where the hub listens."""

import os
import stat
from pathlib import Path

from agenthub.domain.errors import StorageFailed
from agenthub.outbound.disk import why

SIZE_MAX = 4096


def write_private(file: Path, text: str) -> None:
    """Put it there whole, or not at all, readable by its user only. Raises StorageFailed."""
    new = file.with_name(f"{file.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(new, flags, 0o600), "w", encoding="utf-8") as opened:
            os.fchmod(opened.fileno(), 0o600)
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(file)
    except OSError as error:
        raise StorageFailed(f"{file} cannot be written: {why(error, file)}.") from error


def read_private(file: Path) -> str | None:
    """Its text; None if it is not there.

    Raises:
        StorageFailed: Others may read or write it (A54), or it is no file of text.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(file, flags), "rb") as opened:
            status = os.fstat(opened.fileno())
            _check(file, status)
            return opened.read(SIZE_MAX).decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageFailed(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise StorageFailed(f"{file} is not text; look at it and remove it.") from None


def _check(file: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise StorageFailed(f"{file} is not a regular file; look at it and remove it.")
    if status.st_uid != os.geteuid():
        raise StorageFailed(f"{file} belongs to another user; look at it and remove it.")
    if status.st_mode & 0o077:
        raise StorageFailed(
            f"Other users may read {file}, which holds a secret: remove it, and the next start"
            f" makes a new one; or run `chmod 600 {file}` if nobody can have read it."
        )
