"""Idempotency keys in the database (ports.ClaimLog).

A claim costs one round trip to the database process and a share of one fsync; the end of its call
is handed over before the answer goes out, and nobody waits for it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from agenthub.domain.errors import HubError, Overloaded, StorageFailed
from agenthub.domain.idempotency import KEPT_S, Claim, Earlier
from agenthub.outbound.database_process import DatabaseProcess, Row
from agenthub.tasks import Tasks

log = logging.getLogger(__name__)

CLAIMS_MAX: Final = 1_000_000
"""Claims that are kept; about 250 bytes each, beside the answers."""
CALLER_CLAIMS_MAX: Final = 250_000
BYTES_MAX: Final = 256 * 1024 * 1024
"""Of answers that are kept."""
CALLER_BYTES_MAX: Final = 64 * 1024 * 1024
CLAIM_S: Final = 3.0
"""How long a call waits for its claim; then it is refused."""
SWEEP_ROWS: Final = 16
"""Of the oldest claims looked at with each new one: more go than come."""
START_SWEEP_ROWS: Final = 20_000
GAP_MAX_S: Final = 24 * 3600
"""Between two runs of the hub; over a longer one, or a negative, no clock is believed (R17)."""


class StoredClaims:
    """Claims in a table of their own."""

    def __init__(self, process: DatabaseProcess) -> None:
        self._process = process
        self._tasks = Tasks()
        self.claims_max = CLAIMS_MAX
        self.caller_claims_max = CALLER_CLAIMS_MAX
        self.bytes_max = BYTES_MAX
        self.caller_bytes_max = CALLER_BYTES_MAX

    async def begin(self, wall_s: int) -> None:
        """Once, at start. Raises StorageFailed."""
        await self._process.change(
            ("renew_claims", [(wall_s, GAP_MAX_S)]),
            ("sweep_claims", [(wall_s - KEPT_S, START_SWEEP_ROWS)]),
        )

    def claim(self, claim: Claim, told: Callable[[Earlier | HubError | None], None]) -> None:
        oldest = claim.at_s - KEPT_S
        values: Row = (
            claim.scope, claim.caller, claim.digest, claim.call_id, claim.at_s,
            self.caller_claims_max, self.claims_max,
        )  # fmt: skip
        try:
            written = self._process.change(
                ("expire_claim", [(claim.scope, oldest)]),
                ("sweep_claims", [(oldest, SWEEP_ROWS)]),
                ("put_claim", [values]),
            )
        except StorageFailed as error:
            told(_not_sent(error))
        else:
            self._tasks.start(self._claim(claim.scope, written, told), "claim")

    async def _claim(
        self,
        scope: bytes,
        written: Coroutine[Any, Any, int],
        told: Callable[[Earlier | HubError | None], None],
    ) -> None:
        try:
            async with asyncio.timeout(CLAIM_S):
                found = None if await written else await self._find(scope)
        except HubError as error:
            found = _not_sent(error)
        except TimeoutError:
            found = _not_sent(StorageFailed("The database does not answer."))
        told(found)

    async def _find(self, scope: bytes) -> Earlier | HubError:
        rows = await self._process.read("claim", scope)
        if rows:
            return Earlier(*rows[0])
        return Overloaded(
            "As many idempotency keys are in use as the hub keeps; they are kept for a day"
        )

    def finish(self, claim: Claim, answer: bytes) -> None:
        room = (self.caller_bytes_max, self.bytes_max)
        self._write("finish_claim", (claim.scope, claim.call_id, answer, *room))

    def forget(self, claim: Claim) -> None:
        self._write("forget_claim", (claim.scope, claim.call_id))

    def _write(self, statement: str, row: Row) -> None:
        try:
            written = self._process.change((statement, [row]))
        except StorageFailed as error:
            _warn(error)
        else:
            self._tasks.start(_told(written), statement)

    async def close(self) -> None:
        """After the database has ended, which answers all that was handed over."""
        await self._tasks.close()


def _not_sent(error: HubError) -> HubError:
    """Nothing was sent now; what an earlier call with the key did, nobody could read (R32)."""
    return StorageFailed(
        f"The idempotency key could not be kept, so nothing was sent. {error}", executed="unknown"
    )


async def _told(written: Coroutine[Any, Any, int]) -> None:
    try:
        await written
    except StorageFailed as error:
        _warn(error)


def _warn(error: StorageFailed) -> None:
    log.warning(
        "The end of a call with an idempotency key was not kept; its key answers outcome_unknown",
        extra={"problem": str(error)},
    )
