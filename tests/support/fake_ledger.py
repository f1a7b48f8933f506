"""The ledger in dicts, through the pure rules (ledger.Ledger, ledger.UsageStorage).

The model that the adapters are compared with: counters are not kept, but summed up anew each time.
"""

from collections import defaultdict

from msgspec import structs

from agenthub.domain.account import MISSING, Charge, Facts, State, lets_in
from agenthub.domain.budget import DEFAULT
from agenthub.domain.errors import StorageFailed
from agenthub.domain.usage import GUESSED, Basis, Usage
from agenthub.ledger import (
    Amounts,
    ChargePage,
    ChargeRow,
    Entry,
    Hold,
    OverBudget,
    Proof,
    Standing,
    Total,
)


class Row:
    """A call: its charge, and what it was booked under."""

    def __init__(self, number, hold, charge=None):
        self.number, self.hold = number, hold
        self.charge = charge or Charge(hold.amount)
        self.settlement, self.attempts = None, ()

    @property
    def model(self):
        return (self.settlement and self.settlement.model) or self.hold.facts.model

    def show(self):
        charge, last = self.charge, self.settlement
        known = charge.basis not in {None, Basis.UNPRICED} or charge.state is State.RELEASED
        return ChargeRow(
            self.number, self.hold.id, self.hold.at_us, charge.state.value, charge.hold,
            charge.cost if known else None, charge.basis.value if charge.basis else "",
            self.hold.facts, last.model if last else "", last.usage if last else Usage(),
            last.price_ref if last else "", last.rates if last else b"",
            last.ended_us if last else 0, last.duration_us if last else 0, self.attempts,
        )  # fmt: skip


class FakeLedger:
    def __init__(self, now=lambda: 1_800_000_000):
        self.now = now
        self.rows, self.kept, self.credits, self.log = {}, {DEFAULT.id: DEFAULT}, {}, []
        self.broken = None
        """An error that every write is told."""
        self.writes = []
        """The name of each that was handed over."""
        self._held_back = None
        """Who is told later, while nothing is told."""

    def hold_back(self):
        """Tell nobody of what is written from now on, until `go_on`."""
        self._held_back = []

    def go_on(self):
        waiting, self._held_back = self._held_back, None
        for tell in waiting:
            tell()

    def _tell(self, told, said):
        if self._held_back is None:
            told(said)
        else:
            self._held_back.append(lambda: told(said))

    # ------------------------------------------------------------ calls

    def reserve(self, hold, told):
        self.writes.append("reserve")
        self._tell(told, self.broken or self._reserve(hold))

    def _reserve(self, hold):
        if hold.amount < 0:
            return StorageFailed("A value does not fit into the database.")
        if hold.id in self.rows:
            return None
        if refused := self._refusal(hold.on, hold.amount):
            return refused
        self.rows[hold.id] = Row(len(self.rows) + 1, hold)
        return None

    def top_up(self, id_, hold, told):
        self.writes.append("top_up")
        self._tell(told, self.broken or self._top_up(id_, hold))

    def _top_up(self, id_, hold):
        row = self.rows.get(id_)
        if row is None or not row.charge.could_top_up(hold):
            return None
        if refused := self._refusal(row.hold.on, hold - row.charge.hold):
            return refused
        row.charge = row.charge.top_up(hold)
        return None

    def move(self, id_, facts, off):
        self.writes.append("move")
        row = None if self.broken else self.rows.get(id_)
        if row:
            where = {name: getattr(facts, name) for name in ("provider", "endpoint", "model")}
            row.hold = structs.replace(
                row.hold, facts=structs.replace(row.hold.facts, **where),
                on=tuple(one for one in row.hold.on if one.budget not in off),
            )  # fmt: skip

    def settle(self, settlement, told):
        self.writes.append("settle")
        problem = self.broken
        if settlement.cost < 0:
            problem = StorageFailed("A value does not fit into the database.")
        if not problem:
            self._settle(settlement)
        self._tell(told, problem)

    def _settle(self, settlement):
        row = self.rows.get(settlement.id)
        if row is None:
            at_us = settlement.ended_us - settlement.duration_us
            hold = missing(settlement.id, at_us)
            row = self.rows[settlement.id] = Row(len(self.rows) + 1, hold, MISSING)
        if self._turn(row, row.charge.settle(settlement.cost, settlement.basis)):
            row.settlement, row.attempts = settlement, settlement.attempts

    def release(self, id_, attempts, told):
        self.writes.append("release")
        row = None if self.broken else self.rows.get(id_)
        if row and self._turn(row, row.charge.release()):
            row.attempts = attempts
        self._tell(told, self.broken)

    def _turn(self, row, after, adjustment=None):
        before, row.charge = row.charge, after
        delta = after.adjustment(before)
        if delta is not None and adjustment:
            made = (adjustment.id, "adjustment", row.hold.id, "")
            self._enter(*made, delta, (adjustment.reason, adjustment.at_s))
        elif delta is not None:
            made = (f"{row.hold.id} {len(self.log)}", "late", row.hold.id, "")
            self._enter(*made, delta, ("", self.now()))
        return after is not before

    def _enter(self, id_, kind, charge, budget, delta, why):
        number = len(self.log) + 1
        self.log.append(Entry(number, id_, kind, charge, budget, delta, *why))

    def _refusal(self, on, more):
        for one in on:
            budget = self.kept.get(one.budget)
            if budget is None or budget.suspended_until > self.now():
                continue
            reserved, settled, credit = structs.astuple(self._standing(one))
            wall = budget.wall + credit
            if not lets_in(reserved=reserved, settled=settled, hold=more, wall=wall):
                return OverBudget(one.budget, one.ends_at, reserved, settled, wall)
        return None

    def _standing(self, on):
        charges = [
            row.charge
            for row in self.rows.values()
            if any(
                one.budget == on.budget and on.first <= one.window <= on.window
                for one in row.hold.on
            )
        ]
        credit = sum(
            one.amount
            for one in self.credits.values()
            if one.on.budget == on.budget and on.first <= one.on.window <= on.window
        )
        return Standing(sum(c.held for c in charges), sum(c.spent for c in charges), credit)

    async def recover(self, boot, now_s):
        self._check()
        gone = [
            row
            for row in self.rows.values()
            if row.charge.state is State.RESERVED
            and (row.hold.boot != boot or row.hold.expires_at_s <= now_s)
        ]
        for row in gone:
            row.charge = row.charge.expire()
        return len(gone)

    # ------------------------------------------------------------ people and reports

    def _check(self):
        if self.broken:
            raise StorageFailed(str(self.broken))

    async def book(self, rows):
        self._check()
        new = [(hold, settlement) for hold, settlement in rows if hold.id not in self.rows]
        for hold, settlement in new:
            if hold.id not in self.rows:
                self.rows[hold.id] = Row(len(self.rows) + 1, structs.replace(hold, amount=0))
            self._settle(settlement)
        return len({hold.id for hold, _ in new})

    async def budgets(self):
        return tuple(self.kept[name] for name in sorted(self.kept))

    async def put_budget(self, budget):
        self._check()
        self.kept[budget.id] = budget

    async def delete_budget(self, id_):
        self._check()
        self.kept.pop(id_, None)

    async def credit(self, credit):
        self._check()
        if credit.id not in self.credits:
            self.credits[credit.id] = credit
            made = (credit.id, "credit", "", credit.on.budget)
            self._enter(*made, credit.amount, (credit.reason, credit.at_s))

    async def adjust(self, adjustment):
        self._check()
        row = self.rows.get(adjustment.charge)
        if row is None or row.charge.state is State.RESERVED:
            return False
        if all(entry.id != adjustment.id for entry in self.log):
            after = structs.replace(
                row.charge, state=State.SETTLED, cost=adjustment.cost, basis=Basis.FIXED
            )
            self._turn(row, after, adjustment)
        return True

    # ------------------------------------------------------------ reading

    async def standing(self, on):
        return tuple(map(self._standing, on))

    async def totals(self, which, group_by, spans):
        sums = defaultdict(Amounts)
        for row in self._passing(which):
            at_s = row.hold.at_us // 1_000_000
            for starts_at, ends_at in spans:
                if starts_at <= at_s < ends_at and row.charge.state is not State.RESERVED:
                    place = starts_at, name_of(row, group_by)
                    sums[place] = added(sums[place], row)
        return tuple(Total(*place, sums[place]) for place in sorted(sums))

    def _passing(self, which):
        names = ("key", "team", "provider", "model", "endpoint", "tool", "source", "session")
        wanted = {n: w for n in names if (w := getattr(which, n)) is not None}
        return [
            row
            for row in self.rows.values()
            if which.since_s * 1_000_000 <= row.hold.at_us < which.until_s * 1_000_000
            and all(name_of(row, name) == value for name, value in wanted.items())
        ]

    def _page(self, rows, limit, before):
        rows = sorted(rows, key=lambda row: -row.number)
        found = [row.show() for row in rows if before is None or row.number < before]
        page = tuple(structs.replace(row, attempts=()) for row in found[:limit])
        return ChargePage(page, page[-1].number if len(found) > limit else None)

    async def calls(self, which, *, limit, before=None):
        return self._page(self._passing(which), limit, before)

    async def charge(self, id_):
        return self.rows[id_].show() if id_ in self.rows else None

    async def unsettled(self, *, limit, before=None):
        doubtful = GUESSED | {Basis.UNPRICED}
        return self._page(
            [row for row in self.rows.values() if row.charge.basis in doubtful], limit, before
        )

    async def entries(self, *, limit, before=None):
        found = [one for one in reversed(self.log) if before is None or one.number < before]
        return tuple(found[:limit])

    async def rebuild(self):
        return Proof(0, 0)


def missing(id_, at_us):
    """A hold that never was."""
    return Hold(id_, "", at_us, 0, Facts(), (), 0)


def name_of(row, column):
    return row.model if column == "model" else getattr(row.hold.facts, column, "")


def added(sums, row):
    """The sums with one more call."""
    charge, usage = row.charge, row.settlement.usage if row.settlement else Usage()
    return Amounts(
        sums.calls + 1,
        sums.errors + (charge.state is State.RELEASED),
        sums.unpriced + (charge.basis is Basis.UNPRICED),
        sums.estimated + (charge.basis in GUESSED),
        sums.cost + charge.cost,
        sums.input_tokens + usage.input_tokens,
        sums.cache_read_tokens + usage.cache_read_tokens,
        sums.cache_write_tokens + usage.cache_write_tokens,
        sums.output_tokens + usage.output_tokens,
        sums.reasoning_tokens + usage.reasoning_tokens,
    )
