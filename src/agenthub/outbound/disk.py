"""What a disk answers to who wants to write, in words for people."""

import errno
import os
from pathlib import Path
from typing import Final

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def why(error: OSError, place: Path) -> str:
    """Why nothing could be written there; of a full disk also how much of it is free."""
    said = error.strerror or str(error)
    return f"{said} ({_free(place)})" if error.errno in FULL else said


def _free(place: Path) -> str:
    """Of the disk on which the file or folder is, or would be."""
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    disk = os.statvfs(there)
    kib = disk.f_bavail * disk.f_frsize // 1024
    files = "" if disk.f_favail or not disk.f_files else ", and room for no further file"
    return f"{kib} KiB free{files}"
