"""The account of one call's money, from the hold to what it really cost.

                      ┌─ settle ──────────────► settled
    reserve ─► reserved ─ release ─► released ──┤ settle, late
                      └─ expire ──► unknown ────┴─ release, late ─► released

- A *hold* is durable before the first byte that may cost money is sent, and one for the call,
  whatever is retried. What is held counts against its budgets.
- *Settled*: what it cost is known, and stands in place of the hold.
- *Released*: it surely cost nothing.
- *Unknown*: whoever had the call died. All that was held counts as spent, until someone knows.
- Evidence that comes late, or is better, wins: the difference is an adjustment, which is written
  down. All else that comes again changes nothing, so each step may be told twice.

The counters of a budget are at all times the sums of `held` and `spent` over its charges.
"""

from enum import Enum

from msgspec import Struct, structs

from agenthub.domain.money import NanoUsd
from agenthub.domain.usage import SURE, Basis


class State(Enum):
    RESERVED = "reserved"
    SETTLED = "settled"
    RELEASED = "released"
    UNKNOWN = "unknown"


class Facts(Struct, frozen=True, omit_defaults=True):
    """What a charge is booked under; empty where it has none."""

    key: str = ""
    team: str = ""
    session: str = ""
    provider: str = ""
    endpoint: str = ""
    model: str = ""
    """As it was asked for."""
    tool: str = ""
    door: str = ""
    source: str = "proxy"
    """Who saw the call: proxy, otlp, litellm, claude-code, codex."""


class HoldOn(Struct, frozen=True, array_like=True):
    """A budget's counter that a charge goes to, chosen when the call began and never after."""

    budget: str
    window: str
    first: str
    """The oldest counter of the window: those from it to `window` count together."""
    starts_at: int
    ends_at: int


class Charge(Struct, frozen=True):
    """The money of one call."""

    hold: NanoUsd
    """The most that was held."""
    state: State = State.RESERVED
    cost: NanoUsd = 0
    """What it cost as far as is known; 0 where there is no price."""
    basis: Basis | None = None

    @property
    def held(self) -> NanoUsd:
        """Counts against the budgets as long as the call is under way."""
        return self.hold if self.state is State.RESERVED else 0

    @property
    def spent(self) -> NanoUsd:
        """Counts against the budgets from then on."""
        return self.cost

    def top_up(self, hold: NanoUsd) -> "Charge":
        """Hold so much in all. Nothing, if it holds as much already or is over."""
        return structs.replace(self, hold=hold) if self.could_top_up(hold) else self

    def could_top_up(self, hold: NanoUsd) -> bool:
        return self.state is State.RESERVED and hold > self.hold

    def settle(self, cost: NanoUsd, basis: Basis) -> "Charge":
        """It cost so much. Nothing, if it is settled on evidence as good."""
        better = basis in SURE and self.basis not in SURE
        if self.state is State.SETTLED and not better:
            return self
        return structs.replace(self, state=State.SETTLED, cost=cost, basis=basis)

    def release(self) -> "Charge":
        """It surely cost nothing. Nothing, if it is settled."""
        if self.state in {State.SETTLED, State.RELEASED}:
            return self
        return structs.replace(self, state=State.RELEASED, cost=0, basis=None)

    def expire(self) -> "Charge":
        """Nobody will say what it cost. Nothing, if it is over."""
        if self.state is not State.RESERVED:
            return self
        return structs.replace(self, state=State.UNKNOWN, cost=self.hold, basis=Basis.EXPIRED)

    def adjustment(self, before: "Charge") -> NanoUsd | None:
        """What must be written down as changed after the fact; None: nothing was."""
        if self is before or before.state is State.RESERVED:
            return None
        return self.cost - before.cost


MISSING = Charge(0)
"""Stands for a hold that is not there, when its call is settled: it is booked nonetheless."""


def lets_in(*, reserved: NanoUsd, settled: NanoUsd, hold: NanoUsd, wall: NanoUsd) -> bool:
    """Whether a hold fits into a counter (or those of a rolling window together)."""
    return reserved + settled + hold <= wall
