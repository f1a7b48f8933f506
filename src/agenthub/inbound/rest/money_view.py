"""What REST shows of money: amounts as decimal texts in US dollars, times as seconds since 1970."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, structs

from agenthub.alerts import Alert
from agenthub.budgets import BudgetStatus
from agenthub.domain import money
from agenthub.domain.budget import EACH, Budget, Subject
from agenthub.domain.errors import InvalidParams
from agenthub.domain.ladder import Step
from agenthub.domain.period import Period
from agenthub.ledger import Amounts, AttemptRow, ChargeRow, Entry


class AmountsView(Struct, frozen=True):
    """Sums over calls."""

    cost_usd: str
    calls: int
    errors: int
    """Calls that came to nothing and cost nothing."""
    unpriced_calls: int
    """Calls without a price: their cost is not known, and not in the sum."""
    estimated_calls: int
    """Calls whose cost is the hub's own estimate; see `/api/usage/reconcile`."""
    input_tokens: int
    cache_read_tokens: int
    """Part of `input_tokens`, as is `cache_write_tokens`."""
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    """Part of `output_tokens`."""


class SpanView(AmountsView, frozen=True):
    starts_at: int = 0
    ends_at: int = 0


class NamedView(AmountsView, frozen=True):
    name: str = ""
    """Empty: of calls that have none."""
    label: str = ""
    """Of a key of the hub's: what it was called when it was made."""


class Summary(Struct, frozen=True):
    starts_at: int
    ends_at: int
    """Half-open: the first second that is not in it."""
    timezone: str
    total: AmountsView
    spans: list[SpanView]
    """Of the range, by hour, day, week or month; together they are the total."""


class Breakdown(Struct, frozen=True):
    starts_at: int
    ends_at: int
    timezone: str
    by: str
    total: AmountsView
    groups: list[NamedView]
    """The dearest first."""


class AttemptView(Struct, frozen=True):
    no: int
    endpoint: str
    model: str
    status: int
    outcome: str
    cost_usd: str | None


class ChargeView(Struct, frozen=True):
    """A call in the ledger."""

    number: int
    id: str
    at_us: int
    state: str
    """`reserved`, `settled`, `released` or `unknown`."""
    cost_usd: str | None
    """Null: there is no price, or it is not known yet."""
    held_usd: str
    basis: str
    """How the cost is known; see docs/money.md."""
    key: str
    team: str
    session: str
    provider: str
    endpoint: str
    model: str
    served_model: str
    tool: str
    source: str
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    price_ref: str
    duration_us: int
    attempts: list[AttemptView]


class AlertView(Struct, frozen=True):
    """That a budget's window reached a level."""

    number: int
    id: str
    """As the webhook has it in `webhook-id`."""
    budget: str
    level: str
    """`warning`, `critical` or `blocked`."""
    spent_usd: str
    limit_usd: str
    """With what was credited; both as they were then."""
    starts_at: int
    ends_at: int
    told_at: int
    state: str
    """`told` (there was no webhook), `waiting`, `sent` or `given_up`; `new`: in a moment."""
    tries: int


class AlertList(Struct, frozen=True):
    alerts: list[AlertView]
    """Newest first."""
    next_before: int | None


class ChargeList(Struct, frozen=True):
    calls: list[ChargeView]
    next_before: int | None


class EntryView(Struct, frozen=True):
    number: int
    kind: str
    """`late`, `adjustment` or `credit`."""
    call: str
    budget: str
    delta_usd: str
    reason: str
    at: int


class EntryList(Struct, frozen=True):
    entries: list[EntryView]


class WantedBudget(Struct, frozen=True, forbid_unknown_fields=True):
    """A budget as it is written."""

    limit_usd: str
    id: str = ""
    name: str = ""
    subject: Subject = Subject()
    period: Period = Period()
    warning: int = 90
    critical: int = 100
    blocked: int = 110
    on_unpriced: str = "refuse"
    """`refuse`, `allow`, or a price per call as a decimal text."""
    ladder: tuple[Step, ...] = ()
    """What is done to calls of models before they are refused: a cheaper one, a shorter answer."""


class BudgetView(Struct, frozen=True):
    id: str
    name: str
    subject: Subject
    period: Period
    limit_usd: str
    warning: int
    critical: int
    blocked: int
    on_unpriced: str
    ladder: tuple[Step, ...]
    suspended_until: int | None
    reason: str
    spent_usd: str | None
    """In the present window; null for a budget of each session, which has many."""
    reserved_usd: str | None
    """Held for calls under way."""
    credit_usd: str | None
    level: str | None
    """`safe`, `warning`, `critical` or `blocked`."""
    can_proceed: bool
    starts_at: int
    resets_at: int


class BudgetList(Struct, frozen=True):
    budgets: list[BudgetView]


class MonthlyBudget(Struct, frozen=True):
    monthly_budget_usd: str
    current_spending_usd: str
    usage_percentage: str
    """Of the budget, with two decimals."""
    alert_level: str
    can_proceed: bool
    period_start: int
    resets_at: int


def amounts_view(one: Amounts) -> dict[str, Any]:
    return {
        "cost_usd": money.show(one.cost), "calls": one.calls, "errors": one.errors,
        "unpriced_calls": one.unpriced, "estimated_calls": one.estimated,
        "input_tokens": one.input_tokens, "cache_read_tokens": one.cache_read_tokens,
        "cache_write_tokens": one.cache_write_tokens, "output_tokens": one.output_tokens,
        "reasoning_tokens": one.reasoning_tokens,
    }  # fmt: skip


def summed(amounts: Sequence[Amounts]) -> Amounts:
    """The sum of all of them: one function for every total that is shown."""
    rows = [structs.astuple(one) for one in (Amounts(), *amounts)]
    return Amounts(*map(sum, zip(*rows, strict=True)))


def charge_view(row: ChargeRow) -> ChargeView:
    facts, usage = row.facts, row.usage
    return ChargeView(
        row.number, row.id, row.at_us, row.state,
        None if row.cost is None else money.show(row.cost), money.show(row.hold), row.basis,
        facts.key, facts.team, facts.session, facts.provider, facts.endpoint, facts.model,
        row.served_model, facts.tool, facts.source, usage.input_tokens, usage.cache_read_tokens,
        usage.cache_write_tokens, usage.output_tokens, usage.reasoning_tokens, row.price_ref,
        row.duration_us, [_attempt(one) for one in row.attempts],
    )  # fmt: skip


def entry_view(one: Entry) -> EntryView:
    return EntryView(
        one.number, one.kind, one.charge, one.budget, money.show(one.delta), one.reason, one.at_s
    )


def budget_of(wanted: WantedBudget, id_: str) -> Budget:
    """Raises InvalidParams, BadSetting."""
    fallback: str | int = wanted.on_unpriced
    if wanted.on_unpriced not in {"refuse", "allow"}:
        try:
            fallback = money.parse(wanted.on_unpriced)
        except InvalidParams:
            raise InvalidParams(
                'on_unpriced: expected `refuse`, `allow`, or a price per call, as "0.01"'
            ) from None
    budget = Budget(
        id_, money.parse(wanted.limit_usd), wanted.name, wanted.subject, wanted.period,
        wanted.warning, wanted.critical, wanted.blocked, fallback, ladder=wanted.ladder,
    )  # fmt: skip
    budget.check()
    return budget


def budget_view(one: BudgetStatus) -> BudgetView:
    budget, standing = one.budget, one.standing
    is_each = budget.subject.name == EACH
    fallback = budget.on_unpriced
    return BudgetView(
        budget.id, budget.name, budget.subject, budget.period, money.show(budget.limit),
        budget.warning, budget.critical, budget.blocked,
        fallback if isinstance(fallback, str) else money.show(fallback), budget.ladder,
        budget.suspended_until or None, budget.reason,
        None if is_each else money.show(standing.settled),
        None if is_each else money.show(standing.reserved),
        None if is_each else money.show(standing.credit),
        None if is_each else one.level.value, one.can_proceed, one.starts_at, one.ends_at,
    )  # fmt: skip


def monthly_view(one: BudgetStatus) -> MonthlyBudget:
    """The default budget, in the words of the plan."""
    limit = one.budget.limit + one.standing.credit
    hundredths = one.standing.settled * 10_000 // limit if limit > 0 else 10_000
    return MonthlyBudget(
        money.show(one.budget.limit), money.show(one.standing.settled),
        f"{hundredths // 100}.{hundredths % 100:02}", one.level.value, one.can_proceed,
        one.starts_at, one.ends_at,
    )  # fmt: skip


def _attempt(one: AttemptRow) -> AttemptView:
    cost = None if one.cost is None else money.show(one.cost)
    return AttemptView(one.no, one.endpoint, one.model, one.status, one.outcome, cost)


def alert_view(alert: Alert) -> AlertView:
    return AlertView(
        alert.number, alert.token, alert.budget, alert.level.value, money.show(alert.spent),
        money.show(alert.limit), alert.starts_at, alert.ends_at, alert.told_at, alert.state,
        alert.tries,
    )  # fmt: skip
