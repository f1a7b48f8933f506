"""Ports of money: where holds and costs are written (Ledger), and read (UsageStorage), and Prices.

The ledger is driven by callbacks, as `ports` is: `told` is called once, on the event loop, maybe
before the method has returned. What is handed over is carried out in its order, also when the
database dies in between, and each step may be carried out twice without a difference.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias

from msgspec import Struct

from agenthub.domain.account import Facts, HoldOn
from agenthub.domain.budget import Budget
from agenthub.domain.errors import HubError
from agenthub.domain.money import NanoUsd
from agenthub.domain.price import PLAIN, Extra, Override
from agenthub.domain.usage import Basis, Usage


class Hold(Struct, frozen=True):
    """Money for one call, held before the first byte that may cost something is sent."""

    id: str
    """The call's."""
    boot: str
    """Of the hub that has the call: at the next start it is known to be dead."""
    at_us: int
    """Wall time of the call's begin. All that it costs is booked under it."""
    amount: NanoUsd
    facts: Facts
    on: tuple[HoldOn, ...]
    """The counters of all budgets that concern it (Budget.hold_on)."""
    expires_at_s: int
    """When nobody will settle it any more; later than the call can end."""


class AttemptRow(Struct, frozen=True):
    """One exchange with an upstream for a call."""

    no: int
    endpoint: str
    model: str
    status: int
    """Of HTTP; 0: none came."""
    outcome: str
    """`ok`, or an error's slug."""
    cost: NanoUsd | None = None
    usage: Usage | None = None


class Settlement(Struct, frozen=True):
    """What a call really cost."""

    id: str
    cost: NanoUsd
    """0 for `unpriced`."""
    basis: Basis
    usage: Usage
    model: str
    """That served it; empty: as asked."""
    price_ref: str
    """Where the price is from, and which version: `catalog:genai-prices 0.2.3`, `override:3`."""
    rates: bytes
    """JSON of the prices per unit; may be empty."""
    attempts: tuple[AttemptRow, ...]
    ended_us: int
    """Wall time."""
    duration_us: int


class OverBudget(Struct, frozen=True):
    """The hold does not fit: nothing is held on any budget."""

    budget: str
    """Its id."""
    ends_at: int
    """When its window ends, or the oldest hour of a rolling one leaves it."""
    reserved: NanoUsd
    settled: NanoUsd
    wall: NanoUsd
    """What the two, with the hold, may not exceed: the limit's `blocked` per cent, and credits."""


Held: TypeAlias = OverBudget | HubError | None
"""None: held, and durable. An error (StorageFailed, Overloaded): nothing was held."""


class Credit(Struct, frozen=True):
    """Room in a budget's present window beyond its limit, given by a person."""

    id: str
    """Given twice, it counts once."""
    on: HoldOn
    amount: NanoUsd
    """May be negative, to take one back."""
    reason: str
    at_s: int


class Adjustment(Struct, frozen=True):
    """Another cost for a call that is over, by a person or by an invoice."""

    id: str
    """Made twice, it counts once."""
    charge: str
    cost: NanoUsd
    reason: str
    at_s: int


class Ledger(Protocol):
    """Never raises, but for the coroutines, which raise StorageFailed."""

    def reserve(self, hold: Hold, told: Callable[[Held], None]) -> None:
        """Hold money on all budgets, or on none. For a call that has a hold already: told None."""
        ...

    def top_up(self, id_: str, hold: NanoUsd, told: Callable[[Held], None]) -> None:
        """Hold so much *in all*, under the same rule. A call that is over holds nothing: told None.

        After a refusal the call has what it had.
        """
        ...

    def move(self, id_: str, facts: Facts, off: tuple[str, ...]) -> None:
        """Another than was thought has served it: book it under that one's provider, endpoint and
        model, and let it count to the budgets `off` no more.

        In any state of the call, and as often as it is told; tried until it is written, as the end
        of a call is. Nothing for a call without a hold.
        """
        ...

    def settle(self, settlement: Settlement, told: Callable[[HubError | None], None]) -> None:
        """Book what it cost, in place of the hold; told when it is durable.

        Told an error, it is not durable yet: the ledger goes on trying, and should the hub die
        before it succeeds, the hold counts as spent. A call without a hold is booked nonetheless.
        """
        ...

    def release(
        self, id_: str, attempts: tuple[AttemptRow, ...], told: Callable[[HubError | None], None]
    ) -> None:
        """It surely cost nothing; as `settle`. Nothing for a call without a hold."""
        ...

    async def book(self, rows: Sequence[tuple[Hold, Settlement]]) -> int:
        """Costs that others report: counted, never refused. How many were new, by their ids; if the
        database died meanwhile, perhaps fewer than were.
        """
        ...

    async def budgets(self) -> tuple[Budget, ...]:
        """By id."""
        ...

    async def put_budget(self, budget: Budget) -> None:
        """Adds or replaces. Its counters stay, as long as its period does."""
        ...

    async def delete_budget(self, id_: str) -> None:
        """It blocks nothing any more. Its counters stay, should it come back."""
        ...

    async def credit(self, credit: Credit) -> None: ...

    async def adjust(self, adjustment: Adjustment) -> bool:
        """False: there is no such call, or it is still under way."""
        ...

    async def recover(self, boot: str, now_s: int) -> int:
        """At start: holds of other boots, and those past their time, count as spent; how many."""
        ...


GROUPS: Final = ("key", "team", "provider", "model", "endpoint", "tool", "source", "session")
"""What totals can be grouped by."""


class Standing(Struct, frozen=True):
    """A budget's counters in one window."""

    reserved: NanoUsd = 0
    settled: NanoUsd = 0
    credit: NanoUsd = 0


class Amounts(Struct, frozen=True):
    """Sums over calls."""

    calls: int = 0
    errors: int = 0
    """Released: no answer came that costs something."""
    unpriced: int = 0
    estimated: int = 0
    """Their cost is the hub's own guess: partial, estimated, expired."""
    cost: NanoUsd = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


class Which(Struct, frozen=True):
    """Of which calls. What is None lets all pass."""

    since_s: int
    until_s: int
    key: str | None = None
    team: str | None = None
    provider: str | None = None
    model: str | None = None
    """That served it."""
    endpoint: str | None = None
    tool: str | None = None
    source: str | None = None
    session: str | None = None
    """For `calls` only."""


class Total(Struct, frozen=True):
    starts_at: int
    """Of its span."""
    name: str
    """Of the key, team, model … that was grouped by; empty for one that has none."""
    amounts: Amounts


class ChargeRow(Struct, frozen=True):
    """A call in the ledger."""

    number: int
    """Grows."""
    id: str
    at_us: int
    state: str
    hold: NanoUsd
    cost: NanoUsd | None
    """None: there is no price, or it is not known yet."""
    basis: str
    facts: Facts
    served_model: str
    usage: Usage
    price_ref: str
    rates: bytes
    ended_us: int
    duration_us: int
    attempts: tuple[AttemptRow, ...] = ()


class ChargePage(Struct, frozen=True):
    rows: tuple[ChargeRow, ...]
    """Newest first."""
    next_before: int | None
    """The number below which the next page goes on. A page may be short, and have a next one."""


class Entry(Struct, frozen=True):
    """What was changed after the fact. Entries are only ever added."""

    number: int
    """Grows."""
    id: str
    kind: str
    """`late` evidence, an `adjustment`, or a `credit`."""
    charge: str
    """Empty for a credit."""
    budget: str
    """Empty but for a credit."""
    delta: NanoUsd
    reason: str
    at_s: int


class Proof(Struct, frozen=True):
    """How many rows of the sums differed from the ledger, and were made right."""

    counters: int
    slots: int


class UsageStorage(Protocol):
    """Reading. Never holds up the writing for long. Raises StorageFailed."""

    async def totals(
        self, which: Which, group_by: str, spans: Sequence[tuple[int, int]]
    ) -> tuple[Total, ...]:
        """Sums for each span and each name of the group: one of `GROUPS`, or empty for all.

        Spans are half-open, apart, and begin and end on quarters of an hour, as the days of all
        time zones do (Period.windows). Of calls by their begin. Those under way are not in it.
        """
        ...

    async def calls(self, which: Which, *, limit: int, before: int | None = None) -> ChargePage: ...

    async def charge(self, id_: str) -> ChargeRow | None:
        """One call, with its attempts."""
        ...

    async def unsettled(self, *, limit: int, before: int | None = None) -> ChargePage:
        """Those whose cost is a guess or unknown: to be compared with the provider's invoice."""
        ...

    async def standing(self, on: Sequence[HoldOn]) -> tuple[Standing, ...]:
        """Of each, in their order."""
        ...

    async def entries(self, *, limit: int, before: int | None = None) -> tuple[Entry, ...]:
        """Newest first, below the number `before`."""
        ...

    async def rebuild(self) -> Proof:
        """Compute all sums anew from the ledger: proves that they agreed, or makes them."""
        ...


class Priced(Struct, frozen=True):
    cost: NanoUsd
    """Rounded up."""
    ref: str
    rates: bytes


class Prices(Protocol):
    """What calls cost. None: there is no price, which is not nothing."""

    def reload(self, overrides: Sequence[Override]) -> None:
        """These are the operator's own prices from now on; what was booked stays as it is."""
        ...

    def ceiling(
        self,
        provider: str,
        model: str,
        input_tokens: int,
        output_tokens: int,
        at_s: int,
        service: str = "",
    ) -> NanoUsd | None:
        """The most that a call with so many tokens may cost; `service`: the tier asked for."""
        ...

    def price(
        self,
        provider: str,
        models: Sequence[str],
        usage: Usage,
        at_s: int,
        reported: NanoUsd | None,
        extra: Extra = PLAIN,
    ) -> Priced | None:
        """What it cost.

        Of `models`, the one that answered and then the one asked for, the first with a price
        counts; `reported` is what the provider itself said.
        """
        ...
