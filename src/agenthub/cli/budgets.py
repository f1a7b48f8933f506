"""`budget show`, `set`, `add`, `suspend`, `credit`, `remove`: how much may be spent."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from agenthub.cli.access import hub_at, new
from agenthub.cli.options import home_option, json_option
from agenthub.cli.output import show_json
from agenthub.cli.table import show_table

DEFAULT = "default"


@click.group()
def budget() -> None:
    """Show and set how much may be spent."""


@budget.command()
@json_option
@home_option
def show(home: Path, *, as_json: bool) -> None:
    """Show all budgets and how they stand.

    --json: {"budgets": [{"id", "limit_usd", "spent_usd", "level", …}]}, as GET /api/usage/budgets.
    """
    with hub_at(home) as hub:
        budgets = hub.budgets()
    if as_json:
        show_json({"budgets": budgets})
    elif budgets:
        show_table(
            ["id", "of", "period", "limit", "spent", "in flight", "level"],
            [_row(one) for one in budgets],
        )
    else:
        print("No budgets: nothing is blocked. `agenthub budget set 100` sets one a month.")


@budget.command()
@click.option("--limit", type=click.IntRange(1, 500), default=20, help="How many (20).")
@json_option
@home_option
def alerts(home: Path, limit: int, *, as_json: bool) -> None:
    """Show which budgets reached which level, newest first.

    --json: {"alerts": [{"budget", "level", "spent_usd", "limit_usd", "told_at", "state", …}]}.
    """
    with hub_at(home) as hub:
        found = hub.alerts(limit)
    if as_json:
        show_json({"alerts": found})
    elif found:
        columns = ["at (UTC)", "budget", "level", "spent", "limit", "webhook"]
        show_table(columns, [_alert(one) for one in found])
    else:
        print("No alerts: no budget has reached a level yet.")


@budget.command("set")
@click.argument("amount", metavar="USD")
@click.argument("budget_id", metavar="[ID]", default=DEFAULT)
@json_option
@home_option
def set_(home: Path, amount: str, budget_id: str, *, as_json: bool) -> None:
    """Set the limit of a budget; without ID of the one for everything, a month.

    --json: the budget, as `show` gives it.
    """
    with hub_at(home) as hub:
        if budget_id == DEFAULT:
            hub.set_monthly_budget(amount)
            shown = hub.budget(DEFAULT)
        else:
            wanted = _wanted(hub.budget(budget_id))
            shown = hub.replace_budget({**wanted, "limit_usd": amount})
    _tell(shown, as_json=as_json)


@budget.command()
@click.argument("budget_id", metavar="ID")
@click.argument("amount", metavar="USD")
@click.option(
    "--of",
    "subject",
    metavar="KIND[:NAME]",
    default="all",
    help="all, key:ID, team:NAME, model:NAME, provider:NAME, endpoint:NAME, tool:NAME,"
    " session:NAME, or session:* for each session (all).",
)
@click.option(
    "--period",
    type=click.Choice(["day", "week", "month", "hours", "lifetime", "run"]),
    default="month",
    help="How long it lasts (month); hours: a rolling window, see --start.",
)
@click.option(
    "--start", type=int, default=1, help="Of a week: 1 is Monday; of a month: its day; of hours: N."
)
@click.option("--tz", metavar="ZONE", default="UTC", help="In which days begin, as Asia/Seoul.")
@click.option(
    "--ladder",
    multiple=True,
    metavar="AT[,use=MODEL][,max_tokens=N]",
    help="From AT per cent on, ask a cheaper model or for shorter answers; may stand again.",
)
@click.option("--blocked", type=int, default=110, help="Per cent of the limit that block (110).")
@json_option
@home_option
def add(  # noqa: PLR0913, PLR0917 - one for each option
    home: Path, budget_id: str, amount: str, subject: str, period: str, start: int, tz: str,
    ladder: tuple[str, ...], blocked: int, *, as_json: bool,
) -> None:  # fmt: skip
    """Add a budget. --json: the budget, as `show` gives it."""
    kind, _, name = subject.partition(":")
    levels = {"blocked": blocked, "critical": min(100, blocked), "warning": min(90, blocked)}
    wanted: dict[str, Any] = {
        "id": budget_id, "limit_usd": amount, "subject": {"kind": kind, "name": name},
        "period": {"kind": period, "start": start, "tz": tz}, **levels,
        "ladder": [_step(one) for one in ladder],
    }  # fmt: skip
    with hub_at(home) as hub:
        shown = new(hub.add_budget, wanted)
    _tell(shown, as_json=as_json)


@budget.command()
@click.argument("budget_id", metavar="ID")
@click.option("--minutes", type=click.IntRange(0, 1_440), default=60, help="How long (60).")
@click.option("--reason", required=True, help="Why; it is kept.")
@json_option
@home_option
def suspend(home: Path, budget_id: str, minutes: int, reason: str, *, as_json: bool) -> None:
    """Let a budget block nothing for a while; it goes on counting. --minutes 0: block again.

    --json: the budget, as `show` gives it.
    """
    with hub_at(home) as hub:
        shown = hub.suspend_budget(budget_id, minutes * 60, reason)
    _tell(shown, as_json=as_json)


@budget.command()
@click.argument("budget_id", metavar="ID")
@click.argument("amount", metavar="USD")
@click.option("--reason", required=True, help="Why; it is kept.")
@json_option
@home_option
def credit(home: Path, budget_id: str, amount: str, reason: str, *, as_json: bool) -> None:
    """Give a budget more room until its period ends. --json: the budget, as `show` gives it."""
    with hub_at(home) as hub:
        shown = hub.credit_budget(budget_id, amount, reason)
    _tell(shown, as_json=as_json)


@budget.command()
@click.argument("budget_id", metavar="ID")
@json_option
@home_option
def remove(home: Path, budget_id: str, *, as_json: bool) -> None:
    """Remove a budget; what was spent stays in the ledger. --json: {"id", "status": "removed"}."""
    with hub_at(home) as hub:
        hub.delete_budget(budget_id)
    if as_json:
        show_json({"id": budget_id, "status": "removed"})
    else:
        print(f"Removed the budget {budget_id}.")


def _step(text: str) -> dict[str, Any]:
    at, *rest = text.split(",")
    step: dict[str, Any] = {"at": _whole(at, text)}
    for part in rest:
        name, _, value = part.partition("=")
        if name not in {"use", "max_tokens"} or not value:
            raise click.BadParameter(f"--ladder: expected AT,use=MODEL,max_tokens=N, got {text!r}")
        step[name] = value if name == "use" else _whole(value, text)
    return step


def _whole(value: str, text: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise click.BadParameter(f"--ladder: expected whole numbers, got {text!r}")
    return int(value)


def _tell(shown: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(shown)
        return
    spent = "" if shown["spent_usd"] is None else f", ${shown['spent_usd']} spent"
    level = "" if shown["level"] is None else f": {shown['level']}"
    print(f"{shown['id']}: ${shown['limit_usd']}{spent}{level}.")


def _wanted(shown: dict[str, Any]) -> dict[str, Any]:
    """What is shown, as it is written."""
    names = (
        "id", "name", "limit_usd", "subject", "period", "warning", "critical", "blocked",
        "on_unpriced", "ladder",
    )  # fmt: skip
    return {name: shown[name] for name in names}


def _alert(one: dict[str, Any]) -> list[str]:
    at = datetime.fromtimestamp(one["told_at"], UTC).strftime("%Y-%m-%d %H:%M")
    sent = "-" if one["state"] == "told" else one["state"]
    money = f"${one['spent_usd']}", f"${one['limit_usd']}"
    return [at if one["told_at"] else "now", one["budget"], one["level"], *money, sent]


def _row(one: dict[str, Any]) -> list[str]:
    subject, period = one["subject"], one["period"]
    of = f"{subject.get('kind', 'all')} {subject.get('name', '')}".strip()
    kind = period.get("kind", "month")
    span = f"{period.get('start', 1)} hours" if kind == "hours" else kind
    money = [
        f"${one[key]}" if one[key] is not None else "-" for key in ("spent_usd", "reserved_usd")
    ]
    level = "suspended" if one["suspended_until"] else one["level"] or "-"
    return [one["id"], of, span, f"${one['limit_usd']}", *money, level]
