"""What durable money costs: holds and settlements over three budgets; questions about a million.

    python bench/ledger.py [seconds] [callers]

Callers hold, settle, and come again, each answered only when it is durable (`synchronous=FULL`).
They are callbacks in one process with the adapter, as calls in the hub are; the database is a
process of its own. The million calls are written straight into the tables; `rebuild` sums them up.
"""

import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import uvloop

from agenthub.domain.account import Facts
from agenthub.domain.budget import Budget, Subject
from agenthub.domain.money import USD
from agenthub.domain.period import Period
from agenthub.domain.usage import Basis, Usage
from agenthub.ledger import AttemptRow, Hold, Settlement, Which
from agenthub.outbound.clock import LoopClock
from agenthub.outbound.ledger import DatabaseLedger
from agenthub.outbound.store import open_store
from agenthub.outbound.usage import DatabaseUsage

FACTS = Facts("k1", "ops", "s1", "openai", "openai-eu", "gpt", "", "llm")
BUDGETS = (
    Budget("all", 90_000_000 * USD),
    Budget("key", 90_000_000 * USD, subject=Subject("key", "k1")),
    Budget("day", 90_000_000 * USD, period=Period("day", tz="Asia/Seoul")),
)
TRIED = (AttemptRow(1, "openai-eu", "gpt", 200, "ok"),)
MILLION = 1_000_000
MONTH_S = 30 * 86_400


class Caller:
    """Holds and settles until the end; each step is answered when it is durable."""

    def __init__(self, ledger, number, until, spans):
        self.ledger, self.number, self.until, self.spans = ledger, number, until, spans
        self.calls = 0
        self.done = asyncio.get_running_loop().create_future()

    def begin(self):
        self.began = time.perf_counter()
        if self.began > self.until:
            self.done.set_result(None)
            return
        self.calls += 1
        at_us = time.time_ns() // 1_000
        self.id = f"{self.number}-{self.calls}"
        on = tuple(one.hold_on(FACTS, at_us // 1_000_000) for one in BUDGETS)
        hold = Hold(self.id, "bench", at_us, 5_000_000, FACTS, on, at_us // 1_000_000 + 600)
        self.ledger.reserve(hold, self.held)

    def held(self, told):
        self._told(told)
        settled = Settlement(
            self.id, 4_700_000, Basis.PROVIDER, Usage(1000, 400, 0, 0, 50), "gpt",
            "catalog:genai-prices 0.2.3", b'{"input":2500000000}', TRIED,
            time.time_ns() // 1_000, 500_000,
        )  # fmt: skip
        self.ledger.settle(settled, self.settled)

    def settled(self, told):
        self._told(told)
        self.begin()

    def _told(self, told):
        assert told is None, told
        now = time.perf_counter()
        self.spans.append(now - self.began)
        self.began = now


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _durable(home: Path, seconds: float, callers: int) -> dict[str, Any]:
    async with open_store(home) as store:
        money = DatabaseLedger(store.process, LoopClock())
        for budget in BUDGETS:
            await money.put_budget(budget)
        pids = (os.getpid(), store.process.pid)
        before, began = [cpu_s(pid) for pid in pids], time.perf_counter()
        spans: list[float] = []
        all_ = [Caller(money, n, began + seconds, spans) for n in range(callers)]
        for one in all_:
            one.begin()
        await asyncio.gather(*(one.done for one in all_))
        took = time.perf_counter() - began
        cpu = [cpu_s(pid) - was for pid, was in zip(pids, before, strict=True)]
        proof = await DatabaseUsage(store.process).rebuild()
        assert (proof.counters, proof.slots) == (0, 0)
    spans.sort()
    calls = len(spans) / 2
    return {
        "calls_s": round(calls / took),
        "step_p50_ms": spans[len(spans) // 2] * 1e3,
        "step_p99_ms": spans[len(spans) * 99 // 100] * 1e3,
        "hub_cpu_us": cpu[0] / calls * 1e6,
        "database_cpu_us": cpu[1] / calls * 1e6,
    }


def fill(file: Path, at_s: int) -> None:
    """A million calls of a month, by 5 keys, 4 models and 3 endpoints."""
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA synchronous = OFF").fetchone()
        db.execute(
            "INSERT INTO charge (call, boot, at_us, expires_at, state, hold, cost, basis, key,"
            " team, session, provider, endpoint, model, tool, door, source, input_tokens,"
            " output_tokens)"
            " WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < ?1 - 1)"
            " SELECT 'million-' || n, '', (?2 * 1000000) + n * 2592000, 0, 'settled', 5000000,"
            " 4700000, 'provider', 'k' || (n % 5), 'ops', 's' || (n / 1000), 'openai',"
            " 'e' || (n % 3), 'm' || (n % 4), '', 'llm', 'proxy', 1000, 50 FROM n",
            (MILLION, at_s),
        )
        db.commit()


async def _questions(home: Path) -> dict[str, Any]:
    at_s = int(time.time()) // 86_400 * 86_400 - MONTH_S
    async with open_store(home):
        pass
    await asyncio.to_thread(fill, home / "agenthub.db", at_s)
    async with open_store(home) as store:
        usage = DatabaseUsage(store.process)
        began = time.perf_counter()
        await usage.rebuild()
        rebuilt = time.perf_counter() - began
        which = Which(at_s, at_s + MONTH_S)
        found: dict[str, Any] = {"rebuild_s": rebuilt}
        days = tuple(Period("day", tz="Asia/Seoul").windows(at_s, at_s + MONTH_S))
        whole = ((at_s, at_s + MONTH_S),)
        for name, group, spans in (
            ("summary_ms", "", whole), ("by_model_ms", "model", whole), ("days_ms", "model", days),
            ("by_session_ms", "session", whole),
        ):  # fmt: skip
            spent = []
            for _ in range(3):
                began = time.perf_counter()
                totals = await usage.totals(which, group, spans)
                spent.append(time.perf_counter() - began)
            assert sum(one.amounts.calls for one in totals) == MILLION
            found[name] = min(spent) * 1e3
        began = time.perf_counter()
        await usage.calls(which, limit=100)
        found["page_ms"] = (time.perf_counter() - began) * 1e3
    return found


def ledger(home: Path, seconds: float = 3.0, callers: int = 100) -> dict[str, Any]:
    durable = uvloop.run(_durable(home / "durable", seconds, callers))
    return durable | uvloop.run(_questions(home / "million"))


def main() -> None:
    seconds, callers = (sys.argv[1:] + ["5", "100"][len(sys.argv) - 1 :])[:2]
    with tempfile.TemporaryDirectory(prefix="agenthub-bench-") as folder:
        for name, figure in ledger(Path(folder), float(seconds), int(callers)).items():
            print(f"{name}: {figure:,.2f}")


if __name__ == "__main__":
    main()
