"""Usage that others report, on its way into the ledger: priced, counted to budgets, never refused.

It is over when it is heard of, so it can block nothing itself; but what it cost counts to budgets,
which then block what costs money on its way through the hub. What the hub itself carried is known
better: a report of it is passed over.
"""

from collections.abc import Iterable
from typing import Final

from agenthub.domain.account import Facts
from agenthub.domain.caller import Caller
from agenthub.domain.span import MICROSECOND
from agenthub.domain.usage import Basis
from agenthub.ledger import ChargeRow, Hold, Priced, Settlement, UsageStorage, Which
from agenthub.till import Till
from agenthub.wire.ingest.report import Report

NEAR_S: Final = 60
"""How far apart the hub's time of a call and the reporter's may be."""
_LOOKED_AT: Final = 500
_PROVIDERS: Final = {
    "gemini": "google", "vertex_ai": "google", "gcp.gemini": "google", "gcp.vertex_ai": "google",
    "xai": "x-ai", "x_ai": "x-ai", "bedrock": "aws", "aws.bedrock": "aws", "mistral_ai": "mistral",
    "azure.ai.openai": "azure", "azure.ai.inference": "azure",
}  # fmt: skip
"""The catalog's names for what LiteLLM and OpenTelemetry's conventions call otherwise."""


class Intake:
    def __init__(self, till: Till, usage: UsageStorage) -> None:
        self._till = till
        self._usage = usage

    async def take(self, caller: Caller, reports: Iterable[Report], door: str) -> int:
        """How many were new. Raises StorageFailed; sent again, those that were kept are not new."""
        rows = [
            self._row(caller, report, door)
            for report in reports
            if not await self._was_carried(report)
        ]
        new = await self._till.ledger.book(rows)
        self._till.moved()
        return new

    async def _was_carried(self, report: Report) -> bool:
        """Whether the hub saw the same session have the same answer at about the same time."""
        if not report.session:
            return False
        ended_s = self._ended_us(report) // 1_000_000
        began_s = ended_s - report.duration_us // 1_000_000
        which = Which(began_s - NEAR_S, ended_s + NEAR_S, source="proxy", session=report.session)
        page = await self._usage.calls(which, limit=_LOOKED_AT)
        return any(_is_of(row, report) for row in page.rows)

    def _row(self, caller: Caller, report: Report, door: str) -> tuple[Hold, Settlement]:
        ended_us = self._ended_us(report)
        at_us = max(0, ended_us - report.duration_us)
        provider = _PROVIDERS.get(report.provider, report.provider)
        facts = Facts(
            key=caller.id, team=caller.team, session=report.session, provider=provider,
            model=report.model, door=door, source=report.source,
        )  # fmt: skip
        priced = self._priced(provider, report, at_us // 1_000_000)
        id_ = f"{caller.id}:{report.id}"
        on = self._till.counters(facts, at_us // 1_000_000)
        hold = Hold(id_, self._till.boot, at_us, 0, facts, on, ended_us // 1_000_000 + NEAR_S)
        return hold, Settlement(
            id_, priced.cost if priced else 0, Basis.INGESTED if priced else Basis.UNPRICED,
            report.usage, report.model, priced.ref if priced else "",
            priced.rates if priced else b"", (), ended_us, report.duration_us,
        )  # fmt: skip

    def _priced(self, provider: str, report: Report, at_s: int) -> Priced | None:
        """By the hub's own prices, so that all sums are alike; else as the reporter says."""
        priced = self._till.prices.price(provider, (report.model,), report.usage, at_s, None)
        if priced is None and report.reported is not None:
            return Priced(report.reported, "reported", b"")
        return priced

    def _ended_us(self, report: Report) -> int:
        """Never later than now, or it would count in a window that has not begun."""
        now_us = self._till.clock.wall() // MICROSECOND
        return min(report.ended_us, now_us) or now_us


def _is_of(row: ChargeRow, report: Report) -> bool:
    return (
        report.model in {row.served_model, row.facts.model}
        and row.usage.input_tokens == report.usage.input_tokens
        and row.usage.output_tokens == report.usage.output_tokens
    )
