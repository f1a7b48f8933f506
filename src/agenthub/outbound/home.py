"""The folder where the hub keeps its files: for its own user only, and for one hub at a time."""

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agenthub.domain.errors import StorageFailed
from agenthub.outbound.disk import why

LOCK_WAIT_S: Final = 10.0
"""How long a start waits for a predecessor that is gone, but whose database still writes."""
NETWORK_FILESYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "fuse.sshfs"}
)


def secure_home(home: Path) -> None:
    """Make the folder, 0700; tighten one of our own that others may read.

    Raises:
        StorageFailed: It is another user's, others may write in it, or it is on a network
            filesystem, where SQLite's locks cannot be trusted.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = home.stat()
        if status.st_uid != os.geteuid():
            raise StorageFailed(f"{home} belongs to another user; choose another home.")
        if status.st_mode & 0o022:
            raise StorageFailed(
                f"Other users may write in {home}, so its files cannot be trusted: look through"
                f" it, then run `chmod 700 {home}`, or choose another home."
            )
        # A user's own home folder, or `/`, is not the hub's to close.
        if status.st_mode & 0o077 and home.resolve() not in {Path("/"), Path.home()}:
            home.chmod(0o700)
    except OSError as error:
        raise StorageFailed(f"{home} cannot be used: {why(error, home)}.") from error
    if (kind := _filesystem(home)) in NETWORK_FILESYSTEMS:
        raise StorageFailed(
            f"{home} is on a network filesystem ({kind}), where a database cannot be trusted; put"
            " it on a local disk."
        )


def refuse_loose_file(file: Path) -> None:
    """Raises StorageFailed if others may read or write the file (A54)."""
    if file.exists() and file.stat().st_mode & 0o077:
        raise StorageFailed(
            f"Other users may read {file}, which holds secrets: run `chmod 600 {file}`, and renew"
            " its keys if somebody may have read it."
        )


@contextmanager
def only_hub(home: Path, *, brief: bool = False) -> Generator[int]:
    """Hold the home for one hub; gives the lock's descriptor, which a child may share.

    The lock lives until every process that shares the descriptor is gone, so a database that
    still writes what a killed hub sent is waited for. So is a command that has the home for a
    moment (`brief`): it signs nothing, so that a hub that starts meanwhile does not give up.

    Raises:
        StorageFailed: Another hub runs with this home; says its process id.
    """
    file = home / "hub.lock"
    try:
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFailed(f"{file} cannot be opened: {why(error, file)}.") from error
    try:
        _take(lock, home)
        _sign(lock, file, "" if brief else str(os.getpid()))
        yield lock
    finally:
        os.close(lock)


def holder(home: Path) -> int | None:
    """The process of the hub that holds this home; None if none does.

    A process id in a file says little: another program may have it by now. The lock says it.
    """
    try:
        lock = os.open(home / "hub.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(lock) or None
    finally:
        os.close(lock)
    return None


def _sign(lock: int, file: Path, name: str) -> None:
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, name.encode(), 0)
    except OSError as error:
        raise StorageFailed(f"{file} cannot be written: {why(error, file)}.") from error


def _holder(lock: int) -> int:
    pid = os.pread(lock, 20, 0)
    return int(pid) if pid.isdigit() else 0


def _take(lock: int, home: Path) -> None:
    end = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _holder(lock)
            if time.monotonic() > end or (pid and pid != os.getpid() and _alive(pid)):
                raise StorageFailed(
                    f"Another hub (process {pid or 'unknown'}) runs with {home}; stop it, or give"
                    " this one another home."
                ) from None
            time.sleep(0.02)
        else:
            return


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _filesystem(folder: Path) -> str:
    """The type of the filesystem that holds the folder, where the platform tells; else empty."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    real = str(folder.resolve())
    best, kind = "", ""
    for line in mounts.splitlines():
        place, _, source = line.partition(" - ")
        point = place.split(" ")[4].replace("\\040", " ")
        if (real + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, kind = point, source.split(" ")[0]
    return kind
