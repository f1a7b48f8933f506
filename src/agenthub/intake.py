"""Usage that others report, on its way into the ledger: priced, counted to budgets, never refused.

It is over when it is heard of, so it can block nothing itself; but what it cost counts to budgets,
which then block what costs money on its way through the hub. What the hub itself carried is known
better: a report of it is passed over.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from agenthub.domain.account import Facts
from agenthub.domain.caller import Caller
from agenthub.domain.span import MICROSECOND
from agenthub.domain.usage import Basis
from agenthub.ledger import ChargeRow, Hold, Priced, Settlement, UsageStorage, Which
from agenthub.till import Till
from agenthub.wire.ingest.report import SUM, Report

NEAR_S: Final = 60
"""How far apart the hub's time of a call and the reporter's may be."""
SECOND_US: Final = 1_000_000
_LOOKED_AT: Final = 500
_BOOKED_AT_ONCE: Final = 500
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
        by_session: dict[str, list[Report]] = {}
        for report in reports:
            by_session.setdefault(report.session, []).append(report)
        new = 0
        for session, some in by_session.items():
            fresh = await self._fresh(session, some) if session else some
            rows = [self._row(caller, report, door) for report in fresh]
            for first in range(0, len(rows), _BOOKED_AT_ONCE):
                new += await self._till.ledger.book(rows[first : first + _BOOKED_AT_ONCE])
        self._till.moved()
        return new

    async def _fresh(self, session: str, reports: Sequence[Report]) -> list[Report]:
        """Those of a session's that tell what is not known from somewhere else.

        A call that the hub carries at present may be the one that is reported: its own end tells
        what it cost. Each that it carried stands for one report.
        """
        ended = [self._ended_us(report) // 1_000_000 for report in reports]
        longest = max(report.duration_us for report in reports) // 1_000_000
        which = Which(min(ended) - longest - NEAR_S, max(ended) + NEAR_S, session=session)
        page = await self._usage.calls(which, limit=_LOOKED_AT)
        carried = [row for row in page.rows if row.facts.source == "proxy"]
        fresh: list[Report] = []
        for report in reports:
            if report.is_sum:
                if all(row.id.rpartition(":")[2].startswith(SUM) for row in page.rows):
                    fresh.append(report)
                continue
            one = next((row for row in carried if self._is_of(row, report)), None)
            if one is None:
                fresh.append(report)
            else:
                carried.remove(one)
        return fresh

    def _is_of(self, row: ChargeRow, report: Report) -> bool:
        """Whether the hub carried this call of its session: the same counts, at about that time.

        Not by the model: a client knows it by the hub's name for it (an alias, `endpoint/model`).
        """
        if row.state == "reserved":
            return True
        ended_us = self._ended_us(report)
        is_near = (
            ended_us - report.duration_us - NEAR_S * SECOND_US
            <= row.at_us
            <= ended_us + NEAR_S * SECOND_US
        )
        return is_near and (
            row.usage.input_tokens == report.usage.input_tokens
            and row.usage.output_tokens == report.usage.output_tokens
        )

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
        if report.is_subscribed:
            return Priced(0, "subscription", b"")
        priced = None
        if report.usage.input_tokens or report.usage.output_tokens:
            priced = self._till.prices.price(provider, (report.model,), report.usage, at_s, None)
        elif not report.reported:
            return None  # it does not know what was used, and that is not nothing
        if priced is None and report.reported is not None:
            return Priced(report.reported, "reported", b"")
        return priced

    def _ended_us(self, report: Report) -> int:
        """Never later than now, or it would count in a window that has not begun."""
        now_us = self._till.clock.wall() // MICROSECOND
        return min(report.ended_us, now_us) or now_us
