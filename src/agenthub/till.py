"""The way of a call's money: quote, hold, top up, settle.

    free call ──────────────────────────────► nothing happens here
    paid call ─ quote ─ hold (durable) ─ attempts … ─ settle (durable) ─► the caller hears the end

What an attempt costs is read by a meter (meter.py). A stream that writes more than was held asks
for the next slice on the way; where a budget has no room for it, the stream is cut. So what a call
may spend beyond its hold is at most what stands in docs/money.md.

A call may be served by any of its hops, so it is held on the budgets that concern any of them. A
fallback for which a budget of its own has no room is not asked; the call goes on without it. What
the call cost is booked under the hop that served it, and counts to the budgets of those that cost
something: of the others the hold is taken off.
Source: money decisions §4.3; slices are quota of online charging (RFC 8506).
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from agenthub.domain.account import Facts, HoldOn
from agenthub.domain.budget import REFUSE, Budget
from agenthub.domain.call import Call
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
        self.listeners: list[Callable[[], None]] = []
        """Called when money has moved, or a budget has changed."""
        self._tasks = tasks
        self._budgets: dict[str, Budget] = {}

    def take(self, budgets: Sequence[Budget]) -> None:
        """These are the budgets from now on."""
        self._budgets = {budget.id: budget for budget in budgets}

    def moved(self) -> None:
        for listener in self.listeners:
            listener()

    def settle(self, settlement: Settlement, told: Callable[[HubError | None], None]) -> None:
        """As the ledger's."""

        def heard(problem: HubError | None) -> None:
            told(problem)
            self.moved()

        self.ledger.settle(settlement, heard)

    def budgets(self) -> Sequence[Budget]:
        return list(self._budgets.values())

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
            is_free = all(hop.price is None for hop in hops)
            return None if is_free else Bill(self, call, TOOLS, hops)
        if content.is_free:
            return None
        meter = ModelMeter(self.prices, content, self.clock.wall() // SECOND)
        return Bill(self, call, meter, hops)

    def concerned(self, facts: Sequence[Facts]) -> list[Budget]:
        """The budgets that one of these counts to."""
        every = self._budgets.values()
        return [one for one in every if any(one.subject.concerns(some) for some in facts)]

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

    def __init__(self, till: Till, call: Call, meter: Meter, hops: Sequence[Hop]) -> None:
        """Raises Unpriced."""
        self._till, self._call, self._meter = till, call, meter
        self._slices = 1
        self._asking = self._asked = self._closed = False
        self._booked = facts_of(call, hops[0])
        """What the ledger has it under."""
        self._at: tuple[Hop, ...] = ()
        """Where the present attempt is."""
        self._spent: list[tuple[Hop, Spent]] = []
        self._rows: list[AttemptRow] = []
        now, wall = till.clock.now(), till.clock.wall()
        self._at_us = wall // MICROSECOND
        self._ends_s = (wall + max(0, call.deadline - now)) // SECOND + LATE_S
        self._started = now
        self._quote(hops)

    def _quote(self, hops: Sequence[Hop]) -> None:
        """How much is held, and on which budgets, if these may be asked. Raises Unpriced."""
        self.hops = hops
        """Those that may be asked."""
        paid = [hop for hop in hops if not _is_local(hop)]
        self._is_local = not paid
        self._budgets = self._till.concerned([facts_of(self._call, hop) for hop in paid])
        meter, content = self._meter, self._call.content
        amount = meter.ceiling(hops, output_of(content) if content else 0)
        if amount is None:
            assert isinstance(meter, ModelMeter), "a tool has a price, or is free"
            meter.fallback = _fallback(hops, self._budgets)
            amount = meter.fallback or 0
        self._amount = amount

    @property
    def cost(self) -> NanoUsd | None:
        """What it cost as far as is known; None: it has no price."""
        if any(one.basis is Basis.UNPRICED for _, one in self._spent):
            return None
        return sum(one.cost for _, one in self._spent)

    def open(self, told: Callable[[HubError | None], None]) -> None:
        """Hold the money. Calls back once, maybe at once; with an error nothing is held."""
        if self._is_local:
            told(None)
            return
        self._asked = True

        def heard(held: OverBudget | HubError | None) -> None:
            if not isinstance(held, OverBudget) or not self._goes_on_without(held.budget):
                # With nothing held, nothing is to be released: that too would wait for the disk.
                self._asked = held is None
                told(self._refusal(held))
            elif self._is_local:
                told(None)
            else:
                self._till.ledger.reserve(self._hold(), heard)

        self._till.ledger.reserve(self._hold(), heard)

    def _goes_on_without(self, budget: str) -> bool:
        """Whether some hops are left without those that this budget has no room for."""
        full = self._till.budget(budget)
        if full is None or self._closed:
            return False
        left = [
            hop for hop in self.hops
            if _is_local(hop) or not full.subject.concerns(facts_of(self._call, hop))
        ]  # fmt: skip
        # The call was sent to the first: who has no room for it is to know that.
        if left[:1] != list(self.hops[:1]) or len(left) == len(self.hops):
            return False
        self._quote(left)
        return True

    def flowed(self, tokens: int, cut: Callable[[HubError], None], *, committed: bool) -> None:
        """So many tokens of output came so far. `cut` if a budget has no room for more.

        `committed`: nobody else will be asked.
        """
        if self._is_local or self._asking or tokens < self._slices * SLICE * 3 // 4:
            return
        if tokens > self._slices * SLICE:
            self._slices = tokens // SLICE
        most = self._meter.ceiling(self._at, (self._slices + 1) * SLICE)
        if most is None:
            return
        self._asking = True

        def told(held: OverBudget | HubError | None) -> None:
            self._asking = False
            if held is None:
                self._slices += 1
            elif isinstance(held, OverBudget):
                off = self._unconcerned(self._at)
                if held.budget not in off:
                    cut(self._over(held))
                elif committed and not self._closed:
                    # It is one of those that were not asked: it has nothing to say any more.
                    self._move(self._at[-1], off)
                    self._asking = True
                    self._till.ledger.top_up(self._call.id, most, told)

        self._till.ledger.top_up(self._call.id, most, told)

    def _unconcerned(self, hops: Sequence[Hop]) -> tuple[str, ...]:
        """Budgets that it is held on, and that neither these concern nor what cost something."""
        those = [*hops, *(hop for hop, _ in self._spent)]
        facts = [facts_of(self._call, hop) for hop in those]
        some = self._budgets
        return tuple(
            one.id for one in some if not any(one.subject.concerns(each) for each in facts)
        )

    def _move(self, hop: Hop, off: tuple[str, ...]) -> None:
        """Book it under this hop, and let these budgets off."""
        facts = facts_of(self._call, hop)
        if off or facts != self._booked:
            self._till.ledger.move(self._call.id, facts, off)
            self._booked = facts
            self._budgets = [one for one in self._budgets if one.id not in off]

    def attempted(self, hop: Hop, reply: Reply) -> None:
        """One attempt is over."""
        self._at = (hop,)
        spent = self._meter.spent(hop, reply)
        if spent is not None:
            self._spent.append((hop, spent))
        self._rows.append(
            AttemptRow(
                len(self._rows) + 1, hop.lane.endpoint.name, hop.name, reply.status,
                "ok" if reply.ending is Ending.RESULT else reply.ending.value,
                spent.cost if spent else None, spent.usage if spent else None,
            )
        )  # fmt: skip

    def sent(self, hop: Hop) -> None:
        """An attempt goes out there."""
        self._at = (hop,)

    def close(self, told: Callable[[HubError | None], None]) -> None:
        """The call is over: book what it cost. Calls back when that is durable."""
        self._closed = True
        if self._is_local:
            if self._spent:
                self._till.book_beside(self._hold(self._spent[-1][0]), self._settlement())
            told(None)
        elif not self._asked:
            told(None)
        elif self._spent:
            self._move(self._spent[-1][0], self._unconcerned(()))
            self._till.settle(self._settlement(), told)
        else:
            self._till.ledger.release(self._call.id, tuple(self._rows), told)

    # ------------------------------------------------------------ rows

    def _hold(self, hop: Hop | None = None) -> Hold:
        """On the counters of all its budgets; under this hop, else the first."""
        call, at_s = self._call, self._at_us // 1_000_000
        facts = facts_of(call, hop or self.hops[0])
        on = tuple(one.hold_on(facts, at_s) for one in self._budgets)
        return Hold(call.id, self._till.boot, self._at_us, self._amount, facts, on, self._ends_s)

    def _settlement(self) -> Settlement:
        spent = [one for _, one in self._spent]
        last = spent[-1]
        order = (Basis.PROVIDER, Basis.FIXED, Basis.PARTIAL, Basis.ESTIMATED, Basis.UNPRICED)
        basis = max((one.basis for one in spent), key=order.index)
        till = self._till
        return Settlement(
            self._call.id, sum(one.cost for one in spent), basis, last.usage, last.model,
            last.ref, last.rates, tuple(self._rows),
            till.clock.wall() // MICROSECOND, (till.clock.now() - self._started) // MICROSECOND,
        )  # fmt: skip

    def _refusal(self, held: OverBudget | HubError | None) -> HubError | None:
        return self._over(held) if isinstance(held, OverBudget) else held

    def _over(self, held: OverBudget) -> BudgetExceeded:
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


def facts_of(call: Call, hop: Hop) -> Facts:
    """What a call is booked under where this hop serves it."""
    caller, content, endpoint = call.caller, call.content, hop.lane.endpoint
    if content is None:
        tool = join(call.endpoint, call.name)
        return Facts(
            caller.id, caller.team, call.session, endpoint=endpoint.name, tool=tool, door=call.door
        )
    provider = endpoint.llm.provider if endpoint.llm else ""
    return Facts(
        caller.id, caller.team, content.session, provider, endpoint.name, hop.name, door=call.door
    )


def _is_local(hop: Hop) -> bool:
    llm = hop.lane.endpoint.llm
    return llm is not None and llm.is_free
