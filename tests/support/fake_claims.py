"""Idempotency keys in a dict (ports.ClaimLog), which outlives the hub that wrote them."""

from agenthub.domain.errors import Overloaded, StorageFailed
from agenthub.domain.idempotency import KEPT_S, NOT_KEPT, Earlier
from agenthub.domain.span import MILLISECOND


class FakeClaims:
    def __init__(self, clock, *, claims_max=1_000, bytes_max=1_000_000):
        self.clock = clock
        self.rows = {}
        """scope: [claim, answer]; the oldest first."""
        self.claims_max = claims_max
        self.bytes_max = bytes_max
        """Both of one caller."""
        self.delay = MILLISECOND
        """That a claim takes."""
        self.broken = False
        self.lost = False
        """Writes are carried out, but nobody hears of it."""
        self.writes = []
        """The name of each that was handed over."""

    def claim(self, claim, told):
        self.writes.append("claim")
        found = self._put(claim)
        self.clock.after(self.delay, lambda: told(found))

    def _put(self, claim):
        if self.broken:
            return StorageFailed("The disk is full.", executed="unknown")
        oldest = claim.at_s - KEPT_S
        self.rows = {scope: row for scope, row in self.rows.items() if row[0].at_s > oldest}
        row = self.rows.get(claim.scope)
        if row is None:
            if len(self._of(claim.caller)) >= self.claims_max:
                return Overloaded()
            self.rows[claim.scope] = [claim, None]
        return (
            StorageFailed(executed="unknown") if self.lost else self.found(claim) if row else None
        )

    def found(self, claim):
        first, answer = self.rows[claim.scope]
        return Earlier(first.call_id, first.digest, answer)

    def finish(self, claim, answer):
        self.writes.append("finish")
        row = self._mine(claim)
        if row:
            used = sum(len(kept or b"") for _, kept in self._of(claim.caller))
            row[1] = answer if used + len(answer) <= self.bytes_max else NOT_KEPT

    def forget(self, claim):
        self.writes.append("forget")
        if self._mine(claim):
            del self.rows[claim.scope]

    def _mine(self, claim):
        row = self.rows.get(claim.scope)
        if row and not self.broken and row[0].call_id == claim.call_id and row[1] is None:
            return row
        return None

    def _of(self, caller):
        return [row for row in self.rows.values() if row[0].caller == caller]
