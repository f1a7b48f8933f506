"""A file of another program, replaced whole and with a backup beside it, or not at all."""

import os
import secrets
import stat
import time
from pathlib import Path
from typing import NamedTuple

from agenthub.cli.ending import Failed

SIZE_MAX = 32 * 1024 * 1024
"""Claude Code keeps its whole history in the file that names its servers."""
PRIVATE = 0o600


class OwnFile(NamedTuple):
    """The file as it was found."""

    path: Path
    """Its real place: a link to it stays a link."""
    data: bytes | None
    """None: it is not there."""
    mode: int

    @property
    def text(self) -> str:
        """Raises Failed."""
        try:
            return (self.data or b"").decode()
        except UnicodeDecodeError:
            raise Failed(f"{self.path}: expected UTF-8.") from None


def find(path: Path) -> OwnFile:
    """Raises Failed unless it is a regular file, or not there."""
    from agenthub.settings.regular_file import read_regular  # noqa: PLC0415

    real = Path(os.path.realpath(path))
    try:
        data, mode = read_regular(real, SIZE_MAX, follow=False)
    except FileNotFoundError:
        return OwnFile(real, None, PRIVATE)
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) > SIZE_MAX:
        raise Failed(f"{path}: expected at most {SIZE_MAX} bytes.")
    return OwnFile(real, data, stat.S_IMODE(mode))


def replace(found: OwnFile, text: str, *, private: bool) -> Path | None:
    """Put the text in its place at once; gives the backup of what was there.

    `private`: it holds a secret now, so nobody else may read it.

    Raises:
        Failed: It cannot be written, or another program has changed it meanwhile.
    """
    folder = found.path.parent
    fresh = folder / f".{found.path.name}.{secrets.token_hex(4)}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        backup = None if found.data is None else _backup(found)
        try:
            _write(fresh, text.encode(), PRIVATE if private else found.mode)
            if find(found.path).data != found.data:
                raise Failed(f"{found.path} has just been changed by its program; try again.")
            fresh.replace(found.path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        from agenthub.outbound.disk import why  # noqa: PLC0415

        raise Failed(f"{found.path} cannot be written: {why(error, found.path)}.") from None
    return backup


def _backup(found: OwnFile) -> Path:
    assert found.data is not None
    now = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        more = f"-{number}" if number else ""
        backup = found.path.with_name(f"{found.path.name}.{now}{more}.bak")
        try:
            _write(backup, found.data, found.mode & PRIVATE)
        except FileExistsError:
            continue
        return backup
    raise Failed(f"{found.path}: no room for one more backup beside it.")


def _write(file: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(data)
        opened.flush()
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
