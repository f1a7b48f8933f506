"""Stdin and stdout of this process as lines of bytes, whatever they are: pipes, files, terminals.

Each has a thread of its own that blocks in the system call: a loop can wait for a pipe, but not
for a file, and what it makes non-blocking stays so for whoever else has it open. The threads are
daemons, so that a client that keeps its end open holds up no exit.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

CHUNK: Final = 64 * 1024
DRAIN_S: Final = 5
"""How long the end waits for a client to read what was written."""


class PipeReader:
    """Lines from a file descriptor."""

    def __init__(self, fd: int, line_max: int) -> None:
        self._fd = fd
        self._line_max = line_max
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self._wanted = threading.Semaphore(1)
        """Released when a chunk was taken: no more than one waits here."""
        self._rest = b""
        self._skipping = False
        self._ended = False
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def _read(self) -> None:
        chunk = b"?"
        while chunk:
            self._wanted.acquire()
            try:
                chunk = os.read(self._fd, CHUNK)
            except OSError:
                chunk = b""
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
                self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)

    async def lines(self) -> list[bytes | None]:
        """The lines that have come, at least one; empty at the end. None: one over the limit.

        What follows the last line break at the end is a line, too.
        """
        found: list[bytes | None] = []
        while not found and not self._ended:
            chunk = await self._chunks.get()
            self._wanted.release()
            if not chunk:
                self._ended = True
                if self._rest:
                    found.append(self._rest)
                break
            self._split(chunk, found)
        return found

    def _split(self, chunk: bytes, found: list[bytes | None]) -> None:
        for number, piece in enumerate(chunk.split(b"\n")):
            if number:
                # A line break stood before this piece: what was gathered is a whole line.
                self._complete(found)
            self._rest += piece
            if len(self._rest) > self._line_max:
                self._rest, self._skipping = b"", True

    def _complete(self, found: list[bytes | None]) -> None:
        line, self._rest = self._rest, b""
        if self._skipping:
            self._skipping = False
            found.append(None)
        elif line.strip():
            found.append(line)


class PipeWriter:
    """Lines to a file descriptor, in order, never mixed."""

    def __init__(self, fd: int, drained: Callable[[], None]) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._drained = drained
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._empty = asyncio.Event()
        self._empty.set()
        self.backlog = 0
        """Bytes that wait for the client."""
        self.broken = False
        """The client has closed its end."""
        threading.Thread(target=self._write, name="stdout", daemon=True).start()

    def write(self, line: bytes) -> None:
        if not self.broken:
            self.backlog += len(line)
            self._empty.clear()
            self._lines.put(line)

    async def close(self) -> None:
        """Wait until the client has read all, at most 5 s."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._empty.wait()
        self._lines.put(None)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            left, broken = memoryview(line), False
            while left and not broken:
                try:
                    left = left[os.write(self._fd, left) :]
                except OSError:
                    broken = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
                self._loop.call_soon_threadsafe(self._wrote, len(line), broken)

    def _wrote(self, size: int, broken: bool) -> None:  # noqa: FBT001 - call_soon takes no names
        self.backlog -= size
        self.broken = self.broken or broken
        if not self.backlog or self.broken:
            self._empty.set()
        self._drained()
