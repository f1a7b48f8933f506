"""How the C library treats freed memory: some of it is kept for the next large answer.

By default glibc maps each block of 128 KiB or more anew, and gives the top of its heap back as soon
as that is free: an answer of 100 KiB then costs more in page faults than in everything else.
Source: mallopt(3).
"""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MIB = 1024 * 1024


def keep_freed() -> None:
    """For the whole process; does nothing where the C library has no such setting."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, 4 * MIB)
    mallopt(M_TRIM_THRESHOLD, 8 * MIB)
