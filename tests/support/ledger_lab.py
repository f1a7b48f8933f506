"""The ledger over the real SQL without a process, in virtual time; it can be disturbed.

Laboratory           SQLite, in a file
PostgresLaboratory   PostgreSQL, over one connection that is waited for: no time passes meanwhile
"""

import asyncio

import msgspec
import psycopg
from support.claims import InProcess
from support.virtual_time import LoopClock

from agenthub.domain.budget import DEFAULT
from agenthub.domain.errors import StorageFailed
from agenthub.outbound import postgres
from agenthub.outbound.database import SQL, Misfit
from agenthub.outbound.database_process import LEDGER
from agenthub.outbound.database_process import Misfit as MisfitTold
from agenthub.outbound.ledger import DatabaseLedger
from agenthub.outbound.usage import DatabaseUsage


class Disturbed:
    """What is sent is written a moment later, all that came together; unless something is wrong."""

    def __init__(self):
        self.closing = False
        self.problem = ""
        """Why nothing can be written now."""
        self.away = ""
        """Why nothing is taken."""
        self.stands = False
        """Nothing is written or answered, as when the disk hangs."""
        self.full = ""
        """Everything that is written fails with these words."""
        self.twice = False
        """The process dies after each commit, before it says so: all is sent again."""
        self.sent = []
        self.watch = lambda: None
        """Called after each commit, before anybody is told of it."""

    @property
    def closed_for(self):
        return "The hub stops." if self.closing else self.away

    def send(self, kind, what, told):
        assert kind == LEDGER
        if not self.sent:
            asyncio.get_running_loop().call_later(0.001, self.commit)
        self.sent.append((what, told))

    def commit(self):
        if self.stands:
            asyncio.get_running_loop().call_later(0.001, self.commit)
            return
        group, self.sent = self.sent, []
        answers = [StorageFailed(self.full)] * len(group)
        for _ in range(0 if self.full else 1 + self.twice):
            answers = self.write([what for what, _ in group])
            self.watch()
        for (_, told), answer in zip(group, answers, strict=True):
            told(answer)

    def book(self, operation, *values):
        answer = asyncio.get_running_loop().create_future()
        self.send(LEDGER, (operation, values), answer.set_result)
        return _raised(answer)

    def rebuild(self):
        return self.book("rebuild")

    def survey(self, statement, *values, seconds=5):
        return self.read(statement, *values)


class Laboratory(Disturbed, InProcess):
    """A DatabaseProcess that does not exist."""

    def __init__(self, file):
        InProcess.__init__(self, file)
        Disturbed.__init__(self)

    def write(self, steps):
        return list(map(_heard, self.database.change([_step(self, what) for what in steps])))

    def differing(self):
        db = self.database.db
        names = ("differing_windows", "differing_slots")
        return [db.execute(SQL[name]).fetchone()[0] for name in names]

    def windows(self, *budgets):
        """What each of their counters holds, and what was spent on it."""
        marks = ", ".join("?" * len(budgets))
        sql = f"SELECT reserved, settled FROM budget_window WHERE budget IN ({marks})"
        return self.database.db.execute(sql, budgets).fetchall()

    def hubs_fall_silent(self):
        """There is only one."""

    def close(self):
        self.database.db.close()


class PostgresLaboratory(Disturbed):
    """A PostgresDatabase that does not exist; the database is empty at first."""

    SQL = postgres._statements()
    TABLES = ("budget", "budget_window", "charge", "charge_hold", "charge_attempt", "entry",
              "usage_slot", "hub")  # fmt: skip

    def __init__(self, url):
        super().__init__()
        self.db = psycopg.connect(url, autocommit=True)
        self.db.execute(postgres.SETTINGS)
        self.db.execute("SET synchronous_commit = off")
        for table in self.TABLES:
            self.db.execute(f"DELETE FROM {table}")
        default = msgspec.json.encode(DEFAULT).decode()
        self.db.execute("INSERT INTO budget VALUES ('default', %s, 0, %s)", (DEFAULT.wall, default))

    def write(self, steps):
        sent = msgspec.json.encode([postgres._plain(step) for step in steps]).decode()
        (answers,) = self.db.execute("SELECT ledger_batch(%s::json)", (sent,)).fetchone()
        return [postgres._found(said) if good else MisfitTold(said) for good, said in answers]

    async def change(self, *statements):
        if self.problem:
            raise StorageFailed(self.problem)
        for name, rows in statements:
            for row in rows:
                await self.book(name, *row)
        return 1

    async def read(self, statement, *values):
        await asyncio.sleep(0.001)
        return self._rows(self.SQL[statement], values)

    def _rows(self, sql, values=()):
        with psycopg.RawCursor(self.db) as cursor:
            return cursor.execute(sql.encode(), values).fetchall()

    def differing(self):
        return [self._rows(self.SQL[f"differing_{what}"])[0][0] for what in ("windows", "slots")]

    def windows(self, *budgets):
        """What each of their counters holds, and what was spent on it."""
        sql = "SELECT reserved, settled FROM budget_window WHERE budget = ANY($1)"
        return self._rows(sql, (list(budgets),))

    def hubs_fall_silent(self):
        """For half a minute, by the clock of the database, so that they count as dead."""
        self.db.execute("UPDATE hub SET seen_at = seen_at - interval '31 seconds'")

    def close(self):
        self.db.close()


def _step(lab, what):
    operation, values = what
    return lambda: lab.database.ledger[operation](*values)


def _heard(answer):
    if isinstance(answer, Misfit):
        return MisfitTold(answer)
    return StorageFailed(answer) if isinstance(answer, str) else answer


async def _raised(answer):
    found = await answer
    if isinstance(found, StorageFailed):
        raise found
    return found


class Both(DatabaseLedger, DatabaseUsage):
    """Both ports, as the fake is."""


def both(process, clock=None):
    return Both(process, clock or LoopClock())
