"""Reading a file that somebody named: never a pipe, a device or a folder, never without a bound."""

import os
import stat
from errno import EINVAL
from pathlib import Path


def read_regular(file: Path, size_max: int, *, follow: bool) -> tuple[bytes, int]:
    """At most one byte more than `size_max` of the file, and its mode.

    Raises:
        OSError: It cannot be opened, is no regular file, or a symbolic link that is not followed.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(file, flags)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(EINVAL, "Not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            return opened.read(size_max + 1), mode
    finally:
        os.close(descriptor)
