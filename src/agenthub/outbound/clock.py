"""Time and chance, as the machine has them (ports.Clock)."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

from agenthub.domain.span import MILLISECOND, Nanoseconds
from agenthub.ports import Timer

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class LoopClock:
    """The clock of the running event loop.

    Readings are the functions themselves, so that one costs no more than they do.
    """

    now = staticmethod(time.monotonic_ns)
    wall = staticmethod(time.time_ns)
    chance = staticmethod(random.random)

    def __init__(self) -> None:
        self._call_later = asyncio.get_running_loop().call_later
        self.boot_id = _boot_id()

    def after(self, span: Nanoseconds, callback: Callable[[], None]) -> Timer:
        """Never early by `now`.

        libuv cuts time to whole milliseconds, so a timer may fire one too early; one is added.
        """
        milliseconds = -(-span // MILLISECOND) + 1 if span > 0 else 0
        return self._call_later(milliseconds / 1000, callback)


def _boot_id() -> str:
    """Source: random(4), "/proc interfaces"; elsewhere the wall clock has to do."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
