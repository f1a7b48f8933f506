"""The way of a call's money: quote, hold, top up, settle.

    free call ──────────────────────────────► nothing happens here
    paid call ─ quote ─ hold (durable) ─ attempts … ─ settle (durable) ─► the caller hears the end

What an attempt costs is read by a meter (meter.py). A stream that writes more than was held asks
for the next slice on the way; where a budget has no room for it, the stream is cut. So what a call
may spend beyond its hold is at most what stands in docs/money.md.
Source: money decisions §4.3; slices are quota of online charging (RFC 8506).
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from agenthub.domain.account import Facts, HoldOn
from agenthub.domain.budget import REFUSE, Budget
from agenthub.domain.call import Call
from agenthub.domain.content import Content
from agenthub.domain.errors import BudgetExceeded, HubError, Unpriced
from agenthub.domain.journey import Hop
from agenthub.domain.money import NanoUsd, show
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.span import MICROSECOND, SECOND
from agenthub.domain.target import join
from agenthub.domain.usage import Basis
from agenthub.ledger import AttemptRow, Hold, Ledger, OverBudget, Prices, Settlement
from agenthub.meter import SLICE, Meter, ModelMeter, Spent, ToolMeter, output_of
from agenthub.ports import Clock
from agenthub.tasks import Tasks

log = logging.getLogger(__name__)

LATE_S: Final = 120
"""A hold outlives the last moment of its call by this."""
TOOLS: Final = ToolMeter()


class Till:
    """Makes the bill of each paid call."""

    def __init__(
        self, ledger: Ledger, prices: Prices, clock: Clock, tasks: Tasks, boot: str
    ) -> None:
        self.ledger = ledger
        self.prices = prices
        self.clock = clock
        self.boot = boot
        self._tasks = tasks
        self._budgets: dict[str, Budget] = {}

    def take(self, budgets: Sequence[Budget]) -> None:
        """These are the budgets from now on."""
        self._budgets = {budget.id: budget for budget in budgets}

    def budget(self, id_: str) -> Budget | None:
        return self._budgets.get(id_)

    def counters(self, facts: Facts, at_s: int) -> tuple[HoldOn, ...]:
        """Of all budgets that what is booked under these facts counts to."""
        budgets = self._budgets.values()
        return tuple(one.hold_on(facts, at_s) for one in budgets if one.subject.concerns(facts))

    def bill(self, call: Call, hops: Sequence[Hop]) -> "Bill | None":
        """Of a call that may cost something; None: it is free.

        Raises Unpriced.
        """
        content = call.content
        if content is None:
            return self._of_tool(call, hops)
        return None if content.is_free else self._of_model(call, content, hops)

    def _of_tool(self, call: Call, hops: Sequence[Hop]) -> "Bill | None":
        amount = TOOLS.ceiling(hops)
        if not amount and all(hop.price is None for hop in hops):
            return None
        facts = _facts(call, hops[0], tool=join(call.endpoint, call.name))
        return Bill(self, call, TOOLS, facts, self._concerned(facts), amount)

    def _of_model(self, call: Call, content: Content, hops: Sequence[Hop]) -> "Bill":
        first, llm = hops[0], hops[0].lane.endpoint.llm
        facts = _facts(
            call, first, session=content.session, provider=llm.provider if llm else "",
            model=first.name,
        )  # fmt: skip
        budgets = self._concerned(facts)
        meter = ModelMeter(self.prices, content, self.clock.wall() // SECOND)
        if all(_is_local(hop) for hop in hops):
            return Bill(self, call, meter, facts, budgets, 0, is_local=True)
        amount = meter.ceiling(hops, output_of(content))
        if amount is None:
            meter.fallback = _fallback(hops, budgets)
            amount = meter.fallback or 0
        return Bill(self, call, meter, facts, budgets, amount)

    def _concerned(self, facts: Facts) -> list[Budget]:
        return [one for one in self._budgets.values() if one.subject.concerns(facts)]

    def book_beside(self, hold: Hold, settlement: Settlement) -> None:
        """What costs nothing is written down when there is time for it."""
        self._tasks.start(self._book(hold, settlement), "usage")

    async def _book(self, hold: Hold, settlement: Settlement) -> None:
        try:
            await self.ledger.book([(hold, settlement)])
        except HubError as error:
            log.warning("The usage of a free call was not kept", extra={"problem": str(error)})


class Bill:
    """The money of one call."""

    def __init__(  # noqa: PLR0913 - what a bill is made of
        self,
        till: Till,
        call: Call,
        meter: Meter,
        facts: Facts,
        budgets: Sequence[Budget],
        amount: NanoUsd,
        *,
        is_local: bool = False,
    ) -> None:
        self._till, self._call, self._meter = till, call, meter
        self._budgets, self._facts = budgets, facts
        self._amount, self._is_local = amount, is_local
        self._slices = 1
        self._asking = self._asked = False
        self._hops: tuple[Hop, ...] = ()
        """Where the present attempt is."""
        self._spent: list[Spent] = []
        self._rows: list[AttemptRow] = []
        now, wall = till.clock.now(), till.clock.wall()
        self._at_us = wall // MICROSECOND
        self._ends_s = (wall + max(0, call.deadline - now)) // SECOND + LATE_S
        self._started = now

    @property
    def cost(self) -> NanoUsd | None:
        """What it cost as far as is known; None: it has no price."""
        if any(one.basis is Basis.UNPRICED for one in self._spent):
            return None
        return sum(one.cost for one in self._spent)

    def open(self, told: Callable[[HubError | None], None]) -> None:
        """Hold the money. Calls back once, maybe at once; with an error nothing is held."""
        if self._is_local:
            told(None)
            return
        self._asked = True
        self._till.ledger.reserve(self._hold(), lambda held: told(self._refusal(held)))

    def flowed(self, tokens: int, cut: Callable[[HubError], None]) -> None:
        """So many tokens of output came so far. `cut` if a budget has no room for more."""
        if self._is_local or self._asking or tokens < self._slices * SLICE * 3 // 4:
            return
        if tokens > self._slices * SLICE:
            self._slices = tokens // SLICE
        most = self._meter.ceiling(self._hops, (self._slices + 1) * SLICE)
        if most is None:
            return
        self._asking = True

        def told(held: OverBudget | HubError | None) -> None:
            self._asking = False
            refusal = self._refusal(held)
            if isinstance(held, OverBudget) and refusal is not None:
                cut(refusal)
            elif refusal is None:
                self._slices += 1

        self._till.ledger.top_up(self._call.id, most, told)

    def attempted(self, hop: Hop, reply: Reply) -> None:
        """One attempt is over."""
        self._hops = (hop,)
        spent = self._meter.spent(hop, reply)
        if spent is not None:
            self._spent.append(spent)
        self._rows.append(
            AttemptRow(
                len(self._rows) + 1, hop.lane.endpoint.name, hop.name, reply.status,
                "ok" if reply.ending is Ending.RESULT else reply.ending.value,
                spent.cost if spent else None, spent.usage if spent else None,
            )
        )  # fmt: skip

    def sent(self, hop: Hop) -> None:
        """An attempt goes out there."""
        self._hops = (hop,)

    def close(self, told: Callable[[HubError | None], None]) -> None:
        """The call is over: book what it cost. Calls back when that is durable."""
        if self._is_local:
            if self._spent:
                self._till.book_beside(self._hold(), self._settlement())
            told(None)
        elif not self._asked:
            told(None)
        elif self._spent:
            self._till.ledger.settle(self._settlement(), told)
        else:
            self._till.ledger.release(self._call.id, tuple(self._rows), told)

    # ------------------------------------------------------------ rows

    def _hold(self) -> Hold:
        at_s = self._at_us // 1_000_000
        on: tuple[HoldOn, ...] = ()
        if not self._is_local:
            on = tuple(one.hold_on(self._facts, at_s) for one in self._budgets)
        return Hold(
            self._call.id, self._till.boot, self._at_us, self._amount, self._facts, on, self._ends_s
        )

    def _settlement(self) -> Settlement:
        last = self._spent[-1]
        order = (Basis.PROVIDER, Basis.FIXED, Basis.PARTIAL, Basis.ESTIMATED, Basis.UNPRICED)
        basis = max((one.basis for one in self._spent), key=order.index)
        till = self._till
        return Settlement(
            self._call.id, sum(one.cost for one in self._spent), basis, last.usage, last.model,
            last.ref, last.rates, tuple(self._rows),
            till.clock.wall() // MICROSECOND, (till.clock.now() - self._started) // MICROSECOND,
        )  # fmt: skip

    def _refusal(self, held: OverBudget | HubError | None) -> HubError | None:
        if not isinstance(held, OverBudget):
            return held
        return over(held, self._till.budget(held.budget), self._amount)


def over(held: OverBudget, budget: Budget | None, amount: NanoUsd) -> BudgetExceeded:
    """A budget's no to a call that may cost so much, in words."""
    name = (budget.name or budget.id) if budget else held.budget
    limit = budget.limit if budget else held.wall
    subject = budget.subject if budget else None
    scope = "all" if subject is None or subject.kind == "all" else f"{subject.kind}:{subject.name}"
    if held.settled >= held.wall:
        words = f"The budget {name!r} is used up: ${show(held.settled)} of ${show(limit)} spent"
    else:
        flight = f", ${show(held.reserved)} in flight" if held.reserved else ""
        words = (
            f"The budget {name!r} has no room for a call that may cost ${show(amount)}:"
            f" ${show(held.settled)} of ${show(limit)} spent{flight}"
        )
    return BudgetExceeded(
        f"{words}. Calls that cost money wait for its next period, or for a higher limit",
        scope=scope, budget=held.budget, used=show(held.settled), reserved=show(held.reserved),
        limit=show(limit), resets_at=held.ends_at,
    )  # fmt: skip


def _fallback(hops: Sequence[Hop], budgets: Sequence[Budget]) -> NanoUsd | None:
    """What the budgets say that a call without a price costs. Raises Unpriced."""
    wishes = [one.on_unpriced for one in budgets]
    if REFUSE in wishes:
        names = ", ".join(sorted({hop.name for hop in hops}))
        raise Unpriced(
            f"There is no price for {names}, and a budget applies: set one in `prices`, or let"
            " the budget allow models without a price"
        )
    return max((one for one in wishes if not isinstance(one, str)), default=None)


def _facts(call: Call, first: Hop, **more: str) -> Facts:
    return Facts(
        key=call.caller.id, team=call.caller.team, endpoint=first.lane.endpoint.name,
        door=call.door, **more,
    )  # fmt: skip


def _is_local(hop: Hop) -> bool:
    llm = hop.lane.endpoint.llm
    return llm is not None and llm.is_free
