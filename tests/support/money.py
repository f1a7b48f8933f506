"""Holds, settlements and budgets for tests of the ledger, in few words."""

import asyncio

from msgspec import structs

from agenthub.domain.account import Facts
from agenthub.domain.budget import Budget
from agenthub.domain.period import Period
from agenthub.domain.usage import Basis, Usage
from agenthub.ledger import AttemptRow, Hold, Settlement

AT_S = 1_800_000_000
"""15 January 2027, 08:00 UTC."""
FACTS = Facts("k1", "ops", "s1", "openai", "openai-eu", "gpt", "", "llm")
USAGE = Usage(100, 40, 20, 5, 30, 10, 1, 2)
TRIED = (
    AttemptRow(1, "openai-eu", "gpt", 429, "throttled_upstream"),
    AttemptRow(2, "openai-us", "gpt-mini", 200, "ok", 7, USAGE),
)


def budget(name="b", limit=100, **more):
    """Blocks at its limit exactly, over all time."""
    more = {"period": Period("lifetime"), "blocked": 100, **more}
    return Budget(name, limit, **more)


def hold(name, amount, *budgets, at_s=AT_S, facts=FACTS, boot="boot", expires_at_s=AT_S + 600):
    on = tuple(one.hold_on(facts, at_s) for one in budgets)
    return Hold(name, boot, at_s * 1_000_000, amount, facts, on, expires_at_s)


def settlement(name, cost, basis=Basis.PROVIDER, **more):
    first = Settlement(
        name, cost, basis, USAGE, "gpt-mini", "override:3", b"{}", TRIED,
        AT_S * 1_000_000 + 5_000, 5_000,
    )  # fmt: skip
    return structs.replace(first, **more)


class Teller:
    """The ledger's callbacks, awaited."""

    def __init__(self, ledger):
        self.ledger = ledger

    def reserve(self, *args):
        return self._told(self.ledger.reserve, *args)

    def top_up(self, *args):
        return self._told(self.ledger.top_up, *args)

    def settle(self, *args):
        return self._told(self.ledger.settle, *args)

    def release(self, name, attempts=()):
        return self._told(self.ledger.release, name, attempts)

    def _told(self, method, *args):
        answer = asyncio.get_running_loop().create_future()
        method(*args, answer.set_result)
        return answer
