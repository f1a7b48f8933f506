"""The ledger over the real SQL without a process, in virtual time; it can be disturbed."""

import asyncio

from support.claims import InProcess
from support.virtual_time import LoopClock

from agenthub.domain.errors import StorageFailed
from agenthub.outbound.database import SQL, Misfit
from agenthub.outbound.database_process import LEDGER
from agenthub.outbound.database_process import Misfit as MisfitTold
from agenthub.outbound.ledger import DatabaseLedger
from agenthub.outbound.usage import DatabaseUsage


class Laboratory(InProcess):
    """A DatabaseProcess that does not exist."""

    def __init__(self, file):
        super().__init__(file)
        self.closing = False
        self.away = ""
        """Why nothing is taken."""
        self.stands = False
        """Nothing is written or answered, as when the disk hangs."""
        self.full = ""
        """Everything that is written fails with these words."""
        self.twice = False
        """The process dies after each commit, before it says so: all is sent again."""
        self.sent = []

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
        steps = [_step(self, what) for what, _ in group]
        answers = [self.full] * len(group)
        for _ in range(0 if self.full else 1 + self.twice):
            answers = self.database.change(steps)
        for (_, told), answer in zip(group, answers, strict=True):
            told(_heard(answer))

    def book(self, operation, *values):
        answer = asyncio.get_running_loop().create_future()
        self.send(LEDGER, (operation, values), answer.set_result)
        return _raised(answer)

    def survey(self, statement, *values, seconds=5):
        return self.read(statement, *values)

    def differing(self):
        db = self.database.db
        names = ("differing_windows", "differing_slots")
        return [db.execute(SQL[name]).fetchone()[0] for name in names]


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
