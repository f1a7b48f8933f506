"""Started programs: pinned to a core, measured with all their children, ended for certain."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

STOP_S = 15
"""How long a program may take after SIGTERM before it is killed."""
LOAD_CORE, SUBJECT_CORE = 0, 1
"""Load and upstream share a core; what is measured has the other one to itself."""


def pinned(core: int, command: list[str]) -> list[str]:
    """BENCH_PRIO='chrt -r 5' (root) keeps other work of a busy machine out of the numbers."""
    if (os.cpu_count() or 1) <= core or not shutil.which("taskset"):
        return [*shlex.split(os.environ.get("BENCH_PRIO", "")), *command]
    prefix = shlex.split(os.environ.get("BENCH_PRIO", ""))
    return [*prefix, "taskset", "-c", str(core), *command]


class Process:
    """A program in a process group of its own."""

    def __init__(
        self, command: list[str], core: int, log: Path | None = None, **environment: str
    ) -> None:
        self.started_ns = time.monotonic_ns()
        self.log = log
        out = subprocess.DEVNULL if log is None else log.open("wb")
        self._process = subprocess.Popen(
            pinned(core, command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def terminate(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGTERM)

    def ends(self) -> None:
        """Waits until it has ended, `STOP_S` at most."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)

    def stop(self) -> None:
        self.terminate()
        self.ends()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def tail(self) -> str:
        return "" if self.log is None else self.log.read_text(errors="replace")[-600:]


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*"):
            try:
                todo += map(int, (task / "children").read_text().split())
            except OSError:
                continue
    return found


def cpu_ns(pid: int) -> int:
    """Time on a CPU of every thread of the tree. /proc/PID/stat counts in 10 ms, this in ns."""
    return sum(map(own_cpu_ns, tree(pid)))


def own_cpu_ns(pid: int) -> int:
    """As `cpu_ns`, of the process alone."""
    found = 0
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            found += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue
    return found


def memory_kib(pid: int) -> dict[str, int]:
    """`rss` counts shared pages in each process, `pss` once."""
    total = {"rss": 0, "pss": 0}
    for one in tree(pid):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, rest = line.partition(":")
            if name.lower() in total:
                total[name.lower()] += int(rest.split()[0])
    return total
