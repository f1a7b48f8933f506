"""A ledger in PostgreSQL, for several hubs: what DatabaseLedger and DatabaseUsage write and read.

    send ──► kept in order until answered ──► one batch, one transaction, one round trip
             connection lost: the batch goes out again on a new one; each step works once

So a commit of which nobody knows whether it happened is settled by the ids in it. The statements
are in schema/postgres; all hubs write one after the other, a batch each.

One lock is taken for each batch, and not one for each counter: nearly every call counts on a budget
of everything, whose row would be locked until the commit all the same. Measured with two hubs of 64
callers on two cores: 1,600 to 1,900 calls a second with a budget in common, 2,100 without one; with
no lock at all, where none is needed because they have no budget in common, 1,600 to 3,500.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import psycopg

from agenthub.domain.errors import StorageFailed
from agenthub.outbound.database_process import ANSWER_S, PROOF_S, SURVEY_S, Misfit, Row, Value
from agenthub.tasks import Tasks

log = logging.getLogger(__name__)

SCHEMA: Final = Path(__file__).with_name("schema") / "postgres"
MIGRATIONS: Final = ("0001_ledger.sql", "0002_moved.sql", "0003_alert.sql")
BATCH_MAX: Final = 200
"""Steps in one transaction. More than what is waited for in it gains nothing."""
BATCH_S: Final = 5
"""How long one may take; then it is ended at the server, and sent again."""
CONNECT_S: Final = 5
STOP_S: Final = 10
BACKOFF_S: Final = (0.0, 0.1, 0.2, 0.5, 1.0)
SETTINGS: Final = """SET search_path = agenthub; SET synchronous_commit = on;
    SET timezone = 'UTC'; SET idle_in_transaction_session_timeout = '10s'"""
MIGRATE: Final = """SELECT pg_advisory_xact_lock(hashtext('agenthub schema'));
    CREATE SCHEMA IF NOT EXISTS agenthub;
    CREATE TABLE IF NOT EXISTS agenthub.migration (version int PRIMARY KEY)"""
FENCE: Final = """SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE application_name = %s AND pid <> pg_backend_pid()"""
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('agenthub ledger'))"
"""As every batch takes it."""
FAILURES: Final = (psycopg.Error, OSError, TimeoutError)

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


def _statements() -> dict[str, str]:
    parts = (SCHEMA / "reading.sql").read_text().split("-- name: ")[1:]
    return {name: sql for name, _, sql in (part.partition("\n") for part in parts)}


class PostgresDatabase:
    """Two connections: one writes, one reads. Made by `open_postgres`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sql = _statements()
        self._writer = f"agenthub {secrets.token_hex(8)}"
        self._tasks = Tasks()
        self._asked: dict[int, tuple[bytes, Callable[[Any], None]]] = {}
        self._number = 0
        self._some = asyncio.Event()
        self._reading = asyncio.Lock()
        self._reader: Connection | None = None
        self.closing = False
        self.problem = ""
        """Why the database does not work now, for people; empty when it does."""
        self._failures = 0
        """Since a batch was written."""

    # ------------------------------------------------------------ life

    async def open(self) -> None:
        """Raises StorageFailed, in words."""
        try:
            async with asyncio.timeout(ANSWER_S):
                connection = await self._connect(self._writer)
                try:
                    await _migrate(connection)
                finally:
                    await connection.close()
        except FAILURES as error:
            raise StorageFailed(f"The ledger's PostgreSQL: {_words(error)}") from error
        self._tasks.start(self._write(), "ledger in PostgreSQL")

    async def close(self) -> None:
        """Until all that was handed over is durable, or cannot be; at most 10 s."""
        self.closing = True
        loop = asyncio.get_running_loop()
        end = loop.time() + STOP_S
        while self._asked and not self.problem and loop.time() < end:  # noqa: ASYNC110 - bounded
            await asyncio.sleep(0.01)
        await self._tasks.close()
        if self._reader is not None:
            await self._reader.close()
        for number in list(self._asked):
            self._tell(number, StorageFailed("The hub stops."))

    async def _connect(self, name: str) -> Connection:
        connection = await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=CONNECT_S, application_name=name,
            keepalives_idle=5, keepalives_interval=2, keepalives_count=3,
        )  # fmt: skip
        try:
            await connection.execute(SETTINGS)
        except BaseException:
            await connection.close()
            raise
        return connection

    # ------------------------------------------------------------ writing

    async def _write(self) -> None:
        while True:
            try:
                await self._write_until_lost()
            except FAILURES as error:
                words = _words(error)
                if not self._failures:
                    log.error("The ledger's PostgreSQL failed", extra={"problem": words})  # noqa: TRY400 - the words say it
                else:
                    # Once is nothing: what waits does not notice.
                    self.problem = words
                wait = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
                self._failures += 1
                await asyncio.sleep(wait)

    async def _write_until_lost(self) -> None:
        async with asyncio.timeout(CONNECT_S * 2):
            connection = await self._connect(self._writer)
        try:
            async with asyncio.timeout(BATCH_S * 2):
                # What a lost connection still writes is over before it is written again.
                await connection.execute(FENCE, (self._writer,))
                await connection.execute(_limit(BATCH_S))
            if self.problem:
                log.info("The ledger's PostgreSQL can be written again")
            self.problem = ""
            while True:
                await self._some.wait()
                await self._write_batch(connection)
        finally:
            await connection.close()

    async def _write_batch(self, connection: Connection) -> None:
        numbers = list(self._asked)[:BATCH_MAX]
        if not numbers:
            self._some.clear()
            return
        steps = b"[" + b",".join(self._asked[number][0] for number in numbers) + b"]"
        async with asyncio.timeout(BATCH_S * 2):
            cursor = await connection.execute("SELECT ledger_batch(%s::json)", (steps.decode(),))
            row = await cursor.fetchone()
        assert row is not None
        self._failures = 0
        answers = cast("list[tuple[bool, Any]]", row[0])
        for number, (good, answer) in zip(numbers, answers, strict=True):
            self._tell(number, _found(answer) if good else Misfit(str(answer)))

    def _tell(self, number: int, answer: object) -> None:
        if number in self._asked:
            self._asked.pop(number)[1](answer)

    @property
    def closed_for(self) -> str:
        """Why nothing is taken now; empty when it is."""
        return "The hub stops." if self.closing else self.problem

    def send(self, kind: int, what: tuple[Any, Any], told: Callable[[Any], None]) -> None:
        """As DatabaseProcess.send."""
        del kind
        self._number += 1
        self._asked[self._number] = (msgspec.json.encode(_plain(what)), told)
        self._some.set()

    async def book(self, operation: str, *values: object) -> Any:
        """A step; what it returns. Raises StorageFailed."""
        if problem := self.closed_for:
            raise StorageFailed(problem)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def told(result: Any) -> None:
            if answer.done():
                return
            if isinstance(result, StorageFailed):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        self.send(0, (operation, values), told)
        number = self._number
        try:
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except TimeoutError:
            raise StorageFailed(self.problem or "The database does not answer.") from None
        finally:
            self._asked.pop(number, None)

    async def rebuild(self) -> None:
        """As DatabaseProcess.rebuild; other batches of all hubs wait for it."""
        try:
            async with asyncio.timeout(ANSWER_S + PROOF_S):
                connection = await self._connect("agenthub rebuild")
                async with connection, connection.transaction():
                    await connection.execute(_limit(PROOF_S))
                    await connection.execute(LOCK)
                    await connection.execute("SELECT ledger_rebuild()")
        except FAILURES as error:
            raise StorageFailed(f"The ledger's PostgreSQL: {_words(error)}") from error

    async def change(self, *statements: tuple[str, Sequence[Row]]) -> int:
        for name, rows in statements:
            for row in rows:
                await self.book(name, *row)
        return 1

    # ------------------------------------------------------------ reading

    async def read(self, statement: str, *values: Value) -> list[tuple[Any, ...]]:
        return await self.survey(statement, *values)

    async def survey(
        self, statement: str, *values: Value, seconds: int = SURVEY_S
    ) -> list[tuple[Any, ...]]:
        """The rows. Raises StorageFailed."""
        try:
            async with asyncio.timeout(ANSWER_S + seconds - SURVEY_S), self._reading:
                return await self._read(self._sql[statement], values, seconds)
        except FAILURES as error:
            raise StorageFailed(f"The ledger's PostgreSQL: {_words(error)}") from error

    async def _read(self, sql: str, values: Row, seconds: int) -> list[tuple[Any, ...]]:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.closed:
            try:
                return await self._read_by(reader, sql, values, seconds)
            except _Cut:
                # Since the last question, as when the database was started again.
                pass
        return await self._read_by(await self._connect("agenthub reader"), sql, values, seconds)

    async def _read_by(
        self, reader: Connection, sql: str, values: Row, seconds: int
    ) -> list[tuple[Any, ...]]:
        try:
            await reader.execute(_limit(seconds))
            cursor = psycopg.AsyncRawCursor(reader)
            await cursor.execute(sql.encode(), values)
            rows = await cursor.fetchall()
        except BaseException as error:
            # What it is in the middle of is nobody's any more.
            is_cut = reader.broken
            await reader.close()
            if is_cut and isinstance(error, psycopg.Error):
                raise _Cut(str(error)) from error
            raise
        self._reader = reader
        return rows


class _Cut(psycopg.OperationalError):
    """The connection was lost."""


@asynccontextmanager
async def open_postgres(url: str) -> AsyncGenerator[PostgresDatabase]:
    """Raises StorageFailed, in words, if it cannot be reached or used."""
    database = PostgresDatabase(url)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def _migrate(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute(MIGRATE)
        cursor = await connection.execute("SELECT coalesce(max(version), 0) FROM migration")
        row = await cursor.fetchone()
        known: int = row[0] if row else 0
        if known > len(MIGRATIONS):
            raise StorageFailed("The ledger's PostgreSQL was written by a newer AgentHub.")
        for number, name in enumerate(MIGRATIONS[known:], known + 1):
            await connection.execute((SCHEMA / name).read_bytes())
            await connection.execute("INSERT INTO migration VALUES (%s)", (number,))


def _limit(seconds: int) -> bytes:
    return b"SET statement_timeout = '%ds'" % seconds


def _words(error: BaseException) -> str:
    """For people; a password is in no message of libpq."""
    if isinstance(error, TimeoutError) or not str(error).strip():
        return "it does not answer in time."
    return str(error).strip().splitlines()[0]


def _plain(value: Any) -> Any:
    """What JSON and PostgreSQL's texts can hold: no NUL, no half of a surrogate pair."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        return value.replace("\0", "").encode(errors="replace").decode()
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in cast("Sequence[Any]", value)]
    return value


def _found(answer: Any) -> object:
    """Rows are tuples, as the database process gives them; JSON knows lists only."""
    if not isinstance(answer, list):
        return answer
    rows: list[Any] = cast("list[Any]", answer)
    return tuple(rows)
