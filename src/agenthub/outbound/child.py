"""A child process as the hub sees it: its pipes on the event loop, its end.

    spawn ──► running ──► over (its owner hears `ended` once) ──► gone (its whole family is dead)

Pipes are read and written by the loop's own callbacks, without tasks, so that what has been
written of a message is known to the byte.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from msgspec import Struct

from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.outbound.child_output import LineSplitter, Overlong, StderrRing
from agenthub.outbound.diagnosis import not_started
from agenthub.outbound.pipe import Ended, Letter, PipeOwner
from agenthub.ports import Clock, Timer

CHUNK_BYTES = 65_536
"""What a pipe of Linux holds."""
BACKLOG_BYTES = 8 * 1024 * 1024
"""What may wait for a child that reads slowly: two requests of the largest size (R43)."""
WRITE_DEADLINE = 5 * SECOND
"""Without a single byte taken (F23)."""
SKIPPED_BYTES = 64 * 1024 * 1024
"""Of one line over the cap; who writes on is ended."""
STDERR_WINDOW = 50 * MILLISECOND
STDERR_BYTES = 4 * 1024 * 1024
"""Read in one window, 80 MB/s; more has to wait for the next one (F22)."""
LIFE_SPAN: Nanoseconds = SECOND
DRAIN = 50 * MILLISECOND
"""After the end of the process, or of its stdout: for the other one to follow."""


class Order(Struct, frozen=True):
    """What to run."""

    command: Sequence[str]
    env: Mapping[str, str]
    """Whole."""
    cwd: str | None = None
    line_bytes: int = 10 * 1024 * 1024
    """The longest line of stdout."""
    secrets: Sequence[str] = ()
    """Blotted out of stderr."""


class Child:
    """One process. Made by `Nursery.spawn`, which hears of its end from the guardian."""

    def __init__(
        self,
        order: Order,
        owner: PipeOwner,
        clock: Clock,
        stop: Callable[["Child", int, int], None],
    ) -> None:
        self.id = ""
        self.pid: int | None = None
        self.life_span = LIFE_SPAN
        self.stderr = StderrRing(order.secrets)
        self.gone = asyncio.Event()
        """Set when neither it nor anything it started is left."""
        self._order = order
        self._owner: PipeOwner | None = owner
        self._clock = clock
        self._ask_stop = stop
        """Tells the guardian: SIGTERM after so many milliseconds, SIGKILL after so many."""
        self._loop = asyncio.get_running_loop()
        self._lines = LineSplitter(order.line_bytes)
        self._letters: deque[Letter] = deque()
        self._backlog = 0
        self._taken_at: Nanoseconds = 0
        """When it last took a byte, while some are waiting."""
        self._stall: Timer | None = None
        self._end: Ended | None = None
        self._stdin = self._stdout = self._stderr = -1
        self._stderr_bytes = 0
        self._drain: Timer | None = None
        self._window: Timer | None = None

    def attach(self, child_id: str, stdin: int, stdout: int, stderr: int) -> None:
        """Take the hub's ends of the pipes. For the nursery only."""
        self.id = child_id
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr
        for fd in (stdin, stdout, stderr):
            os.set_blocking(fd, False)
        self._loop.add_reader(stdout, self._read_stdout)
        self._loop.add_reader(stderr, self._read_stderr)

    # ---------------------------------------------------------------- stdin

    def post(self, letter: Letter, data: bytes) -> bool:
        """Write, now or as soon as the child reads. False: too much is waiting already."""
        if self._backlog > BACKLOG_BYTES:
            return False
        letter.data, letter.size = data, len(data)
        self._letters.append(letter)
        self._backlog += len(data)
        if len(self._letters) == 1:
            self._write()
        return True

    def withdraw(self, letter: Letter) -> None:
        """Take back what was not begun. What was begun is written on, or the pipe is lost."""
        if not letter.sent and letter in self._letters:
            self._letters.remove(letter)
            self._backlog -= letter.size

    def _write(self) -> None:
        while self._letters and self._stdin >= 0:
            letter = self._letters[0]
            try:
                count = os.write(self._stdin, memoryview(letter.data)[letter.sent :])
            except BlockingIOError:
                self._await_room()
                return
            except OSError:
                # It reads no more; its end follows, or the deadline.
                self._loop.remove_writer(self._stdin)
                self._watch_stall()
                return
            letter.sent += count
            if self._stall is not None:
                self._taken_at = self._clock.now()
            self._backlog -= count
            if letter.sent == letter.size:
                letter.data = b""
                self._letters.popleft()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
            self._loop.remove_writer(self._stdin)

    def _await_room(self) -> None:
        if self._stall is None:
            self._loop.add_writer(self._stdin, self._write)
            self._watch_stall()

    def _watch_stall(self) -> None:
        if self._stall is None:
            self._taken_at = self._clock.now()
            self._stall = self._clock.after(WRITE_DEADLINE, self._stalled)

    def _stalled(self) -> None:
        left = self._taken_at + WRITE_DEADLINE - self._clock.now()
        if left > 0:
            self._stall = self._clock.after(left, self._stalled)
        else:
            self.kill("it did not read its stdin for 5 s")

    # ---------------------------------------------------------------- stdout, stderr

    def _read_stdout(self) -> None:
        data = _read(self._stdout)
        if data is None:
            return
        if not data:
            self._loop.remove_reader(self._stdout)
            if line := self._lines.rest():
                self._hear(line)
            self._stdout_ended()
            return
        for line in self._lines.feed(data):
            self._hear(line)
        if self._lines.skipped > SKIPPED_BYTES:
            self.kill("it wrote a line without an end")

    def _hear(self, line: bytes | Overlong) -> None:
        if self._owner is not None:
            self._owner.line(line)

    def _stdout_ended(self) -> None:
        if self._stdout < 0:
            return  # The last line was reason enough to end it.
        os.close(self._stdout)
        self._stdout = -1
        if self._end is not None:
            self._over()
        else:
            self._drain = self._clock.after(DRAIN * 5, lambda: self.kill("it closed its stdout"))

    def _read_stderr(self) -> None:
        data = _read(self._stderr)
        if data is None:
            return
        if not data:
            self._loop.remove_reader(self._stderr)
            return
        self.stderr.feed(data)
        if self._window is None:
            self._window = self._clock.after(STDERR_WINDOW, self._next_window)
        self._stderr_bytes += len(data)
        if self._stderr_bytes > STDERR_BYTES:
            self._loop.remove_reader(self._stderr)

    def _next_window(self) -> None:
        if self._stderr_bytes > STDERR_BYTES and self._stderr >= 0:
            self._loop.add_reader(self._stderr, self._read_stderr)
        self._window, self._stderr_bytes = None, 0

    # ---------------------------------------------------------------- end

    def exited(self, code: int) -> None:
        """From the guardian: the main process ended. Its last words may still be in the pipe."""
        if self._end is None:
            self._end = Ended(code)
            if self._stdout < 0:
                self._over()
            elif self._drain is None:
                self._drain = self._clock.after(DRAIN, self._over)

    def failed(self, number: int) -> None:
        """From the guardian: it did not even start."""
        self._end = Ended(failure=not_started(self._order.command[0], self._order.cwd, number))
        self._over()

    def kill(self, reason: str) -> None:
        """Give it up at once; the guardian sees to its family."""
        if self._owner is not None:
            self._ask_stop(self, 0, 0)
            self._end = self._end or Ended(reason=reason)
            self._over()

    async def stop(self) -> None:
        """Ask it to end: stdin closed, after 1 s SIGTERM, after 2 s SIGKILL. Bounded to 4.5 s."""
        self._owner = None
        if self._stdin >= 0:
            self._loop.remove_writer(self._stdin)
            os.close(self._stdin)
            self._stdin = -1
        self._ask_stop(self, 1_000, 2_000)
        with suppress(TimeoutError):
            async with asyncio.timeout(4.5):
                await self.gone.wait()
        self._over()

    def _over(self) -> None:
        """Let go of the pipes and tell the owner; again is nothing."""
        owner, self._owner = self._owner, None
        for timer in (self._stall, self._drain, self._window):
            if timer is not None:
                timer.cancel()
        if self._stderr >= 0:
            for _ in range(STDERR_BYTES // CHUNK_BYTES):
                if not (data := _read(self._stderr)):
                    break
                self.stderr.feed(data)
        for fd in (self._stdin, self._stdout, self._stderr):
            if fd >= 0:
                self._loop.remove_reader(fd)
                self._loop.remove_writer(fd)
                os.close(fd)
        self._stdin = self._stdout = self._stderr = -1
        if owner is not None:
            owner.ended(self._end or Ended(reason="stopped"))


def _read(fd: int) -> bytes | None:
    """None: nothing there yet. Empty: the end."""
    try:
        return os.read(fd, CHUNK_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        return b""
