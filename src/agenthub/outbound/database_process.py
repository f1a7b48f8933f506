"""The hub's side of the database: keeps `database.py` running, and loses nothing when it dies.

    change / read ──►  frame, kept until answered   ──►  ┌─────────────┐
    send_calls    ──►  batch, kept until "kept N"   ──►  │ database.py │
                       restarted: all kept frames go     └─────────────┘
                       out again; each works only once

Writing never blocks the loop: what the process does not take yet waits in the transport, bounded
by `UNKEPT_MAX` rows.
"""

import asyncio
import logging
import marshal
import os
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from msgspec import Struct

from agenthub.domain.errors import StorageFailed
from agenthub.outbound.database_line import FRAME, Line
from agenthub.tasks import Tasks

log = logging.getLogger(__name__)

Value: TypeAlias = str | int | bytes | None
Row: TypeAlias = Sequence[Value]

SCRIPT: Final = Path(__file__).with_name("database.py")
FIRST: Final = struct.Struct("<Q")
CALLS, CHANGE, READ, LEDGER, SURVEY = 1, 2, 3, 4, 5
ANSWER_S: Final = 15.0
"""How long a change or a read may take, a restart of the process included."""
START_S: Final = 20.0
STOP_S: Final = 30.0
HEAP: Final = {"MALLOC_TRIM_THRESHOLD_": str(4 * 1024 * 1024)}
"""glibc else returns memory to the system and takes it again with each trigger: 30 us a call."""
SURVEY_S: Final = 5
"""How long one question may read."""
PROOF_S: Final = 60
"""How long it may take to sum up the whole ledger: a million calls take 4 s."""
UNKEPT_MAX: Final = 100_000
"""Call rows that wait to become durable; further ones are dropped, and counted."""
STEADY_S: Final = 60.0
"""A process that lived this long is started again at once."""
BACKOFF_S: Final = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Misfit(StorageFailed):
    """A value does not fit into the database, now or later."""


class Batch(Struct, frozen=True):
    """Call rows on their way."""

    first: int
    count: int
    frame: bytes


class Keeping(Struct, frozen=True):
    """Where the database is, and how much of the call log it keeps."""

    file: Path
    rows: int
    days: int


class DatabaseProcess:
    """Asks the process that alone opens the file. Made by `open`, ended by `close`."""

    def __init__(self, keeping: Keeping, lock: int) -> None:
        self._keeping = keeping
        self._lock = lock
        self._tasks = Tasks()
        self._line: Line | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._hello: asyncio.Future[None] | None = None
        self._number = 0
        self._asked: dict[int, tuple[bytes, Callable[[Any], None]]] = {}
        self._batches: deque[Batch] = deque()
        self.closing = False
        self._opened = False
        self.last_sent = 0
        """The number of the last call row handed over."""
        self.unkept = 0
        """Call rows that are not durable yet."""
        self.unfit = 0
        """Call rows that no table can hold, since this process runs."""
        self.problem = ""
        """Why the database does not work now, for people; empty when it does."""
        self.created = False
        """Whether the file was made anew by this start."""
        self.restarts = 0
        self._answers: Mapping[str, Callable[..., None]] = {
            "hello": self._greeted,
            "refused": self._start_failed,
            "done": self._done,
            "failed": self._failed,
            "misfit": self._misfit,
            "kept": self._kept,
            "trouble": self._troubled,
        }

    # ------------------------------------------------------------ life

    async def open(self) -> None:
        """Raises StorageFailed, in words, if the file cannot be used."""
        try:
            await self._start()
        except StorageFailed as error:
            await self._reap()
            raise StorageFailed(f"{self.file}: {error}") from error
        self._tasks.start(self._mend(), "database")

    async def close(self) -> None:
        """Until all that was handed over is durable, or cannot be; at most 30 s."""
        self.closing = True
        await self._tasks.close()
        for _ in range(3):
            if self._line is not None:
                self._line.end()
            await self._reap()
            if self._drained or self.problem:
                break
            # It died while it drained: what it left is handed to another.
            try:
                await self._start()
            except StorageFailed as error:
                self.problem = str(error)
        for number in list(self._asked):
            self._failed(number, "The hub stops.")

    @property
    def file(self) -> Path:
        return self._keeping.file

    @property
    def _drained(self) -> bool:
        """Whether nothing is left that is to be written."""
        kinds = {frame[FRAME.size - 1] for frame, _ in self._asked.values()}
        return not self._batches and kinds <= {READ, SURVEY}

    @property
    def _runs(self) -> bool:
        return self._line is not None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        self._hello = loop.create_future()
        # Once it has been open, a file that is gone is a fault, and not a first start.
        new = () if self._opened else ("new",)
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", str(SCRIPT), str(self.file),
                str(self._keeping.rows), str(self._keeping.days), *new,
                stdin=theirs.fileno(), stdout=theirs.fileno(), pass_fds=(self._lock,),
                env=os.environ | HEAP,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            ours.close()
            raise StorageFailed(f"The database cannot start: {error.strerror}.") from error
        finally:
            theirs.close()
        line = Line(self._hear)
        await loop.create_connection(lambda: line, sock=ours)
        line.lost.add_done_callback(lambda _: self._start_failed("The database did not start."))
        try:
            async with asyncio.timeout(START_S):
                await self._hello
        except BaseException as error:
            line.close()
            if isinstance(error, TimeoutError):
                raise StorageFailed("The database does not answer.") from None
            raise
        # Only now, and at once with what is older: rows must arrive in the order of their numbers.
        self._line = line
        self._send_again(line)

    def _start_failed(self, words: str) -> None:
        if self._hello is not None and not self._hello.done():
            self._hello.set_exception(StorageFailed(words))

    async def _reap(self) -> None:
        """Wait for the process to end by itself."""
        if self._process is None:
            return
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            self.problem = "The database did not stop in time."
        if self._line is not None:
            self._line.close()
        self._line = self._process = None

    async def _mend(self) -> None:
        """Start the process again whenever it ends."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            assert self._line is not None
            started = loop.time()
            await asyncio.shield(self._line.lost)
            await self._reap()
            if loop.time() - started > STEADY_S:
                failures = 0
            while not self._runs:
                await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
                failures += 1
                self.restarts += 1
                try:
                    await self._start()
                except StorageFailed as error:
                    self.problem = str(error)
                    await self._reap()

    def _send_again(self, line: Line) -> None:
        for batch in self._batches:
            line.write(batch.frame)
        for frame, _ in self._asked.values():
            line.write(frame)

    # ------------------------------------------------------------ what it says

    def _hear(self, message: tuple[Any, ...]) -> None:
        self._answers[message[0]](*message[1:])

    def _greeted(self, last: int, created: bool, version: str) -> None:  # noqa: FBT001 - wire
        if not self._opened and resets_wal(version):
            # No warning: the hub itself does not do it, and has no better SQLite to offer.
            log.info(
                "This SQLite may damage a database that two programs write at once; the hub writes"
                " it from one place, and no other program should",
                extra={"sqlite": version, "file": str(self._keeping.file)},
            )
        if not self._opened:
            self._opened, self.last_sent, self.created = True, last, created
        self.problem = ""
        self._forget(last)
        if self._hello is not None and not self._hello.done():
            self._hello.set_result(None)

    def _done(self, number: int, result: object) -> None:
        if number in self._asked:
            self._asked.pop(number)[1](result)

    def _failed(self, number: int, words: str) -> None:
        if number in self._asked:
            self._asked.pop(number)[1](StorageFailed(words))

    def _misfit(self, number: int, words: str) -> None:
        if number in self._asked:
            self._asked.pop(number)[1](Misfit(words))

    def _kept(self, last: int, unfit: int) -> None:
        if self.problem:
            log.info("The database can be written again")
        self.problem = ""
        self.unfit = unfit
        self._forget(last)

    def _troubled(self, words: str) -> None:
        if not self.problem:
            facts = {"file": str(self.file), "problem": words}
            log.error("The database cannot be written", extra=facts)
        self.problem = words

    def _forget(self, last: int) -> None:
        batches = self._batches
        while batches and batches[0].first + batches[0].count - 1 <= last:
            self.unkept -= batches.popleft().count

    # ------------------------------------------------------------ what the hub says

    def change(self, *statements: tuple[str, Sequence[Row]]) -> Coroutine[Any, Any, int]:
        """Write all of it, or nothing; how many rows the last statement changed.

        It is handed over when this returns, in its order; awaited, it is durable. Both raise
        StorageFailed.
        """
        return self._ask(CHANGE, (statements, ()))

    def read(self, statement: str, *values: Value) -> Coroutine[Any, Any, list[tuple[Any, ...]]]:
        """The rows. Raises as `change`."""
        return self._ask(READ, (statement, values))

    def send_calls(self, count: int, rows: bytes) -> bool:
        """Hand over rows, a marshalled list of tuples. False: too many wait; these are lost."""
        if self.unkept + count > UNKEPT_MAX:
            return False
        first = self.last_sent + 1
        frame = FRAME.pack(FIRST.size + len(rows), CALLS) + FIRST.pack(first) + rows
        self._batches.append(Batch(first, count, frame))
        self.last_sent += count
        self.unkept += count
        if self._line is not None:
            self._line.write(frame)
        return True

    def survey(
        self, statement: str, *values: Value, seconds: int = SURVEY_S
    ) -> Coroutine[Any, Any, list[tuple[Any, ...]]]:
        """As `read`, for what may take long: it holds up no writing. Sees all that was told."""
        return self._ask(SURVEY, (statement, (values, seconds)), seconds - SURVEY_S)

    def book(self, operation: str, *values: object) -> Coroutine[Any, Any, Any]:
        """A step of the ledger (database_ledger.py); what it returns. Raises as `change`."""
        return self._ask(LEDGER, (operation, values))

    def rebuild(self) -> Coroutine[Any, Any, None]:
        """All sums anew from the charges; nothing else is written meanwhile. Raises as `change`."""
        return self._ask(LEDGER, ("rebuild", ()), PROOF_S)

    def send(self, kind: int, what: tuple[Any, Any], told: Callable[[Any], None]) -> None:
        """Hand over, in its order, and again after a restart, until it is answered.

        `told` hears the answer, or StorageFailed; however long it takes.
        """
        self._number += 1
        body = marshal.dumps((self._number, *what))
        frame = FRAME.pack(len(body), kind) + body
        self._asked[self._number] = (frame, told)
        if self._line is not None:
            self._line.write(frame)

    @property
    def closed_for(self) -> str:
        """Why nothing is taken now; empty when it is."""
        if self.closing:
            return "The hub stops."
        return self.problem if self._line is None else ""

    def _ask(self, kind: int, what: tuple[Any, Any], longer_s: int = 0) -> Coroutine[Any, Any, Any]:
        if problem := self.closed_for:
            raise StorageFailed(problem)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def told(result: Any) -> None:
            if isinstance(result, StorageFailed) and not answer.done():
                answer.set_exception(result)
            elif not answer.done():
                answer.set_result(result)

        self.send(kind, what, told)
        return self._answer(self._number, answer, ANSWER_S + longer_s)

    async def _answer(self, number: int, answer: asyncio.Future[Any], seconds: float) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise StorageFailed(self.problem or "The database does not answer.") from None
        finally:
            self._asked.pop(number, None)


def resets_wal(version: str) -> bool:
    """Whether SQLite has the WAL-reset bug. Source: sqlite.org/wal.html, "The WAL-Reset Bug"."""
    number = tuple(map(int, version.split(".")))
    mended = (3, 44, 6) <= number < (3, 45) or (3, 50, 7) <= number < (3, 51)
    return (3, 7, 0) <= number < (3, 51, 3) and not mended
