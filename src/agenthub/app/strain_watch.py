"""Watches how late the event loop is and how much memory is left, and tells the gateway."""

import os
from collections.abc import Callable
from pathlib import Path

from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.domain.strain import Strain
from agenthub.gateway import Gateway
from agenthub.ports import Clock, Timer

EVERY: Nanoseconds = 100 * MILLISECOND
PROC = Path("/proc/self")
CGROUPS = Path("/sys/fs/cgroup")


class StrainWatch:
    """Looks ten times a second. Made once the hub is up."""

    def __init__(
        self, clock: Clock, strain: Strain, gateway: Gateway, memory: Callable[[], int]
    ) -> None:
        """`memory` says how much is used, per mille."""
        self._clock = clock
        self._strain = strain
        self._gateway = gateway
        self._memory = memory
        self._memory_at: Nanoseconds = -SECOND
        self._due: Nanoseconds = 0
        self._timer: Timer
        self._wait()

    def close(self) -> None:
        self._timer.cancel()

    def _wait(self) -> None:
        self._due = self._clock.now() + EVERY
        self._timer = self._clock.after(EVERY, self._look)

    def _look(self) -> None:
        now, strain, gateway = self._clock.now(), self._strain, self._gateway
        if now - self._memory_at >= SECOND:
            self._memory_at, strain.memory = now, self._memory()
        strain.looked(max(0, now - self._due), len(gateway.in_flight), now)
        gateway.bear(strain.places, streams=strain.takes_streams)
        self._wait()


def memory_reader(proc: Path = PROC, cgroups: Path = CGROUPS) -> Callable[[], int]:
    """Reads what this process has of what it may have, per mille; 0 where there is no /proc.

    Its children have limits of their own, or none: they are not counted.
    Source: proc(5), statm; Linux cgroup-v1/memory.rst, cgroup-v2.rst.
    """
    page = os.sysconf("SC_PAGE_SIZE")
    limit = min(_limits(proc, cgroups), default=0)
    limit = min(limit or 1 << 62, os.sysconf("SC_PHYS_PAGES") * page)

    def share() -> int:
        try:
            resident = int((proc / "statm").read_text().split()[1])
        except (OSError, ValueError, IndexError):
            return 0
        return resident * page * 1_000 // limit

    return share


def _limits(proc: Path, cgroups: Path) -> list[int]:
    """Of the control groups that it is in; a container sees its own at the root."""
    folders = [cgroups, cgroups / "memory"]
    try:
        for line in (proc / "cgroup").read_text().splitlines():
            number, _, path = line.split(":", 2)
            folders.append((cgroups if number == "0" else cgroups / "memory") / path.lstrip("/"))
    except (OSError, ValueError):
        pass
    found: list[int] = []
    for file in (folder / name for folder in folders for name in LIMIT_FILES):
        try:
            found.append(int(file.read_text()))
        except (OSError, ValueError):  # Not there, or `max`.
            continue
    return [limit for limit in found if limit > 0]


LIMIT_FILES = ("memory.max", "memory.limit_in_bytes")
"""Of version 2, and of version 1."""
