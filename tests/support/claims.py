"""Claims for tests, and what a log says to them."""

import asyncio

from agenthub.domain.errors import StorageFailed
from agenthub.domain.idempotency import Claim, Earlier
from agenthub.outbound.database import SQL, Database

AT_S = 1_800_000_000


def claim(key="k", *, caller="anna", digest=b"d", call_id="c-1", at_s=AT_S):
    return Claim(f"{caller}/{key}".encode(), caller, digest, call_id, at_s)


async def asked(log, one):
    """What the log says to the claim."""
    told = asyncio.get_running_loop().create_future()
    log.claim(one, told.set_result)
    return await asyncio.wait_for(told, 10)


def earlier(one, answer=None):
    return Earlier(one.call_id, one.digest, answer)


class InProcess:
    """A DatabaseProcess without the process: the real SQL, in virtual time."""

    def __init__(self, file):
        self.database = Database(str(file), 1, 1, new=True)
        self.database.db.execute("PRAGMA synchronous = OFF")
        self.problem = ""
        """Why nothing can be written now."""

    def change(self, *statements):
        return self._answer(self.problem or self._written(statements))

    def _written(self, statements):
        return self.database.change([lambda: self.database.write(statements)])[0]

    def read(self, statement, *values):
        return self._answer(self.database.db.execute(SQL[statement], values).fetchall())

    async def _answer(self, found):
        await asyncio.sleep(0.001)
        if isinstance(found, str):
            raise StorageFailed(found)
        return found
