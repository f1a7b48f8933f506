"""What a call costs, and the way of its money: quote, hold, top up, settle.

    free call ──────────────────────────────► nothing happens here
    paid call ─ quote ─ hold (durable) ─ attempts … ─ settle (durable) ─► the caller hears the end

A quote is what an attempt may cost: its input, guessed from its bytes, and a *slice* of output. A
stream that writes more asks for the next slice on the way; where a budget has no room for it, the
stream is cut. So what a call may spend beyond its hold is at most what stands in docs/money.md.
Source: money decisions §4.3; slices are quota of online charging (RFC 8506).
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from agenthub.domain.account import Facts, HoldOn
from agenthub.domain.budget import REFUSE, Budget
from agenthub.domain.call import Call
from agenthub.domain.content import Content
from agenthub.domain.errors import BudgetExceeded, HubError, Unpriced
from agenthub.domain.journey import Hop
from agenthub.domain.money import NanoUsd, show
from agenthub.domain.outcome import Ending, Reply, Written
from agenthub.domain.price import PLAIN, Extra
from agenthub.domain.span import MICROSECOND, SECOND
from agenthub.domain.usage import Basis, Usage
from agenthub.ledger import AttemptRow, Hold, Ledger, OverBudget, Priced, Prices, Settlement
from agenthub.ports import Clock
from agenthub.tasks import Tasks

log = logging.getLogger(__name__)

SLICE: Final = 4_096
"""Tokens of output that a stream holds at a time."""
WHOLE: Final = 16_384
"""Tokens of output that are held for an answer that comes in one piece, unless it asks for less."""
BYTES_PER_TOKEN: Final = 3
"""Of input; texts have more in all languages, so the guess is an upper one."""
OVERHEAD_TOKENS: Final = 16
LATE_S: Final = 120
"""A hold outlives the last moment of its call by this."""
NO_USAGE: Final = Usage()


class Spent(Struct, frozen=True):
    """What one attempt cost."""

    cost: NanoUsd
    basis: Basis
    usage: Usage = NO_USAGE
    priced: Priced | None = None
    model: str = ""


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
        if content is None or content.is_free:
            return None
        facts = _facts(call, content, hops)
        budgets = [one for one in self._budgets.values() if one.subject.concerns(facts)]
        if all(_is_local(hop) for hop in hops):
            return Bill(self, call, content, facts, budgets, 0, None, is_local=True)
        amount, fallback = self._quote(content, hops, budgets, output_of(content))
        return Bill(self, call, content, facts, budgets, amount, fallback)

    def quote(self, content: Content, hops: Sequence[Hop], output: int) -> NanoUsd | None:
        """The most that an attempt with so much output may cost; None: it may have no price."""
        asked: list[NanoUsd] = []
        at_s = self.clock.wall() // SECOND
        for hop in hops:
            llm = hop.lane.endpoint.llm
            if llm is None or llm.is_free:
                continue
            written = output if llm.output_max is None else min(output, llm.output_max)
            most = self.prices.ceiling(
                llm.provider, hop.name, input_of(content), written, at_s, service_of(content)
            )
            if most is None:
                return None
            asked.append(most)
        return max(asked, default=0)

    def _quote(
        self, content: Content, hops: Sequence[Hop], budgets: Sequence[Budget], output: int
    ) -> tuple[NanoUsd, NanoUsd | None]:
        """What to hold; and the price that stands for a missing one."""
        amount = self.quote(content, hops, output)
        if amount is not None:
            return amount, None
        wishes = [one.on_unpriced for one in budgets]
        if REFUSE in wishes:
            names = ", ".join(sorted({hop.name for hop in hops}))
            raise Unpriced(
                f"There is no price for {names}, and a budget applies: set one in `prices`, or let"
                " the budget allow models without a price"
            )
        fallback = max((one for one in wishes if not isinstance(one, str)), default=None)
        return fallback or 0, fallback

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

    def __init__(  # noqa: PLR0913, PLR0917 - what a bill is made of
        self,
        till: Till,
        call: Call,
        content: Content,
        facts: Facts,
        budgets: Sequence[Budget],
        amount: NanoUsd,
        fallback: NanoUsd | None,
        *,
        is_local: bool = False,
    ) -> None:
        self._till, self._call, self._content = till, call, content
        self._budgets, self._facts = budgets, facts
        self._amount, self._fallback, self._is_local = amount, fallback, is_local
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
        hops = self._hops
        most = self._till.quote(self._content, hops, (self._slices + 1) * SLICE)
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
        spent = self._judge(hop, reply)
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

    # ------------------------------------------------------------ what attempts cost

    def _judge(self, hop: Hop, reply: Reply) -> Spent | None:
        """None: it surely cost nothing."""
        seen = reply.seen
        refused = reply.ending in {Ending.ERROR, Ending.STATUS}
        if reply.written is Written.NONE or (refused and (seen is None or seen.usage is None)):
            return None
        if seen is None:
            usage = Usage(input_of(self._content), output_tokens=output_of(self._content))
            return self._price(hop, usage, Basis.ESTIMATED, "", None)
        usage, basis = seen.booked(len(self._content.body))
        return self._price(hop, usage, basis, seen.model, seen.reported, seen.extra)

    def _price(
        self,
        hop: Hop,
        usage: Usage,
        basis: Basis,
        model: str,
        reported: NanoUsd | None,
        extra: Extra = PLAIN,
    ) -> Spent:
        llm = hop.lane.endpoint.llm
        assert llm is not None, "a bill is of a model's call"
        usage, at_s = usage.sound(), self._at_us // 1_000_000
        if llm.is_free:
            return Spent(0, Basis.FIXED, usage, model=model or hop.name)
        trusted = reported if llm.trusts_cost else None
        names = tuple(dict.fromkeys(filter(None, (model, hop.name))))
        priced = self._till.prices.price(llm.provider, names, usage, at_s, trusted, extra)
        if priced is not None:
            return Spent(priced.cost, basis, usage, priced, model or hop.name)
        if self._fallback is not None:
            return Spent(self._fallback, Basis.FIXED, usage, model=model or hop.name)
        return Spent(0, Basis.UNPRICED, usage, model=model or hop.name)

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
        priced = last.priced
        till = self._till
        return Settlement(
            self._call.id, sum(one.cost for one in self._spent), basis, last.usage, last.model,
            priced.ref if priced else "fallback" if self._fallback else "",
            priced.rates if priced else b"", tuple(self._rows),
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


def input_of(content: Content) -> int:
    """Tokens of input at most, guessed."""
    return -(-len(content.body) // BYTES_PER_TOKEN) + OVERHEAD_TOKENS


def service_of(content: Content) -> str:
    """The tier of service that is asked for."""
    return getattr(content.request, "service", "")


def output_of(content: Content) -> int:
    """Tokens of output that are held at first."""
    most = SLICE if content.stream else WHOLE
    return most if content.output_max is None else min(content.output_max, most)


def _facts(call: Call, content: Content, hops: Sequence[Hop]) -> Facts:
    first = hops[0]
    llm = first.lane.endpoint.llm
    return Facts(
        key=call.caller.id, team=call.caller.team, session=content.session,
        provider=llm.provider if llm else "", endpoint=first.lane.endpoint.name,
        model=first.name, door=call.door,
    )  # fmt: skip


def _is_local(hop: Hop) -> bool:
    llm = hop.lane.endpoint.llm
    return llm is not None and llm.is_free
