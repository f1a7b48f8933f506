"""What was used and spent, read from the ledger's tables (ledger.UsageStorage).

Each question is one read beside the writing (database_reader.py), of sums where there are some:
over a million calls they answer in some tens of milliseconds.
"""

from collections.abc import Coroutine, Sequence
from typing import Any, Final, Protocol

import msgspec

from agenthub.domain.account import Facts, HoldOn
from agenthub.domain.usage import Basis, Usage
from agenthub.ledger import (
    GROUPS,
    Amounts,
    AttemptRow,
    ChargePage,
    ChargeRow,
    Entry,
    Proof,
    Standing,
    Total,
    Which,
)
from agenthub.outbound.database_process import PROOF_S, SURVEY_S, Value

SLOT_S: Final = 900
"""Days of all time zones begin on quarters of an hour."""
PAGE_MAX: Final = 1_000
HIGHEST: Final = 2**63 - 1


class Reading(Protocol):
    """DatabaseProcess, or PostgresDatabase."""

    def survey(
        self, statement: str, *values: Value, seconds: int = SURVEY_S
    ) -> Coroutine[Any, Any, list[tuple[Any, ...]]]: ...
    def rebuild(self) -> Coroutine[Any, Any, None]: ...


class DatabaseUsage:
    """Reads only, but for `rebuild`."""

    def __init__(self, process: Reading) -> None:
        self._process = process

    async def totals(
        self, which: Which, group_by: str, spans: Sequence[tuple[int, int]]
    ) -> tuple[Total, ...]:
        assert not group_by or group_by in GROUPS
        clipped = [
            (max(starts_at, which.since_s), min(ends_at, which.until_s), starts_at)
            for starts_at, ends_at in spans
        ]
        whole = {since // SLOT_S: starts_at for since, _, starts_at in clipped}
        slots = [(since // SLOT_S, -(-until // SLOT_S)) for since, until, _ in clipped]
        filters = (
            which.key, which.team, which.provider, which.model, which.endpoint, which.tool,
            which.source,
        )  # fmt: skip
        if group_by or any(one is not None for one in filters):
            statement = "session_totals" if group_by == "session" else "totals"
            rows = await self._process.survey(statement, _json(slots), group_by, *filters)
        else:
            rows = await self._process.survey("summary", _json(slots))
        return tuple(Total(whole[since], name, Amounts(*sums)) for since, name, *sums in rows)

    async def calls(self, which: Which, *, limit: int, before: int | None = None) -> ChargePage:
        return await self._page(
            "charges", limit, before, which.since_s * 1_000_000, which.until_s * 1_000_000,
            which.key, which.team, which.provider, which.model, which.endpoint, which.tool,
            which.source, which.session,
        )  # fmt: skip

    async def unsettled(self, *, limit: int, before: int | None = None) -> ChargePage:
        return await self._page("doubtful_charges", limit, before)

    async def _page(
        self, statement: str, limit: int, before: int | None, *values: int | str | None
    ) -> ChargePage:
        limit = max(1, min(limit, PAGE_MAX))
        below = HIGHEST if before is None else before
        rows = await self._process.survey(statement, below, limit + 1, *values)
        page = tuple(map(_charge, rows[:limit]))
        return ChargePage(page, page[-1].number if len(rows) > limit else None)

    async def charge(self, id_: str) -> ChargeRow | None:
        rows = await self._process.survey("one_charge", id_)
        if not rows:
            return None
        row = _charge(rows[0])
        attempts = await self._process.survey("attempts", row.number)
        return msgspec.structs.replace(row, attempts=tuple(map(_attempt, attempts)))

    async def standing(self, on: Sequence[HoldOn]) -> tuple[Standing, ...]:
        counters = _json([(one.budget, one.first, one.window) for one in on])
        return tuple(Standing(*row) for row in await self._process.survey("standing", counters))

    async def entries(self, *, limit: int, before: int | None = None) -> tuple[Entry, ...]:
        limit, below = max(1, min(limit, PAGE_MAX)), HIGHEST if before is None else before
        return tuple(Entry(*row) for row in await self._process.survey("entries", below, limit))

    async def rebuild(self) -> Proof:
        survey = self._process.survey
        ((counters,),) = await survey("differing_windows", seconds=PROOF_S)
        ((slots,),) = await survey("differing_slots", seconds=PROOF_S)
        if counters or slots:
            await self._process.rebuild()
        return Proof(counters, slots)


def _json(values: object) -> str:
    return msgspec.json.encode(values).decode()


def _charge(row: tuple[Any, ...]) -> ChargeRow:
    number, call, at_us, state, hold, cost, basis = row[:7]
    known = state != "reserved" and basis != Basis.UNPRICED.value
    return ChargeRow(
        number, call, at_us, state, hold, cost if known else None, basis, Facts(*row[7:16]),
        row[16], Usage(*row[17:25]), *row[25:],
    )  # fmt: skip


def _attempt(row: tuple[Any, ...]) -> AttemptRow:
    no, endpoint, model, status, outcome, cost, usage = row
    used = None if usage is None else msgspec.json.decode(usage, type=Usage)
    return AttemptRow(no, endpoint, model, status, outcome, cost, used)
